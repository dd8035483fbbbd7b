//! Tells a front matter block at the start of a Markdown file from a text, in the forms that blog engines and note programs write.
//! A plain text has none, but for one that says that it is a draft.
//!
//! | form | begins with | ends with |
//! |---|---|---|
//! | YAML (Jekyll, Hugo, Obsidian …) | `---`, perhaps with a word such as `toml` behind it | `---` or `...` |
//! | TOML (Hugo, Zola) | `+++` | `+++` |
//! | JSON (Hugo) | `{` | its `}` |
//! | JSON (Middleman, Hexo) | `;;;` or a key in quotes | `;;;` |
//! | YAML (Hexo) | a key | `---` |
//! | lines of keys and values (Pelican) | a key | a blank line |
//! | lines of keys and values (Nikola) | `<!--` and `.. title:` | `-->` |
//! | title, authors, date (Pandoc) | `% ` | a line without it |
//!
//! The lines at the top are held until it is clear what they are; what is no block is given back.

mod entries;
mod keys;

use entries::{Entry, Syntax};
use keys::{Sureness, is_known, is_title, key_of, sureness};

pub(crate) use keys::Meta;

use crate::findings::shown_list;
use crate::lines::{Body, Line};

/// What is longer is a text. The cards of datasets with hundreds of parts reach some 100 KiB.
const MOST_BYTES: usize = 1 << 20;

/// A line that waits for its verdict.
pub(crate) struct HeldLine {
    number: usize,
    offset: u64,
    body: HeldBody,
}

enum HeldBody {
    Whole(Vec<u8>),
    TooLong(u64),
}

impl HeldLine {
    pub(crate) fn of(line: &Line<'_>) -> HeldLine {
        let body = match line.body {
            Body::Whole(bytes) => HeldBody::Whole(bytes.to_vec()),
            Body::TooLong { bytes } => HeldBody::TooLong(bytes),
        };
        HeldLine { number: line.number, offset: line.offset, body }
    }

    pub(crate) fn line(&self) -> Line<'_> {
        let body = match &self.body {
            HeldBody::Whole(bytes) => Body::Whole(bytes),
            HeldBody::TooLong(bytes) => Body::TooLong { bytes: *bytes },
        };
        Line { number: self.number, offset: self.offset, body }
    }

    /// Without blanks at its end: they are invisible in an editor, nobody means something by them.
    fn text(&self) -> &str {
        match &self.body {
            HeldBody::Whole(bytes) => str::from_utf8(bytes).map_or("\u{fffd}", str::trim_end),
            HeldBody::TooLong(_) => "\u{fffd}",
        }
    }
}

/// What stands at the top of a file.
pub(crate) struct Verdict {
    /// The lines of the block, if there is one.
    pub(crate) block: Vec<HeldLine>,
    pub(crate) meta: Meta,
    /// Why the block, which is no text, should be looked at.
    pub(crate) doubt: Option<String>,
    /// Lines that are text after all.
    pub(crate) rest: Vec<HeldLine>,
}

impl Verdict {
    /// First and last line of the block.
    pub(crate) fn lines(&self) -> Option<(usize, usize)> {
        Some((self.block.first()?.number, self.block.last()?.number))
    }
}

/// Holds the first lines of a file, or those behind a border.
pub(crate) struct FrontMatter {
    place: Place,
    held: Vec<HeldLine>,
    bytes: usize,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Top,
    /// Of plain text, where nothing but a draft's front matter is taken for it.
    TopOfPlainText,
    /// Behind a border, which may be the opening mark of the next text's own front matter.
    BehindBorder,
}

enum Form {
    /// Nothing was seen yet.
    Unknown,
    /// Between marks of its own.
    Marked { syntax: Syntax, close: Close },
    /// A JSON object, so deep in it.
    Object(Depth),
    /// Lines that begin with a key, or belong to one; `blank`: how many lines stand before the first blank one.
    Keys { blank: Option<usize> },
    /// The lines that begin with `% `.
    Percent,
}

enum Close {
    /// As many of these as at the start; three hyphens are also answered by three dots.
    Same(char, usize),
    /// `-->`
    Comment,
}

#[derive(Default)]
struct Depth {
    open: usize,
    in_text: bool,
    escaped: bool,
}

