//! The text the toy model learns from: a grammar of hand-written sentences, read from small files and
//! expanded at random.
//!
//! This module owns the file format and its rules. It must not know where the files live, how much text is
//! wanted or what becomes of it.
//!
//! # The format
//!
//! - `# ...` is a comment; blank lines mean nothing.
//! - `[rule]` begins a rule; each line below it is one alternative, with a weight in front if it is not 1:
//!   `3| ...`.
//! - `{rule}` is a fresh expansion of that rule.
//! - `{rule:x}` is expanded once in a document and remembered as `x`; `{:x}`, or another `{...:x}`,
//!   repeats it.
//! - `{rule?}` is there half of the time.
//! - `{^rule}` begins with a capital letter.
//! - `{!rule:x}` remembers without writing, so that one place can choose the words that several sentences
//!   share.
//!
//! All files share one name space of rules. A file named `words` holds only word lists. Any other file is a
//! domain and defines `[<domain>_note]`, `[<domain>_ask]` and `[<domain>_title]`; the ask and the title may
//! only repeat what every note of the domain remembers.

mod effects;

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use rand::Rng;

use effects::{Effect, effects};

/// How deep rules may nest. Hand-written text needs five or six; the limit keeps expansion off the end of the
/// stack.
const MAX_DEPTH: usize = 64;

/// The file of word lists, which is no domain.
const WORDS: &str = "words";

/// What a domain's file defines.
const DOMAIN_PARTS: [&str; 3] = ["note", "ask", "title"];

/// One note, the instruction it answers and a title for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Document {
    pub ask: String,
    pub title: String,
    pub note: String,
}

/// A file and a line in it, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub file: String,
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.file, self.line)
    }
}

/// Why the files are no grammar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GrammarError {
    #[error("{at}: text before the first [rule]")]
    OutsideRule { at: Place },
    #[error("{at}: a rule begins with [its_name] alone on a line")]
    Header { at: Place },
    #[error("{at}: a weight is a whole number from 1 on")]
    Weight { at: Place },
    #[error("{at}: {text:?} is no slot")]
    Slot { at: Place, text: String },
    #[error("{at}: [{rule}] is already defined at {first}")]
    Duplicate { at: Place, rule: String, first: Place },
    #[error("{at}: [{rule}] has no alternative")]
    Empty { at: Place, rule: String },
    #[error("{at}: there is no rule [{rule}]")]
    Undefined { at: Place, rule: String },
    #[error("{at}: this domain's file does not define [{rule}]")]
    Missing { at: Place, rule: String },
    #[error("{at}: nothing is sure to be remembered as {name:?} before this")]
    Unbound { at: Place, name: String },
    #[error("{at}: [{rule}] contains itself")]
    Cycle { at: Place, rule: String },
    #[error("{at}: rules nest deeper than {MAX_DEPTH} here")]
    TooDeep { at: Place },
}

/// A checked grammar: every reference resolves, nothing contains itself, and whatever a document repeats has
/// been remembered before.
#[derive(Debug, Clone)]
pub(crate) struct Grammar {
    rules: Vec<Rule>,
    /// Each domain's note, ask and title.
    domains: HashMap<String, [usize; 3]>,
}

#[derive(Debug, Clone)]
struct Rule {
    name: String,
    at: Place,
    /// Comes from the file of word lists.
    is_word_list: bool,
    /// Never empty.
    alternatives: Vec<Alternative>,
    /// The sum of the weights; never zero.
    total_weight: u64,
}

#[derive(Debug, Clone)]
struct Alternative {
    at: Place,
    weight: u64,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Slot(Slot),
}

#[derive(Debug, Clone)]
struct Slot {
    what: What,
    optional: bool,
    capital: bool,
    silent: bool,
}

/// `usize` is an index into the grammar's rules.
#[derive(Debug, Clone)]
enum What {
    Fresh(usize),
    Remembered(usize, String),
    Repeated(String),
}

impl What {
    fn rule(&self) -> Option<usize> {
        match self {
            Self::Fresh(rule) | Self::Remembered(rule, _) => Some(*rule),
            Self::Repeated(_) => None,
        }
    }
}

