//! Addresses, links and gateways against the real kernel, in namespaces of the test's own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "this is a test")]

mod common;

use std::net::IpAddr;
use std::time::Duration;

use common::{PATIENCE, ip, isolated, link, readable_within, wait_for};
use ipnet::IpNet;
use vipdrift_platform::addresses::{Address, Error, Kernel, Mount};
use vipdrift_platform::clock::boot_time;
use vipdrift_platform::watch::{Change, Watch};

fn network(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// A VIP as the keeper mounts it.
fn vip(interface: u32, network: IpNet, seconds: u64) -> Mount {
    Mount {
        interface,
        network,
        lease: Some(Duration::from_secs(seconds)),
        as_source: false,
        prefix_route: false,
    }
}

/// `count` IPv4 and as many IPv6 VIPs.
fn many(interface: u32, count: u8, seconds: u64) -> Vec<Mount> {
    let v4 = (0..count).map(|i| network(&format!("198.51.100.{i}/32")));
    let v6 = (0..count).map(|i| network(&format!("2001:db8::1:{i:x}/128")));
    v4.chain(v6).map(|network| vip(interface, network, seconds)).collect()
}

/// A cable with both ends here: `v0`, on which to mount, and `v1`.
fn cable() -> u32 {
    ip("link add v0 type veth peer name v1");
    ip("link set v1 up");
    ip("link set v0 up");
    link("v0").index
}

/// What the kernel has on an interface, its own link-local addresses left out.
fn on(kernel: &mut Kernel, interface: u32) -> Vec<Address> {
    let link_local =
        |address: &Address| matches!(address.network.addr(), IpAddr::V6(v6) if v6.is_unicast_link_local());
    let all = kernel.addresses().unwrap();
    all.into_iter().filter(|address| address.interface == interface && !link_local(address)).collect()
}

fn all_ok(results: Vec<Result<(), Error>>) {
    for (position, result) in results.into_iter().enumerate() {
        result.unwrap_or_else(|error| panic!("entry {position}: {error}"));
    }
}

#[test]
fn one_vip_of_each_family_is_mounted_tagged_leased_and_usable_at_once() {
    isolated("one_vip_of_each_family_is_mounted_tagged_leased_and_usable_at_once", || {
        let v0 = cable();
        let mut kernel = Kernel::open().unwrap();
        let before = ip("route show dev v0") + &ip("-6 route show dev v0");
        let mounts = [vip(v0, network("192.0.2.10/24"), 100), vip(v0, network("2001:db8::10/64"), 100)];
        all_ok(kernel.mount(&mounts));

        let found = on(&mut kernel, v0);
        assert_eq!(found.len(), 2, "{found:?}");
        for (address, mount) in found.iter().zip(&mounts) {
            assert_eq!(address.network, mount.network);
            assert!(address.ours);
            let left = address.valid.unwrap();
            assert!(left <= Duration::from_secs(100) && left >= Duration::from_secs(95), "{left:?}");
        }
        assert_eq!(ip("-6 addr show dev v0 tentative to 2001:db8::/32"), "", "usable at once");
        assert!(ip("addr show dev v0").matches("deprecated").count() == 2, "preferred lifetime 0");
        let after = ip("route show dev v0") + &ip("-6 route show dev v0");
        assert!(!after.contains("192.0.2.0/24") && !after.contains("2001:db8::/64"), "{before}\n{after}");

        all_ok(kernel.unmount(&[(v0, mounts[0].network), (v0, mounts[1].network)]));
        assert_eq!(on(&mut kernel, v0), []);
    });
}

#[test]
fn without_a_lease_and_with_a_route_it_is_an_ordinary_address() {
    isolated("without_a_lease_and_with_a_route_it_is_an_ordinary_address", || {
        let v0 = cable();
        let mut kernel = Kernel::open().unwrap();
        let ordinary = |text| Mount {
            interface: v0,
            network: network(text),
            lease: None,
            as_source: true,
            prefix_route: true,
        };
        all_ok(kernel.mount(&[ordinary("192.0.2.10/24"), ordinary("2001:db8::10/64")]));
        assert!(on(&mut kernel, v0).iter().all(|address| address.valid.is_none() && address.ours));
        assert!(!ip("addr show dev v0").contains("deprecated"));
        assert!(ip("route show dev v0").contains("192.0.2.0/24"));
        assert!(ip("-6 route show dev v0").contains("2001:db8::/64"));
    });
}

#[test]
fn five_hundred_vips_go_up_and_down_in_one_call_each() {
    isolated("five_hundred_vips_go_up_and_down_in_one_call_each", || {
        let v0 = cable();
        let mut kernel = Kernel::open().unwrap();
        let mounts = many(v0, 250, 100);
        let start = boot_time();
        all_ok(kernel.mount(&mounts));
        eprintln!("mounted in {:?}", boot_time() - start);
        let mut found: Vec<_> = on(&mut kernel, v0).into_iter().map(|address| address.network).collect();
        let mut wanted: Vec<_> = mounts.iter().map(|mount| mount.network).collect();
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted);

        let start = boot_time();
        all_ok(kernel.mount(&mounts));
        eprintln!("renewed in {:?}", boot_time() - start);
        let start = boot_time();
        all_ok(kernel.unmount(&wanted.iter().map(|&network| (v0, network)).collect::<Vec<_>>()));
        eprintln!("unmounted in {:?}", boot_time() - start);
        assert_eq!(on(&mut kernel, v0), []);
    });
}

