//! The file's own model: what is written in it, each value checked by itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;
use toml::Spanned;
use toml::de::DeTable;
use vipdrift_core::{AllUnhealthy, Failback, IsolatedPolicy, OccupiedPolicy, Reference, Switchover};

use super::problem::{Problem, Problems};
use super::section::Section;
use super::service::{self, CheckEntry, Hooks, is_absolute};
use super::{address, duration, size};

/// The whole file.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) cluster: Cluster,
    pub(crate) nodes: Vec<NodeEntry>,
    pub(crate) groups: Vec<GroupEntry>,
    pub(crate) control: Control,
}

/// `[cluster]`.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    pub(crate) name: String,
    pub(crate) key: KeySource,
    pub(crate) previous_key: Option<KeySource>,
    pub(crate) heartbeat: Duration,
    pub(crate) dead_after: u32,
    pub(crate) lease: Spanned<Lease>,
    pub(crate) start_wait: Duration,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) journal: Option<Journal>,
}

/// Where the journal goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Journal {
    /// The folder.
    pub(crate) folder: PathBuf,
    /// What the files of a node may take together, in bytes.
    pub(crate) limit: u64,
}

/// The lifetime of mounted addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Lease {
    /// Mounted for ever.
    Off,
    /// Whole seconds.
    Lasts(Duration),
}

/// Where a key comes from.
#[derive(Debug, Clone)]
pub(crate) enum KeySource {
    /// Written in the file itself.
    Inline(Spanned<Vec<u8>>),
    /// In a file of its own.
    File(Spanned<PathBuf>),
}

/// `[[node]]`.
#[derive(Debug, Clone)]
pub(crate) struct NodeEntry {
    pub(crate) name: Spanned<String>,
    pub(crate) addresses: Spanned<Vec<Spanned<IpAddr>>>,
    /// Logical name to real name.
    pub(crate) interfaces: Vec<(Spanned<String>, Spanned<String>)>,
    /// Its share among the nodes where groups are spread.
    pub(crate) weight: u32,
}

impl NodeEntry {
    /// The real name of the interface that a group calls `name`.
    pub(crate) fn interface<'a>(&'a self, name: &'a str) -> &'a str {
        self.interfaces.iter().find(|(l, _)| l.get_ref() == name).map_or(name, |(_, real)| real.get_ref())
    }
}

/// `[[group]]`.
#[derive(Debug, Clone)]
pub(crate) struct GroupEntry {
    pub(crate) name: Spanned<String>,
    pub(crate) interface: Spanned<String>,
    pub(crate) vips: Vec<Spanned<IpNet>>,
    pub(crate) prefer: Prefer,
    /// Names of others that must be on the same node.
    pub(crate) together: Vec<Spanned<String>>,
    /// Names of others that must not.
    pub(crate) apart: Vec<Spanned<String>>,
    pub(crate) failback: Failback,
    pub(crate) occupied: OccupiedPolicy,
    pub(crate) switchover: Switchover,
    pub(crate) references: Vec<Spanned<Reference>>,
    pub(crate) isolated: IsolatedPolicy,
    pub(crate) as_source: bool,
    pub(crate) checks: Vec<CheckEntry>,
    pub(crate) all_unhealthy: AllUnhealthy,
    pub(crate) hooks: Option<Hooks>,
}

/// The order of the nodes for a group.
#[derive(Debug, Clone)]
pub(crate) enum Prefer {
    /// As the nodes stand in the file.
    AsWritten,
    /// By rendezvous hash of group and node.
    Spread,
    /// These first, in this order; the others follow as they stand in the file.
    These(Vec<Spanned<String>>),
}

/// `[control]`.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    pub(crate) socket: PathBuf,
    /// Where the page is served.
    pub(crate) http: Option<SocketAddr>,
    /// Whoever has it may move groups from the page.
    pub(crate) token: Option<KeySource>,
}

