//! What `status` prints.

use podwitness_seals::time::Time;

use super::Row;
use crate::failure::Failure;
use crate::output::Output;
use crate::retain::output::{print as print_text, print_json};
use crate::table;

pub(super) fn print(rows: &[Row], last_seal: Option<Time>, output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        let namespaces = rows.iter().map(|row| {
            serde_json::json!({
                "namespace": row.namespace,
                "from": row.amount.map(|amount| amount.from),
                "to": row.amount.map(|amount| amount.to),
                "files": row.amount.map_or(0, |amount| amount.files),
                "bytes": row.amount.map_or(0, |amount| amount.bytes),
                "retention_seconds": row.retention_seconds,
                "held": row.held,
            })
        });
        return print_json(&serde_json::json!({"last_seal": last_seal, "namespaces": namespaces.collect::<Vec<_>>()}));
    }
    let mut table = table::for_people();
    table.set_header(["namespace", "from", "to", "files", "bytes", "kept for", "held"]);
    for row in rows {
        let time = |time: Option<Time>| time.map_or_else(|| "-".to_owned(), |time| time.to_string());
        table.add_row([
            row.namespace.clone(),
            time(row.amount.map(|amount| amount.from)),
            time(row.amount.map(|amount| amount.to)),
            row.amount.map_or(0, |amount| amount.files).to_string(),
            row.amount.map_or(0, |amount| amount.bytes).to_string(),
            duration(row.retention_seconds),
            if row.held { "yes" } else { "no" }.to_owned(),
        ]);
    }
    let sealed = match last_seal {
        Some(time) => format!("sealed until {time}"),
        None => "nothing is sealed yet".to_owned(),
    };
    print_text(&format!("{table}\n\n{sealed}"))
}

/// A duration in the largest unit in which it is whole.
fn duration(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("m", 60)];
    let whole = units.into_iter().find(|(_, unit)| seconds.is_multiple_of(*unit));
    let (name, unit) = whole.unwrap_or(("s", 1));
    format!("{}{name}", seconds / unit)
}
