//! From the text of a file to cases.
//!
//! A line that begins with `## ` begins a case. In it, `From: ` begins the paragraph with its sources, and there are blocks
//! between fences: `yaml` (objects applied), `yaml delete` (objects deleted) and `table` (a truth table). Objects after
//! a table begin the next step. Everything else is prose.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{Case, Step, Table};

pub(super) fn read(file: &str, text: &str) -> Result<Vec<Case>> {
    let mut cases: Vec<Case> = Vec::new();
    let mut lines = (1..).zip(text.lines());
    let mut in_sources = false;
    while let Some((number, line)) = lines.next() {
        let place = format!("tests/cases/{file}:{number}");
        if let Some(title) = line.strip_prefix("## ") {
            let title = title.trim().to_owned();
            cases.push(Case { title, sources: String::new(), place, steps: vec![Step::default()] });
        } else if let Some(kind) = line.strip_prefix("```") {
            let block: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            let case = cases.last_mut().with_context(|| format!("{place}: this block is in no case"))?;
            add(case, kind, &block.join("\n")).with_context(|| place)?;
        } else if let Some(case) = cases.last_mut() {
            in_sources = line.starts_with("From: ") || (in_sources && !line.is_empty());
            if in_sources {
                case.sources.push_str(line);
                case.sources.push(' ');
            }
        }
    }
    for case in &cases {
        ensure!(!case.sources.is_empty(), "{}: it does not say where it comes from (`From: `)", case.place);
        ensure!(case.steps.iter().all(|step| !step.tables.is_empty()), "{}: a change has no truth table", case.place);
    }
    Ok(cases)
}

fn add(case: &mut Case, kind: &str, block: &str) -> Result<()> {
    let latest = case.steps.last_mut().context("a case begins with a step")?;
    if kind == "table" {
        latest.tables.push(Table::read(block)?);
        return Ok(());
    }
    let step = if latest.tables.is_empty() {
        latest
    } else {
        case.steps.push(Step::default());
        case.steps.last_mut().context("one was pushed")?
    };
    let objects: Vec<Value> = serde_saphyr::from_multiple(block)?;
    ensure!(objects.iter().all(Value::is_object), "a document in it is no object");
    match kind {
        "yaml" => step.apply.extend(objects),
        "yaml delete" => step.delete.extend(objects),
        _ => bail!("a block can be `yaml`, `yaml delete` or `table`, and not `{kind}`"),
    }
    Ok(())
}