#[test]
fn a_renewed_lease_lasts_and_an_old_one_ends_with_news() {
    isolated("a_renewed_lease_lasts_and_an_old_one_ends_with_news", || {
        let v0 = cable();
        let mut kernel = Kernel::open().unwrap();
        let mut watch = Watch::open().unwrap();
        let mounts = [vip(v0, network("192.0.2.10/32"), 1), vip(v0, network("2001:db8::10/128"), 1)];
        let removed_until = |watch: &mut Watch, end: Duration| {
            let mut removed = Vec::new();
            while boot_time() < end && removed.len() < 2 {
                readable_within(&*watch, end.saturating_sub(boot_time()));
                while let Some(change) = watch.next().unwrap() {
                    if let Change::AddressRemoved { interface, network } = change {
                        assert_eq!(interface, v0);
                        removed.push(network);
                    }
                }
            }
            removed
        };
        // Three leases long, renewed every 0.3 s: it never goes. Where this process is kept waiting for longer, that begins anew.
        let mut start = boot_time();
        let (begun, mut renewed) = (start, start);
        while boot_time() < start + Duration::from_secs(3) {
            all_ok(kernel.mount(&mounts));
            if boot_time() > renewed + Duration::from_millis(700) && boot_time() < begun + PATIENCE {
                while watch.next().unwrap().is_some() {}
                start = boot_time();
            }
            renewed = boot_time();
            assert_eq!(removed_until(&mut watch, renewed + Duration::from_millis(300)), []);
        }
        let mut removed = removed_until(&mut watch, renewed + PATIENCE);
        let lasted = boot_time() - renewed;
        eprintln!("gone {lasted:?} after the last renewal");
        removed.sort();
        assert_eq!(removed, mounts.each_ref().map(|mount| mount.network));
        assert!(lasted >= Duration::from_millis(950), "{lasted:?}");
        assert_eq!(on(&mut kernel, v0), []);
        // Renewing what is gone mounts it again, and a longer lease takes the place of a shorter one.
        all_ok(kernel.mount(&mounts));
        all_ok(
            kernel
                .mount(&mounts.clone().map(|mount| Mount { lease: Some(Duration::from_secs(900)), ..mount })),
        );
        assert!(on(&mut kernel, v0).iter().all(|address| address.valid > Some(Duration::from_secs(800))));
    });
}

