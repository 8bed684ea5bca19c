//! What a configuration consists of, and how another differs from it.

use serde::{Deserialize, Serialize};
use vipdrift_wire::heartbeat::{OUTLINE_PARTS_MAX, Setting, fold, in_parts};

/// Path of the order in which the nodes stand in the file.
pub const NODES_ORDER: &str = "nodes.order";

/// The settings of a configuration on which the nodes have to agree, by path and hash. The digest that heartbeats carry is
/// made of these, so that two configurations have different digests if some setting differs, and only then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Setting>", into = "Vec<Setting>")]
pub struct Outline {
    /// In the order of their paths: one by one; nodes and groups as one each; and all nodes and all groups as one.
    levels: [Vec<Setting>; 3],
    digest: u64,
    /// The finest level that is not too long, as it is told to peers.
    parts: Vec<Vec<Setting>>,
}

impl From<Vec<Setting>> for Outline {
    /// Settings in any order; their paths differ.
    fn from(mut settings: Vec<Setting>) -> Self {
        settings.sort();
        settings.dedup_by(|one, other| one.path == other.path);
        let levels = [fold(&settings, 2), fold(&settings, 1)];
        let [by_two, by_one] = levels;
        let levels = [settings, by_two, by_one];
        let most = usize::from(OUTLINE_PARTS_MAX);
        let told = levels.iter().map(|level| in_parts(level.clone())).find(|parts| parts.len() <= most);
        Self { digest: digest(&levels[0]), parts: told.unwrap_or_default(), levels }
    }
}

impl From<Outline> for Vec<Setting> {
    fn from(outline: Outline) -> Self {
        let [settings, ..] = outline.levels;
        settings
    }
}

/// Of settings at any level, in the order of their paths.
pub(crate) fn digest(settings: &[Setting]) -> u64 {
    fold(settings, 0).first().map_or(0, |whole| whole.hash)
}

impl Outline {
    /// One number for all of it.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Every setting, in the order of their paths.
    #[must_use]
    pub fn settings(&self) -> &[Setting] {
        &self.levels[0]
    }

    /// What is told to peers, in parts that fit a datagram each.
    pub(crate) fn parts(&self) -> &[Vec<Setting>] {
        &self.parts
    }

    /// What differs between this and a peer's: settings of both, then those that are here only, then those that are there
    /// only. `theirs` is at any level, in the order of their paths.
    #[must_use]
    pub fn differences(&self, theirs: &[Setting]) -> Vec<String> {
        let own = |path: &str| self.levels.iter().find_map(|level| find(level, path));
        let (mut differ, mut there) = (Vec::new(), Vec::new());
        for setting in theirs {
            match own(&setting.path) {
                Some(known) if known.hash == setting.hash => {}
                Some(_) => differ.push(setting.path.clone()),
                None => there.push(format!("only there: {}", unmatched(setting, self.settings()))),
            }
        }
        let known =
            |setting: &&Setting| (1..=words(setting)).any(|n| find(theirs, setting.prefix(n)).is_some());
        let missing = self.settings().iter().filter(|setting| !known(setting));
        let mut here: Vec<String> =
            missing.map(|setting| format!("only here: {}", unmatched(setting, theirs))).collect();
        here.dedup();
        there.dedup();
        let is_node = |text: &String| text.split(' ').nth(2) == Some("node");
        if here.iter().chain(&there).any(is_node) {
            // Where a node is missing, that the order is another one says nothing more.
            differ.retain(|path| path != NODES_ORDER);
        }
        differ.extend(here);
        differ.extend(there);
        differ
    }
}

fn words(setting: &Setting) -> usize {
    setting.path.split(' ').count()
}

fn find<'s>(settings: &'s [Setting], path: &str) -> Option<&'s Setting> {
    settings.binary_search_by(|setting| setting.path.as_str().cmp(path)).ok().map(|at| &settings[at])
}