/// How holding ended.
enum End {
    /// The last line closes the block.
    Closed,
    /// The last line belongs to no block.
    Other,
    /// The file ended.
    File,
}

impl FrontMatter {
    pub(crate) fn at_the_top() -> Self {
        Self { place: Place::Top, held: Vec::new(), bytes: 0, form: Form::Unknown }
    }

    pub(crate) fn behind_a_border() -> Self {
        Self { place: Place::BehindBorder, ..Self::at_the_top() }
    }

    /// A note that was renamed to `.txt` has it still.
    pub(crate) fn at_the_top_of_plain_text() -> Self {
        Self { place: Place::TopOfPlainText, ..Self::at_the_top() }
    }

    pub(crate) fn is_at_the_top(&self) -> bool {
        self.place != Place::BehindBorder
    }

    /// Takes a line; a verdict once it is clear.
    pub(crate) fn line(&mut self, line: &Line<'_>) -> Option<Verdict> {
        let held = HeldLine::of(line);
        self.bytes += held.text().len();
        self.held.push(held);
        let end = if self.bytes > MOST_BYTES || !matches!(line.body, Body::Whole(_)) {
            Some(End::Other)
        } else {
            self.look()
        };
        end.map(|end| self.verdict(&end))
    }

    /// The file has no more lines.
    pub(crate) fn finish(&mut self) -> Verdict {
        self.verdict(&End::File)
    }

    fn look(&mut self) -> Option<End> {
        let text = self.held.last().map_or("", HeldLine::text);
        match &mut self.form {
            // As Hugo does.
            Form::Unknown if text.is_empty() && self.place == Place::Top => None,
            Form::Unknown => {
                let fits = |form: &Form| match self.place {
                    Place::Top => {
                        self.held.len() == 1 || matches!(form, Form::Marked { .. } | Form::Object(_))
                    }
                    Place::TopOfPlainText => {
                        self.held.len() == 1 && matches!(form, Form::Marked { close: Close::Same(..), .. })
                    }
                    Place::BehindBorder => matches!(form, Form::Keys { .. }),
                };
                let Some(form) = Form::of(text).filter(fits) else { return Some(End::Other) };
                self.form = form;
                match &mut self.form {
                    Form::Object(depth) => depth.after(text),
                    _ => None,
                }
            }
            Form::Marked { close: Close::Same(mark, count), .. } => {
                let dots = *mark == '-' && *count == 3 && text == "...";
                (run_of(text, *mark) == Some(*count) || dots).then_some(End::Closed)
            }
            Form::Marked { close: Close::Comment, .. } => (text.trim_start() == "-->").then_some(End::Closed),
            Form::Object(depth) => depth.after(text),
            Form::Keys { blank } => {
                let at = self.held.len() - 1;
                let closes =
                    ['-', ';'].into_iter().any(|mark| run_of(text, mark).is_some_and(|count| count >= 3));
                if closes {
                    return Some(End::Closed);
                }
                if text.is_empty() {
                    blank.get_or_insert(at);
                    return None;
                }
                let belongs =
                    text.starts_with([' ', '\t', '#', ']', '}']) || text.starts_with("- ") || text == "-";
                let key = key_of(text).or_else(|| nikola(text).and_then(key_of));
                let goes_on = match (key, &blank) {
                    (Some(key), Some(_)) => is_known(key),
                    (Some(_), None) => true,
                    (None, _) => belongs && blank.is_none(),
                };
                (!goes_on).then_some(End::Other)
            }
            Form::Percent => (!text.starts_with('%')).then_some(End::Other),
        }
    }

    fn verdict(&mut self, end: &End) -> Verdict {
        let mut held = std::mem::take(&mut self.held);
        let blank = held.iter().take_while(|line| line.text().is_empty()).count();
        let must_be_sure = blank > 0 || self.place == Place::TopOfPlainText;
        if !must_be_sure || matches!(self.form, Form::Unknown) {
            return self.verdict_of(held, end);
        }
        // Below blank lines, only what is surely front matter is taken for it; in plain text, only what leaves the text out and so is told.
        let block = held.split_off(blank);
        let verdict = self.verdict_of(block, end);
        let titled = verdict.meta.title.is_some() && self.place != Place::TopOfPlainText;
        let sure = verdict.doubt.is_none() && (titled || verdict.meta.draft.is_some());
        if sure {
            return verdict;
        }
        held.extend(verdict.block);
        held.extend(verdict.rest);
        text_alone(held)
    }

