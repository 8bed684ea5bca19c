//! What runs on the nodes.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use nix::sys::signal::Signal;
use vipdrift::trial::Cluster;
use vipdrift_lab::{Host, Process};

use super::programs::{as_nobody, as_nobody_with, find};
use crate::support::{PATIENCE, WEB, wait, with};

/// Of HAProxy, on all addresses: so it does not matter to it when the VIP comes and goes.
pub(crate) const SQL: u16 = 5432;
/// Of PostgreSQL itself.
pub(crate) const POSTGRESQL: u16 = 5433;
/// Below the host's own `/run`, which ends with it however the test ends.
const DATA: &str = "/run/data";
const SOCKETS: &str = "/run/postgresql";
/// Whether HAProxy has a PostgreSQL to pass connections to.
pub(crate) const HEALTH: &str = "[[group.check]]\nhttp = \"http://127.0.0.1:8404/healthz\"\n\
     interval = \"100ms\"\ntimeout = \"2s\"\n";
/// Makes a replica the primary.
pub(crate) const PROMOTE_PROGRAM: &str = "/run/promote";
/// Has it run when the VIP comes. Named, since only whoever runs the tests may enter every folder
/// that programs can be in.
pub(crate) const PROMOTE: &str = "[group.hooks]\nactive = [\"/run/promote\"]\nuser = \"root\"\n";

const HAPROXY: &str = "\
global
    maxconn 200
defaults
    mode tcp
    retries 0
    timeout connect 1s
    timeout check 2s
    timeout client 10m
    timeout server 10m
frontend sql
    bind :::5432 v4v6
    default_backend postgresql
backend postgresql
    option pgsql-check user postgres
    server local 127.0.0.1:5433 check inter 100ms fall 2 rise 1 on-marked-down shutdown-sessions
frontend health
    bind 127.0.0.1:8404
    mode http
    monitor-uri /healthz
    monitor fail if { nbsrv(postgresql) lt 1 }
";

/// What runs on one node.
pub(crate) struct Node {
    postgresql: Process,
    haproxy: Process,
}

/// Two nodes, each with HAProxy in front of PostgreSQL; alpha has the primary and the VIPs, bravo the replica, and a write
/// is only confirmed when it is on both.
pub(crate) struct Database {
    pub(crate) cluster: Cluster,
    pub(crate) nodes: Vec<Node>,
}

/// Two nodes whose `web` has these lines; the daemons are yet to be started.
pub(crate) fn two(lines: &str) -> Cluster {
    with(|options| {
        options.nodes = 2;
        options.start = false;
        options.web_lines = lines.to_owned();
    })
}

/// Starts a service of a node, in a process group of its own.
pub(crate) fn start(host: &Host, mut command: Command) -> Process {
    command.process_group(0);
    host.spawn(command).unwrap()
}

/// Ends a service at once, all its processes.
pub(crate) fn kill(cluster: &Cluster, service: &Process) {
    cluster.signal(-service.pid(), Signal::SIGKILL);
    assert!(service.wait(Instant::now() + PATIENCE).is_some());
}

/// Runs a program on a host to its end, which must be a good one, and tells what it said.
pub(crate) fn done(host: &Host, command: Command) -> String {
    let title = format!("{command:?}");
    let process = host.spawn(command).unwrap();
    let status = process.wait_output(Instant::now() + PATIENCE);
    assert!(status.is_some_and(|status| status.success()), "{title}: {status:?}\n{}", process.output());
    process.output().trim_end().to_owned()
}

/// `psql` for one statement; `to` says where, as libpq wants it.
pub(crate) fn psql(to: &str, statement: &str) -> Command {
    let mut command = Command::new(find("psql"));
    let to = format!("{to} user=postgres dbname=postgres");
    command.env("HOME", "/run").args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &to, "-c", statement]);
    command
}

/// Where clients go: as an operator should have them go, who wants an end when a holder has gone.
pub(crate) fn at_the_vip() -> String {
    format!(
        "host={} port={SQL} connect_timeout=4 keepalives_idle=1 keepalives_interval=1 keepalives_count=3",
        WEB[0]
    )
}

impl Database {
    /// Everything runs, and the daemons are settled.
    pub(crate) fn start(lines: &str) -> Self {
        Self::start_with(lines, |_| {})
    }

