//! Calls that are wrong in one respect each, and the code of each.

use std::net::Ipv4Addr;

use vipdrift_platform::links::Link;
use windows_sys::Win32::NetworkManagement::IpHelper::{
    CreateUnicastIpAddressEntry, DeleteUnicastIpAddressEntry, FlushIpNetTable2, FreeMibTable, GetIpNetTable2,
    GetUnicastIpAddressEntry, InitializeUnicastIpAddressEntry, MIB_IPNET_ROW2, MIB_UNICASTIPADDRESS_ROW,
    ResolveIpNetEntry2, SetUnicastIpAddressEntry,
};
use windows_sys::Win32::Networking::WinSock::{AF_INET, SOCKADDR_INET};

type Row = MIB_UNICASTIPADDRESS_ROW;

fn inet(address: Ipv4Addr) -> SOCKADDR_INET {
    let mut inet = SOCKADDR_INET::default();
    inet.Ipv4.sin_family = AF_INET;
    inet.Ipv4.sin_addr.S_un.S_addr = u32::from_ne_bytes(address.octets());
    inet
}

pub(super) fn strict(link: &Link, address: Ipv4Addr) {
    let good = || {
        let mut row = Row::default();
        // SAFETY: the pointer is to a row of our own.
        unsafe { InitializeUnicastIpAddressEntry(&raw mut row) };
        row.Address = inet(address);
        row.InterfaceIndex = link.index;
        (row.PrefixOrigin, row.SuffixOrigin, row.OnLinkPrefixLength, row.DadState) = (1, 1, 32, 4);
        row
    };
    let tell = |what: &str, code: u32| println!("{what}: {code}");
    // SAFETY: all pointers are to rows of our own, or null, which the calls refuse.
    unsafe {
        let create = |row: Row| CreateUnicastIpAddressEntry(&raw const row);
        tell("no row", CreateUnicastIpAddressEntry(std::ptr::null()));
        let zeroed = Row { Address: inet(address), InterfaceIndex: link.index, ..Row::default() };
        tell("not initialised", create(zeroed));
        tell("no interface", create(Row { InterfaceIndex: 0, ..good() }));
        tell("no family", create(Row { Address: SOCKADDR_INET::default(), ..good() }));
        tell("preferred longer than valid", create(Row { ValidLifetime: 3, PreferredLifetime: 4, ..good() }));
        tell("one origin unchanged", create(Row { PrefixOrigin: 16, ..good() }));
        tell("prefix too long", create(Row { OnLinkPrefixLength: 33, ..good() }));
        tell("unknown interface", create(Row { InterfaceIndex: 987_654, ..good() }));
        let mut foreign = good();
        foreign.InterfaceLuid.Value = 0x1234_5678_9abc;
        tell("unknown LUID beside a known index", create(foreign));
        tell("get what is not there", GetUnicastIpAddressEntry(&mut good()));
        tell("set what is not there", SetUnicastIpAddressEntry(&good()));
        tell("delete what is not there", DeleteUnicastIpAddressEntry(&good()));
        let mut by_luid = good();
        (by_luid.InterfaceLuid.Value, by_luid.InterfaceIndex) = (link.luid, 987_654);
        by_luid.SkipAsSource = true;
        tell("known LUID beside an unknown index", create(by_luid));
        tell("once more", create(good()));
        let mut found = good();
        tell("get", GetUnicastIpAddressEntry(&raw mut found));
        println!("skip {} dad {} length {}", found.SkipAsSource, found.DadState, found.OnLinkPrefixLength);
        let set = Row { ValidLifetime: 60, PreferredLifetime: 50, ..good() };
        tell("set", SetUnicastIpAddressEntry(&raw const set));
        tell("get", GetUnicastIpAddressEntry(&raw mut found));
        println!(
            "valid {} preferred {} skip {}",
            found.ValidLifetime, found.PreferredLifetime, found.SkipAsSource
        );
        let resolve = |index: u32, source: Ipv4Addr| {
            let mut row = MIB_IPNET_ROW2 { InterfaceIndex: index, ..MIB_IPNET_ROW2::default() };
            row.Address = inet(Ipv4Addr::new(192, 0, 2, 12));
            ResolveIpNetEntry2(&raw mut row, &inet(source))
        };
        tell("ask in the name of another", resolve(link.index, Ipv4Addr::new(192, 0, 2, 99)));
        tell("ask on an unknown interface", resolve(987_654, address));
        tell("ask in its name", resolve(link.index, address));
        let neighbors = || {
            let mut table = std::ptr::null_mut();
            if GetIpNetTable2(AF_INET, &raw mut table) != 0 {
                return 0;
            }
            let count = (*table).NumEntries;
            FreeMibTable(table.cast());
            count
        };
        println!("neighbours {}", neighbors());
        tell("flush", FlushIpNetTable2(AF_INET, link.index));
        println!("neighbours {}", neighbors());
        tell("delete", DeleteUnicastIpAddressEntry(&good()));
        tell("not optimistic", create(Row { DadState: 0, ..good() }));
        tell("get", GetUnicastIpAddressEntry(&raw mut found));
        println!("dad {}", found.DadState);
        std::thread::sleep(std::time::Duration::from_millis(3_500));
        tell("get", GetUnicastIpAddressEntry(&raw mut found));
        println!("dad {}", found.DadState);
        tell("delete", DeleteUnicastIpAddressEntry(&good()));
    }
}
