//! Puts together what the parsers found in file after file: notices duplicates, divides what is too long, and keeps the
//! list of findings readable.

use std::collections::{BTreeMap, HashMap, hash_map};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::content::{Content, Example, ExampleId};
use crate::divide::divide;
use crate::findings::{
    Code, Finding, duplicate, nothing_learnt, null_characters, template_leakage, template_refuses, too_long,
    turn_left_out,
};
use crate::formats::{Format, Found, without_blank_ends};
use crate::read::{Limits, Measure, Measured};
use crate::shapes::Shape;
use crate::title::{heading_at_start, title};

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
    shapes: BTreeMap<Shape, usize>,
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
            shapes: BTreeMap::new(),
        }
    }

    /// Takes what was found in `file`.
    pub(crate) fn add(&mut self, file: &Path, found: Found) {
        match found {
            Found::Example { shape, content, title: given, lines } => {
                *self.shapes.entry(shape).or_default() += 1;
                let title = match &content {
                    Content::Text(text) => title(text, given.as_deref(), file),
                    _ => None,
                };
                self.example(Example { id: content.id(), content, title, file: file.to_owned(), lines });
            }
            Found::Finding(finding) => self.finding(finding),
        }
    }

    /// How many records of which shape the current file has so far.
    pub(crate) fn shapes(&self) -> Vec<(Shape, usize)> {
        self.shapes.iter().map(|(shape, count)| (*shape, *count)).collect()
    }

    fn example(&mut self, example: Example) {
        let Example { id, file, lines, content, .. } = &example;
        if let Some(finding) = null_characters(file, *lines, content) {
            self.finding(finding);
            return;
        }
        match self.places.entry(*id) {
            hash_map::Entry::Occupied(place) => {
                if let Some(first) = self.examples.get(*place.get()) {
                    let finding = duplicate(file, *lines, (&first.file, first.lines.0));
                    self.finding(finding);
                }
                return;
            }
            hash_map::Entry::Vacant(place) => place.insert(self.examples.len()),
        };
        if let Some(finding) = template_leakage(file, *lines, content) {
            self.finding(finding);
        }
        self.examples.push(example);
    }

    /// Measures all examples, several at a time; texts that are too long are divided, what cannot be learnt goes.
    fn measure(&mut self) -> Vec<Measured> {
        let Some(measure) = self.limits.measure else { return Vec::new() };
        let max_tokens = self.limits.max_tokens;
        let examples = std::mem::take(&mut self.examples);
        let measured: Vec<Result<_, String>> = examples
            .par_iter()
            .map(|example| {
                let measured = measure(example)?;
                let is_long = measured.longest_form > max_tokens;
                Ok((measured, if is_long { pieces(example, max_tokens, measure) } else { Vec::new() }))
            })
            .collect();
        let mut seen: HashMap<ExampleId, (PathBuf, usize)> = HashMap::new();
        let mut kept = Vec::with_capacity(examples.len());
        let mut file = None;
        for (example, measured) in examples.into_iter().zip(measured) {
            let Example { lines, .. } = example;
            if file.as_ref().is_some_and(|file| *file != example.file) {
                self.end_file();
            }
            file = Some(example.file.clone());
            if let Ok((Measured { left_out, .. }, _)) = &measured
                && !left_out.is_empty()
            {
                self.finding(turn_left_out(&example.file, lines, left_out));
            }
            let learnt = match measured {
                Err(why) => {
                    self.finding(template_refuses(&example.file, lines, &why));
                    continue;
                }
                Ok((Measured { tokens, learnt: 0, .. }, _)) => {
                    self.finding(nothing_learnt(&example.file, lines, tokens, max_tokens));
                    continue;
                }
                Ok((measured, pieces)) if pieces.is_empty() => {
                    if measured.tokens > max_tokens {
                        self.finding(too_long(&example.file, lines, measured.tokens, max_tokens, &[]));
                    }
                    vec![(example, measured)]
                }
                Ok((measured, pieces)) => {
                    let starts: Vec<usize> = pieces.iter().map(|(piece, _)| piece.lines.0).collect();
                    self.finding(too_long(&example.file, lines, measured.tokens, max_tokens, &starts));
                    pieces
                }
            };
            for (example, measured) in learnt {
                match seen.entry(example.id) {
                    hash_map::Entry::Occupied(first) => {
                        let (file, line) = first.get();
                        let finding = duplicate(&example.file, example.lines, (file, *line));
                        self.finding(finding);
                    }
                    hash_map::Entry::Vacant(place) => {
                        place.insert((example.file.clone(), example.lines.0));
                        kept.push(measured);
                        self.examples.push(example);
                    }
                }
            }
        }
        kept
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
        self.shapes.clear();
    }

    /// Examples in the order they came, findings in the order of files and lines.
    pub(crate) fn finish(mut self) -> (Vec<Example>, Vec<Measured>, Vec<Finding>) {
        let measured = self.measure();
        self.end_file();
        self.findings.sort_by(|one, other| {
            (&one.file, one.lines, one.code).cmp(&(&other.file, other.lines, other.code))
        });
        (self.examples, measured, self.findings)
    }
}

/// The texts that a long one is divided into; none where it stays whole.
fn pieces(example: &Example, max_tokens: usize, measure: &Measure<'_>) -> Vec<(Example, Measured)> {
    let Content::Text(text) = &example.content else { return Vec::new() };
    // Each line of such a file is a line of the text; a record stands on lines of its own.
    let has_lines = matches!(Format::of(&example.file), Some(Format::Text | Format::Markdown));
    let piece = |part: &str| {
        let content = Content::Text(without_blank_ends(part).to_owned());
        Example { id: content.id(), content, ..example.clone() }
    };
    let tokens = |part: &str| measure(&piece(part)).ok().map(|measured| measured.longest_form);
    let mut pieces = Vec::new();
    let mut line = example.lines.0;
    for range in divide(text, max_tokens, &tokens) {
        let part = text.get(range.clone()).unwrap_or_default();
        let first = line + part.lines().take_while(|line| line.trim().is_empty()).count();
        let last = line + part.trim_end().matches('\n').count();
        line += part.matches('\n').count();
        if part.trim().is_empty() {
            continue;
        }
        let mut piece = piece(part);
        if has_lines {
            piece.lines = (first, last);
        }
        if range.start > 0 {
            piece.title = heading_at_start(part);
        }
        match measure(&piece) {
            Ok(measured) if measured.longest_form <= max_tokens && measured.learnt > 0 => {
                pieces.push((piece, measured));
            }
            // Then it is better cut than in shreds.
            _ => return Vec::new(),
        }
    }
    // A single one where all the rest is blank.
    pieces
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