    /// The same, with more done on each host before its daemon starts.
    pub(crate) fn start_with(lines: &str, more: impl Fn(&Host)) -> Self {
        let cluster = two(lines);
        let hosts: Vec<Host> = cluster.nodes.iter().map(|node| node.host.clone()).collect();
        for host in &hosts {
            prepare(host);
            more(host);
        }
        let [alpha, bravo] = &hosts[..] else { panic!("two nodes") };
        let data = ["-D", DATA, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--no-locale"];
        done(alpha, as_nobody_with("initdb", &[&data[..], &["--wal-segsize=1"]].concat()));
        alpha.run(|| {
            let file = Path::new(DATA).join("pg_hba.conf");
            let rules = fs::read_to_string(&file).unwrap();
            fs::write(file, rules + "host all,replication all 192.0.2.0/24 trust\n").unwrap();
        });
        let primary = postgresql(alpha, &["-c", "synchronous_standby_names=*"]);
        let make =
            "set synchronous_commit = local; create table written (number int primary key, at timestamptz)";
        done(alpha, psql(&local(), make));
        let from = ["-D", DATA, "-h", "192.0.2.11", "-p", "5433", "-U", "postgres", "-c", "fast", "-R", "-N"];
        done(bravo, as_nobody_with("pg_basebackup", &from));
        let replica = postgresql(bravo, &[]);
        wait(&cluster, "a replica that follows", |_| {
            done(alpha, psql(&local(), "select sync_state from pg_stat_replication")) == "sync"
        });
        let nodes = [primary, replica]
            .into_iter()
            .zip(&hosts)
            .map(|(postgresql, host)| Node { postgresql, haproxy: haproxy(host) });
        let nodes = nodes.collect();
        let mut database = Self { cluster, nodes };
        for host in &hosts {
            let text = "GET /healthz HTTP/1.0\r\n\r\n";
            wait(&database.cluster, "HAProxy that is well", |_| host.run(|| answer(text).contains(" 200 ")));
        }
        // All at once: alpha is preferred, and its first look is waited for.
        database.cluster.start_all().unwrap_or_else(|error| panic!("{error}"));
        database.holds(0);
        database
    }

    /// Waits until a node has the VIPs.
    pub(crate) fn holds(&self, index: usize) {
        wait(&self.cluster, "the right holder", |c| WEB.iter().all(|&vip| c.holder(vip) == Some(index)));
    }

    /// Kills PostgreSQL on a node, and waits until its other processes have seen that and ended.
    pub(crate) fn kill_postgresql(&self, index: usize) {
        kill(&self.cluster, &self.nodes[index].postgresql);
        let host = &self.cluster.nodes[index].host;
        let name = |pid: i32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        wait(&self.cluster, "their end", |_| {
            !host.processes().into_iter().any(|pid| name(pid) == "postgres\n")
        });
    }

    /// Starts it again.
    pub(crate) fn start_postgresql(&mut self, index: usize) {
        self.nodes[index].postgresql = postgresql(&self.cluster.nodes[index].host, &[]);
    }

    /// Asks PostgreSQL of one node, past HAProxy.
    pub(crate) fn ask(&self, index: usize, statement: &str) -> String {
        done(&self.cluster.nodes[index].host, psql(&local(), statement))
    }

    /// What everybody said, for messages.
    pub(crate) fn describe(&self) -> String {
        let mut text = self.cluster.describe();
        for node in &self.nodes {
            text += &node.haproxy.output();
            text += &node.postgresql.output();
        }
        text
    }
}

/// What HAProxy's health page says.
fn answer(request: &str) -> String {
    let mut text = String::new();
    if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", 8404)) {
        let _ = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut text));
    }
    text
}

fn local() -> String {
    format!("host={SOCKETS} port={POSTGRESQL}")
}

fn prepare(host: &Host) {
    host.run(|| {
        for folder in ["/run/shm", SOCKETS] {
            fs::create_dir(folder).unwrap();
        }
        fs::write("/run/haproxy.cfg", HAPROXY).unwrap();
    });
    // Shared memory that is left there outlives its processes, and everything else of this test.
    host.bind_directory(Path::new("/run/shm"), Path::new("/dev/shm")).unwrap();
    let promote = "select pg_promote() where pg_is_in_recovery()";
    let psql = find("psql");
    let script = format!("exec '{}' -XAtq -d '{} user=postgres' -c '{promote}'", psql.display(), local());
    host.run(|| crate::services::program(Path::new(PROMOTE_PROGRAM), &script));
}

fn postgresql(host: &Host, more: &[&str]) -> Process {
    let mut command = as_nobody("postgres");
    command.args(["-D", DATA, "-p", &POSTGRESQL.to_string(), "-k", SOCKETS]).args(more);
    for setting in [
        "listen_addresses=*",
        "fsync=off",
        "shared_buffers=16MB",
        "max_connections=60",
        "max_wal_size=32MB",
        "min_wal_size=4MB",
        "wal_retrieve_retry_interval=100ms",
    ] {
        command.args(["-c", setting]);
    }
    let process = start(host, command);
    let ready = |line: &vipdrift_lab::Line| line.text.contains("ready to accept");
    let ready = process.wait_line(Instant::now() + PATIENCE, ready);
    assert!(ready.is_some(), "PostgreSQL on {}: {}", host.name(), process.output());
    process
}

fn haproxy(host: &Host) -> Process {
    // -db: it stays the process that was started.
    start(host, as_nobody_with("haproxy", &["-db", "-f", "/run/haproxy.cfg"]))
}
