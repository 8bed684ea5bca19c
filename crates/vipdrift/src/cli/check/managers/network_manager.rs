//! NetworkManager: it leaves addresses alone that others have added, until a connection is activated or reapplied,
//! which is a full synchronisation (`NM_L3_CFG_COMMIT_TYPE_REAPPLY` in its `nm-l3cfg.h`).
//!
//! Whether it manages an interface is in `/run/NetworkManager/devices/INDEX` (its `nm-config.c`).

use super::super::finding::{Findings, Id};
use super::super::scene::Scene;
use super::{Process, runs, values};

pub(super) fn look(scene: &Scene, running: &[Process], findings: &mut Findings) {
    if !runs(running, "NetworkManager") {
        return;
    }
    for carrier in scene.carriers() {
        let name = carrier.name();
        let state = scene.read(format!("/run/NetworkManager/devices/{}", carrier.link.index));
        // A device with a file that says nothing of it is one that it has not decided upon.
        let managed = state.is_some_and(|text| values(&text, "device", "managed").last() == Some(&"true"));
        if managed {
            let file = "/etc/NetworkManager/conf.d/90-vipdrift.conf";
            findings.warning(
                Id::NetworkManager,
                format!(
                    "NetworkManager manages {name} and takes VIPs off when its connection is activated anew or reapplied \
                     (nmcli connection up, nmcli device reapply); the daemon mounts them again within milliseconds"
                ),
                format!(
                    "do not do that while this node is active. Or have {name} configured by something else, and left alone:\n\
                     printf '[keyfile]\\nunmanaged-devices+=interface-name:{name}\\n' > {file}\n\
                     systemctl reload NetworkManager"
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Level;
    use super::super::super::scene::tests::{scene, write};
    use super::super::tests::process;
    use super::*;

    /// The format is that of `nm_config_device_state_write` of NetworkManager 1.42. Not run here: NetworkManager itself.
    #[test]
    fn only_what_it_manages_is_told() {
        let found = |state: &str| {
            let root = tempfile::tempdir().expect("a folder");
            write(root.path(), "/run/NetworkManager/devices/2", state);
            process(root.path(), 7, 1, "NetworkManager", &["/usr/sbin/NetworkManager", "--no-daemon"]);
            let scene = scene(root.path());
            let mut findings = Findings::default();
            look(&scene, &super::super::processes(&scene), &mut findings);
            findings.0
        };
        let uuid = "connection-uuid=2815492f-7e56-435e-b2e9-246bd7cdc664";
        let all = found(&format!("[device]\nmanaged=true\n{uuid}\nroute-metric-default-aspired=100\n"));
        assert_eq!(all[0].level, Level::Warning);
        assert!(
            all[0].remedy.as_deref().is_some_and(|r| r.contains("unmanaged-devices+=interface-name:eth0"))
        );
        assert_eq!(found("[device]\nmanaged=false\n"), []);
    }
}
