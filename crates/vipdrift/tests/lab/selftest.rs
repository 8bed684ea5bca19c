//! `vipdrift selftest` on a real kernel.

use std::process::Command;

use serde_json::Value;
use vipdrift_lab::{Host, Lab};

const FREE: &str = "192.0.2.200";

fn selftest(host: &Host, args: &[&str]) -> (bool, String, String) {
    selftest_on(host, "eth0", args)
}

fn selftest_on(host: &Host, interface: &str, args: &[&str]) -> (bool, String, String) {
    let output = host.run(|| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vipdrift"));
        command.args(["selftest", "--interface", interface, "--address", "192.0.2.200/24"]).args(args);
        command.output().unwrap()
    });
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

fn is_there(host: &Host) -> bool {
    host.addresses().unwrap().iter().any(|network| network.addr().to_string() == FREE)
}

pub(crate) fn selftest_measures_and_leaves_nothing() {
    let lab = Lab::new().unwrap();
    let (host, other) =
        (lab.host("alpha", &["192.0.2.11/24"]).unwrap(), lab.host("bravo", &["192.0.2.12/24"]).unwrap());
    let (good, out, err) = selftest(&host, &["--known", "192.0.2.12", "--runs", "3", "--json"]);
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|why| panic!("{why}: {out}{err}"));
    let parts = report["parts"].as_array().unwrap();
    let found = |name: &str| {
        let part =
            parts.iter().find(|part| part["part"] == name).unwrap_or_else(|| panic!("no {name}: {out}"));
        part["found"].as_str().unwrap().to_owned()
    };
    let mac = other.mac("eth0").unwrap().to_string();
    assert!(found("known").starts_with(&format!("192.0.2.12 answered as {mac} after ")), "{out}");
    assert_eq!(found("free"), "nobody answered for 192.0.2.200 within 1 s");
    // Not when: the kernel waits for a lock of its own that whoever makes or ends namespaces holds.
    assert!(found("lifetime").starts_with("a lifetime of 2 s ended after "), "{out}");
    // The timer tells of this machine, which may be busy.
    assert!(parts.iter().all(|part| part["ok"] == true || part["part"] == "timer"), "{out}");
    assert_eq!(good, parts.iter().all(|part| part["ok"] == true), "{out}");
    assert_eq!(found("renewal"), "an address that is renewed stays");
    assert!(found("killed").starts_with("the address outlives a process that is killed"), "{out}");
    assert_eq!(
        parts.iter().find(|part| part["part"] == "usable").unwrap()["micros"].as_array().unwrap().len(),
        3
    );
    assert!(!is_there(&host));

    // What a restart of the machine would find.
    let (good, out, err) = selftest(&host, &["--known", "192.0.2.12", "--leave"]);
    let bad = out.matches("  NOT ").count();
    assert!((good && bad == 0 || bad == 1 && out.contains("  NOT timer")) && is_there(&host), "{out}{err}");
    let (good, out, err) = selftest(&host, &["--look"]);
    assert!(!good && !is_there(&host), "{out}{err}");
    assert!(out.contains("the address has outlived the restart; taken off"), "{out}");

    // An address that somebody has is not touched, and a silent segment is said.
    other.add_address("192.0.2.200/24").unwrap();
    let (good, out, err) = selftest(&host, &["--known", "192.0.2.12"]);
    assert!(!good && !is_there(&host), "{out}{err}");
    assert!(err.contains(&format!("192.0.2.200 is in use by {mac}: name a free address")), "{err}");
    let (good, out, err) = selftest_on(&host, "eth9", &[]);
    assert!(!good && err.contains("there is no interface eth9; there are: "), "{out}{err}");
}
