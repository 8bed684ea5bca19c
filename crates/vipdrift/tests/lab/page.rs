//! The page as programs and browsers see it: what it tells and whom, what it takes orders from, and how soon it is told.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};
use vipdrift::trial::Cluster;
use vipdrift_control::{HealthState, Status};

use crate::browser::Browser;
use crate::support::{PATIENCE, holder, settle, wait, with};

const PAGE: &str = "http://127.0.0.1:5799";
/// As `vipdrift key` would make one.
const TOKEN: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Three nodes with pages; `token`: that take orders.
fn pages(token: bool) -> Cluster {
    let line = if token { "token_file = \"page.token\"\n" } else { "" };
    let mut cluster = with(|options| {
        options.start = false;
        options.web_lines =
            "[[group.check]]\nname = \"backend\"\nexec = [\"/bin/echo\", \"three of three workers\"]\n"
                .into();
        options.control_lines = format!("http = \"127.0.0.1:5799\"\n{line}");
    });
    for node in 0..cluster.nodes.len() {
        let file = cluster.directory_of(node).join("page.token");
        fs::write(&file, TOKEN).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    cluster.start_all().unwrap_or_else(|error| panic!("{error}"));
    cluster
}

fn agent() -> Agent {
    agent_for(PATIENCE)
}

fn agent_for(limit: Duration) -> Agent {
    Agent::config_builder().http_status_as_error(false).timeout_global(Some(limit)).build().new_agent()
}

/// What a program on a node is answered.
fn get(cluster: &Cluster, node: usize, path: &str) -> (StatusCode, String) {
    let (head, body) = get_from(cluster, node, PAGE, path);
    (head.status(), body)
}

fn get_from(cluster: &Cluster, node: usize, page: &str, path: &str) -> (Response<()>, String) {
    let url = format!("{page}{path}");
    cluster.nodes[node].host.run(|| split(agent().get(&url).call().unwrap()))
}

fn post(cluster: &Cluster, node: usize, path: &str, token: Option<&str>, body: &str) -> (StatusCode, String) {
    let url = format!("{PAGE}{path}");
    cluster.nodes[node].host.run(|| {
        let mut request = agent().post(&url);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let (head, body) = split(request.send(body).unwrap());
        (head.status(), body)
    })
}

fn split(answer: Response<Body>) -> (Response<()>, String) {
    let (head, mut body) = answer.into_parts();
    (Response::from_parts(head, ()), body.read_to_string().unwrap())
}

/// The page, the status, the events, the metrics; who is refused.
pub(crate) fn the_page_tells_what_the_control_socket_tells() {
    let cluster = pages(false);
    let node = holder(&cluster);
    let (head, html) = get_from(&cluster, node, PAGE, "/");
    assert_eq!(head.status(), 200);
    assert!(html.contains("<title>vipdrift</title>"), "{html}");
    let policy = head.headers().get("content-security-policy").unwrap().to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    for asset in ["/page.css", "/page.js", "/icon.svg"] {
        assert_eq!(get(&cluster, node, asset).0, 200, "{asset}");
    }

    let status: Status = serde_json::from_str(&get(&cluster, node, "/v1/status").1).unwrap();
    let told = cluster.status(node).unwrap();
    assert_eq!(status.daemon.page, "http://127.0.0.1:5799/");
    assert_eq!(status.daemon.page, told.daemon.page);
    let roles = |status: &Status| {
        status.groups.iter().map(|group| (group.name.clone(), group.role)).collect::<Vec<_>>()
    };
    assert_eq!(roles(&status), roles(&told));
    let events: Value = serde_json::from_str(&get(&cluster, node, "/v1/events?group=web").1).unwrap();
    let taken = events["events"].as_array().unwrap().iter().find(|event| event["to"] == "active").unwrap();
    assert!(taken["cause"].is_string(), "{taken}");

    assert_eq!(get(&cluster, node, "/live"), (StatusCode::OK, "alive\n".into()));
    assert_eq!(get(&cluster, node, "/ready"), (StatusCode::OK, "healthy\n".into()));
    cluster.drain(node, true).unwrap();
    // What is answered may be a tenth of a second old.
    let drained = (StatusCode::SERVICE_UNAVAILABLE, "drained by an operator\n".to_owned());
    wait(&cluster, "not ready", |cluster| get(cluster, node, "/ready") == drained);

    // A name that somebody else has pointed here.
    let answer = cluster.nodes[node].host.run(|| {
        let request = agent().get(format!("{PAGE}/v1/status")).header("host", "attacker.example");
        split(request.call().unwrap())
    });
    assert_eq!(answer.0.status(), StatusCode::MISDIRECTED_REQUEST, "{}", answer.1);
    assert_eq!(get(&cluster, node, "/etc/passwd").0, 404);
    assert_eq!(get(&cluster, node, "/v1/drain").0, 405);
    assert_eq!(post(&cluster, node, "/metrics", None, "").0, 405);
    let (status, why) = post(&cluster, node, "/v1/undrain", Some(TOKEN), "");
    assert_eq!(status, 403);
    assert!(why.contains("name a `token_file`"), "{why}");
    assert_eq!(cluster.status(node).unwrap().health.state, HealthState::Drained, "it only shows");
    // What is only for this machine is not to be had from another one.
    let from_outside = cluster.client.run(|| {
        std::net::TcpStream::connect_timeout(&"192.0.2.11:5799".parse().unwrap(), Duration::from_secs(1))
            .is_err()
    });
    assert!(from_outside);
}

/// What is described is there, and what is answered is as described.
pub(crate) fn the_api_is_as_its_document_says() {
    let cluster = pages(true);
    let node = holder(&cluster);
    let document: Value = serde_json::from_str(&get(&cluster, node, "/openapi.json").1).unwrap();
    let fits = |schema: &Value, said: &str, what: &str| {
        let mut whole = schema.clone();
        whole["components"] = document["components"].clone();
        let validator = jsonschema::validator_for(&whole).unwrap();
        let value: Value =
            serde_json::from_str(said).unwrap_or_else(|error| panic!("{what}: {error}: {said}"));
        let wrong: Vec<_> = validator
            .iter_errors(&value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(wrong.is_empty(), "{what}: {wrong:?}\n{said}");
    };
    let mut described = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, about) in methods.as_object().unwrap() {
            described += 1;
            let what = format!("{method} {path}");
            // A stream goes on.
            if path == "/v1/stream" {
                continue;
            }
            let (status, said) = match method.as_str() {
                "get" => get(&cluster, node, path),
                "post" => post(&cluster, node, path, None, "{}"),
                other => panic!("{other}"),
            };
            let status = status.as_u16().to_string();
            let answer = &about["responses"][&status];
            assert!(answer.is_object(), "{what}: {status} is not described: {said}");
            if let Some(schema) = answer["content"].get("application/json").map(|content| &content["schema"])
            {
                fits(schema, &said, &what);
            }
        }
    }
    assert!(described >= 10, "{described}");
    let order = &document["paths"]["/v1/switchover"]["post"]["responses"];
    for (body, expected) in [("{\"group\": \"web\"}", 200), ("{\"group\": \"none\"}", 404), ("what?", 400)] {
        // A node that has just begun is not ready to take a group.
        let until = Instant::now() + PATIENCE;
        let (status, said) = loop {
            let (status, said) = post(&cluster, node, "/v1/switchover", Some(TOKEN), body);
            if status != 409 || Instant::now() >= until {
                break (status, said);
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        assert_eq!(status, expected, "{said}");
        fits(&order[&expected.to_string()]["content"]["application/json"]["schema"], &said, body);
    }
    // A schema that takes anything would not have noticed.
    let status =
        &document["paths"]["/v1/status"]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
    let mut whole = status.clone();
    whole["components"] = document["components"].clone();
    assert!(!jsonschema::is_valid(&whole, &serde_json::json!({"cluster": 7})));
}

/// Prometheus reads it, and it says what has happened.
pub(crate) fn metrics_are_those_of_prometheus() {
    let cluster = pages(false);
    let old = holder(&cluster);
    cluster.nodes[old].host.power_off().unwrap();
    wait(&cluster, "another holder", |cluster| cluster.holder(Cluster::WEB[0]).is_some_and(|new| new != old));
    let node = holder(&cluster);
    let (status, text) = get(&cluster, node, "/metrics");
    assert_eq!(status, 200);
    let value = |line: &str| -> f64 {
        let found = text
            .lines()
            .find_map(|known| known.strip_prefix(line))
            .unwrap_or_else(|| panic!("{line}\n{text}"));
        found.trim().parse().unwrap()
    };
    assert!((value("vipdrift_group_role{group=\"web\",role=\"active\"}") - 1.0).abs() < f64::EPSILON);
    assert!((value("vipdrift_group_role{group=\"web\",role=\"standby\"}")).abs() < f64::EPSILON);
    assert!((value("vipdrift_takeovers_total{group=\"web\",cause=\"silent\"}") - 1.0).abs() < f64::EPSILON);
    let outage = value("vipdrift_takeover_outage_seconds{group=\"web\"}");
    assert!(outage > 0.0 && outage < 10.0, "{outage}");
    let name = &cluster.nodes[old].name;
    assert!(
        (value(&format!("vipdrift_peer_state{{peer=\"{name}\",state=\"silent\"}}")) - 1.0).abs()
            < f64::EPSILON
    );
    assert!(value("vipdrift_heartbeats_heard_total") > 10.0);
    assert!(value("vipdrift_lateness_seconds_count") > 10.0);
    wait(&cluster, "renewals", |cluster| {
        get(cluster, node, "/metrics").1.lines().any(|line| {
            line.strip_prefix("vipdrift_lease_renewals_total ")
                .is_some_and(|count| count.parse::<f64>().unwrap() > 0.0)
        })
    });

    let (_, text) = get(&cluster, node, "/metrics");
    // Nothing is asked for that is not there.
    for file in ["vipdrift.rules.yml", "grafana.json"] {
        let wanted = fs::read_to_string(monitoring().join(file)).unwrap();
        let words = wanted.split(|c: char| !c.is_ascii_lowercase() && c != '_');
        for name in words.filter(|word| word.starts_with("vipdrift_")) {
            assert!(text.contains(&format!("\n{name}")), "{file}: {name}\n{text}");
        }
    }

    let mut lint = Command::new("promtool");
    lint.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut lint =
        lint.spawn().unwrap_or_else(|error| panic!("promtool: {error}; apt-get install -y prometheus"));
    lint.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let said = lint.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() && words.is_empty(), "{words}\n{text}");
}

fn monitoring() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../monitoring")
}