/// Reads the text; what is wrong is added to `problems`. `None` when too much is missing to look any further.
pub(crate) fn read(text: &str, problems: &Problems) -> Option<Config> {
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // One missing quote makes every later line wrong; only the first place helps.
        if let Some(error) = errors.into_iter().min_by_key(|error| error.span().map_or(0, |at| at.start)) {
            let mut lines = error.message().lines();
            let title = lines.next().unwrap_or("unreadable").to_owned();
            let label = lines.collect::<Vec<_>>().join("; ");
            problems.add(Problem::at(
                error.span().unwrap_or(0..0),
                format!("not valid TOML: {title}"),
                label,
            ));
        }
        return None;
    }
    let whole = root.span();
    let root = root.into_inner();
    let root = Section::new("the file", &root, whole.start..whole.start, problems);
    let cluster = match root.table("cluster", "[cluster]") {
        Some(section) => cluster(&section),
        None => {
            if root.get("cluster").is_none() {
                problems.add(Problem::whole("there is no [cluster] section").help(
                    "begin with [cluster], name = \"edge\" and key_file = \"/etc/vipdrift/cluster.key\"",
                ));
            }
            None
        }
    };
    let nodes: Vec<_> = root.tables("node", "[[node]]").iter().map(node).collect();
    if root.get("node").is_none() {
        problems.add(
            Problem::whole("there is no [[node]] section")
                .help("add a [[node]] with `name` and `addresses` for every machine"),
        );
    }
    let groups: Vec<_> = root.tables("group", "[[group]]").iter().map(group).collect();
    if root.get("group").is_none() {
        problems.add(
            Problem::whole("there is no [[group]] section, so there is no VIP to hold")
                .help("add a [[group]] with `name`, `interface` and `vips`"),
        );
    }
    let control = match root.table("control", "[control]") {
        Some(section) => control(&section),
        None => Control { socket: super::DEFAULT_SOCKET.into(), http: Some(DEFAULT_HTTP), token: None },
    };
    root.finish();
    Some(Config {
        cluster: cluster?,
        nodes: nodes.into_iter().collect::<Option<_>>()?,
        groups: groups.into_iter().collect::<Option<_>>()?,
        control,
    })
}

fn cluster(section: &Section<'_>) -> Option<Cluster> {
    let name = required_name(section, "name = \"edge\"");
    let key = key(section, "key", "key_file", true);
    let previous_key = key_if_any(section);
    let heartbeat = in_range(
        section,
        "heartbeat",
        Duration::from_millis(100),
        Duration::from_millis(5)..=Duration::from_secs(10),
    );
    let dead_after = section.number("dead_after", 2..=20).unwrap_or(3);
    let lease = section.parsed("lease", |text| {
        if text == "off" {
            return Ok(Lease::Off);
        }
        let span = duration::parse(text).map_err(|why| format!("{why}; or \"off\""))?;
        if span.subsec_nanos() != 0 {
            return Err("the kernel counts lifetimes in whole seconds: 1s or more, or \"off\"".into());
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&span) {
            return Err("expected 1s to 1h, or \"off\"".into());
        }
        Ok(Lease::Lasts(span))
    });
    let start_wait =
        in_range(section, "start_wait", Duration::from_secs(3), Duration::ZERO..=Duration::from_secs(600));
    let port = section.number("port", 1..=65535).and_then(|p| u16::try_from(p).ok());
    let user = section.parsed("user", |text| {
        if text.is_empty() { Err("the name of a user is expected".into()) } else { Ok(text.to_owned()) }
    });
    let journal = journal(section);
    section.finish();
    Some(Cluster {
        name: name?.into_inner(),
        key: key?,
        previous_key,
        heartbeat,
        dead_after,
        lease: lease
            .unwrap_or_else(|| Spanned::new(section.at.clone(), Lease::Lasts(Duration::from_secs(2)))),
        start_wait,
        port: port.unwrap_or(vipdrift_wire::heartbeat::PORT),
        user: user.map_or_else(|| "vipdrift".to_owned(), Spanned::into_inner),
        journal,
    })
}

