//! The methods of Python's `str`.

use minijinja::formatting::{FormatStyle, format};
use minijinja::value::{Tuple, Value, ValueKind};
use minijinja::{Error, ErrorKind};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

use super::arguments::{bind, optional_text, split, text, truth, whole, whole_or};
use super::{fault, kinds, show};

/// A longer text than this is nobody's prompt.
const WIDEST: i64 = 1 << 16;

/// Python's `str.isspace` of one character.
pub(in crate::template) fn is_space(char: char) -> bool {
    char.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&char)
}

pub(in crate::template) fn call(value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    let own = value.as_str().unwrap_or_default();
    // What is made of a safe text is safe; what is put into it would have to be escaped.
    let like = |made: String| if value.is_safe() { Value::from_safe_string(made) } else { Value::from(made) };
    let list = |parts: Vec<String>| Value::from(parts.into_iter().map(like).collect::<Vec<_>>());
    let none = || bind(method, args, [], 0).map(|_: [Option<Value>; 0]| ());
    let escapes = matches!(
        method,
        "join"
            | "format"
            | "format_map"
            | "replace"
            | "center"
            | "ljust"
            | "rjust"
            | "partition"
            | "rpartition"
    );
    if value.is_safe() && escapes {
        return Err(fault(method, "of a text that is marked safe is not known here"));
    }
    Ok(match method {
        "upper" => none().map(|()| like(own.to_uppercase()))?,
        "lower" => none().map(|()| like(own.to_lowercase()))?,
        "casefold" => none().map(|()| like(casefold(own)))?,
        "capitalize" => none().map(|()| like(capitalized(own)))?,
        "title" => none().map(|()| like(titled(own)))?,
        "swapcase" => none().map(|()| like(own.chars().flat_map(swapped).collect()))?,
        "center" | "ljust" | "rjust" => like(justified(own, method, args)?),
        "zfill" => {
            let [width] = bind(method, args, [""], 1)?;
            like(zero_filled(own, width_of(method, width.as_ref())?))
        }
        "expandtabs" => {
            let [size] = bind(method, args, ["tabsize"], 0)?;
            like(without_tabs(own, whole_or(method, size.as_ref(), 8)?.clamp(0, WIDEST) as usize))
        }
        "count" => {
            let Some((what, range)) = ranged(own, method, args)? else { return Ok(Value::from(0)) };
            Value::from(if what.is_empty() {
                range.text.chars().count() + 1
            } else {
                range.text.matches(what.as_str()).count()
            })
        }
        "find" | "rfind" | "index" | "rindex" => {
            let found = match ranged(own, method, args)? {
                None => None,
                Some((what, range)) => {
                    let at = if method.starts_with('r') {
                        range.text.rfind(what.as_str())
                    } else {
                        range.text.find(what.as_str())
                    };
                    at.map(|at| range.start + range.text[..at].chars().count())
                }
            };
            match found {
                Some(at) => Value::from(at),
                None if method.ends_with("index") => return Err(fault(method, "the text is not there")),
                None => Value::from(-1),
            }
        }
        "startswith" | "endswith" => Value::from(bounded(own, method, args)?),
        "isalnum" => is_all(own, none()?, |char| is_alpha(char) || is_numeric(char)),
        "isalpha" => is_all(own, none()?, is_alpha),
        "isascii" => none().map(|()| Value::from(own.is_ascii()))?,
        "isdecimal" => is_all(own, none()?, |char| char.general_category() == GeneralCategory::DecimalNumber),
        "isdigit" => is_all(own, none()?, is_digit),
        "isnumeric" => is_all(own, none()?, is_numeric),
        "isspace" => is_all(own, none()?, is_space),
        "isprintable" => none().map(|()| Value::from(own.chars().all(show::is_printable)))?,
        "isidentifier" => none().map(|()| Value::from(is_identifier(own)))?,
        "islower" => none().map(|()| Value::from(is_cased(own, char::is_lowercase, char::is_uppercase)))?,
        "isupper" => none().map(|()| Value::from(is_cased(own, char::is_uppercase, char::is_lowercase)))?,
        "istitle" => none().map(|()| Value::from(is_title(own)))?,
        "join" => joined(own, args)?,
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = bind(method, args, [""], 0)?;
            like(stripped(own, method, optional_text(method, chars.as_ref())?).to_owned())
        }
        "partition" | "rpartition" => {
            let [between] = bind(method, args, [""], 1)?;
            let between = between.unwrap_or_default();
            let between = text(method, &between)?;
            if between.is_empty() {
                return Err(fault(method, "nothing to divide at"));
            }
            let found =
                if method == "partition" { own.split_once(between) } else { own.rsplit_once(between) };
            let parts = match found {
                Some((before, after)) => [before, between, after],
                None if method == "partition" => [own, "", ""],
                None => ["", "", own],
            };
            Value::from(Tuple::from(parts.map(Value::from)))
        }
        "removeprefix" | "removesuffix" => {
            let [end] = bind(method, args, [""], 1)?;
            let end = end.unwrap_or_default();
            let end = text(method, &end)?;
            let rest = if method == "removeprefix" { own.strip_prefix(end) } else { own.strip_suffix(end) };
            like(rest.unwrap_or(own).to_owned())
        }
        "replace" => {
            // Python takes the count by name from 3.13 on.
            let [old, new, count] = bind(method, args, ["", "", ""], 2)?;
            let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
            let count = whole_or(method, count.as_ref(), -1)?;
            like(replaced(own, text(method, &old)?, text(method, &new)?, count))
        }
        "split" | "rsplit" => {
            let [between, most] = bind(method, args, ["sep", "maxsplit"], 0)?;
            let most = usize::try_from(whole_or(method, most.as_ref(), -1)?).ok();
            let between = optional_text(method, between.as_ref())?;
            if between == Some("") {
                return Err(fault(method, "nothing to divide at"));
            }
            list(divided(own, between, most, method == "rsplit"))
        }
        "splitlines" => {
            let [keep] = bind(method, args, ["keepends"], 0)?;
            list(lines(own, truth(keep.as_ref())).into_iter().map(str::to_owned).collect())
        }
        "format" => {
            let (plain, named) = split(args)?;
            let shown = |value: &Value| formattable(value);
            let mut all = plain.iter().map(shown).collect::<Result<Vec<_>, Error>>()?;
            if !named.is_empty() {
                let named = named.iter().map(|(name, value)| Ok((name.clone(), formattable(value)?)));
                let named = named.collect::<Result<Vec<_>, Error>>()?;
                all.push(named.into_iter().collect::<minijinja::value::Kwargs>().into());
            }
            Value::from(
                format(FormatStyle::StrFormat, own, &all)
                    .map_err(|error| fault(method, &error.to_string()))?,
            )
        }
        "encode" | "format_map" | "maketrans" | "translate" => {
            return Err(fault(method, "not known here"));
        }
        _ => return Err(Error::from(ErrorKind::UnknownMethod)),
    })
}