    fn verdict_of(&self, held: Vec<HeldLine>, end: &End) -> Verdict {
        match (&self.form, end) {
            (Form::Marked { syntax, close }, End::Closed) => closed(held, *syntax, close),
            (Form::Object(_), End::Closed) => {
                let text = joined(&held);
                judged(held, Syntax::Json, &text, 0)
            }
            (Form::Marked { .. } | Form::Object(_), _) => never_closed(held),
            (Form::Keys { .. }, End::Closed) => keyed(held),
            (Form::Keys { .. }, _) if self.place == Place::BehindBorder => text_alone(held),
            (Form::Keys { blank }, _) => {
                let lines = blank.unwrap_or(if matches!(end, End::File) { held.len() } else { 0 });
                key_lines(held, lines)
            }
            (Form::Percent, _) => {
                let lines = held.len() - usize::from(matches!(end, End::Other));
                percent(held, lines)
            }
            (Form::Unknown, _) => text_alone(held),
        }
    }
}

impl Form {
    /// By a file's first line.
    fn of(text: &str) -> Option<Form> {
        let marks = |mark: char| text.chars().take_while(|char| *char == mark).count();
        for (mark, syntax) in [('-', Syntax::Yaml), ('+', Syntax::Toml), (';', Syntax::Json)] {
            let count = marks(mark);
            if count < 3 {
                continue;
            }
            let word = text.get(count..).unwrap_or_default().trim();
            let syntax = if word.is_empty() { syntax } else { Syntax::of_word(word)? };
            return Some(Form::Marked { syntax, close: Close::Same(mark, count) });
        }
        if text == "<!--" {
            return Some(Form::Marked { syntax: Syntax::Lines, close: Close::Comment });
        }
        if let Some(rest) = text.strip_prefix('{') {
            let rest = rest.trim_start();
            return (rest.is_empty() || rest.starts_with(['"', '}'])).then(|| Form::Object(Depth::default()));
        }
        if text.starts_with("% ") {
            return Some(Form::Percent);
        }
        (key_of(text).is_some() || nikola(text).is_some()).then_some(Form::Keys { blank: None })
    }
}

impl Depth {
    /// `Closed` where the object ends with this line, `Other` where something stands behind it.
    fn after(&mut self, line: &str) -> Option<End> {
        for (at, char) in line.char_indices() {
            if self.in_text {
                match char {
                    _ if self.escaped => self.escaped = false,
                    '\\' => self.escaped = true,
                    '"' => self.in_text = false,
                    _ => {}
                }
                continue;
            }
            match char {
                '"' => self.in_text = true,
                '{' | '[' => self.open += 1,
                '}' | ']' => {
                    self.open = self.open.saturating_sub(1);
                    if self.open == 0 {
                        let rest = line.get(at + 1..).unwrap_or_default();
                        return Some(if rest.trim().is_empty() { End::Closed } else { End::Other });
                    }
                }
                _ => {}
            }
        }
        // A text of JSON ends in its line.
        self.in_text = false;
        self.escaped = false;
        None
    }
}

/// How many of `mark` a line is, if it is nothing else.
fn run_of(line: &str, mark: char) -> Option<usize> {
    (!line.is_empty() && line.chars().all(|char| char == mark)).then(|| line.chars().count())
}

/// `.. title: Soup`, as Nikola writes it.
fn nikola(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix(".. ").filter(|rest| key_of(rest).is_some())
}

fn joined(lines: &[HeldLine]) -> String {
    lines.iter().map(HeldLine::text).collect::<Vec<_>>().join("\n")
}

/// No block at all.
fn text_alone(held: Vec<HeldLine>) -> Verdict {
    Verdict { block: Vec::new(), meta: Meta::default(), doubt: None, rest: held }
}

/// The first `count` lines are a block.
fn block(mut held: Vec<HeldLine>, count: usize, meta: Meta, doubt: Option<String>) -> Verdict {
    let rest = held.split_off(count.min(held.len()));
    Verdict { block: held, meta, doubt, rest }
}

