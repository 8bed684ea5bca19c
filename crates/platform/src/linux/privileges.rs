//! What the keeper must be permitted to do, and whether it is (capabilities(7)).

/// Bit numbers of the capabilities that the keeper needs.
const NEEDED: [(u32, &str); 2] = [(12, "CAP_NET_ADMIN"), (13, "CAP_NET_RAW")];

/// What to do where one is missing.
pub const REMEDY: &str =
    "run as root, or with the capabilities CAP_NET_ADMIN and CAP_NET_RAW (systemd: AmbientCapabilities=)";

/// Needed capabilities that this process lacks.
#[must_use]
pub fn missing() -> Vec<&'static str> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    missing_in(&status)
}

fn missing_in(status: &str) -> Vec<&'static str> {
    let field = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = field.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    NEEDED.iter().filter(|(bit, _)| effective & (1 << bit) == 0).map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::missing_in;

    #[test]
    fn reads_the_effective_set() {
        assert_eq!(missing_in("CapPrm:\t0000000000003000\nCapEff:\t0000000000003000\n"), Vec::<&str>::new());
        assert_eq!(missing_in("CapEff:\t0000000000001000\n"), ["CAP_NET_RAW"]);
        assert_eq!(missing_in(""), ["CAP_NET_ADMIN", "CAP_NET_RAW"]);
    }
}