/// What `str.format` shows as Python does and minijinja otherwise.
fn formattable(value: &Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Number | ValueKind::Bool | ValueKind::String => Ok(value.clone()),
        // An attribute or item of it may be asked for, which a text has not.
        ValueKind::Map | ValueKind::Seq if !kinds::is_tuple(value) => Ok(value.clone()),
        _ => show::shown(value).map(Value::from),
    }
}

fn is_all(own: &str, (): (), wanted: impl Fn(char) -> bool) -> Value {
    Value::from(!own.is_empty() && own.chars().all(wanted))
}

fn is_alpha(char: char) -> bool {
    use GeneralCategory::{LowercaseLetter, ModifierLetter, OtherLetter, TitlecaseLetter, UppercaseLetter};
    matches!(
        char.general_category(),
        UppercaseLetter | LowercaseLetter | TitlecaseLetter | ModifierLetter | OtherLetter
    )
}

fn is_digit(char: char) -> bool {
    let superscript = matches!(char, '²' | '³' | '¹' | '⁰' | '⁴'..='⁹' | '₀'..='₉' | '①'..='⑨' | '⑴'..='⑼' | '⒈'..='⒐' | '❶'..='❾' | '➀'..='➈' | '➊'..='➒');
    superscript || char.general_category() == GeneralCategory::DecimalNumber
}

