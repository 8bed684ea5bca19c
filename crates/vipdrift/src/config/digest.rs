//! A number that every node computes alike.

use sha2::{Digest as _, Sha256};

/// Score of `node` for `group`: the highest comes first (rendezvous hashing, Thaler and Ravishankar 1998).
///
/// A node takes part as often as its `weight` says, and its best draw counts. So its share is its weight among all
/// weights, in whole numbers, which are the same on every machine.
pub(crate) fn rendezvous(group: &str, node: &str, weight: u32) -> u64 {
    let draw = |number: u32| {
        // The first is what it was before there were weights.
        let number = if number == 0 { String::new() } else { format!("\n{number}") };
        let hash = Sha256::digest(format!("vipdrift rendezvous 1\n{group}\n{node}{number}").as_bytes());
        hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    (0..weight).map(draw).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Nodes<'a> = [(&'a str, u32)];

    /// The order for each of 1,000 groups.
    fn orders<'a>(nodes: &Nodes<'a>) -> Vec<Vec<&'a str>> {
        let order = |group: usize| {
            let mut nodes = nodes.to_vec();
            nodes.sort_by_key(|&(name, weight)| {
                std::cmp::Reverse(rendezvous(&format!("g{group}"), name, weight))
            });
            nodes.into_iter().map(|(name, _)| name).collect()
        };
        (0..1000).map(order).collect()
    }

    const FOUR: [(&str, u32); 4] = [("alpha", 1), ("bravo", 1), ("charlie", 2), ("delta", 4)];

    #[test]
    fn with_weight_1_nothing_is_other_than_without_weights() {
        // As computed by `printf 'vipdrift rendezvous 1\nweb\nalpha' | sha256sum | cut -c-16`.
        assert_eq!(rendezvous("web", "alpha", 1), 0x7e13_f4b4_8008_ac1b);
        assert!(
            (2..10)
                .all(|weight| rendezvous("web", "alpha", weight) >= rendezvous("web", "alpha", weight - 1))
        );
    }

    #[test]
    fn shares_are_as_the_weights() {
        let mut firsts = BTreeMap::new();
        for order in orders(&FOUR) {
            *firsts.entry(order[0]).or_insert(0) += 1;
        }
        // Four standard deviations of 1,000 draws with probability p: 4 * sqrt(1000 p (1 - p)).
        for (name, expected, tolerance) in
            [("alpha", 125, 42), ("bravo", 125, 42), ("charlie", 250, 55), ("delta", 500, 64)]
        {
            let got: i32 = firsts[name];
            assert!((got - expected).abs() <= tolerance, "{name}: {got} of 1000, expected {expected}");
        }
    }

    #[test]
    fn a_node_that_leaves_moves_only_what_it_was_first_for() {
        let before = orders(&FOUR);
        for gone in FOUR.map(|(name, _)| name) {
            let rest: Vec<_> = FOUR.into_iter().filter(|(name, _)| *name != gone).collect();
            for (before, after) in before.iter().zip(orders(&rest)) {
                let expected: Vec<_> = before.iter().copied().filter(|name| *name != gone).collect();
                assert_eq!(after, expected);
            }
        }
    }

    #[test]
    fn a_node_that_joins_takes_its_share_and_changes_nothing_among_the_others() {
        let joined = [&FOUR[..], &[("echo", 2)]].concat();
        let mut taken = 0;
        for (before, after) in orders(&FOUR).into_iter().zip(orders(&joined)) {
            taken += usize::from(after[0] == "echo");
            assert_eq!(after.into_iter().filter(|name| *name != "echo").collect::<Vec<_>>(), before);
        }
        // 2 of 10: 200, and four standard deviations.
        assert!((150..=250).contains(&taken), "{taken} of 1000");
    }

    #[test]
    fn another_weight_moves_groups_only_to_or_from_that_node() {
        let heavier = FOUR.map(|(name, weight)| (name, if name == "alpha" { 3 } else { weight }));
        let mut moved = 0;
        for (before, after) in orders(&FOUR).iter().zip(orders(&heavier)) {
            assert!(before[0] == after[0] || after[0] == "alpha", "{before:?}, {after:?}");
            moved += usize::from(before[0] != after[0]);
        }
        assert!(moved > 100, "{moved}");
    }
}
