//! `podwitness.json`.

use super::{Case, delete, relocate, truncate};
use crate::edit::Edit;
use crate::expect::one;

pub(super) fn cases() -> Vec<Case> {
    let path = "podwitness.json";
    let text = |text: &str| Edit::Text { path: path.to_owned(), text: text.to_owned() };
    let case =
        |tampering: &str, which: &str, edit| Case::new(tampering, "marker", which, vec![edit], one("layout", path));
    vec![
        case("flip", "layout", text(r#"{"layout":0,"about":"-"}"#)),
        case("flip", "byte-0", Edit::Flip { path: path.to_owned(), at: 0 }),
        case("truncate", "middle", truncate(path, 10)),
        case("truncate", "to-nothing", truncate(path, 0)),
        case("replace", "other-layout", text(r#"{"layout":2}"#)),
        case("replace", "true", text(r#"{"layout":true}"#)),
        case("replace", "list", text("[1]")),
        case("delete", "it", delete(path)),
        case("rename", "it", relocate(path, "podwitness.jsn")),
    ]
}
