//! The whole state of a node, written down and brought back in the midst of things.

use vipdrift_core::{Checkpoint, Command, Node, Scope};

use super::{ALPHA, BRAVO, CHARLIE, Story, hitless, ms, of};
use crate::scenario::Fault;

/// A day with much in it, and how often a node was brought back: each of them every millisecond, if so wanted.
fn tell(brought_back: bool) -> (Story, usize) {
    let mut story = Story::running(hitless(of(3)));
    let mut times = 0;
    let mut run = |story: &mut Story, span: u64| {
        for _ in 0..span {
            story.run(ms(1));
            let keys = &story.world.keys;
            let brains = story.world.hosts.iter_mut().filter_map(|host| host.brain.as_mut());
            for brain in brains.filter(|_| brought_back) {
                let bytes = rmp_serde::to_vec_named(&brain.node.checkpoint()).unwrap();
                let checkpoint: Checkpoint = rmp_serde::from_slice(&bytes).unwrap();
                brain.node = Node::restore(checkpoint, keys.clone());
                times += 1;
            }
        }
    };
    // The offer stands for a while, and somebody waits for an answer.
    let frozen = story.comes(Fault::BrainFrozen { on: BRAVO });
    story.switchover(CHARLIE, Some("bravo"));
    run(&mut story, 12);
    story.goes(frozen);
    run(&mut story, 200);
    assert_eq!(story.holders(), [1]);
    // The holder is away, and has to prove itself.
    let suspended = story.comes(Fault::Suspended { on: BRAVO });
    run(&mut story, 300);
    story.goes(suspended);
    run(&mut story, 200);
    assert_eq!(story.holders(), [0]);
    story.comes(Fault::BrainKilled { on: ALPHA, slow: false });
    run(&mut story, 200);
    assert_eq!(story.holders(), [0]);
    let frozen = story.comes(Fault::BrainFrozen { on: BRAVO });
    story.command(ALPHA, |ticket| Command::Drain { ticket, scope: Scope::default() });
    run(&mut story, 12);
    story.goes(frozen);
    run(&mut story, 200);
    assert_eq!(story.holders(), [1]);
    story.comes(Fault::PowerCut { on: BRAVO });
    run(&mut story, 100);
    assert_eq!(story.holders(), [2]);
    story.command(ALPHA, |ticket| Command::Undrain { ticket, scope: Scope::default() });
    let blocked = story.comes(Fault::HeartbeatsBlocked);
    run(&mut story, 200);
    story.goes(blocked);
    run(&mut story, 200);
    assert_eq!(story.holders(), [2]);
    (story, times)
}

#[test]
fn a_node_that_is_brought_back_from_a_checkpoint_does_the_same() {
    let ((story, never), (again, times)) = (tell(false), tell(true));
    assert!(never == 0 && times > 3000, "brought back {times} times");
    let parted = story.world.log.iter().zip(&again.world.log).find(|(line, same)| line != same);
    assert_eq!(parted, None);
    assert_eq!(story.world.log.len(), again.world.log.len());
    assert_eq!(story.world.hash, again.world.hash);
    for (host, same) in story.world.hosts.iter().zip(&again.world.hosts) {
        assert_eq!(host.actions, same.actions);
    }
    for node in [ALPHA, CHARLIE] {
        assert_eq!(format!("{:?}", story.snapshot(node)), format!("{:?}", again.snapshot(node)));
    }
}