/// All lines are a block, unless the keys say that somebody wrote a note there.
fn judged(held: Vec<HeldLine>, syntax: Syntax, text: &str, marks: usize) -> Verdict {
    let count = held.len();
    match syntax.entries(text) {
        Ok(entries) if entries.is_empty() => {
            let comments = text.lines().any(|line| !line.trim().is_empty());
            if comments || marks == 0 { text_alone(held) } else { block(held, count, Meta::default(), None) }
        }
        Ok(entries) => {
            let meta = Meta::of(&entries);
            match sureness(&entries) {
                Sureness::Prose => text_alone(held),
                Sureness::Unknown => block(held, count, meta, Some(doubt_of_keys(&entries))),
                Sureness::Titled | Sureness::Known | Sureness::Data => block(held, count, meta, None),
            }
        }
        // Three pluses begin nothing else, nor does a brace with a key in quotes behind it.
        Err(why)
            if has_known_key(&held)
                || syntax != Syntax::Yaml && held.iter().skip(1).any(|line| assigns(line.text())) =>
        {
            let (meta, doubt) = misspelt(syntax, text, &why);
            block(held, count, meta, Some(doubt))
        }
        Err(_) => text_alone(held),
    }
}

/// What can be made out all the same of a block that its own engine would refuse, and the words for it.
fn misspelt(syntax: Syntax, text: &str, why: &str) -> (Meta, String) {
    let mut meta = Meta::of(&lines_of(text));
    meta.title = meta.title.map(|title| title.trim_matches(['"', '\'', ',']).to_owned());
    (meta, format!("this looks like front matter and is no {} ({why})", syntax.name()))
}

fn doubt_of_keys(entries: &[Entry]) -> String {
    let keys: Vec<String> = entries.iter().map(|entry| entry.key.clone()).take(3).collect();
    format!("this looks like front matter, but none of its keys ({}) is one that is known", shown_list(&keys))
}

/// Between marks.
fn closed(held: Vec<HeldLine>, syntax: Syntax, close: &Close) -> Verdict {
    let inner = held.get(1..held.len() - 1).unwrap_or_default();
    if matches!(close, Close::Comment) {
        let keys: Vec<&str> = inner.iter().filter_map(|line| nikola(line.text())).collect();
        let all = inner.iter().all(|line| line.text().trim().is_empty() || nikola(line.text()).is_some());
        let text = keys.join("\n");
        return if all && !keys.is_empty() {
            judged(held, Syntax::Lines, &text, 2)
        } else {
            text_alone(held)
        };
    }
    let text = joined(inner);
    judged(held, syntax, &text, 2)
}

/// Keys from the first line on, and a closing mark: Hexo's.
fn keyed(held: Vec<HeldLine>) -> Verdict {
    let count = held.len();
    let inner = held.get(..count - 1).unwrap_or_default();
    let is_json = held.last().is_some_and(|line| line.text().starts_with(';'));
    let syntax = if is_json { Syntax::Json } else { Syntax::Yaml };
    let text = joined(inner);
    let keys: Vec<&str> = inner.iter().filter_map(|line| key_of(line.text())).collect();
    match syntax.entries(&text) {
        Ok(entries) if sureness(&entries) == Sureness::Titled => block(held, count, Meta::of(&entries), None),
        Err(why)
            if keys.iter().any(|key| is_title(key))
                || keys.iter().filter(|key| is_known(key)).count() >= 2 =>
        {
            let (meta, doubt) = misspelt(syntax, &text, &why);
            block(held, count, meta, Some(doubt))
        }
        _ => text_alone(held),
    }
}

