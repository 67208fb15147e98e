//! What is told at the end: to people, and as JSON.

use std::fmt::{self, Write as _};

use podwitness_seals::time::Time;
use serde_json::{Value, json};

use super::finding::FindingCode;
use super::report::Found;
use super::seals::{ChainOfSeals, Checked, Newest};

/// A finished verification.
pub(crate) struct Outcome {
    pub(super) root: String,
    pub(super) as_of: Time,
    /// How many keys were given; `None` where those of the evidence were used.
    pub(super) given_keys: Option<usize>,
    pub(super) keys: usize,
    pub(super) deletions: usize,
    pub(super) chains: Vec<ChainOfSeals>,
    pub(super) found: Found,
}

/// A text as it is shown to people: names in the evidence come from anybody, and what a terminal takes for an order, or what
/// would look like a line of ours, is told instead of done.
pub(super) struct Plain<'a>(pub(super) &'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| match letter {
            '"' | '\'' | '\\' => formatter.write_char(letter),
            _ => write!(formatter, "{}", letter.escape_debug()),
        })
    }
}

/// As many objects of one code are shown to people.
const SHOWN: usize = 10;

impl Outcome {
    /// Whether nothing was found.
    pub(super) fn is_good(&self) -> bool {
        self.found.findings.is_empty()
    }

    fn sum(&self) -> Checked {
        self.chains.iter().fold(Checked::default(), |sum, chain| sum.plus(chain.checked))
    }

    /// When the sealed windows begin and end.
    fn period(&self) -> (Option<Time>, Option<Time>) {
        let start = self.chains.iter().filter_map(|chain| chain.start).min();
        let end = self.sealed_chains().map(|(_, newest)| newest.end).max();
        (start, end)
    }

    /// The chains with a seal that can be used, each with its newest.
    fn sealed_chains(&self) -> impl Iterator<Item = (&ChainOfSeals, &Newest)> {
        self.chains.iter().filter_map(|chain| Some((chain, chain.newest.as_ref()?)))
    }

    /// The shape that section 7.1 of the format describes.
    pub(crate) fn to_json(&self) -> Value {
        let sum = self.sum();
        let (start, end) = self.period();
        let chains: Vec<_> = self
            .sealed_chains()
            .map(|(chain, newest)| {
                json!({
                    "cluster": chain.name.cluster, "node": chain.name.node,
                    "seals": chain.checked.seals, "objects": chain.checked.objects, "bytes": chain.checked.bytes,
                    "rows": chain.checked.rows, "start": chain.start, "end": newest.end, "last": newest.last,
                    "newest_sha256": newest.sha256,
                })
            })
            .collect();
        let findings: Vec<_> = self
            .found
            .findings
            .iter()
            .map(|((object, code), reasons)| {
                let sentences = reasons.sentences.iter().map(String::as_str).collect::<Vec<_>>().join("; ");
                json!({"code": code.code(), "object": object, "seal": reasons.seal, "message": sentences})
            })
            .collect();
        let admissions: Vec<_> = self
            .found
            .admissions
            .iter()
            .map(|((code, chain), alike)| {
                json!({
                    "code": code.code(), "cluster": chain.cluster, "node": chain.node, "count": alike.count,
                    "first": alike.first, "message": code.meaning(),
                })
            })
            .collect();
        let notes: Vec<_> = self
            .found
            .notes
            .iter()
            .map(|((code, what), alike)| {
                json!({"code": code.code(), "object": alike.first, "count": alike.count, "message": what})
            })
            .collect();
        json!({
            "result": if self.is_good() { "good" } else { "bad" },
            "keys": if self.given_keys.is_some() { "trusted" } else { "from-evidence" },
            "as_of": self.as_of,
            "checked": {
                "objects": sum.objects, "bytes": sum.bytes, "rows": sum.rows, "seals": sum.seals,
                "deletions": self.deletions, "start": start, "end": end, "chains": chains,
            },
            "findings": findings, "admissions": admissions, "notes": notes,
        })
    }

