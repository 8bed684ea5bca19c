#![allow(clippy::unwrap_used)]
use std::time::{Duration, Instant};
use vipdrift_lab::*;
fn a() {
    let lab = Lab::new().unwrap();
    let h: Vec<Host> = (1..3)
        .map(|i| {
            lab.host(["", "alpha", "bravo"][i], &[&format!("192.0.2.{i}/24"), &format!("2001:db8::{i}/64")])
                .unwrap()
        })
        .collect();
    let look = |what: &str| {
        println!("== {what}");
        for (f, t) in [(0, 1), (1, 0)] {
            for fam in ["192.0.2.", "2001:db8::"] {
                let ip = format!("{fam}{}", t + 1).parse().unwrap();
                let s = Instant::now();
                println!(
                    "{} -> {ip}: {:?} {:?}",
                    h[f].name(),
                    h[f].ask(ip, Instant::now() + Duration::from_millis(1500)),
                    s.elapsed()
                );
            }
        }
        println!("{}", lab.debug_switch());
        println!("carrier {} {}", h[0].carrier("eth0").unwrap(), h[1].carrier("eth0").unwrap());
    };
    look("start");
    h[0].cut().unwrap();
    look("cut");
    h[0].uncut().unwrap();
    look("uncut");
    h[0].unplug().unwrap();
    look("unplug");
    h[0].plug().unwrap();
    look("plug");
}
tests![a];
