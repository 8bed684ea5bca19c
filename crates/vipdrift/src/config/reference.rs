//! Every key of the configuration, for the manual page and for docs/configuration.md. Tests hold names and defaults against what
//! the parser takes.

/// A table of the file.
pub(crate) struct Table {
    /// As it is headed.
    pub(crate) title: &'static str,
    /// What it is for.
    pub(crate) about: &'static str,
    /// Its keys.
    pub(crate) keys: &'static [Key],
}

/// A key.
pub(crate) struct Key {
    /// Its name, or several that go together.
    pub(crate) names: &'static [&'static str],
    /// What holds without it.
    pub(crate) default: Without,
    /// What it says; code is between backticks.
    pub(crate) meaning: &'static str,
}

/// What holds without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Without {
    /// It has to be there, or one of those that it stands with.
    Required,
    /// Nothing.
    None,
    /// The same as with this value, as it stands in the file.
    Is(&'static str),
    /// It depends; in words.
    Depends(&'static str),
}

impl Without {
    /// For people.
    pub(crate) fn words(self) -> String {
        match self {
            Self::Required => "required".to_owned(),
            Self::None => "none".to_owned(),
            Self::Is(value) => format!("`{value}`"),
            Self::Depends(words) => words.to_owned(),
        }
    }
}

const fn key(names: &'static [&'static str], default: Without, meaning: &'static str) -> Key {
    Key { names, default, meaning }
}

use Without::{Depends, Is, None, Required};

