//! Divides a template into text and tags, with Jinja's rules for the white space around tags: `trim_blocks`, `lstrip_blocks` and the
//! signs in tags.

use super::tokens::{Token, tokens};

/// A part of a template, in order.
pub(super) enum Piece<'a> {
    Data(&'a str),
    /// What stands between `{% raw %}` and `{% endraw %}`.
    Raw(&'a str),
    Print {
        line: usize,
        tokens: Vec<Token>,
    },
    Block {
        line: usize,
        tokens: Vec<Token>,
    },
}

type Fault = (String, usize);

/// Python's `str.isspace`.
pub(crate) fn is_space(char: char) -> bool {
    char.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&char)
}

pub(super) fn pieces(template: &str) -> impl Iterator<Item = Result<Piece<'_>, Fault>> {
    let mut reader = Reader { text: template, at: 0, data_after: None };
    std::iter::from_fn(move || reader.next().transpose())
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// The tag that stands behind the text that was just given.
    data_after: Option<Opening>,
}

#[derive(Clone, Copy)]
struct Opening {
    kind: Kind,
    /// Of the tag, and behind its brackets and sign.
    start: usize,
    inside: usize,
    sign: Option<char>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Comment,
    Block,
    Print,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Option<Piece<'a>>, Fault> {
        loop {
            if let Some(opening) = self.data_after.take() {
                match self.tag(opening)? {
                    Some(piece) => return Ok(Some(piece)),
                    None => continue,
                }
            }
            if self.at >= self.text.len() {
                return Ok(None);
            }
            let from = self.at;
            self.data_after = self.opening(from);
            let (data, end) = match self.data_after {
                None => (&self.text[from..], self.text.len()),
                Some(opening) => (self.data(from, opening), opening.start),
            };
            self.at = end;
            if !data.is_empty() {
                return Ok(Some(Piece::Data(data)));
            }
        }
    }

    fn opening(&self, from: usize) -> Option<Opening> {
        let mut at = from;
        loop {
            let start = at + self.text[at..].find('{')?;
            let rest = &self.text[start + 1..];
            let kind = match rest.chars().next() {
                Some('%') => Kind::Block,
                Some('{') => Kind::Print,
                Some('#') => Kind::Comment,
                _ => {
                    at = start + 1;
                    continue;
                }
            };
            let sign = rest[1..].chars().next().filter(|char| matches!(char, '-' | '+'));
            return Some(Opening { kind, start, inside: start + 2 + sign.map_or(0, char::len_utf8), sign });
        }
    }

    /// The text before a tag, less the white space that the tag takes.
    fn data(&self, from: usize, opening: Opening) -> &'a str {
        let data = &self.text[from..opening.start];
        if opening.sign == Some('-') {
            return data.trim_end_matches(is_space);
        }
        if opening.sign != Some('+') && opening.kind != Kind::Print {
            let line = data.rfind('\n').map_or(0, |at| at + 1);
            let starts = line > 0 || from == 0 || self.text[..from].ends_with('\n');
            if starts && !data[line..].is_empty() && data[line..].chars().all(is_space) {
                return &data[..line];
            }
        }
        data
    }

    /// Behind a tag that ends with `sign`.
    fn after(&self, end: usize, sign: Option<char>, trims_line: bool) -> usize {
        let rest = &self.text[end..];
        match sign {
            Some('-') => self.text.len() - rest.trim_start_matches(is_space).len(),
            Some(_) => end,
            None => end + usize::from(trims_line && rest.starts_with('\n')),
        }
    }

    fn tag(&mut self, opening: Opening) -> Result<Option<Piece<'a>>, Fault> {
        let line = self.line(opening.start);
        match opening.kind {
            Kind::Comment => {
                let Some(length) = self.text[opening.inside..].find("#}") else {
                    return Err(("the comment never ends: #} is missing".to_owned(), line));
                };
                let close = opening.inside + length;
                let sign = self.text[opening.inside..close].chars().next_back();
                let sign = sign.filter(|sign| matches!(sign, '-' | '+'));
                self.at = self.after(close + 2, sign, true);
                Ok(None)
            }
            Kind::Block if self.raw(opening).is_some() => self.raw_block(opening, line).map(Some),
            kind => {
                let close = if kind == Kind::Print { "}}" } else { "%}" };
                let (tokens, length, sign) = tokens(&self.text[opening.inside..], close)
                    .map_err(|(why, at)| (why, self.line(opening.inside + at)))?;
                self.at = self.after(opening.inside + length, sign, kind == Kind::Block);
                Ok(Some(if kind == Kind::Print {
                    Piece::Print { line, tokens }
                } else {
                    Piece::Block { line, tokens }
                }))
            }
        }
    }

    /// Behind `{% raw %}`, if that is what opens here.
    fn raw(&self, opening: Opening) -> Option<usize> {
        let rest = self.text[opening.inside..].trim_start_matches(is_space).strip_prefix("raw")?;
        let rest = rest.trim_start_matches(is_space);
        let minus = rest.strip_prefix('-');
        let end = self.text.len() - minus.unwrap_or(rest).strip_prefix("%}")?.len();
        Some(self.after(end, minus.map(|_| '-'), false))
    }

    fn raw_block(&mut self, opening: Opening, line: usize) -> Result<Piece<'a>, Fault> {
        let start = self.raw(opening).unwrap_or(opening.inside);
        let mut at = start;
        while let Some(found) = self.opening(at) {
            at = found.start + 1;
            let rest = self.text[found.inside..].trim_start_matches(is_space);
            let Some(rest) = rest.strip_prefix("endraw").filter(|_| found.kind == Kind::Block) else {
                continue;
            };
            let rest = rest.trim_start_matches(is_space);
            let sign = rest.chars().next().filter(|char| matches!(char, '-' | '+'));
            let Some(rest) = rest[sign.map_or(0, char::len_utf8)..].strip_prefix("%}") else { continue };
            let data = self.data(start, found);
            self.at = self.after(self.text.len() - rest.len(), sign, true);
            return Ok(Piece::Raw(data));
        }
        Err(("the raw block never ends: endraw is missing".to_owned(), line))
    }

    fn line(&self, at: usize) -> usize {
        self.text[..at.min(self.text.len())].matches('\n').count() + 1
    }
}
