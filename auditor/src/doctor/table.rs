//! The checks for people.

use comfy_table::{Cell, Color};

use super::check::{Check, State};
use crate::table;

/// The checks in their order, and how many there are of each state.
pub(super) fn render(checks: &[Check]) -> String {
    let mut table = table::for_people();
    table.set_header(["check", "state", "found", "what to do"]);
    for check in checks {
        let colour = match check.state {
            State::Ok => Color::Green,
            State::Warning | State::Unknown => Color::Yellow,
            State::Failed => Color::Red,
        };
        let found = match &check.subject {
            Some(subject) => format!("{subject}: {}", check.found),
            None => check.found.clone(),
        };
        table.add_row([
            Cell::new(check.name),
            Cell::new(check.state.name()).fg(colour),
            Cell::new(found),
            Cell::new(check.advice.as_deref().unwrap_or_default()),
        ]);
    }
    format!("{table}\n\n{}", tally(checks))
}

/// `18 checks: 15 ok, 2 warning, 1 unknown`.
fn tally(checks: &[Check]) -> String {
    let of = |state| checks.iter().filter(|check| check.state == state).count();
    let states = [State::Ok, State::Warning, State::Failed, State::Unknown];
    let parts: Vec<String> = states
        .into_iter()
        .filter(|state| of(*state) > 0)
        .map(|state| format!("{} {}", of(state), state.name()))
        .collect();
    format!("{} checks: {}", checks.len(), parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::{Check, render};

    #[test]
    fn each_check_has_a_row_and_each_state_is_counted() {
        let text = render(&[
            Check::ok("kernel.btf", "there"),
            Check::failed("endpoints.hooks", "it has none", "start the agent").about("veth1"),
        ]);
        assert!(text.contains("veth1: it has none"), "{text}");
        assert!(text.contains("start the agent"), "{text}");
        assert!(text.ends_with("2 checks: 1 ok, 1 failed"), "{text}");
    }
}
