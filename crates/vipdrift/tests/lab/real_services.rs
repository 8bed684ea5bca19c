//! What VIPs are for: HAProxy and nginx in front, PostgreSQL behind, as Debian has them, and clients that start `curl` or
//! `psql` again and again. What they see is printed; `--nocapture` shows it.

mod client;
mod programs;
mod stack;

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use vipdrift::trial::{Cluster, Window};
use vipdrift_control::{GroupRole, HealthState};
use vipdrift_lab::{Host, Process};

use client::{Repeated, Seen};
use programs::{as_nobody_with, find};
use stack::{
    Database, HEALTH, POSTGRESQL, PROMOTE, PROMOTE_PROGRAM, SQL, at_the_vip, kill, psql, start, two,
};

use crate::examples::example;
use crate::services::{command, on, program};
use crate::support::{PATIENCE, WEB, holder, wait};

/// Times of one fault, from the fault on: when the VIP was on its new holder, how long it answered nobody, and what a
/// client of the service saw.
fn report(what: &str, since: Instant, window: Window<'_>, cluster: &Cluster, seen: &Seen) {
    let heir = cluster.nodes[holder(cluster)].name.clone();
    let timeline = cluster.lab.observer().timeline();
    let moved = timeline.held_by(&heir, WEB[0], since).first().map(|interval| interval.from - since);
    let outcome = window.close();
    assert!(outcome.two_holders.is_zero(), "two holders: {:?}\n{}", outcome.two_holders, cluster.describe());
    let ms = |span: Duration| format!("{:.1}", span.as_secs_f64() * 1000.0);
    println!(
        "{what}: moved after {} ms, the address itself {} ms without answer; client {} ms without a good answer, \
         {} failed, longest {} ms, ordinary {} ms",
        moved.map_or("no".into(), ms),
        ms(outcome.outage),
        ms(seen.outage),
        seen.failed,
        ms(seen.longest),
        ms(seen.ordinary)
    );
}

fn nginx(host: &Host, name: &str) -> Process {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path /run/nginx/{kind}; "))
        .concat();
    let text = format!(
        "daemon off; worker_processes 2; pid /run/nginx.pid; events {{}}\n\
         http {{ access_log off; {temporary}\n\
         server {{ listen 8080; listen [::]:8080; location / {{ return 200 \"{name}\\n\"; }} }} }}\n"
    );
    host.run(|| {
        fs::create_dir_all("/run/nginx").unwrap();
        fs::write("/run/nginx.conf", text).unwrap();
    });
    let process =
        start(host, as_nobody_with("nginx", &["-p", "/run/nginx", "-e", "stderr", "-c", "/run/nginx.conf"]));
    let deadline = Instant::now() + PATIENCE;
    while host.run(|| TcpStream::connect(("127.0.0.1", 8080))).is_err() {
        assert!(Instant::now() < deadline, "nginx on {name}: {}", process.output());
        std::thread::sleep(Duration::from_millis(5));
    }
    process
}

pub(crate) fn nginx_dies_and_curl_hardly_notices() {
    let mut cluster = two("[[group.check]]\nprocess = \"/run/nginx.pid\"\n");
    let mut services: Vec<Process> = cluster.nodes.iter().map(|node| nginx(&node.host, &node.name)).collect();
    cluster.start_all().unwrap_or_else(|error| panic!("{error}"));
    let active = holder(&cluster);
    let (old, new) = (cluster.nodes[active].name.clone(), cluster.nodes[1 - active].name.clone());
    let url = format!("http://{}:8080/", WEB[0]);
    let clients = Repeated::start(&cluster.client, move |_| {
        let mut command = Command::new(find("curl"));
        command.args(["--silent", "--show-error", "--max-time", "5", &url]);
        command
    });
    let prober = cluster.client.client(&WEB[..1]).unwrap();
    clients.wait_good(Instant::now(), &old);

    let window = Window::open(&cluster, &prober, &WEB[..1], active);
    let since = window.since();
    kill(&cluster, &services[active]);
    clients.wait_good(since, &new);
    let seen = clients.seen(since);
    println!("failed attempts said: {:?}", clients.errors());
    report("nginx killed", since, window, &cluster, &seen);
    let reasons = cluster.status(active).unwrap().health.reasons;
    assert_eq!(reasons, ["check process fails: the process of /run/nginx.pid has ended"]);

    // Started again, it is an heir again, and nothing goes back by itself.
    services[active] = nginx(&cluster.nodes[active].host, &old);
    wait(&cluster, "a standby", |c| c.status(active).is_ok_and(|s| s.groups[0].role == GroupRole::Standby));
    assert_eq!(holder(&cluster), 1 - active);
}