/// Prometheus takes the rules, and they say what they should.
pub(crate) fn alert_rules_pass_their_tests() {
    for arguments in [["check", "rules", "vipdrift.rules.yml"], ["test", "rules", "vipdrift.rules.test.yml"]]
    {
        let mut command = Command::new("promtool");
        let said = command.args(arguments).current_dir(monitoring()).output();
        let said = said.unwrap_or_else(|error| panic!("promtool: {error}; apt-get install -y prometheus"));
        let words =
            String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "{words}");
    }
}

/// A move is told at once, what goes on every second.
pub(crate) fn the_stream_tells_as_it_happens() {
    let cluster = pages(false);
    let old = holder(&cluster);
    let watcher = (old + 1) % 3;
    let (tell, told) = std::sync::mpsc::channel();
    cluster.nodes[watcher]
        .host
        .thread("reader", move || {
            let answer = agent_for(PATIENCE * 3).get(format!("{PAGE}/v1/stream")).call().unwrap();
            let lines = BufReader::new(answer.into_body().into_reader()).lines().map_while(Result::ok);
            let mut kind = String::new();
            for line in lines {
                if let Some(name) = line.strip_prefix("event: ") {
                    name.clone_into(&mut kind);
                } else if let Some(data) = line.strip_prefix("data: ")
                    && tell.send((Instant::now(), kind.clone(), data.to_owned())).is_err()
                {
                    return;
                }
            }
        })
        .unwrap();
    let next = |wanted: &str| loop {
        let (at, kind, data) = told.recv_timeout(PATIENCE).unwrap();
        if kind == wanted {
            return (at, serde_json::from_str::<Value>(&data).unwrap());
        }
    };
    let (_, first) = next("status");
    assert_eq!(first["groups"][0]["active_node"], cluster.nodes[old].name.as_str());
    let (_, events) = next("events");
    assert!(!events.as_array().unwrap().is_empty());
    let pulses = [(); 4].map(|()| next("pulse"));
    let pulse = &pulses[3].1;
    assert!(pulse["groups"].as_array().unwrap().is_empty() && !pulse["peers"].as_array().unwrap().is_empty());
    let least = pulses.windows(2).map(|pair| pair[1].0 - pair[0].0).min().unwrap();
    assert!(least < Duration::from_secs(3), "a pulse every {least:?}");

    let mut begun = Instant::now();
    wait(&cluster, "an heir that is ready", |c| {
        begun = Instant::now();
        c.switchover(old, "web", None).is_ok()
    });
    loop {
        let (at, status) = next("status");
        if status["groups"][0]["active_node"] != cluster.nodes[old].name.as_str() {
            println!("told after {:?}", at - begun);
            assert!(at - begun < Duration::from_secs(1), "told after {:?}", at - begun);
            break;
        }
    }
}