    /// A page for people.
    pub(super) fn to_text(&self) -> String {
        let mut page = String::new();
        // A string takes everything.
        let _ = self.write(&mut page);
        page
    }

    fn write(&self, page: &mut String) -> std::fmt::Result {
        match self.given_keys {
            Some(given) => writeln!(
                page,
                "Keys: {given} that you gave; what others signed counts only where these handed over to them."
            )?,
            None => writeln!(
                page,
                "Keys: the {} in the evidence itself, which prove nothing about who signed it; give yours with --trusted-keys.",
                self.keys
            )?,
        }
        self.write_checked(page)?;
        self.write_findings(page)?;
        if !self.found.admissions.is_empty() {
            writeln!(page, "\nThe evidence itself admits:")?;
            for ((code, chain), alike) in &self.found.admissions {
                let sum = if alike.sum > 0 { format!(" ({} records)", alike.sum) } else { String::new() };
                writeln!(
                    page,
                    "  {}, {}: {}{sum}: {} times, first {}",
                    code.code(),
                    Plain(&chain.to_string()),
                    code.meaning(),
                    alike.count,
                    Plain(&alike.first)
                )?;
            }
        }
        if !self.found.notes.is_empty() {
            writeln!(page, "\nNotes:")?;
            for ((code, what), alike) in &self.found.notes {
                let (code, what) = (code.code(), Plain(what));
                match &alike.first {
                    Some(first) => writeln!(page, "  {code}: {what}: {}, first {}", alike.count, Plain(first))?,
                    None => writeln!(page, "  {code}: {what}")?,
                }
            }
        }
        match self.found.findings.len() {
            0 => writeln!(page, "\nGOOD: nothing is missing, altered or contradicts itself."),
            1 => writeln!(page, "\nBAD: 1 finding."),
            count => writeln!(page, "\nBAD: {count} findings."),
        }
    }

    fn write_checked(&self, page: &mut String) -> std::fmt::Result {
        let sum = self.sum();
        write!(page, "Checked {} as of {}: ", self.root, self.as_of)?;
        writeln!(
            page,
            "{} objects with {} and {} rows, {} seals, {} deletions.",
            sum.objects,
            indicatif::HumanBytes(sum.bytes),
            sum.rows,
            sum.seals,
            self.deletions
        )?;
        for (chain, newest) in self.sealed_chains() {
            let Checked { seals, objects, rows, .. } = chain.checked;
            let name = chain.name.to_string();
            write!(page, "  {}: {seals} seals, {objects} objects, {rows} rows", Plain(&name))?;
            let start = chain.start.map_or(String::new(), |start| format!("from {start} "));
            let end = if newest.last { "a clean end" } else { "going on" };
            writeln!(page, ", {start}to {} ({end}); newest seal {}", newest.end, newest.sha256)?;
        }
        Ok(())
    }

    fn write_findings(&self, page: &mut String) -> std::fmt::Result {
        let mut codes: Vec<FindingCode> = self.found.findings.keys().map(|(_, code)| *code).collect();
        codes.sort_unstable();
        codes.dedup();
        for code in codes {
            let alike: Vec<_> = self.found.findings.iter().filter(|((_, of), _)| *of == code).collect();
            writeln!(page, "\n{} ({}): {}", code.code(), alike.len(), code.meaning())?;
            for ((object, _), reasons) in alike.iter().take(SHOWN) {
                writeln!(page, "  {}", Plain(object))?;
                if let Some(seal) = &reasons.seal {
                    writeln!(page, "    seal: {}", Plain(seal))?;
                }
                for sentence in &reasons.sentences {
                    writeln!(page, "    {}", Plain(sentence))?;
                }
            }
            if alike.len() > SHOWN {
                writeln!(page, "  and {} more; -o json has all", alike.len() - SHOWN)?;
            }
        }
        Ok(())
    }
}
