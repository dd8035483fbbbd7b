//! Puts together what the parsers found in file after file: notices duplicates and what is too long, and keeps the list of
//! findings readable.

use std::collections::{BTreeMap, HashMap, hash_map};
use std::path::{Path, PathBuf};

use crate::content::{Content, Example, ExampleId};
use crate::findings::{Code, Finding, duplicate, too_long};
use crate::formats::Found;
use crate::read::Limits;

/// More findings of one code in one file than this are counted, not listed: a log file that is called `.jsonl` should not
/// bury the rest.
const MOST_OF_A_CODE_IN_A_FILE: usize = 50;

pub(crate) struct Collector<'a> {
    limits: &'a Limits<'a>,
    examples: Vec<Example>,
    findings: Vec<Finding>,
    /// Where in `examples` each content stands first.
    places: HashMap<ExampleId, usize>,
    /// Of the current file.
    counts: BTreeMap<Code, usize>,
    unlisted: BTreeMap<Code, Finding>,
}

impl<'a> Collector<'a> {
    pub(crate) fn new(limits: &'a Limits<'a>) -> Self {
        Self {
            limits,
            examples: Vec::new(),
            findings: Vec::new(),
            places: HashMap::new(),
            counts: BTreeMap::new(),
            unlisted: BTreeMap::new(),
        }
    }

    /// Takes what was found in `file`.
    pub(crate) fn add(&mut self, file: &Path, found: Found) {
        match found {
            Found::Example { content, lines } => self.example(file.to_owned(), content, lines),
            Found::Finding(finding) => self.finding(finding),
        }
    }

    fn example(&mut self, file: PathBuf, content: Content, lines: (usize, usize)) {
        let id = content.id();
        match self.places.entry(id) {
            hash_map::Entry::Occupied(place) => {
                if let Some(first) = self.examples.get(*place.get()) {
                    let finding = duplicate(&file, lines, (&first.file, first.lines.0));
                    self.finding(finding);
                }
                return;
            }
            hash_map::Entry::Vacant(place) => place.insert(self.examples.len()),
        };
        if let Some(count_tokens) = self.limits.count_tokens {
            let tokens = count_tokens(&content);
            if tokens > self.limits.max_tokens {
                self.finding(too_long(&file, lines, tokens, self.limits.max_tokens));
            }
        }
        self.examples.push(Example { id, content, title: None, file, lines });
    }

    pub(crate) fn finding(&mut self, finding: Finding) {
        let count = self.counts.entry(finding.code).or_default();
        *count += 1;
        if *count <= MOST_OF_A_CODE_IN_A_FILE {
            self.findings.push(finding);
        } else {
            let last = finding.lines.1;
            self.unlisted.entry(finding.code).or_insert(finding).lines.1 = last;
        }
    }

    /// The next thing added is of another file.
    pub(crate) fn end_file(&mut self) {
        for (code, mut finding) in std::mem::take(&mut self.unlisted) {
            let more = self.counts.get(&code).copied().unwrap_or_default() - MOST_OF_A_CODE_IN_A_FILE;
            finding.message = format!("{more} more like the {MOST_OF_A_CODE_IN_A_FILE} above");
            finding.column = None;
            self.findings.push(finding);
        }
        self.counts.clear();
    }

    /// Examples in the order they came, findings in the order of files and lines.
    pub(crate) fn finish(mut self) -> (Vec<Example>, Vec<Finding>) {
        self.end_file();
        self.findings.sort_by(|one, other| {
            (&one.file, one.lines, one.code).cmp(&(&other.file, other.lines, other.code))
        });
        (self.examples, self.findings)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{line_of, read_files};

    #[test]
    fn a_flood_of_findings_is_counted() {
        let log = "12:00 started\n".repeat(1234);
        let dataset = read_files(&[("a.jsonl", log.as_bytes()), ("b.jsonl", b"{}\n{\n")]);
        assert_eq!(dataset.findings.len(), 50 + 1 + 2);
        assert_eq!(
            line_of(&dataset.findings[50]),
            "a.jsonl:51-1234 HP003 invalid-json: 1184 more like the 50 above"
        );
    }
}
