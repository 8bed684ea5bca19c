//! `vipdrift demo` on a terminal, as the README begins.

use std::process::Command;

use crate::picture;
use crate::support::BINARY;
use crate::terminal::Terminal;

/// Here it is what is told that counts. With pictures it is the whole demo, as people run it.
pub(crate) fn the_demo_tells_what_it_does() {
    let mut command = Command::new(BINARY);
    command.arg("demo");
    if !picture::are_wanted() {
        command.args(["--heartbeat-ms", "100", "--fault", "graceful_stop", "--fault", "switchover"]);
    }
    let mut demo = Terminal::start(&command, (122, 62), |command| command.spawn().unwrap());
    let status = demo.end();
    let text = demo.wait_for("faults as they should be, in ");
    demo.picture("demo");
    println!("{text}");
    assert_eq!(status.code(), Some(0), "{text}");
    for told in ["switchover: ", "graceful_stop: ", "standby -> active, term ", "moved to", "two holders"] {
        assert!(text.contains(told), "{told}: {text}");
    }
}