fn is_numeric(char: char) -> bool {
    use GeneralCategory::{DecimalNumber, LetterNumber, OtherNumber};
    // Han numerals count as numbers, too.
    matches!(char.general_category(), DecimalNumber | LetterNumber | OtherNumber)
        || "一二三四五六七八九十百千万亿零〇两兆壹贰叁肆伍陆柒捌玖拾佰仟萬億壱弐参".contains(char)
}

fn is_identifier(own: &str) -> bool {
    let mut chars = own.chars();
    let starts = |char: char| {
        char == '_' || is_alpha(char) || char.general_category() == GeneralCategory::LetterNumber
    };
    let goes_on = |char: char| {
        use GeneralCategory::{ConnectorPunctuation, DecimalNumber, NonspacingMark, SpacingMark};
        starts(char)
            || matches!(
                char.general_category(),
                DecimalNumber | NonspacingMark | SpacingMark | ConnectorPunctuation
            )
    };
    chars.next().is_some_and(starts) && chars.all(goes_on)
}

pub(in crate::template) fn is_cased(own: &str, wanted: fn(char) -> bool, unwanted: fn(char) -> bool) -> bool {
    let is_titlecase = |char: char| char.general_category() == GeneralCategory::TitlecaseLetter;
    own.chars().any(wanted) && !own.chars().any(|char| unwanted(char) || is_titlecase(char))
}

fn is_title(own: &str) -> bool {
    let (mut cased, mut found) = (false, false);
    for char in own.chars() {
        let titlecase = char.general_category() == GeneralCategory::TitlecaseLetter;
        if char.is_uppercase() || titlecase {
            if cased {
                return false;
            }
            (cased, found) = (true, true);
        } else if char.is_lowercase() {
            if !cased {
                return false;
            }
        } else {
            cased = false;
        }
    }
    found
}

/// A character's titlecase, which few have besides their uppercase.
fn title_of(char: char) -> String {
    match char {
        'Ǆ'..='ǆ' => "ǅ".to_owned(),
        'Ǉ'..='ǉ' => "ǈ".to_owned(),
        'Ǌ'..='ǌ' => "ǋ".to_owned(),
        'Ǳ'..='ǳ' => "ǲ".to_owned(),
        'ß' => "Ss".to_owned(),
        'ﬀ' => "Ff".to_owned(),
        'ﬁ' => "Fi".to_owned(),
        'ﬂ' => "Fl".to_owned(),
        'ﬃ' => "Ffi".to_owned(),
        'ﬄ' => "Ffl".to_owned(),
        'ﬅ' | 'ﬆ' => "St".to_owned(),
        'ა'..='ჿ' => char.to_string(),
        _ => char.to_uppercase().collect(),
    }
}

pub(in crate::template) fn capitalized(own: &str) -> String {
    let mut chars = own.chars();
    match chars.next() {
        None => String::new(),
        // The rest as it is lowered in its place: a final sigma looks back.
        Some(first) => {
            let lowered = own.to_lowercase();
            let skipped: usize = first.to_lowercase().map(char::len_utf8).sum();
            title_of(first) + lowered.get(skipped..).unwrap_or_default()
        }
    }
}

fn titled(own: &str) -> String {
    let mut out = String::with_capacity(own.len());
    let mut in_word = false;
    for char in own.chars() {
        let is_cased = char.is_uppercase()
            || char.is_lowercase()
            || char.general_category() == GeneralCategory::TitlecaseLetter;
        if in_word {
            out.extend(char.to_lowercase());
        } else {
            out.push_str(&title_of(char));
        }
        in_word = is_cased;
    }
    out
}

fn swapped(char: char) -> Vec<char> {
    if char.is_uppercase() {
        char.to_lowercase().collect()
    } else if char.is_lowercase() {
        char.to_uppercase().collect()
    } else {
        vec![char]
    }
}