fn journal(section: &Section<'_>) -> Option<Journal> {
    const DEFAULT: u64 = 64 << 20;
    const RANGE: std::ops::RangeInclusive<u64> = 4 << 20..=16 << 30;
    let folder = section.parsed("journal", |text| {
        if text == "off" {
            return Ok(None);
        }
        let path = PathBuf::from(text);
        if is_absolute(text) {
            Ok(Some(path))
        } else {
            Err("expected the absolute path of a folder, or \"off\"".into())
        }
    });
    let limit = section.parsed("journal_limit", |text| {
        let bytes = size::parse(text)?;
        if RANGE.contains(&bytes) {
            return Ok(bytes);
        }
        Err(format!("expected {} to {}", size::show(*RANGE.start()), size::show(*RANGE.end())))
    });
    if section.get("journal_limit").is_some() && section.get("journal").is_none() {
        section.problems.add(
            Problem::at(
                section.key_at("journal_limit"),
                "`journal_limit` without `journal` limits nothing",
                "there is no journal",
            )
            .help("for example: journal = \"/var/lib/vipdrift/journal\", or journal = \"off\""),
        );
    }
    let folder = folder?.into_inner()?;
    Some(Journal { folder, limit: limit.map_or(DEFAULT, Spanned::into_inner) })
}

fn node(section: &Section<'_>) -> Option<NodeEntry> {
    let name = required_name(section, "name = \"alpha\"");
    let addresses = section.list("addresses", address::node);
    match &addresses {
        None if section.get("addresses").is_none() => {
            section.missing("addresses", "addresses = [\"192.0.2.11\"]")
        }
        Some(list) if list.get_ref().is_empty() && section.problems.is_empty() => section.problems.add(
            Problem::at(list.span(), "a node needs at least one address", "empty")
                .help("name the address by which its peers reach this node"),
        ),
        _ => {}
    }
    let interfaces = section.names("interfaces");
    for (logical, real) in &interfaces {
        if let Err(why) = interface_name(real.get_ref()) {
            section.problems.add(Problem::at(
                real.span(),
                format!("`{}` is not the name of an interface", real.get_ref()),
                why,
            ));
        }
        if let Err(why) = plain_name(logical.get_ref()) {
            section.problems.add(Problem::at(
                logical.span(),
                format!("`{}` cannot be a logical name", logical.get_ref()),
                why,
            ));
        }
    }
    let weight = section.number("weight", 1..=100).unwrap_or(1);
    section.finish();
    Some(NodeEntry { name: name?, addresses: addresses?, interfaces, weight })
}

