//! `[[group.check]]` and `[group.hooks]`: how a group's service is looked at, and who is told of its moves.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use vipdrift_checks::{Exec, Http, Managed, Probe, Subject};
use vipdrift_core::Effect;

use super::file::plain_name;
use super::problem::Problem;
use super::section::Section;
use super::{address, duration};

/// `[[group.check]]`.
#[derive(Debug, Clone)]
pub(crate) struct CheckEntry {
    pub(crate) name: Spanned<String>,
    pub(crate) probe: Probe,
    /// As whom a program runs, if that is said.
    pub(crate) user: Option<String>,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) fall: u32,
    pub(crate) rise: u32,
    pub(crate) initially_passing: bool,
    pub(crate) effect: Effect,
}

/// `[group.hooks]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hooks {
    /// Has to succeed before the VIPs are mounted.
    pub(crate) before_active: Option<Vec<String>>,
    pub(crate) active: Option<Vec<String>>,
    pub(crate) standby: Option<Vec<String>>,
    pub(crate) fault: Option<Vec<String>>,
    pub(crate) drained: Option<Vec<String>>,
    /// How long one may take.
    pub(crate) timeout: Duration,
    /// As whom they run, if that is said.
    pub(crate) user: Option<String>,
}

impl Hooks {
    /// How long a claim waits for `before_active`: one that runs already has its time first.
    pub(crate) fn gate(&self) -> Option<Duration> {
        self.before_active.as_ref().map(|_| self.timeout * 2 + SECOND)
    }
}

/// What a check can look at. `unit` is for Linux and `service` for Windows; where there are nodes of both, a check names both.
const KINDS: [&str; 8] = ["tcp", "http", "exec", "process", "unit", "service", "file", "icmp"];

const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

/// A check that is read; what is wrong with it is added to the problems.
pub(super) fn check(section: &Section<'_>) -> Option<CheckEntry> {
    let there: Vec<&'static str> = KINDS.into_iter().filter(|kind| section.get(kind).is_some()).collect();
    let probe = match there[..] {
        ["unit", "service"] | ["unit"] | ["service"] => managed(section),
        [kind] => probe(section, kind),
        [] => {
            section.problems.add(
                Problem::at(section.at.clone(), "a check has nothing to look at", "no kind of check here")
                    .help("add one of tcp, http, exec, process, unit, service, file, icmp: for example http = \"http://127.0.0.1:8080/healthz\""),
            );
            None
        }
        [first, second, ..] => {
            section.problems.add(
                Problem::at(
                    section.key_at(second),
                    "a check looks at one thing",
                    format!("`{second}` beside `{first}`"),
                )
                .beside(section.key_at(first), "there")
                .help("make it two checks"),
            );
            None
        }
    };
    let named = section.parsed("name", |text| plain_name(text).map(|()| text.to_owned()));
    let name = match (named, section.get("name"), there.first()) {
        (Some(name), _, _) => Some(name),
        // Where there is one check of a kind, its kind is name enough.
        (None, None, Some(kind)) => Some(Spanned::new(section.at.clone(), (*kind).to_owned())),
        _ => None,
    };
    let watched = probe.as_ref().is_some_and(Probe::is_watched);
    let exec = there == ["exec"];
    let user = section.parsed("user", user_name).map(Spanned::into_inner);
    if user.is_some() && !exec && !there.is_empty() {
        section.problems.add(
            Problem::at(section.key_at("user"), "`user` is for `exec`", "nothing is run here")
                .help("other checks run as the daemon's own user"),
        );
    }
    let interval = in_range(section, "interval").unwrap_or(SECOND);
    let timeout = in_range(section, "timeout").unwrap_or(if exec { interval.max(SECOND) } else { SECOND });
    let fall = section.number("fall", 1..=100).unwrap_or(if watched { 1 } else { 2 });
    let rise = section.number("rise", 1..=100).unwrap_or(if watched { 1 } else { 2 });
    let initially = section.word("initial", &[("unhealthy", false), ("healthy", true)]);
    let effect = section.word("effect", &[("fault", Effect::Fault), ("demote", Effect::Demote)]);
    section.finish();
    Some(CheckEntry {
        name: name?,
        probe: probe?,
        user,
        interval,
        timeout,
        fall,
        rise,
        initially_passing: initially.unwrap_or(false),
        effect: effect.unwrap_or(Effect::Fault),
    })
}