impl Grammar {
    /// Reads files given as a name (`food.txt`, a path before it is fine) and a text.
    pub(crate) fn parse(files: &[(&str, &str)]) -> Result<Self, GrammarError> {
        let sources = sources(files)?;
        let mut index = HashMap::with_capacity(sources.len());
        for (number, source) in sources.iter().enumerate() {
            if let Some(first) = index.insert(source.name, number) {
                let first = sources.get(first).map_or_else(|| source.at.clone(), |first| first.at.clone());
                return Err(GrammarError::Duplicate {
                    at: source.at.clone(),
                    rule: source.name.into(),
                    first,
                });
            }
        }
        let rules = sources.iter().map(|source| rule(source, &index)).collect::<Result<Vec<_>, _>>()?;
        let effects = effects(&rules)?;
        let mut domains = HashMap::new();
        for (file, _) in files {
            let domain = stem(file);
            if domain != WORDS {
                domains.insert(domain.to_owned(), domain_rules(file, domain, &index, &effects)?);
            }
        }
        Ok(Self { rules, domains })
    }

    /// A new document. A domain that the grammar does not have gives an empty one.
    pub(crate) fn document(&self, domain: &str, rng: &mut impl Rng) -> Document {
        let Some([note, ask, title]) = self.domains.get(domain) else { return Document::default() };
        let mut memory = HashMap::new();
        let mut write = |rule: usize| {
            let mut text = String::new();
            self.expand(rule, &mut memory, rng, &mut text);
            tidy(&text)
        };
        let note = write(*note);
        let ask = write(*ask);
        let title = write(*title);
        Document { ask, title, note }
    }

    /// How many hand-written clauses and sentences there are, for the model card: alternatives that have
    /// words of their own and a slot, or at least four words or eight Chinese characters. Word lists, whole
    /// notes, asks and titles do not count.
    pub(crate) fn clause_patterns(&self) -> usize {
        let counts =
            |rule: &&Rule| !rule.is_word_list && !DOMAIN_PARTS.iter().any(|part| is_part(&rule.name, part));
        self.rules
            .iter()
            .filter(counts)
            .flat_map(|rule| &rule.alternatives)
            .filter(|it| it.is_clause())
            .count()
    }

    fn expand<'g>(
        &'g self,
        rule: usize,
        memory: &mut HashMap<&'g str, String>,
        rng: &mut impl Rng,
        out: &mut String,
    ) {
        let Some(alternative) = self.rules.get(rule).and_then(|rule| rule.choose(rng)) else { return };
        for piece in &alternative.pieces {
            let slot = match piece {
                Piece::Text(text) => {
                    out.push_str(text);
                    continue;
                }
                Piece::Slot(slot) => slot,
            };
            if slot.optional && rng.random_bool(0.5) {
                continue;
            }
            let mut text = String::new();
            match &slot.what {
                What::Fresh(rule) => self.expand(*rule, memory, rng, &mut text),
                What::Repeated(name) => text.push_str(memory.get(name.as_str()).map_or("", String::as_str)),
                What::Remembered(rule, name) => {
                    if let Some(known) = memory.get(name.as_str()) {
                        text.push_str(known);
                    } else {
                        self.expand(*rule, memory, rng, &mut text);
                        memory.insert(name, text.clone());
                    }
                }
            }
            match (slot.silent, slot.capital) {
                (true, _) => {}
                (false, true) => push_capitalised(out, &text),
                (false, false) => out.push_str(&text),
            }
        }
    }
}

impl Rule {
    fn choose(&self, rng: &mut impl Rng) -> Option<&Alternative> {
        let mut left = rng.random_range(0..self.total_weight.max(1));
        self.alternatives.iter().find(|alternative| match left.checked_sub(alternative.weight) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        })
    }
}