#[test]
fn the_kernel_takes_a_vip_as_source_only_if_told_so() {
    isolated("the_kernel_takes_a_vip_as_source_only_if_told_so", || {
        let v0 = cable();
        let mut kernel = Kernel::open().unwrap();
        ip("addr add 192.0.2.1/24 dev v0");
        ip("addr add 2001:db8::1/64 dev v0 nodad");
        let mut vips = [vip(v0, network("192.0.2.100/24"), 100), vip(v0, network("2001:db8::100/64"), 100)];
        let source = |to: &str| {
            let line = ip(&format!("route get {to}"));
            line.split_whitespace().skip_while(|word| *word != "src").nth(1).unwrap().to_owned()
        };
        all_ok(kernel.mount(&vips));
        assert_eq!(source("192.0.2.101"), "192.0.2.1");
        assert_eq!(source("2001:db8::101"), "2001:db8::1");
        assert!(ip("addr show dev v0 to 192.0.2.100").contains("secondary"));
        // Of two usable IPv6 sources the one with more bits in common wins (RFC 6724 rule 8): the VIP, if it may.
        vips[1].as_source = true;
        all_ok(kernel.mount(&vips));
        assert_eq!(source("2001:db8::101"), "2001:db8::100");
        vips[1].as_source = false;
        all_ok(kernel.mount(&vips));
        assert_eq!(source("2001:db8::101"), "2001:db8::1");
    });
}

#[test]
fn an_address_that_somebody_else_left_is_taken_over_whole() {
    isolated("an_address_that_somebody_else_left_is_taken_over_whole", || {
        let v0 = cable();
        ip("addr add 192.0.2.10/24 dev v0");
        ip("addr add 2001:db8::10/64 dev v0 nodad");
        let mut kernel = Kernel::open().unwrap();
        let found = on(&mut kernel, v0);
        assert!(found.len() == 2 && found.iter().all(|address| !address.ours && address.valid.is_none()));
        let vips = [vip(v0, network("192.0.2.10/24"), 100), vip(v0, network("2001:db8::10/64"), 100)];
        all_ok(kernel.mount(&vips));
        let found = on(&mut kernel, v0);
        assert!(
            found.len() == 2 && found.iter().all(|address| address.ours && address.valid.is_some()),
            "{found:?}"
        );
        assert_eq!(ip("addr show dev v0").matches("deprecated").count(), 2);
    });
}

/// Not a wish but the kernel's way, which the documentation of `mount` tells.
#[test]
fn the_first_ipv4_address_of_a_network_takes_the_others_along() {
    isolated("the_first_ipv4_address_of_a_network_takes_the_others_along", || {
        let v0 = cable();
        std::fs::write("/proc/sys/net/ipv4/conf/v0/promote_secondaries", "0").unwrap();
        let mut kernel = Kernel::open().unwrap();
        let nets = ["192.0.2.10/24", "192.0.2.11/24", "192.0.2.12/32"].map(network);
        all_ok(kernel.mount(&nets.map(|network| vip(v0, network, 100))));
        let mut watch = Watch::open().unwrap();
        all_ok(kernel.unmount(&[(v0, nets[0])]));
        assert_eq!(on(&mut kernel, v0).iter().map(|address| address.network).collect::<Vec<_>>(), [nets[2]]);
        let mut removed = Vec::new();
        while let Some(change) = watch.next().unwrap() {
            if let Change::AddressRemoved { network, .. } = change {
                removed.push(network);
            }
        }
        removed.sort();
        assert_eq!(removed, nets[..2], "and both are told");

        // Preferred lifetime 0 or not, IPv4 takes the only address it has.
        ip("route add 192.0.2.0/24 dev v0");
        assert!(ip("route get 192.0.2.99").contains("src 192.0.2.12"));
    });
}

#[test]
fn taking_away_what_is_not_there_is_no_error() {
    isolated("taking_away_what_is_not_there_is_no_error", || {
        let v0 = cable();
        let mut kernel = Kernel::open().unwrap();
        let absent = [
            (v0, network("192.0.2.10/24")),
            (v0, network("2001:db8::10/64")),
            (4711, network("192.0.2.10/24")),
        ];
        all_ok(kernel.unmount(&absent));
        assert!(kernel.unmount(&[]).is_empty() && kernel.mount(&[]).is_empty());
    });
}