fn probe(section: &Section<'_>, kind: &'static str) -> Option<Probe> {
    match kind {
        "tcp" => {
            let address = section.parsed("tcp", |text| {
                text.parse::<SocketAddr>().map_err(|_| {
                    "expected address:port, for example \"127.0.0.1:5432\" or \"[::1]:5432\"".to_owned()
                })
            });
            address.map(|address| Probe::Tcp(address.into_inner()))
        }
        "http" => http(section),
        "exec" => {
            let command = command(section, "exec")?;
            Some(Probe::Exec(Exec { command, account: None, environment: Vec::new() }))
        }
        "process" => {
            let subject =
                section.parsed("process", |text| match text {
                    "" => Err("expected the name of a process, or the absolute path of a file with its id"
                        .to_owned()),
                    path if is_absolute(path) => Ok(Subject::InFile(path.into())),
                    name if name.contains(['/', '\\']) => {
                        Err("a path is absolute, and a name has no `/`".to_owned())
                    }
                    name => Ok(Subject::Named(name.to_owned())),
                });
            subject.map(|subject| Probe::Process(subject.into_inner()))
        }
        "file" => section.parsed("file", absolute).map(|path| Probe::File(path.into_inner())),
        "icmp" => section.parsed("icmp", address::reference).map(|address| Probe::Icmp(address.into_inner())),
        // All kinds are above.
        _ => None,
    }
}

/// A service by its manager's name for it.
fn managed(section: &Section<'_>) -> Option<Probe> {
    let unit = section.parsed("unit", |text| {
        // systemd.unit(5): unit names and their types.
        let known = ["service", "socket", "target", "mount", "timer", "path", "slice", "scope", "device"];
        let valid = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        if text.is_empty() || !text.chars().all(valid) || text.len() > 255 {
            return Err("expected the name of a unit, for example \"nginx.service\"".to_owned());
        }
        let typed = text.rsplit_once('.').is_some_and(|(_, kind)| known.contains(&kind));
        Ok(if typed { text.to_owned() } else { format!("{text}.service") })
    });
    let service = section.parsed("service", |text| {
        // CreateServiceW: at most 256 characters, neither slash.
        let valid = |c: char| !c.is_control() && !"/\\".contains(c);
        if text.is_empty() || !text.chars().all(valid) || text.chars().count() > 256 {
            return Err("expected the name of a Windows service, for example \"W3SVC\"".to_owned());
        }
        Ok(text.to_owned())
    });
    let refused = |key, read: bool| section.get(key).is_some() && !read;
    if refused("unit", unit.is_some()) || refused("service", service.is_some()) {
        return None;
    }
    let name = |name: Option<Spanned<String>>| name.map(Spanned::into_inner);
    Some(Probe::Managed(Managed { unit: name(unit), service: name(service) }))
}