impl Alternative {
    fn is_clause(&self) -> bool {
        let has_slot = self.slots().next().is_some();
        // A slot stands for one word.
        let text: String = self
            .pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.as_str(),
                Piece::Slot(slot) if slot.silent => "",
                Piece::Slot(_) => "x",
            })
            .collect();
        let words = text.split_whitespace().filter(|word| word.contains(char::is_alphanumeric)).count();
        let hanzi = text.chars().filter(|char| ('\u{4e00}'..='\u{9fff}').contains(char)).count();
        let own_words =
            |piece: &Piece| matches!(piece, Piece::Text(text) if text.contains(char::is_alphanumeric));
        self.pieces.iter().any(own_words) && (has_slot || words >= 4 || hanzi >= 8)
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Slot(slot) => Some(slot),
            Piece::Text(_) => None,
        })
    }
}

/// A rule's lines, before its slots are read.
struct Source<'a> {
    name: &'a str,
    at: Place,
    lines: Vec<(Place, &'a str)>,
}

fn sources<'a>(files: &[(&str, &'a str)]) -> Result<Vec<Source<'a>>, GrammarError> {
    let mut sources = Vec::new();
    for (file, text) in files {
        let mut current: Option<Source<'a>> = None;
        for (number, line) in text.lines().enumerate() {
            let at = Place { file: (*file).to_owned(), line: number + 1 };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(header) = line.strip_prefix('[') {
                let name = header.strip_suffix(']').filter(|name| is_name(name));
                let name = name.ok_or_else(|| GrammarError::Header { at: at.clone() })?;
                sources.extend(current.replace(Source { name, at, lines: Vec::new() }));
            } else if let Some(source) = &mut current {
                source.lines.push((at, line));
            } else {
                return Err(GrammarError::OutsideRule { at });
            }
        }
        sources.extend(current);
    }
    Ok(sources)
}

fn rule(source: &Source<'_>, index: &HashMap<&str, usize>) -> Result<Rule, GrammarError> {
    let mut alternatives = Vec::with_capacity(source.lines.len());
    for (at, line) in &source.lines {
        let (weight, text) = weighted(line).ok_or_else(|| GrammarError::Weight { at: at.clone() })?;
        alternatives.push(Alternative { at: at.clone(), weight, pieces: pieces(text, at, index)? });
    }
    if alternatives.is_empty() {
        return Err(GrammarError::Empty { at: source.at.clone(), rule: source.name.into() });
    }
    Ok(Rule {
        name: source.name.to_owned(),
        at: source.at.clone(),
        is_word_list: stem(&source.at.file) == WORDS,
        total_weight: alternatives.iter().map(|alternative| alternative.weight).sum(),
        alternatives,
    })
}

/// Splits `3| text` into its weight and its text; `None` if the weight is none.
fn weighted(line: &str) -> Option<(u64, &str)> {
    let Some((digits, text)) = line.split_once('|') else { return Some((1, line)) };
    if digits.is_empty() || !digits.chars().all(|char| char.is_ascii_digit()) {
        return Some((1, line));
    }
    // Of 32 bits, so that no sum of weights overflows.
    let weight: u32 = digits.parse().ok()?;
    (weight > 0).then_some((u64::from(weight), text.trim_start()))
}