/// Lines of keys and values and a blank line: Pelican's, or Nikola's without its comment.
fn key_lines(held: Vec<HeldLine>, count: usize) -> Verdict {
    let top = held.get(..count).unwrap_or_default();
    let is_nikola = top.first().is_some_and(|line| nikola(line.text()).is_some());
    let text = if is_nikola {
        top.iter().filter_map(|line| nikola(line.text())).collect::<Vec<_>>().join("\n")
    } else {
        joined(top)
    };
    let entries = lines_of(&text);
    let listed = top.iter().any(|line| line.text().starts_with(['-', '#', ']', '}']));
    // In quotes, it is somebody's text.
    let quoted = top.first().is_some_and(|line| line.text().starts_with(['"', '\'']));
    if entries.is_empty() || listed || quoted || sureness(&entries) != Sureness::Titled {
        return text_alone(held);
    }
    let unknown: Vec<String> =
        entries.iter().filter(|entry| !is_known(&entry.key)).map(|entry| entry.key.clone()).collect();
    let doubt = (!unknown.is_empty() && !is_nikola).then(|| {
        let keys = shown_list(&unknown);
        format!("this looks like front matter; not all of its keys are known ({keys})")
    });
    block(held, count, Meta::of(&entries), doubt)
}

fn lines_of(text: &str) -> Vec<Entry> {
    Syntax::Lines.entries(text).unwrap_or_default()
}

/// Pandoc's title, authors and date.
fn percent(held: Vec<HeldLine>, count: usize) -> Verdict {
    if count > 3 || held.get(count).is_some_and(|line| !line.text().is_empty()) {
        return text_alone(held);
    }
    let title =
        held.first().and_then(|line| line.text().strip_prefix('%')).map(|title| title.trim().to_owned());
    block(held, count, Meta { title, ..Meta::default() }, None)
}

/// An opening mark alone is a border or a piece of text; one with well-known keys behind it is front matter that somebody forgot to
/// close. It ends with its lines of keys then.
fn never_closed(held: Vec<HeldLine>) -> Verdict {
    let body = held.iter().skip(1);
    let keys = body.take_while(|line| {
        let text = line.text();
        key_of(text).is_some()
            || assigns(text)
            || text.starts_with([' ', '\t', ']', '}'])
            || text.starts_with("- ")
    });
    let count = 1 + keys.count();
    let top = held.get(1..count).unwrap_or_default();
    let known = |line: &HeldLine| key_of(line.text()).or_else(|| assigned(line.text())).is_some_and(is_known);
    if !top.iter().any(known) {
        return text_alone(held);
    }
    let mark = held.first().map_or("", |line| line.text()).chars().take(10).collect::<String>();
    block(
        held,
        count,
        Meta::default(),
        Some(format!("this looks like front matter, and its opening {mark} is never closed")),
    )
}

/// Whether the block begins with a key, and has one that is known.
fn has_known_key(held: &[HeldLine]) -> bool {
    let key = |line: &HeldLine| key_of(line.text()).or_else(|| assigned(line.text())).map(is_known);
    let mut keys = held
        .iter()
        .filter(|line| line.text().chars().any(char::is_alphanumeric) && !line.text().starts_with('#'))
        .map(key);
    let first = keys.next().flatten();
    first.is_some_and(|known| known || keys.any(|key| key == Some(true)))
}

fn assigns(line: &str) -> bool {
    assigned(line).is_some() || line.trim_start().starts_with('"')
}