#[test]
fn a_bad_entry_is_told_by_position_and_does_not_harm_the_others() {
    isolated("a_bad_entry_is_told_by_position_and_does_not_harm_the_others", || {
        let v0 = cable();
        let mut kernel = Kernel::open().unwrap();
        let mut mounts = many(v0, 100, 100);
        // In the middle, at the end of the first chunk of 64 where the acknowledgement would be, and at the very end.
        let bad = [3, 63, 150, 199];
        mounts[3].interface = 4711;
        mounts[63].interface = 4711;
        mounts[150].network = network("ff02::1/128");
        mounts[199].interface = 4711;
        let half = 120;
        mounts[half].lease = Some(Duration::from_millis(10));
        let results = kernel.mount(&mounts);
        assert_eq!(results.len(), mounts.len());
        for (position, result) in results.iter().enumerate() {
            match result {
                Ok(()) => assert!(!bad.contains(&position) && position != half, "{position} went through"),
                Err(Error::Lease(_)) => assert_eq!(position, half),
                Err(error @ Error::Refused { .. }) => {
                    assert!(bad.contains(&position), "{position}: {error}");
                    eprintln!("{position}: {error}");
                }
                Err(error) => panic!("{position}: {error}"),
            }
        }
        assert_eq!(on(&mut kernel, v0).len(), mounts.len() - bad.len() - 1);
        // The socket is in step: the next request gets its own answer.
        all_ok(kernel.mount(&mounts[..3]));
    });
}

#[test]
fn links_tell_name_mac_and_whether_frames_can_leave() {
    isolated("links_tell_name_mac_and_whether_frames_can_leave", || {
        ip("link add v0 address 02:00:5e:00:53:01 type veth peer name v1");
        let lo = link("lo");
        assert!(lo.loopback && lo.running && lo.index == 1);
        let v0 = link("v0");
        assert_eq!(v0.mac, Some([0x02, 0x00, 0x5e, 0x00, 0x53, 0x01]));
        assert!(!v0.running && !v0.loopback);
        ip("link set v0 up");
        assert!(!link("v0").running, "no carrier: the other end is down");
        ip("link set v1 up");
        wait_for("the cable", || link("v0").running);
        ip("link set v0 down");
        assert!(!link("v0").running);
    });
}

#[test]
fn gateways_come_default_first_then_by_metric_each_once() {
    isolated("gateways_come_default_first_then_by_metric_each_once", || {
        let v0 = cable();
        ip("addr add 192.0.2.1/24 dev v0");
        ip("addr add 2001:db8::1/64 dev v0 nodad");
        let mut kernel = Kernel::open().unwrap();
        assert_eq!(kernel.gateways().unwrap(), []);
        ip("route add 198.51.100.0/24 via 192.0.2.3 metric 5");
        ip("route add default via 192.0.2.254 metric 100");
        ip("route add 203.0.113.0/24 nexthop via 192.0.2.4 dev v0 nexthop via 192.0.2.254 dev v0");
        ip("route add default via 192.0.2.253 metric 200 table 77");
        ip("-6 route add default via fe80::1 dev v0 metric 50");
        ip("route add blackhole 192.0.2.128/25");
        let gateways: Vec<_> =
            kernel.gateways().unwrap().into_iter().map(|(i, ip)| (i, ip.to_string())).collect();
        let expected = ["fe80::1", "192.0.2.254", "192.0.2.4", "192.0.2.3"].map(|ip| (v0, ip.to_owned()));
        assert_eq!(gateways, expected);
    });
}

#[test]
fn without_the_privilege_every_entry_is_refused() {
    isolated("without_the_privilege_every_entry_is_refused", || {
        let v0 = cable();
        std::thread::spawn(move || {
            caps::drop(None, caps::CapSet::Effective, caps::Capability::CAP_NET_ADMIN).unwrap();
            let mut kernel = Kernel::open().unwrap();
            assert!(kernel.links().unwrap().len() >= 3, "looking is free");
            let results = kernel.mount(&many(v0, 50, 10));
            assert_eq!(results.len(), 100);
            for result in results {
                let Err(Error::Refused { source, .. }) = result else { panic!("{result:?}") };
                assert_eq!(source.kind(), std::io::ErrorKind::PermissionDenied);
            }
        })
        .join()
        .unwrap();
    });
}
