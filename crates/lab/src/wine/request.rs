//! What the DLL passes on, checked as Windows documents it (netioapi.h).

use std::net::IpAddr;

use ipnet::IpNet;

use super::codes::{INVALID_PARAMETER, NOT_FOUND};

/// `IpPrefixOriginUnchanged` and `IpSuffixOriginUnchanged`.
const UNCHANGED: u32 = 16;
/// What `InitializeUnicastIpAddressEntry` leaves in `OnLinkPrefixLength`, and what stands for the whole address.
const WHOLE: u32 = 255;

/// States of duplicate address detection (`NL_DAD_STATE`).
pub(super) mod dad {
    pub(crate) const TENTATIVE: u32 = 1;
    pub(crate) const DUPLICATE: u32 = 2;
    pub(crate) const PREFERRED: u32 = 4;
}

/// A `MIB_UNICASTIPADDRESS_ROW` that has passed every check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) interface: u32,
    pub(super) network: IpNet,
    pub(super) prefix_origin: u32,
    pub(super) suffix_origin: u32,
    /// Seconds; all ones for ever.
    pub(super) valid: u32,
    pub(super) preferred: u32,
    pub(super) skip_as_source: bool,
    pub(super) dad: u32,
}

/// The interface that a row names.
pub(super) fn interface(text: Option<&str>) -> Result<u32, u32> {
    match text.ok_or(INVALID_PARAMETER)? {
        "-" => Err(INVALID_PARAMETER),
        "0" => Err(NOT_FOUND),
        index => index.parse().map_err(|_| INVALID_PARAMETER),
    }
}

/// A unicast address.
pub(super) fn address(text: Option<&str>) -> Result<IpAddr, u32> {
    let address: IpAddr = text.and_then(|text| text.parse().ok()).ok_or(INVALID_PARAMETER)?;
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    if address.is_unspecified() || address.is_multicast() || broadcast {
        return Err(INVALID_PARAMETER);
    }
    Ok(address)
}

/// Address and interface, all that is needed to find a row.
pub(super) fn spot<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<(u32, IpAddr), u32> {
    let interface = interface(words.next());
    // A bad address is told before an interface that is not there.
    let address = address(words.next())?;
    Ok((interface?, address))
}

/// A whole row.
pub(super) fn row<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Row, u32> {
    let words = &mut words;
    let interface = interface(words.next());
    let address = address(words.next())?;
    let mut number = || words.next().and_then(|word| word.parse::<u32>().ok()).ok_or(INVALID_PARAMETER);
    let length = number()?;
    let (prefix_origin, suffix_origin) = (number()?, number()?);
    let (valid, preferred) = (number()?, number()?);
    let (skip, dad) = (number()?, number()?);
    let known = |origin: u32, last: u32| origin <= last || origin == UNCHANGED;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length = if length == WHOLE { longest } else { length };
    let wrong = length > longest
        || !known(prefix_origin, 4)
        || !known(suffix_origin, 5)
        || (prefix_origin == UNCHANGED) != (suffix_origin == UNCHANGED)
        || preferred > valid
        || valid == 0
        || skip > 1
        || dad > 4;
    if wrong {
        return Err(INVALID_PARAMETER);
    }
    let length = u8::try_from(length).map_err(|_| INVALID_PARAMETER)?;
    let network = IpNet::new(address, length).map_err(|_| INVALID_PARAMETER)?;
    let skip_as_source = skip == 1;
    let interface = interface?;
    Ok(Row { interface, network, prefix_origin, suffix_origin, valid, preferred, skip_as_source, dad })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Row, u32> {
        row(text.split(' '))
    }

    #[test]
    fn a_whole_row_passes() {
        let row = parse("7 192.0.2.10 24 1 1 3 3 1 4").unwrap();
        assert_eq!((row.interface, row.network.to_string().as_str()), (7, "192.0.2.10/24"));
        assert_eq!((row.valid, row.preferred, row.skip_as_source, row.dad), (3, 3, true, dad::PREFERRED));
        let row = parse("7 2001:db8::10 255 16 16 4294967295 4294967295 0 0").unwrap();
        assert_eq!(row.network.prefix_len(), 128, "255 is the whole address");
    }

    #[test]
    fn what_windows_documents_as_wrong_is_refused() {
        for bad in [
            "- 192.0.2.10 24 1 1 3 3 1 4", // neither LUID nor index
            "7 - 24 1 1 3 3 1 4",          // no family
            "7 0.0.0.0 24 1 1 3 3 1 4",    // not unicast
            "7 224.0.0.1 24 1 1 3 3 1 4",  // not unicast
            "7 255.255.255.255 24 1 1 3 3 1 4",
            "7 192.0.2.10 33 1 1 3 3 1 4", // longer than the address
            "7 2001:db8::1 129 1 1 3 3 1 4",
            "7 192.0.2.10 24 16 1 3 3 1 4", // one origin unchanged, the other not
            "7 192.0.2.10 24 1 16 3 3 1 4",
            "7 192.0.2.10 24 5 1 3 3 1 4", // no such origin
            "7 192.0.2.10 24 1 6 3 3 1 4",
            "7 192.0.2.10 24 1 1 3 4 1 4", // preferred for longer than valid
            "7 192.0.2.10 24 0 0 0 0 0 0", // zeros are not a row
            "7 192.0.2.10 24 1 1 3 3 1 5", // no such state
            "7 192.0.2.10 24 1 1 3 3 1",   // too short
        ] {
            assert_eq!(parse(bad), Err(INVALID_PARAMETER), "{bad}");
        }
        assert_eq!(parse("0 192.0.2.10 24 1 1 3 3 1 4"), Err(NOT_FOUND));
        assert_eq!(parse("0 - 24 1 1 3 3 1 4"), Err(INVALID_PARAMETER), "a bad address is told first");
    }
}