/// A client that writes a row each time.
fn writers(database: &Database) -> Repeated {
    let write = |number| psql(&at_the_vip(), &format!("insert into written values ({number}, now())"));
    Repeated::start(&database.cluster.client, write)
}

/// Every row that was confirmed to the client is on this node.
fn nothing_is_lost(database: &Database, index: usize, writers: &Repeated) {
    // First: it goes on.
    let attempts = writers.attempts();
    let there = database.ask(index, "select number from written");
    let there: Vec<usize> = there.lines().map(|line| line.parse().unwrap()).collect();
    let confirmed = attempts.iter().enumerate().filter(|(_, attempt)| attempt.good).map(|(number, _)| number);
    let lost: Vec<usize> = confirmed.filter(|number| !there.contains(number)).collect();
    assert!(lost.is_empty(), "confirmed and lost: {lost:?}\n{}", database.describe());
}

/// The first node's PostgreSQL is killed: the other has the VIP, writes go on, and none that was confirmed is lost.
fn primary_dies(database: &Database, writers: &Repeated, what: &str) {
    let cluster = &database.cluster;
    let prober = cluster.client.client(&WEB[..1]).unwrap();
    writers.wait_good(Instant::now(), "");
    let window = Window::open(cluster, &prober, &WEB[..1], 0);
    let since = window.since();
    database.kill_postgresql(0);
    database.holds(1);
    writers.wait_good(since, "");
    let seen = writers.seen(since);
    println!("failed attempts said: {:?}", writers.errors());
    report(what, since, window, cluster, &seen);
    nothing_is_lost(database, 1, writers);
}

pub(crate) fn postgresql_dies_and_its_replica_takes_the_vip_and_the_writes() {
    let database = Database::start(&format!("{HEALTH}{PROMOTE}"));
    let writers = writers(&database);
    primary_dies(&database, &writers, "PostgreSQL killed");
    let reasons = database.cluster.status(0).unwrap().health.reasons;
    assert_eq!(reasons, ["check http fails: status 503"]);
}

/// Clients that go to PostgreSQL itself: whoever has the VIP takes writes, from the first moment on.
pub(crate) fn postgresql_of_the_example_is_promoted_before_the_vip_comes() {
    let example = example("postgresql.toml");
    let (_, lines) = example.split_once("failback = \"never\"").unwrap();
    let (_, lines) = lines.split_once('\n').unwrap();
    // Where the programs and the port are in this test.
    let lines = lines
        .replace("/usr/bin/pg_isready", &find("pg_isready").display().to_string())
        .replace("--port=5432", &format!("--port={POSTGRESQL}"))
        .replace("/usr/local/bin/promote", PROMOTE_PROGRAM)
        .replace("user = \"postgres\"", "user = \"root\"")
        .replace("interval", "user = \"root\"\ninterval");
    let database = Database::start(&lines);
    let to = at_the_vip().replace(&SQL.to_string(), &POSTGRESQL.to_string());
    let writers = Repeated::start(&database.cluster.client, move |number| {
        psql(&to, &format!("insert into written values ({number}, now())"))
    });
    primary_dies(&database, &writers, "PostgreSQL killed, promoted first");
    // A replica that had the VIP already would have said so.
    let errors = writers.errors();
    assert!(!errors.iter().any(|said| said.contains("read-only")), "{errors:?}");
}

/// A client that reads each time.
fn readers(database: &Database) -> Repeated {
    Repeated::start(&database.cluster.client, |_| psql(&at_the_vip(), "select count(*) from written"))
}

/// The service is well; only whoever looks after it is gone.
pub(crate) fn check_program_deleted_beside_a_healthy_postgresql_moves_the_vip() {
    const LOOK: &str = "/run/look";
    let check = format!(
        "[[group.check]]\nname = \"postgresql\"\nexec = [\"{LOOK}\"]\nuser = \"root\"\n\
         interval = \"200ms\"\ntimeout = \"2s\"\n"
    );
    let database = Database::start_with(&format!("{check}{PROMOTE}"), |host| {
        let ask = "host=127.0.0.1 port=5432 user=postgres dbname=postgres";
        let script = format!("exec '{}' -XAtq -d '{ask}' -c 'select 1'", find("psql").display());
        host.run(|| program(Path::new(LOOK), &script));
    });
    let cluster = &database.cluster;
    let passes = |c: &Cluster, i| c.status(i).is_ok_and(|s| s.groups[0].checks[0].looks > 2);
    wait(cluster, "looks", |c| passes(c, 0) && passes(c, 1));
    let readers = readers(&database);
    let prober = cluster.client.client(&WEB[..1]).unwrap();
    readers.wait_good(Instant::now(), "");

    let window = Window::open(cluster, &prober, &WEB[..1], 0);
    let since = window.since();
    on(cluster, 0, || fs::remove_file(LOOK).unwrap());
    database.holds(1);
    readers.wait_good(since, "");
    let seen = readers.seen(since);
    println!("failed attempts said: {:?}", readers.errors());
    report("check program deleted", since, window, cluster, &seen);
    let reason = "check postgresql fails: cannot run /run/look: no such file or directory";
    assert_eq!(cluster.status(0).unwrap().health.reasons, [reason]);
    let why = command(cluster, 0, &["why", "web"]);
    assert!(why.contains(&format!("active -> fault, term 1: {reason}")), "{why}");
    // It was not the service.
    assert_eq!(database.ask(0, "select pg_is_in_recovery()"), "f");
}

