//! What was found, and how it is shown.

use std::fmt::Write as _;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// No fault, but worth knowing.
    Hint,
    /// It works, until something else happens; or not as well as it could.
    Warning,
    /// It does not work.
    Error,
}

macro_rules! ids {
    ($($id:ident),+ $(,)?) => {
        /// What a finding is about. The names are part of the JSON: more may come, none is renamed. `docs/check.md`
        /// explains each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub(super) enum Id { $($id),+ }

        /// All of them.
        #[cfg(test)]
        pub(super) const ALL: &[Id] = &[$(Id::$id),+];
    };
}

ids![
    Configuration,
    ConfigurationInForce,
    SingleNode,
    Page,
    KeyOpen,
    Journal,
    Node,
    Kernel,
    HeartbeatAddress,
    InterfaceMissing,
    InterfaceLoopback,
    InterfaceDown,
    InterfaceAddress,
    Interface,
    InterfacePort,
    SpanningTree,
    Vips,
    VipSubnet,
    VipLeft,
    VipForeign,
    VipWritten,
    Daemon,
    Port,
    Privileges,
    RealTime,
    RealTimeShare,
    Pace,
    MemoryLock,
    Clock,
    Suspend,
    KernelSettings,
    ArpIgnore,
    ArpFilter,
    RpFilter,
    PromoteSecondaries,
    ProxyArp,
    DropGratuitous,
    EchoIgnored,
    NonlocalBind,
    Ipv6Off,
    Managers,
    SystemdNetworkd,
    NetworkManager,
    DhcpClient,
    CloudAgent,
    CloudNetwork,
    OtherFailover,
    Firewall,
    FirewallUnread,
    FirewallHeartbeat,
    FirewallEcho,
    FirewallArp,
    FirewallNeighbor,
    Peer,
    PeerMachine,
    PeerDeaf,
    PeerConfiguration,
    PeerKey,
    Health,
];

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) id: Id,
    pub(super) level: Level,
    pub(super) text: String,
    /// What to do, where there is something to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Findings(pub(super) Vec<Finding>);

impl Findings {
    pub(super) fn ok(&mut self, id: Id, text: impl Into<String>) {
        self.0.push(Finding { id, level: Level::Ok, text: text.into(), remedy: None });
    }

    pub(super) fn hint(&mut self, id: Id, text: impl Into<String>, remedy: impl Into<String>) {
        self.add(Level::Hint, id, text, remedy);
    }

    pub(super) fn warning(&mut self, id: Id, text: impl Into<String>, remedy: impl Into<String>) {
        self.add(Level::Warning, id, text, remedy);
    }

    pub(super) fn error(&mut self, id: Id, text: impl Into<String>, remedy: impl Into<String>) {
        self.add(Level::Error, id, text, remedy);
    }

    pub(super) fn add(&mut self, level: Level, id: Id, text: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Finding { id, level, text: text.into(), remedy: Some(remedy.into()) });
    }

    /// Something does not work.
    pub(super) fn has_errors(&self) -> bool {
        self.0.iter().any(|finding| finding.level == Level::Error)
    }

    /// For people: what is well first, what is worst last, where a terminal leaves it in view.
    pub(super) fn show(&self) -> String {
        let mut out = String::new();
        for (level, word) in [
            (Level::Ok, "ok      "),
            (Level::Hint, "hint    "),
            (Level::Warning, "warning "),
            (Level::Error, "ERROR   "),
        ] {
            for finding in self.0.iter().filter(|finding| finding.level == level) {
                let _ = writeln!(out, "{word}{}", finding.text);
                for line in finding.remedy.iter().flat_map(|remedy| remedy.lines()) {
                    let _ = writeln!(out, "        {line}");
                }
            }
        }
        let count = |level| self.0.iter().filter(|finding| finding.level == level).count();
        let many = |count: usize, what: &str| match count {
            0 => format!("no {what}s"),
            1 => format!("1 {what}"),
            _ => format!("{count} {what}s"),
        };
        let (errors, warnings) = (count(Level::Error), count(Level::Warning));
        let _ = writeln!(
            out,
            "\n{}, {}, {}",
            many(errors, "error"),
            many(warnings, "warning"),
            many(count(Level::Hint), "hint")
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name that is in the program and not in the documentation means nothing to who reads the JSON.
    #[test]
    fn every_id_is_explained() {
        let page = include_str!("../../../../../docs/check.md");
        for id in ALL {
            let name = serde_json::to_value(id).expect("serializes");
            let row = format!("| `{}` |", name.as_str().expect("a name"));
            assert!(page.contains(&row), "docs/check.md has no row {row}");
        }
    }

    #[test]
    fn the_worst_comes_last() {
        let mut findings = Findings::default();
        findings.error(Id::Port, "taken", "free it\nor take another");
        findings.ok(Id::Node, "this is node alpha");
        findings.hint(Id::Suspend, "it may sleep", "keep it awake");
        assert!(findings.has_errors());
        assert_eq!(
            findings.show(),
            "ok      this is node alpha\nhint    it may sleep\n        keep it awake\n\
             ERROR   taken\n        free it\n        or take another\n\n1 error, no warnings, 1 hint\n"
        );
    }
}