/// The shortest beginning of a path of which `others` have nothing: a whole group rather than all that is in it.
fn unmatched<'s>(setting: &'s Setting, others: &[Setting]) -> &'s str {
    let is_there = |prefix: &str| {
        // A blank comes before everything else that a path may contain.
        let at = others.partition_point(|other| other.path.as_str() < prefix);
        let rest = others.get(at).and_then(|other| other.path.strip_prefix(prefix));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    let prefixes = (2..=words(setting)).map(|count| setting.prefix(count));
    // "group web check" names nothing yet.
    let mut named =
        prefixes.filter(|prefix| prefix.split(' ').nth(2) != Some("check") || prefix.split(' ').count() > 3);
    named.find(|prefix| !is_there(prefix)).unwrap_or(&setting.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(settings: &[(&str, &str)]) -> Outline {
        let settings = settings.iter().map(|(path, value)| Setting::new(*path, value));
        settings.collect::<Vec<_>>().into()
    }

    const WEB: [(&str, &str); 8] = [
        ("cluster.heartbeat", "100ms"),
        ("nodes.order", "alpha bravo"),
        ("node alpha addresses", "192.0.2.11"),
        ("node bravo addresses", "192.0.2.12"),
        ("group web vips", "192.0.2.100/24"),
        ("group web check http interval", "1s"),
        ("group web check http http", "http://127.0.0.1/"),
        ("group web-2 vips", "192.0.2.102/24"),
    ];

    fn changed(change: impl FnOnce(&mut Vec<(&'static str, &'static str)>)) -> Outline {
        let mut settings = WEB.to_vec();
        change(&mut settings);
        outline(&settings)
    }

    fn differences(one: &Outline, other: &Outline) -> String {
        // At whatever level the peer speaks, as long as its own digest agrees with it.
        let all: Vec<_> = other.levels.iter().map(|theirs| one.differences(theirs).join("; ")).collect();
        for theirs in &other.levels {
            assert_eq!(digest(theirs), other.digest());
            assert_eq!(one.differences(theirs).is_empty(), one.digest() == other.digest());
        }
        all.into_iter().next().unwrap_or_default()
    }

    #[test]
    fn the_same_settings_in_another_order_are_the_same() {
        let reversed = changed(|settings| settings.reverse());
        assert_eq!(reversed, outline(&WEB));
        assert_eq!(differences(&reversed, &outline(&WEB)), "");
    }

    #[test]
    fn what_differs_is_named_from_both_sides() {
        let one = outline(&WEB);
        let other = changed(|settings| {
            settings[0].1 = "50ms";
            settings[5].1 = "2s";
        });
        for (one, other) in [(&one, &other), (&other, &one)] {
            assert_eq!(differences(one, other), "cluster.heartbeat; group web check http interval");
        }
        assert_eq!(one.differences(&other.levels[1]), ["cluster.heartbeat", "group web"]);
        assert_eq!(one.differences(&other.levels[2]), ["cluster.heartbeat", "group"]);
    }

    #[test]
    fn what_one_lacks_is_named_as_a_whole() {
        let one = outline(&WEB);
        let no_check = changed(|settings| drop(settings.drain(5..7)));
        assert_eq!(differences(&one, &no_check), "only here: group web check http");
        assert_eq!(differences(&no_check, &one), "only there: group web check http");
        let no_group = changed(|settings| drop(settings.drain(4..7)));
        assert_eq!(differences(&one, &no_group), "only here: group web");
        assert_eq!(differences(&no_group, &one), "only there: group web");
        let tcp = changed(|settings| settings[6].0 = "group web check http tcp");
        assert_eq!(
            differences(&one, &tcp),
            "only here: group web check http http; only there: group web check http tcp"
        );
        let no_node = changed(|settings| {
            settings.remove(3);
            settings[1].1 = "alpha";
        });
        assert_eq!(differences(&one, &no_node), "only here: node bravo");
        let order = changed(|settings| settings[1].1 = "bravo alpha");
        assert_eq!(differences(&one, &order), "nodes.order");
    }

    #[test]
    fn what_is_too_long_is_told_more_coarsely() {
        let many = |groups: usize| -> Outline {
            let paths = (0..groups).flat_map(|n| [format!("group g{n} vips"), format!("group g{n} prefer")]);
            paths.map(|path| Setting::new(path, "")).collect::<Vec<_>>().into()
        };
        for (groups, words) in [(100, 3), (2500, 2), (20_000, 1)] {
            let outline = many(groups);
            assert!(outline.parts.len() <= usize::from(OUTLINE_PARTS_MAX), "{}", outline.parts.len());
            let told: Vec<_> = outline.parts.concat();
            assert!(told.iter().all(|setting| super::words(setting) == words), "{groups}");
            assert_eq!(digest(&told), outline.digest());
        }
    }
}