fn pieces(text: &str, at: &Place, index: &HashMap<&str, usize>) -> Result<Vec<Piece>, GrammarError> {
    let no_slot = |text: &str| GrammarError::Slot { at: at.clone(), text: text.to_owned() };
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(start);
        let (inside, after) =
            from.strip_prefix('{').and_then(|it| it.split_once('}')).ok_or_else(|| no_slot(from))?;
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        pieces.push(Piece::Slot(slot(inside, at, index)?));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

/// Reads what stands between the braces.
fn slot(inside: &str, at: &Place, index: &HashMap<&str, usize>) -> Result<Slot, GrammarError> {
    let no_slot = || GrammarError::Slot { at: at.clone(), text: format!("{{{inside}}}") };
    let (inside_flags, optional) = inside.strip_suffix('?').map_or((inside, false), |rest| (rest, true));
    let (reference, capital, silent) = if let Some(rest) = inside_flags.strip_prefix('^') {
        (rest, true, false)
    } else if let Some(rest) = inside_flags.strip_prefix('!') {
        (rest, false, true)
    } else {
        (inside_flags, false, false)
    };
    let (rule, name) = match reference.split_once(':') {
        Some((rule, name)) => (rule, Some(name)),
        None => (reference, None),
    };
    if !name.is_none_or(is_name) || !(is_name(rule) || rule.is_empty() && name.is_some()) {
        return Err(no_slot());
    }
    let found = if rule.is_empty() {
        None
    } else {
        let unknown = || GrammarError::Undefined { at: at.clone(), rule: rule.to_owned() };
        Some(*index.get(rule).ok_or_else(unknown)?)
    };
    let what = match (found, name) {
        (Some(rule), Some(name)) => What::Remembered(rule, name.to_owned()),
        (None, Some(name)) if !silent => What::Repeated(name.to_owned()),
        (Some(rule), None) if !silent => What::Fresh(rule),
        _ => return Err(no_slot()),
    };
    Ok(Slot { what, optional, capital, silent })
}

/// Finds a domain's three rules and checks that they repeat only what is remembered.
fn domain_rules(
    file: &str,
    domain: &str,
    index: &HashMap<&str, usize>,
    effects: &[Effect],
) -> Result<[usize; 3], GrammarError> {
    let mut found = [0; 3];
    let mut known = &BTreeSet::new();
    for (part, place) in DOMAIN_PARTS.iter().zip(&mut found) {
        let name = format!("{domain}_{part}");
        let Some(rule) = index.get(name.as_str()) else {
            return Err(GrammarError::Missing { at: Place { file: file.to_owned(), line: 1 }, rule: name });
        };
        let effect = &effects[*rule];
        if let Some((name, at)) = effect.needs.iter().find(|(name, _)| !known.contains(*name)) {
            return Err(GrammarError::Unbound { at: at.clone(), name: name.clone() });
        }
        // The note comes first; the others may repeat what it remembers.
        if *part == "note" {
            known = &effect.binds;
        }
        *place = *rule;
    }
    Ok(found)
}

fn is_part(rule: &str, part: &str) -> bool {
    rule.strip_suffix(part).is_some_and(|domain| domain.ends_with('_'))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|char| char.is_alphanumeric() || char == '_')
}

/// `corpus/en/food.txt` is about `food`.
fn stem(file: &str) -> &str {
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    name.split_once('.').map_or(name, |(stem, _)| stem)
}

fn push_capitalised(out: &mut String, text: &str) {
    let mut chars = text.chars();
    out.extend(chars.next().into_iter().flat_map(char::to_uppercase));
    out.push_str(chars.as_str());
}

