//! What this Windows permits.

use vipdrift_platform::privileges;

use super::finding::{Findings, Id};
use super::scene::Scene;

pub(super) fn look(scene: &Scene, findings: &mut Findings) {
    let missing = privileges::missing();
    if missing.is_empty() {
        findings.ok(Id::Privileges, "this user may mount addresses");
    } else {
        findings.error(
            Id::Privileges,
            format!("this process lacks {}", missing.join(" and ")),
            privileges::REMEDY,
        );
    }
    let _ = scene;
}
