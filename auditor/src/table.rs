//! Tables for people, alike in all commands.

use std::io::{IsTerminal, stdout};

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table, TableComponent};

/// The widest that the table may be, in characters.
const WIDTH: u16 = 120;

/// A terminal that says it is narrower is not believed (some say 0), because nothing could be read in it.
const NARROWEST: u16 = 80;

/// A table without rows: as wide as the terminal, and coloured where a person looks at it.
pub(crate) fn for_people() -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_style(TableComponent::HeaderLines, '─').set_style(TableComponent::MiddleHeaderIntersections, '─');
    if table.width().is_none_or(|width| !(NARROWEST..=WIDTH).contains(&width)) {
        table.set_width(WIDTH);
    }
    if stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table
}
