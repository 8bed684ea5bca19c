//! Groups that must be on one node, and groups that must not.

use vipdrift_core::{Command, GroupIndex, Scope, VipIndex};

use super::{ALPHA, BRAVO, CHARLIE, DELTA, Story, ms, of};
use crate::scenario::{Fault, GroupCheck, GroupSetup, NodeNumber, Setup};

/// So many nodes, with two groups that are apart.
fn apart(nodes: usize) -> Setup {
    let mut setup = of(nodes);
    setup.groups = vec![
        GroupSetup { apart: vec![1], ..setup.groups[0].clone() },
        GroupSetup { apart: vec![0], ..setup.groups[0].clone() },
    ];
    setup
}

/// So many nodes, with two groups that are together.
fn together(nodes: usize, change: impl Fn(&mut GroupSetup)) -> Setup {
    let mut setup = of(nodes);
    let mut group = setup.groups[0].clone();
    group.check = GroupCheck::Fault;
    change(&mut group);
    setup.groups =
        vec![GroupSetup { together: vec![1], ..group.clone() }, GroupSetup { together: vec![0], ..group }];
    setup
}

/// Who holds each group.
fn held(story: &Story) -> Vec<Vec<usize>> {
    (0..story.world.vips.len()).map(|vip| story.world.holders(VipIndex(vip)).collect()).collect()
}

fn becomes(story: &mut Story, limit: u64, wanted: &[Vec<usize>]) {
    let took = story.run_until(ms(limit), |world| {
        wanted.iter().enumerate().all(|(vip, who)| world.holders(VipIndex(vip)).eq(who.iter().copied()))
    });
    assert!(took.is_some(), "{:?}, expected {wanted:?}", held(story));
}

/// On `on`, to `to`, of the group at `group`.
fn switchover(story: &mut Story, on: NodeNumber, group: usize, to: &str) -> Result<String, String> {
    let to = Some(to.to_owned());
    let ticket = story.command(on, |ticket| Command::Switchover { ticket, group: GroupIndex(group), to });
    story.run(ms(200));
    story.reply(ticket).map(str::to_owned).map_err(str::to_owned)
}

fn drain(story: &mut Story, on: NodeNumber, group: Option<usize>) -> Result<String, String> {
    let scope = Scope { node: None, group: group.map(GroupIndex) };
    let ticket = story.command(on, |ticket| Command::Drain { ticket, scope });
    story.run(ms(400));
    story.reply(ticket).map(str::to_owned).map_err(str::to_owned)
}

fn reason(story: &Story, node: NodeNumber, group: usize) -> String {
    story.snapshot(node).groups[group].reason.clone()
}

/// Both prefer the same nodes, and each has its own all the way down to the last, which takes one.
#[test]
fn groups_that_are_apart_share_the_nodes_until_one_is_left() {
    let mut story = Story::running(apart(4));
    assert_eq!(held(&story), [[0], [1]]);
    story.comes(Fault::PowerCut { on: ALPHA });
    becomes(&mut story, 1000, &[vec![2], vec![1]]);
    story.comes(Fault::PowerCut { on: BRAVO });
    becomes(&mut story, 1000, &[vec![2], vec![3]]);
    let last = story.comes(Fault::PowerCut { on: CHARLIE });
    story.run(ms(4000));
    assert_eq!(held(&story), [vec![], vec![3]], "strict");
    assert_eq!(reason(&story, DELTA, 0), "holds group1, which must be apart");
    assert_eq!(story.role(DELTA), vipdrift_core::RoleName::Standby, "it is no fault");
    assert_eq!(story.snapshot(DELTA).health, vipdrift_core::HealthSnapshot::Healthy);
    story.goes(last);
    becomes(&mut story, 6000, &[vec![2], vec![3]]);
}

#[test]
fn a_switchover_to_where_a_partner_is_is_refused_with_the_reason() {
    let mut story = Story::running(apart(3));
    for asked in [ALPHA, BRAVO, CHARLIE] {
        assert_eq!(
            switchover(&mut story, asked, 0, "bravo"),
            Err("bravo is not ready to take web: holds group1, which must be apart".to_owned())
        );
    }
    assert_eq!(switchover(&mut story, ALPHA, 0, "charlie"), Ok("web is active on charlie".to_owned()));
    assert_eq!(held(&story), [[2], [1]]);
}