/// Whoever has the token may drain, undrain and move; nobody else, and nothing else.
pub(crate) fn the_page_takes_orders_for_the_token_only() {
    let cluster = pages(true);
    let node = holder(&cluster);
    assert_eq!(post(&cluster, node, "/v1/drain", None, "").0, 401);
    assert_eq!(post(&cluster, node, "/v1/drain", Some(&TOKEN.replace('0', "1")), "").0, 401);
    assert_eq!(post(&cluster, node, "/v1/drain", Some("no key at all"), "").0, 401);
    assert_eq!(post(&cluster, node, "/v1/reload", Some(TOKEN), "").0, 404, "not from here");
    assert_eq!(cluster.status(node).unwrap().health.state, HealthState::Healthy);

    let (status, done) = post(&cluster, node, "/v1/drain", Some(TOKEN), "");
    assert_eq!(status, 200, "{done}");
    assert_eq!(cluster.status(node).unwrap().health.state, HealthState::Drained);
    assert_eq!(post(&cluster, node, "/v1/undrain", Some(TOKEN), "").0, 200);
    settle(&cluster);
    let node = holder(&cluster);
    let (status, done) = post(&cluster, node, "/v1/switchover", Some(TOKEN), "{\"group\":\"web\"}");
    assert_eq!(status, 200, "{done}");
    assert_ne!(holder(&cluster), node);
    let (status, why) = post(&cluster, node, "/v1/switchover", Some(TOKEN), "{\"group\":\"wep\"}");
    assert_eq!(status, 404);
    assert!(why.contains("did you mean `web`?"), "{why}");
}