fn http(section: &Section<'_>) -> Option<Probe> {
    let url = section.parsed("http", |text| {
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let authority = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
        match authority {
            Some(host) if !host.is_empty() && !host.contains('@') && !text.contains(char::is_whitespace) => {
                Ok(text.to_owned())
            }
            _ => Err("expected a URL, for example \"http://127.0.0.1:8080/healthz\"".to_owned()),
        }
    });
    let status = section.list("status", status);
    let body = section.parsed("body", |text| {
        regex::Regex::new(text).map(|_| text.to_owned()).map_err(|error| {
            let text = error.to_string();
            format!("not a regular expression: {}", text.lines().last().unwrap_or_default().trim())
        })
    });
    let host = section.parsed("host", |text| {
        let valid = |c: char| c.is_ascii_alphanumeric() || "-_.:[]".contains(c);
        if text.is_empty() || !text.chars().all(valid) {
            return Err("expected the name of a host".to_owned());
        }
        Ok(text.to_owned())
    });
    let verify = section.flag("verify");
    let ca_file = section.parsed("ca_file", absolute);
    let url = url?;
    if !url.get_ref().starts_with("https://") {
        for key in ["verify", "ca_file"] {
            if section.get(key).is_some() {
                section.problems.add(
                    Problem::at(
                        section.key_at(key),
                        format!("`{key}` is for https"),
                        "there is no certificate",
                    )
                    .beside(url.span(), "plain http here"),
                );
            }
        }
    } else if verify == Some(false)
        && let Some(file) = &ca_file
    {
        section.problems.add(
            Problem::at(file.span(), "`ca_file` without effect", "nobody looks at it")
                .beside(section.key_at("verify"), "nothing is verified"),
        );
    }
    Some(Probe::Http(Http {
        url: url.into_inner(),
        host: host.map(Spanned::into_inner),
        status: status
            .map(|list| list.into_inner().into_iter().map(Spanned::into_inner).collect::<Vec<_>>())
            .filter(|list| !list.is_empty())
            .unwrap_or_else(|| vec![200..=399]),
        body: body.map(Spanned::into_inner),
        verify: verify.unwrap_or(true),
        ca_file: ca_file.map(Spanned::into_inner),
    }))
}

fn status(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let code = |text: &str| text.parse::<u16>().ok().filter(|code| (100..=599).contains(code));
    match (code(first), code(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => Err("expected a status code or a range of them: \"200\", \"200-299\"".to_owned()),
    }
}

/// Hooks that are read.
pub(super) fn hooks(section: &Section<'_>) -> Hooks {
    let [before_active, active, standby, fault, drained] =
        ["before_active", "active", "standby", "fault", "drained"]
            .map(|key| section.get(key).and_then(|_| command(section, key)));
    let timeout = in_range(section, "timeout").unwrap_or(Duration::from_secs(30));
    let user = section.parsed("user", user_name).map(Spanned::into_inner);
    section.finish();
    Hooks { before_active, active, standby, fault, drained, timeout, user }
}

/// A program by its absolute path, and its arguments.
fn command(section: &Section<'_>, key: &'static str) -> Option<Vec<String>> {
    let list = section.list(key, |text| {
        if text.contains('\0') { Err("a zero byte".to_owned()) } else { Ok(text.to_owned()) }
    })?;
    let place = list.span();
    let words: Vec<Spanned<String>> = list.into_inner();
    let title = section.title;
    match words.first() {
        Some(program) if is_absolute(program.get_ref()) => {
            Some(words.into_iter().map(Spanned::into_inner).collect())
        }
        Some(program) => {
            section.problems.add(
                Problem::at(
                    program.span(),
                    format!("`{key}` of {title} is not valid"),
                    "expected the absolute path of a program",
                )
                .help("it runs without a shell; for one: [\"/bin/sh\", \"-c\", \"…\"]"),
            );
            None
        }
        None => {
            section.problems.add(Problem::at(
                place,
                format!("`{key}` of {title} is empty"),
                "no program here",
            ));
            None
        }
    }
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    if is_absolute(text) && !text.contains('\0') {
        Ok(PathBuf::from(text))
    } else {
        Err("expected an absolute path".to_owned())
    }
}

/// By the rules of any system: the file is the same on every node.
pub(super) fn is_absolute(text: &str) -> bool {
    let drive = |text: &str| {
        let mut chars = text.chars();
        chars.next().is_some_and(|letter| letter.is_ascii_alphabetic())
            && chars.next() == Some(':')
            && matches!(chars.next(), Some('\\' | '/'))
    };
    text.starts_with('/') || text.starts_with(r"\\") || drive(text)
}

fn user_name(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("the name of a user is expected".to_owned()) } else { Ok(text.to_owned()) }
}

fn in_range(section: &Section<'_>, key: &'static str) -> Option<Duration> {
    let span = section.parsed(key, |text| {
        let span = duration::parse(text)?;
        if (SHORTEST..=LONGEST).contains(&span) { Ok(span) } else { Err("expected 10ms to 1h".to_owned()) }
    });
    span.map(Spanned::into_inner)
}