/// Takes away what an empty optional leaves: double spaces and spaces before punctuation.
fn tidy(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.trim().chars() {
        if ".,;:!?)。，、；：！？）".contains(char) {
            out.truncate(out.trim_end_matches(' ').len());
        }
        if char != ' ' || !out.ends_with(' ') {
            out.push(char);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const FOOD: &str = "
# A comment.
[food_note]
{!soup:dish}{^:dish} , {very?}  {good} . More {:dish}!
[food_ask]
Write about {:dish}.
[food_title]
{^:dish}
[very]
very
[good]
good
";

    fn parse(files: &[(&str, &str)]) -> Result<Grammar, String> {
        Grammar::parse(files).map_err(|error| error.to_string())
    }

    /// The error of a domain whose note is this text.
    fn error_in(text: &str) -> String {
        let food = format!("[food_note]\n{text}\n[food_ask]\nask\n[food_title]\ntitle");
        parse(&[("food.txt", &food)]).unwrap_err()
    }

    #[test]
    fn a_document_keeps_its_names_and_is_tidy() {
        let words = "[soup]\n3| soup of leeks\nsoup of peas";
        let grammar = parse(&[("en/words.txt", words), ("en/food.txt", FOOD)]).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut leeks = 0;
        for _ in 0..400 {
            let document = grammar.document("food", &mut rng);
            let dish = if document.note.contains("leeks") { "oup of leeks" } else { "oup of peas" };
            leeks += usize::from(dish.ends_with("leeks"));
            let good = if document.note.contains("very") { "very good" } else { "good" };
            assert_eq!(document.note, format!("S{dish}, {good}. More s{dish}!"));
            assert_eq!(document.ask, format!("Write about s{dish}."));
            assert_eq!(document.title, format!("S{dish}"));
        }
        assert!((250..350).contains(&leeks), "{leeks} of 400 with a weight of 3 to 1");
        assert_eq!(grammar.document("travel", &mut rng), Document::default());
    }

    #[test]
    fn the_same_seed_gives_the_same_document() {
        let grammar = parse(&[("words", "[soup]\na\nb\nc\nd"), ("food", FOOD)]).unwrap();
        let document = || grammar.document("food", &mut ChaCha8Rng::seed_from_u64(3));
        assert_eq!(document(), document());
    }

    #[test]
    fn chinese_punctuation_takes_no_space() {
        assert_eq!(tidy(" 店里很安静 ，茶很香 。 "), "店里很安静，茶很香。");
    }

    #[test]
    fn clauses_are_counted_and_lists_are_not() {
        let food = "[food_note]\nOne note of {open} and {list}.\n[food_ask]\nAsk for it now, please.\n\
                    [food_title]\nA title of four words\n\
                    [open]\nA {list}.\nThere was soup again.\nSoup again.\n{list} {list}\n\
                    小店今天下午还开着\n小店\n[list]\nleeks\n";
        assert_eq!(parse(&[("food.txt", food)]).unwrap().clause_patterns(), 3);
    }

    #[test]
    fn errors_name_their_place() {
        assert_eq!(error_in("{soup}"), "food.txt:2: there is no rule [soup]");
        assert_eq!(error_in("{food ask}"), "food.txt:2: \"{food ask}\" is no slot");
        assert_eq!(error_in("{!food_ask}"), "food.txt:2: \"{!food_ask}\" is no slot");
        assert_eq!(error_in("a } b"), "food.txt:2: \"} b\" is no slot");
        assert_eq!(error_in("a {food_ask"), "food.txt:2: \"{food_ask\" is no slot");
        assert_eq!(error_in("0| a"), "food.txt:2: a weight is a whole number from 1 on");
        assert_eq!(error_in("[two words]"), "food.txt:2: a rule begins with [its_name] alone on a line");
        assert_eq!(error_in(""), "food.txt:1: [food_note] has no alternative");
        assert_eq!(error_in("{b}\n[b]\n{food_note}"), "food.txt:1: [food_note] contains itself");
        assert_eq!(error_in("a\n[food_note]\nb"), "food.txt:3: [food_note] is already defined at food.txt:1");
        assert_eq!(parse(&[("words", "a")]).unwrap_err(), "words:1: text before the first [rule]");
        let missing = parse(&[("food.txt", "[food_note]\na")]).unwrap_err();
        assert_eq!(missing, "food.txt:1: this domain's file does not define [food_ask]");
    }

    #[test]
    fn what_is_repeated_has_been_remembered() {
        let unbound = "nothing is sure to be remembered as \"x\" before this";
        assert_eq!(error_in("{:x} {food_ask:x}"), format!("food.txt:2: {unbound}"));
        assert_eq!(error_in("{food_ask:x?} {:x}"), format!("food.txt:2: {unbound}"));
        // Only one of two alternatives remembers it.
        assert_eq!(error_in("{kit} {:x}\n[kit]\n{!food_ask:x}\nnothing"), format!("food.txt:2: {unbound}"));
        let ask = "[food_note]\n{list:x}\nno list\n[food_ask]\n{:x}\n[food_title]\ntitle\n[list]\na";
        assert_eq!(parse(&[("food.txt", ask)]).unwrap_err(), format!("food.txt:5: {unbound}"));
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow() {
        let chain: String =
            (0..100_000).map(|number| format!("[r{number}]\n{{r{}}}\n", number + 1)).collect();
        let error = parse(&[("words", &format!("{chain}[r100000]\nend"))]).unwrap_err();
        assert!(error.ends_with("rules nest deeper than 64 here"), "{error}");
        let reversed: String = (1..100).map(|number| format!("[r{number}]\n{{r{}}}\n", number - 1)).collect();
        let error = parse(&[("words", &format!("[r0]\nend\n{reversed}"))]).unwrap_err();
        assert!(error.ends_with("rules nest deeper than 64 here"), "{error}");
    }
}