fn group(section: &Section<'_>) -> Option<GroupEntry> {
    let name = required_name(section, "name = \"web\"");
    let interface = section.parsed("interface", |text| interface_name(text).map(|()| text.to_owned()));
    if section.get("interface").is_none() {
        section.missing("interface", "interface = \"eth0\"");
    }
    let vips = section.list("vips", address::vip);
    match &vips {
        None if section.get("vips").is_none() => section.missing("vips", "vips = [\"192.0.2.100/24\"]"),
        Some(list) if list.get_ref().is_empty() && section.problems.is_empty() => {
            section.problems.add(Problem::at(list.span(), "a group needs at least one VIP", "empty"));
        }
        _ => {}
    }
    let prefer = prefer(section);
    let together = section.list("together", |text| Ok(text.to_owned()));
    let apart = section.list("apart", |text| Ok(text.to_owned()));
    let failback = section.parsed("failback", |text| match text {
        "never" => Ok(Failback::Never),
        text => duration::parse(text).map(Failback::After).map_err(|why| format!("{why}; or \"never\"")),
    });
    let occupied =
        section.word("occupied", &[("wait", OccupiedPolicy::Wait), ("claim", OccupiedPolicy::Claim)]);
    let switchover =
        section.word("switchover", &[("strict", Switchover::Strict), ("hitless", Switchover::Hitless)]);
    let references = section.list("references", |text| match text {
        "auto" => Ok(Reference::Auto),
        "gateway" => Ok(Reference::Gateway),
        text => address::reference(text).map(Reference::Address),
    });
    let isolated =
        section.word("isolated", &[("release", IsolatedPolicy::Release), ("keep", IsolatedPolicy::Keep)]);
    let as_source = section.flag("as_source");
    let checks: Vec<_> = section.tables("check", "[[group.check]]").iter().map(service::check).collect();
    let all_unhealthy =
        section.word("all_unhealthy", &[("keep", AllUnhealthy::Keep), ("release", AllUnhealthy::Release)]);
    let hooks = section.table("hooks", "[group.hooks]").map(|section| service::hooks(&section));
    section.finish();
    Some(GroupEntry {
        name: name?,
        interface: interface?,
        vips: vips?.into_inner(),
        prefer,
        together: together.map_or_else(Vec::new, Spanned::into_inner),
        apart: apart.map_or_else(Vec::new, Spanned::into_inner),
        failback: failback.map_or(Failback::Never, Spanned::into_inner),
        occupied: occupied.unwrap_or(OccupiedPolicy::Wait),
        switchover: switchover.unwrap_or(Switchover::Strict),
        references: references
            .map_or_else(|| vec![Spanned::new(section.at.clone(), Reference::Auto)], Spanned::into_inner),
        isolated: isolated.unwrap_or(IsolatedPolicy::Release),
        as_source: as_source.unwrap_or(false),
        checks: checks.into_iter().collect::<Option<_>>()?,
        all_unhealthy: all_unhealthy.unwrap_or(AllUnhealthy::Keep),
        hooks,
    })
}

fn prefer(section: &Section<'_>) -> Prefer {
    let Some(value) = section.get("prefer") else { return Prefer::AsWritten };
    if value.get_ref().as_array().is_some() {
        let list = section.list("prefer", |text| Ok(text.to_owned()));
        return list.map_or(Prefer::AsWritten, |list| Prefer::These(list.into_inner()));
    }
    if value.get_ref().as_str() != Some("spread") {
        section.problems.add(
            Problem::at(
                value.span(),
                "`prefer` of [[group]] is not valid",
                "expected a list of node names or \"spread\"",
            )
            .help("for example: prefer = [\"alpha\", \"bravo\"]"),
        );
    }
    Prefer::Spread
}

fn control(section: &Section<'_>) -> Control {
    let socket = section.parsed("socket", |text| {
        let path = PathBuf::from(text);
        if !is_absolute(text) || path.file_name().is_none() {
            return Err("expected the absolute path of a socket".into());
        }
        // sockaddr_un holds 108 bytes with the terminating zero (unix(7)).
        if text.len() > 107 {
            return Err("the path of a socket is at most 107 bytes long".into());
        }
        Ok(path)
    });
    let http = section.parsed("http", |text| match text {
        "off" => Ok(None),
        text => text
            .parse::<SocketAddr>()
            .map(Some)
            .map_err(|_| "expected address:port, for example \"127.0.0.1:5799\", or \"off\"".to_owned()),
    });
    let token = section.get("token_file").is_some().then(|| file(section, "token_file")).flatten();
    section.finish();
    Control {
        socket: socket.map_or_else(|| super::DEFAULT_SOCKET.into(), Spanned::into_inner),
        http: http.map_or(Some(DEFAULT_HTTP), Spanned::into_inner),
        token: token.map(KeySource::File),
    }
}

fn required_name(section: &Section<'_>, example: &str) -> Option<Spanned<String>> {
    if section.get("name").is_none() {
        section.missing("name", example);
    }
    section.parsed("name", |text| plain_name(text).map(|()| text.to_owned()))
}

