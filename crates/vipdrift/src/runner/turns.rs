//! Which hook runs next. Hooks of a group run one after the other, and the last one is always that of the role that the
//! node has: what has passed by while one ran is left out.

use super::message::{Told, Turn};

/// The hooks of one group.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// For what a hook ran last, or runs.
    last: Option<Told>,
    running: bool,
    next: Option<Turn>,
    /// Nothing begins: hooks of an earlier runner may still run.
    held: bool,
    /// Turns that were left out since the last hook began.
    pub(super) left_out: u32,
}

impl Turns {
    /// Nothing begins before [`Turns::release`].
    pub(super) fn held() -> Self {
        Self { held: true, ..Self::default() }
    }

    /// Nobody else runs hooks any more; the last that ran was for `last`. Answers what is to be run now.
    pub(super) fn release(&mut self, last: Option<Told>) -> Option<Turn> {
        self.held = false;
        self.last = last;
        self.begin()
    }

    /// The node has taken a role. Answers what is to be run now.
    pub(super) fn add(&mut self, turn: Turn) -> Option<Turn> {
        if let Some(earlier) = self.next.take() {
            self.left_out += 1;
            // The hook is told where the node came from when it last was told anything.
            self.next = Some(Turn { from: earlier.from, ..turn });
        } else {
            self.next = Some(turn);
        }
        self.begin()
    }

    /// The hook that ran is over. Answers what is to be run now.
    pub(super) fn ended(&mut self) -> Option<Turn> {
        self.running = false;
        self.begin()
    }

    /// Something runs, or waits.
    pub(super) fn is_busy(&self) -> bool {
        self.running || self.next.is_some()
    }

    fn begin(&mut self) -> Option<Turn> {
        if self.running || self.held {
            return None;
        }
        let turn = self.next.take()?;
        // A question is answered even if it is the same again.
        if self.last == Some(turn.told()) && turn.before.is_none() {
            // Back where it was before anybody was told, or told anew.
            self.left_out += u32::from(turn.from != turn.to || self.left_out > 0);
            return None;
        }
        self.last = Some(turn.told());
        self.running = true;
        Some(turn)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vipdrift_core::RoleName::{self, Active, Fault, Standby};

    use super::*;

    fn turn(from: RoleName, to: RoleName, term: u64) -> Turn {
        Turn { group: 0, from, to, term, reason: "a test".into(), before: None }
    }

    #[test]
    fn one_after_the_other() {
        let mut turns = Turns::default();
        assert_eq!(turns.add(turn(Standby, Active, 1)), Some(turn(Standby, Active, 1)));
        assert_eq!(turns.add(turn(Active, Standby, 1)), None, "one runs");
        assert!(turns.is_busy());
        assert_eq!(turns.ended(), Some(turn(Active, Standby, 1)));
        assert_eq!(turns.ended(), None);
        assert!(!turns.is_busy());
    }

    #[test]
    fn what_has_passed_by_is_left_out() {
        let mut turns = Turns::default();
        turns.add(turn(Standby, Active, 1));
        for term in 2..50 {
            turns.add(turn(Active, Standby, term - 1));
            turns.add(turn(Standby, Active, term));
        }
        assert_eq!(turns.ended(), None, "active it was, and active it is");
        assert_eq!(turns.left_out, 96);
        assert!(!turns.is_busy());
        turns.add(turn(Active, Fault, 50));
        turns.add(turn(Fault, Standby, 50));
        turns.add(turn(Standby, Active, 51));
        turns.add(turn(Active, Standby, 51));
        assert_eq!(turns.ended(), Some(turn(Fault, Standby, 51)));
    }

    #[test]
    fn nothing_begins_while_an_earlier_runner_has_hooks() {
        let mut turns = Turns::held();
        assert_eq!(turns.add(turn(Active, Active, 1)), None);
        assert_eq!(turns.release(Some(Told::Role(Active))), None, "its hook has run");
        assert_eq!(turns.add(turn(Active, Standby, 1)), Some(turn(Active, Standby, 1)));
        let mut turns = Turns::held();
        assert_eq!(turns.add(turn(Active, Active, 1)), None);
        assert_eq!(turns.add(turn(Active, Standby, 1)), None);
        assert!(turns.is_busy());
        assert_eq!(
            turns.release(Some(Told::Role(Active))),
            Some(turn(Active, Standby, 1)),
            "it has changed meanwhile"
        );
        let mut turns = Turns::held();
        turns.add(turn(Active, Active, 1));
        assert_eq!(turns.release(None), Some(turn(Active, Active, 1)), "nobody has run it");
    }

    #[test]
    fn what_was_prepared_is_followed_by_a_hook() {
        let before = Turn { before: Some(1), ..turn(Standby, Active, 1) };
        let mut turns = Turns::default();
        turns.add(turn(Standby, Standby, 0));
        assert_eq!(turns.add(before.clone()), None, "one runs");
        assert_eq!(turns.ended(), Some(before.clone()));
        assert_eq!(turns.add(turn(Standby, Active, 1)), None, "and this one too");
        assert_eq!(turns.ended(), Some(turn(Standby, Active, 1)));
        turns.ended();
        turns.add(turn(Active, Standby, 1));
        turns.ended();
        assert_eq!(turns.add(before.clone()), Some(before.clone()));
        assert_eq!(turns.add(turn(Standby, Standby, 1)), None);
        assert_eq!(turns.ended(), Some(turn(Standby, Standby, 1)), "given up: it is a standby");
        turns.add(before);
        assert_eq!(turns.add(turn(Standby, Standby, 1)), None);
        assert_eq!(turns.ended(), None, "it had not begun, so nothing is to be undone");
    }

    #[test]
    fn the_same_role_told_anew_runs_nothing() {
        let mut turns = Turns::default();
        turns.add(turn(Standby, Active, 1));
        turns.ended();
        assert_eq!(turns.add(turn(Active, Active, 1)), None);
    }

    proptest! {
        /// Whatever happens: one at a time, no role twice in a row, and at the end the hook of the last role has run.
        #[test]
        fn the_last_hook_is_that_of_the_last_role(
            steps in prop::collection::vec(prop_oneof![
                (0usize..4).prop_map(Some),
                Just(None),
            ], 1..200),
        ) {
            const ROLES: [RoleName; 4] = [Active, Standby, Fault, RoleName::Drained];
            let mut turns = Turns::default();
            let (mut role, mut ran, mut running) = (Standby, Vec::new(), false);
            let mut told = false;
            for step in steps {
                let next = match step {
                    Some(to) => {
                        told = true;
                        let from = std::mem::replace(&mut role, ROLES[to]);
                        turns.add(turn(from, role, 1))
                    }
                    None if running => {
                        running = false;
                        turns.ended()
                    }
                    None => None,
                };
                if let Some(next) = next {
                    prop_assert!(!running, "two at once");
                    running = true;
                    ran.push(next.to);
                }
            }
            while running {
                running = turns.ended().map(|next| ran.push(next.to)).is_some();
            }
            prop_assert!(ran.windows(2).all(|pair| pair[0] != pair[1]), "{ran:?}");
            prop_assert_eq!(ran.last().copied(), told.then_some(role));
            prop_assert!(!turns.is_busy());
        }
    }
}
