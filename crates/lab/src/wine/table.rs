//! What Windows knows of an address and the kernel here does not.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::request::{Row, dad};
use crate::netlink::Lease;

/// The origin of an address that was set by hand: `IpPrefixOriginManual`, `IpSuffixOriginManual`.
const MANUAL: u32 = 1;
/// `IpPrefixOriginUnchanged` and `IpSuffixOriginUnchanged`.
const UNCHANGED: u32 = 16;

/// An entry that a program under wine has made.
#[derive(Clone, Copy, Debug)]
struct Entry {
    row: Row,
    /// Tells it from a later one with the same address.
    serial: u64,
}

/// The unicast addresses as Windows would tell them.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: BTreeMap<(u32, IpAddr), Entry>,
    serial: u64,
}

impl Table {
    /// Takes over a row. Answers the number that tells it from others.
    pub(super) fn insert(&mut self, mut row: Row) -> u64 {
        if row.prefix_origin == UNCHANGED {
            (row.prefix_origin, row.suffix_origin) = (MANUAL, MANUAL);
        }
        self.serial += 1;
        self.entries.insert((row.interface, row.network.addr()), Entry { row, serial: self.serial });
        self.serial
    }

    /// The row with this number, if nobody has removed it.
    pub(super) fn by_serial(&mut self, spot: (u32, IpAddr), serial: u64) -> Option<&mut Row> {
        self.entries.get_mut(&spot).filter(|entry| entry.serial == serial).map(|entry| &mut entry.row)
    }

    /// Removes a row.
    pub(super) fn remove(&mut self, spot: (u32, IpAddr)) -> Option<Row> {
        self.entries.remove(&spot).map(|entry| entry.row)
    }

    /// Changes what `SetUnicastIpAddressEntry` may change.
    pub(super) fn set(&mut self, new: Row) {
        if let Some(Entry { row, .. }) = self.entries.get_mut(&(new.interface, new.network.addr())) {
            let dad = row.dad;
            let origins = (row.prefix_origin, row.suffix_origin);
            *row = Row { dad, ..new };
            if new.prefix_origin == UNCHANGED {
                (row.prefix_origin, row.suffix_origin) = origins;
            }
        }
    }

    /// All rows, given what the kernel has now. Forgets those that were in use and that the kernel has let go.
    pub(super) fn rows(&mut self, kernel: &[Lease], counts_down: bool) -> Vec<Row> {
        let has =
            |spot: &(u32, IpAddr)| kernel.iter().any(|lease| (lease.index, lease.network.addr()) == *spot);
        self.entries.retain(|spot, entry| entry.row.dad != dad::PREFERRED || has(spot));
        let mut rows: Vec<Row> = kernel
            .iter()
            .map(|lease| match self.entries.get(&(lease.index, lease.network.addr())) {
                Some(Entry { row, .. }) if counts_down => {
                    // Zero in the kernel stands for SkipAsSource.
                    let preferred =
                        if row.skip_as_source { row.preferred.min(lease.valid) } else { lease.preferred };
                    Row { valid: lease.valid, preferred, ..*row }
                }
                Some(Entry { row, .. }) => *row,
                None => foreign(lease),
            })
            .collect();
        let idle = self.entries.iter().filter(|(spot, _)| !has(spot));
        rows.extend(idle.map(|(_, entry)| entry.row));
        rows
    }
}

/// An address that was there before, or that somebody else has made.
fn foreign(lease: &Lease) -> Row {
    Row {
        interface: lease.index,
        network: lease.network,
        prefix_origin: MANUAL,
        suffix_origin: MANUAL,
        valid: lease.valid,
        preferred: lease.preferred,
        skip_as_source: false,
        dad: dad::PREFERRED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(dad: u32) -> Row {
        Row {
            interface: 7,
            network: "192.0.2.10/32".parse().unwrap(),
            prefix_origin: UNCHANGED,
            suffix_origin: UNCHANGED,
            valid: 3,
            preferred: 3,
            skip_as_source: true,
            dad,
        }
    }

    #[test]
    fn what_the_kernel_has_let_go_is_forgotten() {
        let mut table = Table::default();
        table.insert(row(dad::PREFERRED));
        let lease = Lease { index: 7, network: "192.0.2.10/32".parse().unwrap(), valid: 2, preferred: 2 };
        let rows = table.rows(&[lease], true);
        assert_eq!(
            rows,
            [Row { prefix_origin: 1, suffix_origin: 1, valid: 2, preferred: 2, ..row(dad::PREFERRED) }]
        );
        assert_eq!(table.rows(&[lease], false)[0].valid, 3, "does not count down");
        assert!(table.rows(&[], true).is_empty());
        assert_eq!(table.rows(&[lease], true), [foreign(&lease)], "another one that looks the same");
    }

    #[test]
    fn what_is_not_in_use_stays_though_the_kernel_does_not_have_it() {
        let mut table = Table::default();
        table.insert(row(dad::DUPLICATE));
        assert_eq!(table.rows(&[], true)[0].dad, dad::DUPLICATE);
        table.set(Row { valid: 9, ..row(dad::PREFERRED) });
        let rows = table.rows(&[], true);
        assert_eq!((rows[0].dad, rows[0].valid), (dad::DUPLICATE, 9), "a state cannot be set");
        assert!(table.remove((7, "192.0.2.10".parse().unwrap())).is_some());
        assert!(table.rows(&[], true).is_empty());
    }
}