#[test]
fn a_drain_says_what_nobody_takes_over() {
    let mut story = Story::running(apart(2));
    assert_eq!(held(&story), [[0], [1]]);
    assert_eq!(
        drain(&mut story, ALPHA, None),
        Ok("drained; web is left without a holder: bravo holds group1, which must be apart".to_owned())
    );
    assert_eq!(held(&story), [vec![], vec![1]]);
    assert_eq!(reason(&story, BRAVO, 0), "holds group1, which must be apart");
    // It is taken as soon as the other is let go.
    drain(&mut story, BRAVO, Some(1)).unwrap();
    becomes(&mut story, 1000, &[vec![1], vec![]]);
}

/// Holding on is better than nobody at all, even where a check fails.
#[test]
fn a_failing_check_moves_nothing_to_where_a_partner_is() {
    let mut setup = apart(2);
    setup.groups[0].check = GroupCheck::Fault;
    let mut story = Story::running(setup);
    story.comes(Fault::ServiceFails { on: ALPHA, group: 0 });
    story.run(ms(3000));
    assert_eq!(held(&story), [[0], [1]]);
}

/// Each goes back to its own node, and not to where the other is.
#[test]
fn a_failback_waits_until_the_partner_is_gone() {
    let mut setup = apart(3);
    setup.groups[0].failback = ms(500);
    let mut story = Story::running(setup);
    let cut = story.comes(Fault::PowerCut { on: ALPHA });
    becomes(&mut story, 1000, &[vec![2], vec![1]]);
    drain(&mut story, BRAVO, None).unwrap();
    story.goes(cut);
    becomes(&mut story, 5000, &[vec![2], vec![0]]);
    story.run(ms(3000));
    assert_eq!(held(&story), [[2], [0]], "alpha is the preferred node of both");
}

#[test]
fn what_is_wrong_for_one_moves_all_of_a_set() {
    for hitless in [false, true] {
        let mut story = Story::running(together(3, |group| group.hitless = hitless));
        assert_eq!(held(&story), [[0], [0]]);
        story.comes(Fault::ServiceFails { on: ALPHA, group: 1 });
        becomes(&mut story, 3000, &[vec![1], vec![1]]);
        let web = reason(&story, ALPHA, 0);
        assert!(web.starts_with("group1: check service fails"), "{web}");
        story.comes(Fault::PowerCut { on: BRAVO });
        becomes(&mut story, 1000, &[vec![2], vec![2]]);
    }
}

#[test]
fn a_planned_move_of_one_takes_all_of_a_set_along() {
    for hitless in [false, true] {
        let mut story = Story::running(together(3, |group| group.hitless = hitless));
        for (asked, group, to, index) in [(ALPHA, 1, "bravo", 1), (ALPHA, 0, "charlie", 2)] {
            assert!(switchover(&mut story, asked, group, to).is_ok());
            becomes(&mut story, 1000, &[vec![index], vec![index]]);
        }
        let said = story.last_decision(BRAVO).reason;
        assert!(said.contains("switchover to charlie"), "{said}");
        drain(&mut story, CHARLIE, Some(1)).unwrap();
        becomes(&mut story, 1000, &[vec![0], vec![0]]);
        let web = story.snapshot(CHARLIE).groups[0].role;
        assert_eq!(web, vipdrift_core::RoleName::Drained, "a drain of one is a drain of all");
    }
}

#[test]
fn a_set_goes_back_as_one() {
    let mut story = Story::running(together(3, |group| group.failback = ms(500)));
    let cut = story.comes(Fault::PowerCut { on: ALPHA });
    becomes(&mut story, 1000, &[vec![1], vec![1]]);
    story.goes(cut);
    becomes(&mut story, 5000, &[vec![0], vec![0]]);
}

/// Somebody has torn them apart: the one that is second by name comes to the first.
#[test]
fn a_set_that_is_torn_comes_together_again() {
    let mut story = Story::running(together(3, |_| ()));
    let cut = story.comes(Fault::PowerCut { on: ALPHA });
    becomes(&mut story, 1000, &[vec![1], vec![1]]);
    story.goes(cut);
    story.run(ms(3000));
    assert_eq!(held(&story), [[1], [1]]);
    // A foreign machine has one VIP when the holder dies, and nobody takes that group.
    let foreign = story.comes(Fault::ForeignHolder { group: 0 });
    story.comes(Fault::PowerCut { on: BRAVO });
    story.run(ms(4000));
    let group1 = held(&story)[1].clone();
    assert_eq!(held(&story)[0], Vec::<usize>::new());
    story.goes(foreign);
    becomes(&mut story, 6000, &[group1.clone(), group1]);
}
