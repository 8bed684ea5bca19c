//! Who gets how many lines of the screen.

/// Lines, by part of the screen: what each would like, or what it gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Heights {
    pub(super) title: usize,
    pub(super) daemon: usize,
    pub(super) verdict: usize,
    pub(super) groups: usize,
    pub(super) detail: usize,
    pub(super) nodes: usize,
    pub(super) events: usize,
    pub(super) message: usize,
    pub(super) keys: usize,
    /// Free lines: above the verdict, the groups, the detail, the nodes, the events.
    pub(super) gaps: [usize; 5],
}

/// From so many lines on, one is kept for messages.
const ROOMY: usize = 20;

impl Heights {
    /// Deals out `height` lines: first what nobody can do without, at last what is good to have.
    pub(super) fn deal(height: usize, wants: &Self) -> Self {
        let mut given = Self::default();
        let mut left = height;
        let mut give = |part: &mut usize, wanted: usize| {
            let more = wanted.saturating_sub(*part).min(left);
            *part += more;
            left -= more;
        };
        give(&mut given.title, 1);
        give(&mut given.keys, wants.keys);
        // Where there is room, a message moves nothing when it comes and goes.
        give(&mut given.message, wants.message.max(usize::from(height >= ROOMY)));
        give(&mut given.verdict, wants.verdict.min(1));
        give(&mut given.groups, wants.groups.min(3));
        give(&mut given.detail, wants.detail.min(1));
        give(&mut given.events, wants.events.min(2));
        give(&mut given.nodes, wants.nodes.min(4));
        give(&mut given.verdict, wants.verdict.min(3));
        give(&mut given.detail, wants.detail.min(3));
        give(&mut given.daemon, wants.daemon.min(1));
        give(&mut given.groups, wants.groups.min(8));
        for gap in [1, 3, 2, 4, 0] {
            give(&mut given.gaps[gap], 1);
        }
        give(&mut given.daemon, wants.daemon);
        give(&mut given.events, wants.events.min(4));
        give(&mut given.detail, wants.detail);
        give(&mut given.nodes, wants.nodes.min(8));
        give(&mut given.verdict, wants.verdict);
        give(&mut given.groups, wants.groups);
        give(&mut given.nodes, wants.nodes);
        give(&mut given.events, wants.events);
        given
    }

    /// All of it.
    pub(super) fn sum(&self) -> usize {
        let parts = [self.title, self.daemon, self.verdict, self.groups, self.detail];
        let others = [self.nodes, self.events, self.message, self.keys];
        parts.iter().chain(&others).chain(&self.gaps).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(groups: usize) -> Heights {
        Heights {
            title: 1,
            daemon: 1,
            verdict: 1,
            groups,
            detail: 4,
            nodes: 4,
            events: 200,
            message: 0,
            keys: 1,
            gaps: [1; 5],
        }
    }

    #[test]
    fn no_line_is_dealt_twice_and_none_is_missing_where_it_matters() {
        for height in 0..100 {
            for groups in [2, 4, 101] {
                let given = Heights::deal(height, &wants(groups));
                assert!(given.sum() <= height);
                assert!(given.sum() == height || height > 200, "{height}: {given:?}");
                assert_eq!(given.title, height.min(1));
                assert!(height < 5 || given.groups >= 2, "{height}: {given:?}");
            }
        }
    }

    #[test]
    fn an_ordinary_terminal_shows_every_part() {
        let given = Heights::deal(24, &wants(3));
        assert_eq!((given.daemon, given.groups, given.detail, given.nodes, given.events), (1, 3, 3, 4, 4));
        assert_eq!(given.gaps, [1; 5]);
        let small = Heights::deal(15, &wants(3));
        assert_eq!((small.daemon, small.groups, small.detail, small.nodes, small.events), (0, 3, 3, 4, 2));
        // Many groups take what is to be had.
        assert_eq!(Heights::deal(60, &wants(101)).groups, 38);
    }
}