fn casefold(own: &str) -> String {
    let mut out = String::with_capacity(own.len());
    for char in own.chars() {
        match char {
            'ß' | 'ẞ' => out.push_str("ss"),
            'ŉ' => out.push_str("ʼn"),
            '\u{1f0}' => out.push_str("j\u{30c}"),
            'ſ' => out.push('s'),
            'ς' => out.push('σ'),
            'ﬀ' | 'ﬁ' | 'ﬂ' | 'ﬃ' | 'ﬄ' | 'ﬅ' | 'ﬆ' => {
                out.push_str(&title_of(char).to_lowercase());
            }
            'ǅ' => out.push('ǆ'),
            _ => out.extend(char.to_lowercase()),
        }
    }
    out
}

fn width_of(method: &str, width: Option<&Value>) -> Result<usize, Error> {
    let width = whole_or(method, width, 0)?;
    if width > WIDEST {
        return Err(fault(method, "the width is too large"));
    }
    Ok(usize::try_from(width).unwrap_or(0))
}

fn justified(own: &str, method: &str, args: &[Value]) -> Result<String, Error> {
    let [width, fill] = bind(method, args, ["", ""], 1)?;
    let width = width_of(method, width.as_ref())?;
    let fill = fill.unwrap_or_else(|| Value::from(" "));
    let mut fills = text(method, &fill)?.chars();
    let (Some(fill), None) = (fills.next(), fills.next()) else {
        return Err(fault(method, "what fills must be one character"));
    };
    let missing = width.saturating_sub(own.chars().count());
    let left = match method {
        "ljust" => 0,
        "rjust" => missing,
        // As CPython has it: an odd one goes left where the width is odd.
        _ => missing / 2 + (missing & width & 1),
    };
    let filled = |count: usize| std::iter::repeat_n(fill, count);
    Ok(filled(left).chain(own.chars()).chain(filled(missing - left)).collect())
}

fn zero_filled(own: &str, width: usize) -> String {
    let missing = width.saturating_sub(own.chars().count());
    let sign = own.chars().next().filter(|char| matches!(char, '+' | '-'));
    let rest = &own[sign.map_or(0, char::len_utf8)..];
    sign.into_iter().chain(std::iter::repeat_n('0', missing)).chain(rest.chars()).collect()
}

fn without_tabs(own: &str, size: usize) -> String {
    let (mut out, mut column) = (String::with_capacity(own.len()), 0);
    for char in own.chars() {
        match char {
            '\t' if size > 0 => {
                let spaces = size - column % size;
                out.extend(std::iter::repeat_n(' ', spaces));
                column += spaces;
            }
            '\t' => {}
            '\n' | '\r' => {
                out.push(char);
                column = 0;
            }
            char => {
                out.push(char);
                column += 1;
            }
        }
    }
    out
}

/// A part of a text, and how many characters stand before it.
struct Ranged<'a> {
    start: usize,
    text: &'a str,
}

/// What is looked for and where; nothing where the range begins behind the text.
fn ranged<'a>(own: &'a str, method: &str, args: &[Value]) -> Result<Option<(String, Ranged<'a>)>, Error> {
    let [what, start, end] = bind(method, args, ["", "", ""], 1)?;
    let what = what.unwrap_or_default();
    let what = text(method, &what)?.to_owned();
    Ok(range(own, method, start.as_ref(), end.as_ref())?.map(|range| (what, range)))
}

fn range<'a>(
    own: &'a str,
    method: &str,
    start: Option<&Value>,
    end: Option<&Value>,
) -> Result<Option<Ranged<'a>>, Error> {
    let length = own.chars().count() as i64;
    let bound = |value: Option<&Value>, default: i64| match value {
        Some(value) if !value.is_none() => {
            let bound = whole(method, value)?;
            Ok::<_, Error>(if bound < 0 { (bound + length).max(0) } else { bound })
        }
        _ => Ok(default),
    };
    let (start, end) = (bound(start, 0)?, bound(end, length)?.min(length));
    if start > end {
        return Ok(None);
    }
    let byte = |chars: i64| own.char_indices().nth(chars as usize).map_or(own.len(), |(at, _)| at);
    Ok(Some(Ranged { start: start as usize, text: &own[byte(start)..byte(end)] }))
}

