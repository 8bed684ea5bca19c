//! News of the kernel, in namespaces of the test's own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use common::{ip, isolated, link, wait_readable};
use ipnet::IpNet;
use vipdrift_platform::addresses::{Address, Kernel, Mount};
use vipdrift_platform::watch::{Change, Watch};

/// Reads news until one is `wanted`; fails if it does not come.
fn until(watch: &mut Watch, what: &str, wanted: impl Fn(&Change) -> bool) {
    loop {
        match watch.next().unwrap() {
            Some(change) if wanted(&change) => return,
            Some(_) => {}
            None => wait_readable(&*watch, what),
        }
    }
}

fn drain(watch: &mut Watch) {
    while watch.next().unwrap().is_some() {}
}

#[test]
fn addresses_that_others_add_and_delete_are_told() {
    isolated("addresses_that_others_add_and_delete_are_told", || {
        ip("link add v0 type veth peer name v1");
        let interface = link("v0").index;
        let mut watch = Watch::open().unwrap();
        assert_eq!(watch.next().unwrap(), None);
        for text in ["192.0.2.10/24", "2001:db8::10/64"] {
            let network: IpNet = text.parse().unwrap();
            ip(&format!("addr add {text} dev v0"));
            let added = Change::AddressAdded(Address { interface, network, valid: None, ours: false });
            until(&mut watch, "the address", |change| *change == added);
            ip(&format!("addr del {text} dev v0"));
            until(&mut watch, "the removal", |change| {
                *change == Change::AddressRemoved { interface, network }
            });
        }
        // A point-to-point address is told by its own end.
        ip("addr add 192.0.2.1 peer 192.0.2.2/32 dev v0");
        let own: IpNet = "192.0.2.1/32".parse().unwrap();
        until(
            &mut watch,
            "the local end",
            |change| matches!(change, Change::AddressAdded(a) if a.network == own),
        );
    });
}

#[test]
fn a_link_that_goes_down_or_loses_its_carrier_is_told() {
    isolated("a_link_that_goes_down_or_loses_its_carrier_is_told", || {
        ip("link add v0 type veth peer name v1");
        ip("link set v1 up");
        ip("link set v0 up");
        let mut watch = Watch::open().unwrap();
        for (command, running) in [
            ("link set v1 down", false),
            ("link set v1 up", true),
            ("link set v0 down", false),
            ("link set v0 up", true),
        ] {
            ip(command);
            // Several news may come for one command; the last leaves the link as it is.
            loop {
                until(&mut watch, command, |change| *change == Change::Link);
                if link("v0").running == running {
                    break;
                }
            }
            drain(&mut watch);
        }
        ip("link del v0");
        until(&mut watch, "the deletion", |change| *change == Change::Link);
    });
}

#[test]
fn routes_are_told() {
    isolated("routes_are_told", || {
        ip("link add v0 type veth peer name v1");
        ip("link set v1 up");
        ip("link set v0 up");
        ip("addr add 192.0.2.1/24 dev v0");
        let mut watch = Watch::open().unwrap();
        ip("route add default via 192.0.2.254");
        until(&mut watch, "the route", |change| *change == Change::Route);
        drain(&mut watch);
        ip("route del default");
        until(&mut watch, "its removal", |change| *change == Change::Route);
    });
}

#[test]
fn lost_news_are_told_once_and_reading_goes_on() {
    isolated("lost_news_are_told_once_and_reading_goes_on", || {
        ip("link add v0 type veth peer name v1");
        let interface = link("v0").index;
        let mut watch = Watch::open().unwrap();
        socket2::SockRef::from(&watch).set_recv_buffer_size(4096).unwrap();
        let mounts: Vec<Mount> = (0..200)
            .map(|i| Mount {
                interface,
                network: format!("198.51.100.{i}/32").parse().unwrap(),
                lease: None,
                as_source: false,
                prefix_route: false,
            })
            .collect();
        assert!(Kernel::open().unwrap().mount(&mounts).iter().all(Result::is_ok));
        let (mut told, mut overruns) = (0, 0);
        while let Some(change) = watch.next().unwrap() {
            match change {
                Change::AddressAdded(_) => told += 1,
                Change::Overrun => overruns += 1,
                _ => {}
            }
        }
        assert!(told < 200, "the buffer was to be too small");
        assert_eq!(overruns, 1);
        ip("addr add 192.0.2.10/24 dev v0");
        until(&mut watch, "news after the gap", |change| matches!(change, Change::AddressAdded(_)));
    });
}