/// Names go into log lines, paths of the API and shell commands.
pub(super) fn plain_name(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("a name must not be empty".into());
    }
    if text.len() > 64 {
        return Err("a name has at most 64 characters".into());
    }
    if !text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) || text.starts_with(['-', '.']) {
        return Err(
            "a name is made of letters, digits, `-`, `_` and `.`, and begins with a letter or digit".into()
        );
    }
    Ok(())
}

/// What some system takes for the name of an interface: the file is the same on every node, and Windows knows cards by
/// names with spaces, by descriptions, by `{GUID}` and by MAC address.
fn interface_name(text: &str) -> Result<(), String> {
    // NDIS: descriptions and aliases have at most 256 characters.
    if text.trim().is_empty() || text.chars().count() > 256 || text.contains(char::is_control) {
        return Err("an interface name has 1 to 256 characters, none of which controls a terminal".into());
    }
    // Descriptions of cards do have slashes; these are no names anywhere.
    if [".", ".."].contains(&text) {
        return Err(format!("`{text}` is no interface name"));
    }
    Ok(())
}

fn in_range(
    section: &Section<'_>,
    key: &'static str,
    default: Duration,
    range: std::ops::RangeInclusive<Duration>,
) -> Duration {
    let read = section.parsed(key, |text| {
        let span = duration::parse(text)?;
        if range.contains(&span) {
            return Ok(span);
        }
        Err(format!("expected {} to {}", duration::show(*range.start()), duration::show(*range.end())))
    });
    read.map_or(default, Spanned::into_inner)
}

/// Where the page is served unless the configuration says otherwise.
pub(crate) const DEFAULT_HTTP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5799);

/// Shortest key: 128 bits.
pub(crate) const KEY_BYTES: usize = 16;

/// Reads a key written in hexadecimal.
///
/// # Errors
/// What is wrong with it, without repeating it.
pub(crate) fn hex_key(text: &str) -> Result<Vec<u8>, String> {
    let text = text.trim();
    if !text.bytes().all(|b| b.is_ascii_hexdigit()) || !text.len().is_multiple_of(2) {
        return Err("a key is an even number of hexadecimal digits, as `vipdrift key` writes it".into());
    }
    if text.len() < 2 * KEY_BYTES {
        return Err(format!(
            "a key has at least {} hexadecimal digits, this one has {}",
            2 * KEY_BYTES,
            text.len()
        ));
    }
    text.as_bytes()
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).map_err(|_| "not text".to_owned())?;
            u8::from_str_radix(pair, 16).map_err(|error| error.to_string())
        })
        .collect()
}

fn key_if_any(section: &Section<'_>) -> Option<KeySource> {
    key(section, "previous_key", "previous_key_file", false)
}

fn file(section: &Section<'_>, key: &'static str) -> Option<Spanned<PathBuf>> {
    section.parsed(key, |text| {
        if text.is_empty() { Err("the path of a file is expected".into()) } else { Ok(PathBuf::from(text)) }
    })
}

fn key(section: &Section<'_>, inline: &'static str, file: &'static str, required: bool) -> Option<KeySource> {
    let has_inline = section.get(inline).is_some();
    let has_file = section.get(file).is_some();
    match (has_inline, has_file) {
        (true, true) => {
            section.problems.add(
                Problem::at(
                    section.key_at(file),
                    format!("`{inline}` and `{file}` contradict each other"),
                    "one too many",
                )
                .beside(section.key_at(inline), "the other")
                .help(format!("keep one; `{file}` keeps the key out of this file")),
            );
            None
        }
        (true, false) => section.parsed(inline, hex_key).map(KeySource::Inline),
        (false, true) => self::file(section, file).map(KeySource::File),
        (false, false) => {
            if required {
                section.missing(
                    file,
                    "key_file = \"/etc/vipdrift/cluster.key\" (made by `vipdrift key --out FILE`)",
                );
            }
            None
        }
    }
}