fn bounded(own: &str, method: &str, args: &[Value]) -> Result<bool, Error> {
    let [what, start, end] = bind(method, args, ["", "", ""], 1)?;
    let what = what.unwrap_or_default();
    let wanted: Vec<Value> = if kinds::is_tuple(&what) { kinds::items(method, &what)? } else { vec![what] };
    let range = range(own, method, start.as_ref(), end.as_ref())?;
    for wanted in wanted {
        let wanted = text(method, &wanted)?;
        let found = range.as_ref().is_some_and(|range| {
            if method == "startswith" { range.text.starts_with(wanted) } else { range.text.ends_with(wanted) }
        });
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

fn joined(own: &str, args: &[Value]) -> Result<Value, Error> {
    let [items] = bind("join", args, [""], 1)?;
    let items = kinds::items("join", &items.unwrap_or_default())?;
    if items.iter().any(Value::is_safe) {
        return Err(fault("join", "of texts that are marked safe is not known here"));
    }
    let texts = items.iter().map(|item| text("join", item)).collect::<Result<Vec<_>, Error>>()?;
    Ok(Value::from(texts.join(own)))
}

pub(in crate::template) fn stripped<'a>(own: &'a str, method: &str, chars: Option<&str>) -> &'a str {
    let goes = |char: char| chars.map_or_else(|| is_space(char), |chars| chars.contains(char));
    match method {
        "lstrip" => own.trim_start_matches(goes),
        "rstrip" => own.trim_end_matches(goes),
        _ => own.trim_matches(goes),
    }
}

pub(in crate::template) fn replaced(own: &str, old: &str, new: &str, count: i64) -> String {
    match usize::try_from(count) {
        Ok(count) => own.replacen(old, new, count),
        Err(_) => own.replace(old, new),
    }
}

fn divided(own: &str, between: Option<&str>, most: Option<usize>, from_right: bool) -> Vec<String> {
    let owned = |parts: Vec<&str>| parts.into_iter().map(str::to_owned).collect();
    let most = most.unwrap_or(usize::MAX - 1);
    let Some(between) = between else {
        let mut parts = Vec::new();
        let mut rest =
            if from_right { own.trim_end_matches(is_space) } else { own.trim_start_matches(is_space) };
        while !rest.is_empty() {
            let cut = if from_right { rest.rfind(is_space) } else { rest.find(is_space) };
            match cut.filter(|_| parts.len() < most) {
                None => {
                    parts.push(if parts.len() < most {
                        rest
                    } else if from_right {
                        rest.trim_start_matches(|_: char| false)
                    } else {
                        rest
                    });
                    break;
                }
                Some(at) if from_right => {
                    let length = rest[at..].chars().next().map_or(0, char::len_utf8);
                    parts.push(&rest[at + length..]);
                    rest = rest[..at].trim_end_matches(is_space);
                }
                Some(at) => {
                    parts.push(&rest[..at]);
                    rest = rest[at..].trim_start_matches(is_space);
                }
            }
        }
        if from_right {
            parts.reverse();
        }
        return owned(parts);
    };
    if from_right {
        let mut parts: Vec<&str> = own.rsplitn(most + 1, between).collect();
        parts.reverse();
        owned(parts)
    } else {
        owned(own.splitn(most + 1, between).collect())
    }
}

/// Lines as Python divides them: at more than `\n`.
pub(in crate::template) fn lines(own: &str, keep_ends: bool) -> Vec<&str> {
    let is_end = |char: char| {
        matches!(
            char,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let mut found = Vec::new();
    let mut rest = own;
    while !rest.is_empty() {
        let Some(at) = rest.find(is_end) else {
            found.push(rest);
            break;
        };
        let end = if rest[at..].starts_with("\r\n") {
            at + 2
        } else {
            at + rest[at..].chars().next().map_or(1, char::len_utf8)
        };
        found.push(if keep_ends { &rest[..end] } else { &rest[..at] });
        rest = &rest[end..];
    }
    found
}
