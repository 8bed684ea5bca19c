//! What a key does. Nothing is told the daemon before it was confirmed.

use std::time::Instant;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::draw::HELP;
use super::model::{Command, Dialog, Focus, Model, moved, nodes};

/// What is to be done outside of the model.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Todo {
    Nothing,
    Quit,
    Say(Command),
}

/// Rows that a page has.
const PAGE: isize = 10;

/// Does what a key says.
pub(super) fn press(model: &mut Model, key: KeyEvent, now: Instant) -> Todo {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    if control && key.code == KeyCode::Char('c') {
        return Todo::Quit;
    }
    if control || key.modifiers.contains(KeyModifiers::ALT) {
        // Ctrl-D is no `d`; and in a confirmation it is no `y`.
        if matches!(model.dialog, Dialog::Confirm(_)) {
            model.dialog = Dialog::None;
        }
        return Todo::Nothing;
    }
    match std::mem::replace(&mut model.dialog, Dialog::None) {
        Dialog::None => plain(model, key.code, now),
        Dialog::Help(from) => {
            let to = match key.code {
                KeyCode::Up | KeyCode::Char('k') => from.saturating_sub(1),
                KeyCode::Down | KeyCode::Char('j') => (from + 1).min(HELP.len()),
                KeyCode::PageUp => from.saturating_sub(PAGE.unsigned_abs()),
                KeyCode::PageDown => (from + PAGE.unsigned_abs()).min(HELP.len()),
                _ => return Todo::Nothing,
            };
            model.dialog = Dialog::Help(to);
            Todo::Nothing
        }
        Dialog::Heir { group, choices, chosen } => {
            choose(model, group, choices, chosen, key.code);
            Todo::Nothing
        }
        Dialog::Confirm(command) if matches!(key.code, KeyCode::Char('y' | 'Y')) => {
            model.begin(command.clone(), now);
            Todo::Say(command)
        }
        Dialog::Confirm(_) => Todo::Nothing,
    }
}

fn plain(model: &mut Model, code: KeyCode, now: Instant) -> Todo {
    match code {
        KeyCode::Char('q') | KeyCode::Esc => return Todo::Quit,
        KeyCode::Up | KeyCode::Char('k') => model.select(-1),
        KeyCode::Down | KeyCode::Char('j') => model.select(1),
        KeyCode::PageUp => model.select(-PAGE),
        KeyCode::PageDown => model.select(PAGE),
        KeyCode::Home | KeyCode::Char('g') => model.select(isize::MIN),
        KeyCode::End | KeyCode::Char('G') => model.select(isize::MAX),
        KeyCode::Tab | KeyCode::BackTab => {
            model.focus = match model.focus {
                Focus::Groups => Focus::Nodes,
                Focus::Nodes => Focus::Groups,
            };
        }
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => model.dialog = Dialog::Help(0),
        KeyCode::Char('s' | 'd' | 'u') if model.pending.is_some() => {
            // Its outcome is still shown when it comes.
            model.refuse("another command is under way; wait for its outcome".into(), now);
        }
        KeyCode::Char('s') => model.dialog = heirs(model),
        KeyCode::Char('d') if model.last().is_some() => {
            model.dialog = Dialog::Confirm(Command::Drain { node: model.node().to_owned() });
        }
        KeyCode::Char('u') if model.last().is_some() => {
            model.dialog = Dialog::Confirm(Command::Undrain { node: model.node().to_owned() });
        }
        _ => {}
    }
    Todo::Nothing
}

/// All nodes but the holder may be the heir. The selected one is proposed, if that is what was selected last.
fn heirs(model: &Model) -> Dialog {
    let (Some(status), Some(group)) = (model.last(), model.group()) else { return Dialog::None };
    let others = nodes(status).filter(|node| group.active_node.as_deref() != Some(node));
    let choices: Vec<_> = std::iter::once(None).chain(others.map(|node| Some(node.to_owned()))).collect();
    let wanted = |choice: &Option<String>| choice.as_deref() == Some(model.node());
    let chosen = match model.focus {
        Focus::Nodes => choices.iter().position(wanted).unwrap_or(0),
        Focus::Groups => 0,
    };
    Dialog::Heir { group: group.name.clone(), choices, chosen }
}