/// One `psql` that first does `first`, and when the file is there, `second`.
fn session(database: &Database, first: &str, file: &str, second: &str) -> Process {
    let mut command = Command::new(find("psql"));
    let script = format!("{first}\n\\! while ! test -e {file}; do sleep 0.02; done\n{second}\n");
    let host = &database.cluster.client;
    let name = format!("{file}.sql");
    host.run(|| fs::write(&name, script).unwrap());
    let to = format!("{} user=postgres dbname=postgres", at_the_vip());
    command.env("HOME", "/run").args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &to, "-f", &name]);
    let process = host.spawn(command).unwrap();
    let begun = process.wait_line(Instant::now() + PATIENCE, |line| line.text == "begun");
    assert!(begun.is_some(), "{}", process.output());
    process
}

pub(crate) fn planned_move_with_psql_in_a_loop_and_in_long_sessions() {
    let database = Database::start(&format!("{HEALTH}{PROMOTE}"));
    let cluster = &database.cluster;
    let writers = writers(&database);
    let prober = cluster.client.client(&WEB[..1]).unwrap();
    let idle = session(&database, "select 'begun';", "/run/go", "select 'again';");
    let waiting = session(&database, "select 'begun';", "/run/wait", "select pg_sleep(60);");
    cluster.client.run(|| fs::write("/run/wait", "").unwrap());
    wait(cluster, "a statement that takes long", |_| {
        database.ask(0, "select count(*) from pg_stat_activity where wait_event = 'PgSleep'") == "1"
    });
    writers.wait_good(Instant::now(), "");

    let window = Window::open(cluster, &prober, &WEB[..1], 0);
    let since = window.since();
    // A node that has just started may say that it is not ready yet.
    wait(cluster, "consent", |c| c.switchover(0, "web", Some("bravo")).is_ok());
    database.holds(1);
    let ended = waiting.wait(Instant::now() + PATIENCE).expect("it learns that its server has gone");
    assert!(!ended.success());
    println!("waiting session: {:?} after {:?}", waiting.output(), waiting.ended().unwrap().0 - since);
    let asked = Instant::now();
    cluster.client.run(|| fs::write("/run/go", "").unwrap());
    let ended = idle.wait(Instant::now() + PATIENCE).expect("it learns that its server has gone");
    assert!(!ended.success());
    println!("idle session: {:?} after {:?}", idle.output(), idle.ended().unwrap().0 - asked);
    writers.wait_good(since, "");
    let seen = writers.seen(since);
    println!("failed attempts said: {:?}", writers.errors());
    report("planned move", since, window, cluster, &seen);
    nothing_is_lost(&database, 1, &writers);
}

pub(crate) fn postgresql_dead_everywhere_and_the_holder_keeps_the_vip() {
    let mut database = Database::start(&format!("{HEALTH}{PROMOTE}"));
    let role = |database: &Database, index: usize| database.cluster.status(index).unwrap().groups[0].role;
    database.kill_postgresql(1);
    wait(&database.cluster, "an heir less", |_| role(&database, 1) == GroupRole::Fault);
    let readers = readers(&database);
    readers.wait_good(Instant::now(), "");

    let since = Instant::now();
    database.kill_postgresql(0);
    let ill = |c: &Cluster| c.status(0).is_ok_and(|s| s.health.state == HealthState::Fault);
    wait(&database.cluster, "an ill holder", ill);
    let refused = || readers.attempts().iter().filter(|a| a.begun > since && !a.good).count();
    wait(&database.cluster, "HAProxy that answers, and says no", |_| refused() > 10);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!((role(&database, 0), role(&database, 1)), (GroupRole::Active, GroupRole::Fault));
    database.holds(0);

    let again = Instant::now();
    database.start_postgresql(0);
    readers.wait_good(again, "");
    println!("failed attempts said: {:?}", readers.errors());
    println!("back: {:?}, down for {:?}", readers.seen(again), again - since);
    wait(&database.cluster, "a healthy holder", |c| !ill(c));
    database.holds(0);
    assert_eq!(database.cluster.status(0).unwrap().groups[0].term, 1, "it never moved");
}
