//! Nodes that have not read the same file.

use std::time::Duration;

use super::{ALPHA, BRAVO, CHARLIE, Story, of};
use crate::scenario::Fault;

#[test]
fn who_has_read_another_file_is_told_in_what_it_differs() {
    let mut story = Story::running(of(3));
    let differ = |story: &Story, node, peer: usize| story.snapshot(node).peers[peer].differs.clone();
    let other = story.comes(Fault::OtherFile { on: BRAVO });
    // Whoever restarts is lost from hearing for a moment.
    story.run(Duration::from_secs(10));
    for (node, peer, expected) in [
        (ALPHA, 0, &["group web prefer"][..]),
        (ALPHA, 1, &[]),
        (BRAVO, 0, &["group web prefer"]),
        (BRAVO, 1, &["group web prefer"]),
        (CHARLIE, 1, &["group web prefer"]),
    ] {
        assert_eq!(differ(&story, node, peer), expected, "{node:?} of {peer}");
    }
    let said = "bravo has a different configuration: group web prefer";
    assert!(story.notes(ALPHA).iter().any(|line| line.contains(said)));
    story.goes(other);
    story.run(Duration::from_secs(10));
    assert!(
        [ALPHA, BRAVO, CHARLIE].iter().all(|&node| (0..2).all(|peer| differ(&story, node, peer).is_empty()))
    );
}