/// The key of `title = "Soup"`, or of an indented `"title": "Soup"`.
fn assigned(line: &str) -> Option<&str> {
    let key = match line.split_once('=') {
        Some((key, _)) => key.trim().trim_matches('"'),
        None => key_of(line.trim_start())?,
    };
    (!key.is_empty() && !key.contains(char::is_whitespace)).then_some(key)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::{check, read_files};

    #[test]
    fn front_matter_is_no_note() {
        check(
            &[
                (
                    "a.md",
                    "---\ntitle: Soup\ntags:\n- soup\n- \"winter\"\n\n# comment\ndate: 2024-01-02\n---\n\nGood soup.\n---\nMore.\n",
                ),
                ("b.md", "\u{feff}---\r\ntitle: Soup\r\n...\r\nGood soup, again.\r\n"),
                ("c.txt", "---\ntitle: A text file has none\n---\nsecond\n"),
            ],
            &expect![[r#"
                a.md:11-11 "Good soup."
                a.md:13-13 "More."
                b.md:4-4 "Good soup, again."
                c.txt:2-2 "title: A text file has none"
                c.txt:4-4 "second"
            "#]],
        );
    }

    /// Each file of the published case, and each form in the table above: its title, its texts.
    #[test]
    fn every_form_and_its_title() {
        let files: &[(&str, &str)] = &[
            ("chinese", "---\n标题: 巷口的面馆\n日期: 2026-03-01\n---\n\nbody\n"),
            ("hexo", "title: Oats at nine\ndate: 2026-03-01\n---\n\nbody\n"),
            ("hugo", "+++\ntitle = \"Rye at seven\"\ndate = 2026-03-01\ndraft = false\n+++\n\nbody\n"),
            ("json", "{\n  \"title\": \"Plaits at ten\",\n  \"date\": \"2026-03-02\"\n}\n\nbody\n"),
            ("spaced-key", "---\ntitle: Spelt at eight\ndate created: 2026-03-01\n---\n\nbody\n"),
            ("quoted", "---\n\"title\": 'It''s soup'\n'my own key': yes\n---\nbody\n"),
            (
                "folded",
                "---\ntitle: >-\n  Soup,\n  and bread\nsummary: |\n  one\n\n  ---\n  two\n---\nbody\n",
            ),
            ("plain-lines", "---\ntitle: Soup\n  and bread\ntags: [a,\n  b]\n---   \nbody\n"),
            ("quoted-lines", "---\ntitle: \"Soup\n  and bread\"\n---\nbody\n"),
            ("upper", "---\nTitle: SOUP\n---\nbody\n"),
            ("crlf", "---\r\ntitle: Soup\r\n---\r\n\r\nbody\r\n"),
            ("comment-first", "---\n# made by a program\n\ntitle: Soup\n---\nbody\n"),
            ("tagged", "---\ntitle: !!str 2024\nx: &a [1]\ny: *a\n---\nbody\n"),
            ("toml-lines", "+++\ntitle = \"\"\"\nSoup and\nbread\"\"\"\n[extra]\nx = [1,\n2]\n+++\nbody\n"),
            ("toml-word", "---toml\ntitle = \"Soup\"\n---\nbody\n"),
            ("json-word", "---json\n{\n\"title\": \"Soup\"\n}\n---\nbody\n"),
            ("json-line", "{\"title\": \"Soup {hot}\", \"tags\": [\"a\"]}\nbody\n"),
            ("semicolons", ";;;\n\"title\": \"Soup\",\n\"tags\": []\n;;;\nbody\n"),
            ("hexo-json", "\"title\": \"Soup\",\n\"date\": \"2026\"\n;;;\nbody\n"),
            ("hexo-lists", "title: Soup\ntags:\n- a\n- b\n\ncategories: x\n-----\nbody\n"),
            ("pelican", "Title: Soup\nDate: 2026-03-01\nSummary: hot\n    and good\n\nbody\n"),
            ("nikola", "<!--\n.. title: Soup\n.. slug: soup\n-->\n\nbody\n"),
            ("nikola-bare", ".. title: Soup\n.. slug: soup\n\nbody\n"),
            ("pandoc", "% Soup\n% A. Cook\n\nbody\n"),
            ("five", "-----\ntitle: Soup\n-----\nbody\n"),
            ("obsidian", "---\nrating: 5\nseen: [[Note]]\n---\nbody\n"),
            ("blank-above", "\n\n+++\ntitle = \"Soup\"\n+++\nbody\n"),
            ("jekyll-empty", "---\n---\nbody\n"),
        ];
        let mut shown = String::new();
        for (name, text) in files {
            // Text that is its file's alone, so that none is a duplicate.
            let dataset = read_files(&[(&format!("{name}.md"), text.as_bytes())]);
            let texts: Vec<_> = dataset.examples.iter().map(|example| example.content.words()).collect();
            assert_eq!(texts, ["body"], "{name}");
            assert!(dataset.findings.is_empty(), "{name}: {:?}", dataset.findings);
            let title = dataset.examples[0].title.as_deref().unwrap_or_default();
            shown += &format!("{name}: {title}\n");
        }
        expect![[r"
            chinese: 巷口的面馆
            hexo: Oats at nine
            hugo: Rye at seven
            json: Plaits at ten
            spaced-key: Spelt at eight
            quoted: It's soup
            folded: Soup, and bread
            plain-lines: Soup and bread
            quoted-lines: Soup and bread
            upper: SOUP
            crlf: Soup
            comment-first: Soup
            tagged: 2024
            toml-lines: Soup and bread
            toml-word: Soup
            json-word: Soup
            json-line: Soup {hot}
            semicolons: Soup
            hexo-json: Soup
            hexo-lists: Soup
            pelican: Soup
            nikola: Soup
            nikola-bare: Soup
            pandoc: Soup
            five: Soup
            obsidian: obsidian
            blank-above: Soup
            jekyll-empty: jekyll empty
        "]]
        .assert_eq(&shown);
    }

    #[test]
    fn each_text_of_a_file_may_have_its_own() {
        let text = "---\ntitle: One\n---\nFirst text.\n\n---\ntitle: Two\ndate: 2026-03-01\n---\n\nSecond text.\n\n---\ntitle: Three\ndraft: true\n---\nThird text.\n\n---\nPrice: low\n\nFourth text.\n";
        check(
            &[("a.md", text)],
            &expect![[r#"
            a.md:4-4 "First text."
            a.md:11-11 "Second text."
            a.md:20-22 "Price: low\n\nFourth text."
            a.md:17-17 HP032 draft: the front matter says "draft: true", so it is left out
        "#]],
        );
        let titles: Vec<_> = read_files(&[("a.md", text.as_bytes())])
            .examples
            .into_iter()
            .map(|example| example.title.unwrap_or_default())
            .collect();
        assert_eq!(titles, ["One", "Two", "Price: low"]);
    }

    #[test]
    fn a_note_at_the_top_is_a_note() {
        check(
            &[
                ("a.md", "---\nVerdict: good.\nI would go again.\n---\nsecond\n"),
                ("b.md", "---\nOnly one note: this one\n"),
                ("c.md", "---\nkey: never closed\n"),
                ("d.md", "first\n\n---\nkey: value\n\n---\nthird\n"),
                ("e.md", "\n---\nkey: not at the start\n\n---\nsecond, e\n"),
                ("f.md", "---\n\nA rule above this text.\n\n---\n\nAnd one below.\n"),
                ("g.md", "---\nNote: bring an umbrella, it will rain.\n---\nIt did.\n"),
                ("h.md", "Breakfast: rye\nLunch: soup\n\nDinner was late.\n"),
                ("i.md", "{% include head.html %}\n\nA page.\n"),
                ("j.md", "{\"prompt\": \"Write it down.\"}\nA record in a text.\n"),
                ("k.md", "+++ news +++\n\nThe shop is open.\n"),
                ("l.md", "<!-- a comment -->\n<!--\nanother\n-->\nThe text.\n"),
                ("m.md", "Date: Friday, as ever.\n\nWe went out.\n"),
                ("n.md", "--- chapter ---\n\nIt began.\n"),
                ("o.md", "100% rye\n\nIt is dark.\n"),
                ("p.md", "---\n# A title\n---\nIts text.\n"),
                ("q.md", "\n\n---\nmood: a bit low\n\n---\nAfter blank lines.\n"),
            ],
            &expect![[r##"
                a.md:2-3 "Verdict: good.\nI would go again."
                a.md:5-5 "second"
                b.md:2-2 "Only one note: this one"
                c.md:2-2 "key: never closed"
                d.md:1-1 "first"
                d.md:4-4 "key: value"
                d.md:7-7 "third"
                e.md:3-3 "key: not at the start"
                e.md:6-6 "second, e"
                f.md:3-3 "A rule above this text."
                f.md:7-7 "And one below."
                g.md:2-2 "Note: bring an umbrella, it will rain."
                g.md:4-4 "It did."
                h.md:1-4 "Breakfast: rye\nLunch: soup\n\nDinner was late."
                i.md:1-3 "{% include head.html %}\n\nA page."
                j.md:1-2 "{\"prompt\": \"Write it down.\"}\nA record in a text."
                k.md:1-3 "+++ news +++\n\nThe shop is open."
                l.md:1-5 "<!-- a comment -->\n<!--\nanother\n-->\nThe text."
                m.md:1-3 "Date: Friday, as ever.\n\nWe went out."
                n.md:1-3 "--- chapter ---\n\nIt began."
                o.md:1-3 "100% rye\n\nIt is dark."
                p.md:2-4 "# A title\n---\nIts text."
                q.md:4-4 "mood: a bit low"
                q.md:7-7 "After blank lines."
            "##]],
        );
    }
}
