//! systemd-networkd: when it starts, it takes off what its files do not name.
//!
//! Which file counts for an interface is in `/run/systemd/netif/links/INDEX`, as sd-network(3) reads it. That systemd 252
//! leaves VIPs alone with `KeepConfiguration=yes`, and does not with `static`, was tried.

use std::path::{Path, PathBuf};

use super::super::finding::{Findings, Id};
use super::super::scene::Scene;
use super::{Process, runs, values};

/// Where .network files and their drop-ins may be, the first winning (systemd.network(5)).
const FOLDERS: [&str; 5] = [
    "/etc/systemd/network",
    "/run/systemd/network",
    "/usr/local/lib/systemd/network",
    "/usr/lib/systemd/network",
    "/lib/systemd/network",
];

pub(super) fn look(scene: &Scene, running: &[Process], findings: &mut Findings) {
    // What it has left in /run outlives it.
    if !runs(running, "systemd-networkd") {
        return;
    }
    for carrier in scene.carriers() {
        let name = carrier.name();
        let state =
            scene.read(format!("/run/systemd/netif/links/{}", carrier.link.index)).unwrap_or_default();
        let field = |key: &str| {
            let find = |line: &str| line.strip_prefix(key)?.strip_prefix('=').map(str::to_owned);
            state.lines().find_map(find)
        };
        let Some(file) = field("NETWORK_FILE").filter(|file| !file.is_empty()) else { continue };
        if field("ADMIN_STATE").as_deref() == Some("unmanaged") {
            continue;
        }
        let kept = keeps(scene, Path::new(&file));
        if kept.as_deref().is_some_and(is_yes) {
            findings.ok(
                Id::SystemdNetworkd,
                format!("systemd-networkd manages {name} and leaves VIPs on it (KeepConfiguration=yes)"),
            );
            continue;
        }
        let but = match &kept {
            Some(value) => format!("; KeepConfiguration={value} does not prevent that"),
            None => String::new(),
        };
        let base = Path::new(&file).file_name().unwrap_or_default().to_string_lossy();
        let folder = format!("/etc/systemd/network/{base}.d");
        findings.warning(
            Id::SystemdNetworkd,
            format!(
                "systemd-networkd manages {name} and takes VIPs off when it is restarted{but}; the daemon mounts them again \
                 within milliseconds"
            ),
            format!(
                "mkdir -p {folder}\nprintf '[Network]\\nKeepConfiguration=yes\\n' > {folder}/vipdrift.conf\nnetworkctl reload"
            ),
        );
    }
}

fn is_yes(value: &str) -> bool {
    ["yes", "true", "on", "1", "y", "t"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// The last word on `KeepConfiguration=` of a .network file and its drop-ins.
fn keeps(scene: &Scene, file: &Path) -> Option<String> {
    let base = file.file_name()?.to_string_lossy().into_owned();
    // Of drop-ins of the same name the one in the first folder counts; all of them are read in the order of their names.
    let mut drop_ins: Vec<(String, PathBuf)> = Vec::new();
    for folder in FOLDERS {
        let place = scene.file(Path::new(folder).join(format!("{base}.d")));
        for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".conf") && !drop_ins.iter().any(|(known, _)| *known == name) {
                drop_ins.push((name, entry.path()));
            }
        }
    }
    drop_ins.sort();
    let files = std::iter::once(scene.file(file)).chain(drop_ins.into_iter().map(|(_, path)| path));
    let texts: Vec<_> = files.filter_map(|file| std::fs::read_to_string(file).ok()).collect();
    let said = texts.iter().flat_map(|text| values(text, "Network", "KeepConfiguration"));
    said.last().filter(|value| !value.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Level;
    use super::super::super::scene::tests::{scene, write};
    use super::super::tests::process;
    use super::*;

    const FILE: &str = "/run/systemd/network/10-eth0.network";

    /// The state is what systemd-networkd 252 wrote for an interface with two fixed addresses.
    fn found(files: &[(&str, &str)]) -> Vec<(Level, String, Option<String>)> {
        const STATE: &str = "# This is private data. Do not parse.\nADMIN_STATE=configured\nOPER_STATE=routable\n\
            CARRIER_STATE=carrier\nADDRESS_STATE=routable\nIPV4_ADDRESS_STATE=routable\nIPV6_ADDRESS_STATE=routable\n\
            ONLINE_STATE=online\nREQUIRED_FOR_ONLINE=yes\nREQUIRED_OPER_STATE_FOR_ONLINE=degraded:routable\n\
            REQUIRED_FAMILY_FOR_ONLINE=any\nACTIVATION_POLICY=up\nNETWORK_FILE=/run/systemd/network/10-eth0.network\n";
        let root = tempfile::tempdir().expect("a folder");
        write(root.path(), "/run/systemd/netif/links/2", STATE);
        write(root.path(), FILE, "[Match]\nName=eth0\n[Network]\nAddress=192.0.2.11/24\n");
        for (path, text) in files {
            write(root.path(), path, text);
        }
        process(root.path(), 7, 1, "systemd-network", &["/lib/systemd/systemd-networkd"]);
        let scene = scene(root.path());
        let mut findings = Findings::default();
        look(&scene, &super::super::processes(&scene), &mut findings);
        findings.0.into_iter().map(|f| (f.level, f.text, f.remedy)).collect()
    }

    #[test]
    fn the_remedy_is_a_file_beside_the_one_that_counts() {
        let all = found(&[]);
        assert_eq!(all[0].0, Level::Warning);
        let remedy = all[0].2.as_deref().expect("a remedy");
        assert!(remedy.contains("/etc/systemd/network/10-eth0.network.d/vipdrift.conf"), "{remedy}");
        // What it says to do is what makes it well.
        let fixed =
            ("/etc/systemd/network/10-eth0.network.d/vipdrift.conf", "[Network]\nKeepConfiguration=yes\n");
        assert_eq!(found(&[fixed])[0].0, Level::Ok);
    }

    #[test]
    fn the_last_word_counts_and_static_is_not_enough() {
        let with = |value| [(FILE, value)];
        assert_eq!(found(&with("[Network]\nKeepConfiguration=true\n"))[0].0, Level::Ok);
        let all = found(&with("[Network]\nKeepConfiguration=static\n"));
        assert!(
            all[0].0 == Level::Warning && all[0].1.contains("KeepConfiguration=static does not"),
            "{all:?}"
        );
        let all = found(&[
            (FILE, "[Network]\nKeepConfiguration=yes\n"),
            ("/run/systemd/network/10-eth0.network.d/z.conf", "[Network]\nKeepConfiguration=no\n"),
        ]);
        assert_eq!(all[0].0, Level::Warning);
    }

    #[test]
    fn what_it_does_not_manage_is_left_out() {
        assert_eq!(
            found(&[("/run/systemd/netif/links/2", "ADMIN_STATE=unmanaged\nOPER_STATE=routable\n")]),
            []
        );
    }
}