/// Without its port there is no page, and all else is as ever.
pub(crate) fn a_port_that_is_taken_keeps_nobody_from_holding() {
    let mut cluster = with(|options| {
        options.start = false;
        options.control_lines = "http = \"127.0.0.1:5799\"\n".into();
    });
    let taken = cluster.nodes[0].host.run(|| std::net::TcpListener::bind("127.0.0.1:5799").unwrap());
    cluster.start_all().unwrap_or_else(|error| panic!("{error}"));
    settle(&cluster);
    let told = cluster.status(0).unwrap().daemon.page;
    assert_eq!(told, "127.0.0.1:5799 is in use by another program");
    assert_eq!(get(&cluster, 1, "/live").0, 200);
    drop(taken);
    cluster.nodes[0].process.as_ref().unwrap().kill(nix::sys::signal::Signal::SIGHUP).unwrap();
    wait(&cluster, "a page after a reload", |cluster| {
        cluster.status(0).is_ok_and(|status| status.daemon.page == "http://127.0.0.1:5799/")
    });
    assert_eq!(get(&cluster, 0, "/live").0, 200);
}

/// What people see in Chromium: a move within a second, a node that is cut off, orders; and nothing on the console.
pub(crate) fn the_page_in_a_browser() {
    let cluster = pages(true);
    let old = holder(&cluster);
    let watcher = (old + 1) % 3;
    let names: Vec<String> = cluster.nodes.iter().map(|node| node.name.clone()).collect();
    let browser = Browser::start(&cluster.nodes[watcher].host, &cluster.directory().join("browser"));
    browser.open(&format!("{PAGE}/"));
    let role = |node: &str| {
        format!(
            "[...document.querySelectorAll('#groups tbody tr')].find(row => row.querySelector('th').firstChild.data === 'web')\
                 ?.querySelector('td[data-label=\"{node}\"]')?.textContent ?? ''"
        )
    };
    browser.wait(&format!("{} === 'active'", role(&names[old])));
    browser.wait("document.querySelector('#live').textContent === 'live'");
    browser.shot("page-light", true);

    // The browser itself says how long after the order it shows the move.
    let to = (old + 2) % 3;
    browser.run(&format!(
        "window.shown = null; window.begun = performance.now(); const timer = setInterval(() => {{ if (({}) === 'active') \
         {{ window.shown = performance.now() - window.begun; clearInterval(timer); }} }}, 5);",
        role(&names[to])
    ));
    cluster.switchover(old, "web", Some(&names[to])).unwrap();
    browser.wait("window.shown !== null");
    let shown = browser.run("return window.shown").as_f64().unwrap();
    println!("a move is shown after {shown:.0} ms");
    assert!(shown < 1000.0, "{shown}");
    browser.wait("document.querySelector('#events').textContent.includes('→')");

    // With the keyboard alone: the token, then a drain with a confirmation.
    browser.run("document.querySelector('#orders').focus()");
    browser.keys("\u{e007}");
    browser.wait("document.querySelector('#token').open");
    browser.run("document.querySelector('#token-text').focus()");
    browser.keys(TOKEN);
    browser.keys("\u{e007}");
    browser.wait("document.querySelectorAll('#nodes tbody button').length === 3");
    browser.run(&format!("document.getElementById('drain {}').focus()", names[to]));
    browser.keys("\u{e007}");
    browser.wait("document.querySelector('#confirm').open");
    browser.shot("page-confirm", false);
    browser.run("document.querySelector('#confirm-ok').focus()");
    browser.keys("\u{e007}");
    wait(&cluster, "a drained node", |cluster| {
        cluster.status(to).is_ok_and(|status| status.health.state == HealthState::Drained)
    });
    browser.wait("document.querySelector('#answer').textContent.includes('drain')");
    settle(&cluster);

    // Cut off, it shows what it sees, and says so.
    cluster.nodes[watcher].host.cut().unwrap();
    browser.wait("document.querySelector('#alerts').textContent.includes('is not heard')");
    browser.wait("document.querySelector('#live').textContent === 'live'");
    browser.shot("page-cut", true);
    cluster.nodes[watcher].host.uncut().unwrap();
    browser.wait("!document.querySelector('#alerts').textContent.includes('is not heard')");

    browser.dark();
    browser.shot("page-dark", true);
    browser.phone();
    browser.wait("document.documentElement.scrollWidth <= window.innerWidth");
    browser.shot("page-phone", false);
    let unnamed = browser.run(
        "return [...document.querySelectorAll('button, input, select')].filter(it => !it.textContent.trim() && !it.labels?.length).map(it => it.id)",
    );
    assert_eq!(unnamed, Value::Array(vec![]), "what a screen reader could not name");
    assert_eq!(browser.console(), Vec::<String>::new());
}