/// All tables, in the order of a file.
pub(crate) const TABLES: [Table; 6] = [
    Table {
        title: "[cluster]",
        about: "The cluster as a whole.",
        keys: &[
            key(&["name"], Required, "identity of the cluster; part of every authentication"),
            key(
                &["key_file", "key"],
                Required,
                "the shared key: a file with it, as `vipdrift key` makes one, or the key itself in hexadecimal. A relative path is looked \
                 for beside the configuration",
            ),
            key(
                &["previous_key_file", "previous_key"],
                None,
                "a second key that is accepted, for changing keys without a gap",
            ),
            key(&["heartbeat"], Is("\"100ms\""), "interval of the heartbeats, 5 ms to 10 s"),
            key(&["dead_after"], Is("3"), "missed heartbeats after which a silent peer is dead, 2 to 20"),
            key(
                &["lease"],
                Is("\"2s\""),
                "lifetime of a mounted address in the kernel: whole seconds, 1 s to 1 h; `\"off\"` to mount without one",
            ),
            key(
                &["start_wait"],
                Is("\"3s\""),
                "longest wait at start for proof that the link works, before a first claim; up to 10 min",
            ),
            key(&["port"], Is("5798"), "UDP port of the heartbeats"),
            key(
                &["user"],
                Is("\"vipdrift\""),
                "whom the unprivileged processes become; `nobody` if there is no such user. Members of the group of that name may use \
                 the control socket",
            ),
            key(
                &["journal"],
                Is("\"off\""),
                "folder in which the node keeps what its decisions rest on, for `vipdrift replay`",
            ),
            key(
                &["journal_limit"],
                Depends("`\"64MiB\"`"),
                "what the journal may take on the disk, 4 MiB to 16 GiB; more than half of it always reaches back",
            ),
        ],
    },
    Table {
        title: "[[node]]",
        about: "A machine; one table for each.",
        keys: &[
            key(&["name"], Required, "name of the node"),
            key(&["addresses"], Required, "its heartbeat addresses; a node finds itself by them"),
            key(
                &["interfaces"],
                None,
                "logical names of its interfaces, where nodes differ: `{ lan = \"ens3\" }`",
            ),
            key(&["weight"], Is("1"), "1 to 100: this node's share of the groups with `prefer = \"spread\"`"),
        ],
    },
    Table {
        title: "[[group]]",
        about: "VIPs that move together; one table for each group.",
        keys: &[
            key(&["name"], Required, "name of the group"),
            key(&["interface"], Required, "where its VIPs go: a logical name, or that of an interface"),
            key(&["vips"], Required, "addresses with prefix lengths"),
            key(
                &["prefer"],
                Depends("order of the nodes"),
                "who comes first: a list of nodes (others follow as they stand in the file); `\"spread\"` spreads groups evenly, or by `weight`",
            ),
            key(
                &["together"],
                None,
                "other groups that are always on the same node, such as the two sides of a router",
            ),
            key(&["apart"], None, "other groups that are never on the same node"),
            key(
                &["failback"],
                Is("\"never\""),
                "or how long a preferred node must have been healthy to get the group back. One that then cannot mount it is not tried \
                 again for 5 s, and each time for twice as long, up to an hour",
            ),
            key(
                &["occupied"],
                Is("\"wait\""),
                "what to do when a foreign host answers for the VIP: wait, or `\"claim\"` it",
            ),
            key(
                &["switchover"],
                Is("\"strict\""),
                "the holder lets go first; with `\"hitless\"` the heir mounts first, no packet is lost, and for a moment both hold",
            ),
            key(
                &["references"],
                Is("[\"auto\"]"),
                "whose answers prove that a node is not cut off: `auto`, `gateway`, addresses",
            ),
            key(
                &["isolated"],
                Is("\"release\""),
                "what an active node does that is cut off: release, or `\"keep\"`",
            ),
            key(&["as_source"], Is("false"), "whether the machine may use the VIP as source address"),
            key(
                &["all_unhealthy"],
                Is("\"keep\""),
                "what a holder does whose checks fail while no other node is healthy: keep, or `\"release\"`",
            ),
        ],
    },
    Table {
        title: "[[group.check]]",
        about: "A health check of the group above it; any number of them.",
        keys: &[
            key(&["tcp"], Depends("one of these"), "`\"address:port\"`: a connection can be opened"),
            key(
                &["http"],
                Depends("one of these"),
                "`\"URL\"`: the answer's status is one of `status`, and the body matches `body`, if there is one",
            ),
            key(
                &["exec"],
                Depends("one of these"),
                "`[\"/path\", \"argument\"]`: the program ends with status 0; no shell",
            ),
            key(
                &["process"],
                Depends("one of these"),
                "`\"name\"`, or a file with its id: it runs. Its end is told by the kernel, not found at an interval",
            ),
            key(
                &["unit"],
                Depends("one of these"),
                "`\"nginx.service\"`: systemd says that it is active, and tells when it changes",
            ),
            key(
                &["service"],
                Depends("one of these"),
                "`\"nginx\"`: the same for a Windows service. A check may name `unit` and `service`: each node looks at its own system's",
            ),
            key(&["file"], Depends("one of these"), "`\"/path\"`: it is there and can be read"),
            key(&["icmp"], Depends("one of these"), "`\"address\"`: it answers an echo request"),
            key(&["name"], Depends("the kind"), "needed where a group has two of a kind"),
            key(&["interval"], Is("\"1s\""), "from look to look, 10 ms to 1 h"),
            key(
                &["timeout"],
                Is("\"1s\""),
                "a look that takes longer has failed; a program is killed then, with its process group",
            ),
            key(
                &["fall", "rise"],
                Depends("2; 1 for `process` and `unit`"),
                "looks in a row that make it fail, and pass again. Between intervals only a change counts",
            ),
            key(&["initial"], Is("\"unhealthy\""), "until the first good look; or `\"healthy\"`"),
            key(
                &["effect"],
                Is("\"fault\""),
                "the node must not hold the group; with `\"demote\"` it comes behind those on which the check passes, and hands the group to \
                 one of them",
            ),
            key(&["status"], Is("[\"200-399\"]"), "of `http`: what is a good status"),
            key(&["body"], None, "of `http`: a regular expression that the body has to match"),
            key(&["host"], Depends("the URL's"), "of `http`: the name that is asked for"),
            key(
                &["verify"],
                Is("true"),
                "of `http`: whether the certificate of an `https` server is verified",
            ),
            key(&["ca_file"], Depends("the system's"), "of `http`: the authorities that it is verified by"),
            key(&["user"], Depends("the daemon's"), "of `exec`: who runs the program"),
        ],
    },
    Table {
        title: "[group.hooks]",
        about: "Programs that are told of changes of role.",
        keys: &[
            key(&["before_active"], None, "has to succeed before the VIPs are mounted"),
            key(&["active"], None, "the node holds the VIPs"),
            key(
                &["standby"],
                None,
                "it does not, and could; serves for fault and drained too, where they have none of their own",
            ),
            key(&["fault", "drained"], Depends("as `standby`"), "it does not, and must not"),
            key(&["timeout"], Is("\"30s\""), "then a hook is killed"),
            key(&["user"], Depends("the daemon's"), "who runs them"),
        ],
    },
    Table {
        title: "[control]",
        about: "How people and programs reach the daemon.",
        keys: &[
            key(
                &["socket"],
                Depends("`/run/vipdrift/control.sock`; a named pipe on Windows"),
                "the control socket, mode 0660",
            ),
            key(
                &["http"],
                Is("\"127.0.0.1:5799\""),
                "where page and metrics are served; `\"off\"` to close it",
            ),
            key(
                &["token_file"],
                None,
                "a file with a token, as `vipdrift key` makes one: whoever has it may drain nodes and move groups from the page. A \
                 relative path is looked for beside the configuration",
            ),
        ],
    },
];

/// The tables in Markdown.
#[cfg(test)]
pub(crate) fn markdown(table: &Table) -> String {
    let mut text = String::from("| Key | Default | Meaning |\n|---|---|---|\n");
    for key in table.keys {
        let names: Vec<_> = key.names.iter().map(|name| format!("`{name}`")).collect();
        text += &format!("| {} | {} | {} |\n", names.join(", "), key.default.words(), key.meaning);
    }
    text
}

#[cfg(test)]
mod tests;