fn choose(model: &mut Model, group: String, choices: Vec<Option<String>>, chosen: usize, code: KeyCode) {
    let chosen = match code {
        KeyCode::Up | KeyCode::Char('k') => moved(chosen, -1, choices.len()),
        KeyCode::Down | KeyCode::Char('j') | KeyCode::Tab => moved(chosen, 1, choices.len()),
        KeyCode::Char(digit @ '0'..='9') => {
            let wanted = usize::from(digit as u8 - b'0');
            return model.dialog = match choices.get(wanted) {
                Some(to) => Dialog::Confirm(Command::Switchover { group, to: to.clone() }),
                None => Dialog::Heir { group, choices, chosen },
            };
        }
        KeyCode::Enter => {
            let to = choices.get(chosen).cloned().flatten();
            return model.dialog = Dialog::Confirm(Command::Switchover { group, to });
        }
        KeyCode::Esc | KeyCode::Char('q') => return,
        _ => chosen,
    };
    model.dialog = Dialog::Heir { group, choices, chosen };
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::examples;
    use super::*;

    fn model() -> Model {
        let mut model = Model::new(Duration::from_millis(500));
        model.take_status(examples::status(), Instant::now());
        model
    }

    /// Presses keys and answers what the last one asked for.
    fn type_in(model: &mut Model, keys: &[KeyCode]) -> Todo {
        let mut todo = Todo::Nothing;
        for &code in keys {
            assert_eq!(todo, Todo::Nothing, "before {code:?}");
            todo = press(model, KeyEvent::from(code), Instant::now());
        }
        todo
    }

    fn text(keys: &str) -> Vec<KeyCode> {
        keys.chars().map(KeyCode::Char).collect()
    }

    #[test]
    fn a_switchover_is_chosen_then_confirmed() {
        let mut model = model();
        let choices = vec![None, Some("bravo".to_owned()), Some("charlie".to_owned())];
        assert_eq!(type_in(&mut model, &text("s")), Todo::Nothing);
        assert_eq!(model.dialog, Dialog::Heir { group: "web".into(), choices, chosen: 0 });
        let command = Command::Switchover { group: "web".into(), to: Some("bravo".into()) };
        assert_eq!(type_in(&mut model, &[KeyCode::Down, KeyCode::Enter]), Todo::Nothing);
        assert_eq!(model.dialog, Dialog::Confirm(command.clone()));
        assert_eq!(type_in(&mut model, &text("y")), Todo::Say(command.clone()));
        assert_eq!(model.dialog, Dialog::None);
        assert_eq!(model.pending.as_ref().map(|(command, _)| command), Some(&command));
        // One at a time.
        assert_eq!(type_in(&mut model, &text("s")), Todo::Nothing);
        assert_eq!(model.dialog, Dialog::None);
    }

    #[test]
    fn digits_choose_too_and_the_selected_node_is_proposed() {
        let next = Command::Switchover { group: "web".into(), to: None };
        assert_eq!(type_in(&mut model(), &text("s0y")), Todo::Say(next.clone()));
        assert_eq!(
            type_in(&mut model(), &[KeyCode::Char('s'), KeyCode::Enter, KeyCode::Char('y')]),
            Todo::Say(next)
        );
        let charlie = Command::Switchover { group: "web".into(), to: Some("charlie".into()) };
        assert_eq!(type_in(&mut model(), &text("s9s2y")), Todo::Say(charlie.clone()));
        let keys = [KeyCode::Tab, KeyCode::Down, KeyCode::Down, KeyCode::Char('s'), KeyCode::Enter];
        let mut model = model();
        assert_eq!(type_in(&mut model, &keys), Todo::Nothing);
        assert_eq!(model.dialog, Dialog::Confirm(charlie));
    }

    #[test]
    fn anything_but_y_cancels() {
        let keys = [KeyCode::Char('n'), KeyCode::Enter, KeyCode::Esc, KeyCode::Char('q'), KeyCode::Char('d')];
        for key in keys {
            let mut model = model();
            assert_eq!(type_in(&mut model, &text("d")), Todo::Nothing);
            assert_eq!(model.dialog, Dialog::Confirm(Command::Drain { node: "alpha".into() }));
            assert_eq!(type_in(&mut model, &[key]), Todo::Nothing, "{key:?}");
            assert_eq!((&model.dialog, &model.pending), (&Dialog::None, &None), "{key:?}");
        }
        let mut model = model();
        let ctrl_y = KeyEvent::new(KeyCode::Char('y'), KeyModifiers::CONTROL);
        assert_eq!(type_in(&mut model, &text("d")), Todo::Nothing);
        assert_eq!(press(&mut model, ctrl_y, Instant::now()), Todo::Nothing);
        assert_eq!((&model.dialog, &model.pending), (&Dialog::None, &None));
    }

    #[test]
    fn nodes_are_drained_and_undrained() {
        let drain = Command::Drain { node: "bravo".into() };
        assert_eq!(
            type_in(
                &mut model(),
                &[KeyCode::Tab, KeyCode::Char('j'), KeyCode::Char('d'), KeyCode::Char('y')]
            ),
            Todo::Say(drain)
        );
        assert_eq!(type_in(&mut model(), &text("uy")), Todo::Say(Command::Undrain { node: "alpha".into() }));
        let mut nothing = Model::new(Duration::from_millis(500));
        assert_eq!(type_in(&mut nothing, &text("sdujk")), Todo::Nothing);
        assert_eq!(nothing.dialog, Dialog::None);
    }

    #[test]
    fn every_way_out() {
        for key in [KeyCode::Char('q'), KeyCode::Esc] {
            assert_eq!(type_in(&mut model(), &[key]), Todo::Quit);
            // It closes what lies over the view first.
            assert_eq!(type_in(&mut model(), &[KeyCode::Char('?'), key, key]), Todo::Quit);
            assert_eq!(type_in(&mut model(), &[KeyCode::Char('s'), key, key]), Todo::Quit);
        }
        let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        for before in ["", "?", "s", "d"] {
            let mut model = model();
            assert_eq!(type_in(&mut model, &text(before)), Todo::Nothing);
            assert_eq!(press(&mut model, ctrl_c, Instant::now()), Todo::Quit, "after {before:?}");
        }
    }
}
