//! Python's `text % values`.

use minijinja::Error;
use minijinja::value::Value;

use super::show::{repr_of, shown};
use super::{fault, kinds};

/// A wider field is nobody's prompt.
const WIDEST: i128 = 10_000;

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "five flags are what a field has")]
struct Field {
    left: bool,
    plus: bool,
    space: bool,
    zero: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
}

/// The values, and how many of them were taken.
struct Values<'a> {
    all: &'a Value,
    listed: Vec<Value>,
    taken: usize,
    by_name: bool,
}

impl Values<'_> {
    fn next(&mut self) -> Result<Value, Error> {
        let value = self.listed.get(self.taken).cloned().ok_or_else(|| fault("%", "not enough values"))?;
        self.taken += 1;
        Ok(value)
    }

    fn named(&mut self, name: &str) -> Result<Value, Error> {
        self.by_name = true;
        let missing = || fault("%", &format!("no value is named {name}"));
        if !kinds::is_dict(self.all) {
            return Err(fault("%", "names in the format need a dict"));
        }
        let value = self.all.get_item(&Value::from(name))?;
        if value.is_undefined() { Err(missing()) } else { Ok(value) }
    }

    fn whole(&mut self) -> Result<i128, Error> {
        let number = kinds::integer(&self.next()?).ok_or_else(|| fault("%", "* needs a whole number"))?;
        if number.abs() > WIDEST { Err(fault("%", "the field is too wide")) } else { Ok(number) }
    }
}

pub(in crate::template) fn formatted(format: &Value, values: &Value) -> Result<Value, Error> {
    if format.is_safe() {
        return Err(fault("%", "of a text that is marked safe is not known here"));
    }
    let listed = if kinds::is_tuple(values) { kinds::items("%", values)? } else { vec![values.clone()] };
    let mut values = Values { all: values, listed, taken: 0, by_name: false };
    let mut out = String::new();
    let mut rest = format.as_str().unwrap_or_default();
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = field(&rest[at + 1..], &mut values, &mut out)?;
    }
    out.push_str(rest);
    // Python lets a dict or a list that no field took pass.
    let passes =
        values.by_name || (kinds::is_dict(values.all) || matches!(kinds::name(values.all), "list" | "range"));
    if values.taken < values.listed.len() && !passes {
        return Err(fault("%", "not all values have a field"));
    }
    Ok(Value::from(out))
}

/// Reads one field, writes its value, and gives what stands behind it.
fn field<'a>(mut rest: &'a str, values: &mut Values, out: &mut String) -> Result<&'a str, Error> {
    let incomplete = || fault("%", "the format ends within a field");
    let mut name = None;
    if rest.starts_with('(') {
        let mut depth = 0;
        let end = rest.find(|char| {
            depth += i32::from(char == '(') - i32::from(char == ')');
            depth == 0
        });
        let end = end.ok_or_else(incomplete)?;
        name = Some(&rest[1..end]);
        rest = &rest[end + 1..];
    }
    let mut field = Field::default();
    while let Some(flag) = rest.chars().next() {
        match flag {
            '-' => field.left = true,
            '+' => field.plus = true,
            ' ' => field.space = true,
            '0' => field.zero = true,
            '#' => field.alternate = true,
            _ => break,
        }
        rest = &rest[1..];
    }
    let number = |rest: &mut &'a str, values: &mut Values| -> Result<Option<i128>, Error> {
        if let Some(after) = rest.strip_prefix('*') {
            *rest = after;
            return values.whole().map(Some);
        }
        let length = rest.bytes().take_while(u8::is_ascii_digit).count();
        if length == 0 {
            return Ok(None);
        }
        let number: i128 = rest[..length].parse().unwrap_or(i128::MAX);
        *rest = &rest[length..];
        if number > WIDEST { Err(fault("%", "the field is too wide")) } else { Ok(Some(number)) }
    };
    if let Some(width) = number(&mut rest, values)? {
        field.left |= width < 0;
        field.width = width.unsigned_abs() as usize;
    }
    if let Some(after) = rest.strip_prefix('.') {
        rest = after;
        field.precision = Some(number(&mut rest, values)?.unwrap_or(0).max(0) as usize);
    }
    rest = rest.strip_prefix(['h', 'l', 'L']).unwrap_or(rest);
    let kind = rest.chars().next().ok_or_else(incomplete)?;
    let after = &rest[kind.len_utf8()..];
    if kind == '%' {
        out.push('%');
        return Ok(after);
    }
    let value = match name {
        Some(name) => values.named(name)?,
        None => values.next()?,
    };
    let text = match kind {
        's' => cut(shown(&value)?, &field),
        'r' => cut(repr_of(&value)?, &field),
        'a' => return Err(fault("%", "%a is not known here")),
        'c' => character(&value)?,
        'd' | 'i' | 'u' | 'x' | 'X' | 'o' => return whole(&value, kind, &field, out).map(|()| after),
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => return fraction(&value, kind, &field, out).map(|()| after),
        other => return Err(fault("%", &format!("%{other} is no field"))),
    };
    padded(out, "", &text, &field, false);
    Ok(after)
}

fn cut(text: String, field: &Field) -> String {
    match field.precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text,
    }
}

fn character(value: &Value) -> Result<String, Error> {
    if let Some(text) = value.as_str().filter(|text| text.chars().count() == 1) {
        return Ok(text.to_owned());
    }
    let code = kinds::integer(value).and_then(|code| u32::try_from(code).ok()).and_then(char::from_u32);
    code.map(String::from).ok_or_else(|| fault("%", "%c needs one character"))
}

fn padded(out: &mut String, sign: &str, text: &str, field: &Field, zeros: bool) {
    let missing = field.width.saturating_sub(sign.chars().count() + text.chars().count());
    let fill = |char: char| std::iter::repeat_n(char, missing);
    if field.left {
        out.push_str(sign);
        out.push_str(text);
        out.extend(fill(' '));
    } else if zeros {
        out.push_str(sign);
        out.extend(fill('0'));
        out.push_str(text);
    } else {
        out.extend(fill(' '));
        out.push_str(sign);
        out.push_str(text);
    }
}

fn sign_of(negative: bool, field: &Field) -> &'static str {
    match (negative, field.plus, field.space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (.., true) => " ",
        _ => "",
    }
}

fn whole(value: &Value, kind: char, field: &Field, out: &mut String) -> Result<(), Error> {
    let decimal = matches!(kind, 'd' | 'i' | 'u');
    let number = match kinds::integer(value) {
        Some(number) => number,
        None => match kinds::float(value) {
            Some(float) if decimal && float.is_finite() && float.abs() < 1e38 => float.trunc() as i128,
            _ => return Err(fault("%", &format!("%{kind} needs a number, not {}", kinds::name(value)))),
        },
    };
    let size = number.unsigned_abs();
    let digits = match kind {
        'x' => format!("{size:x}"),
        'X' => format!("{size:X}"),
        'o' => format!("{size:o}"),
        _ => size.to_string(),
    };
    let digits = format!("{digits:0>width$}", width = field.precision.unwrap_or(0));
    let prefix = match kind {
        'x' if field.alternate => "0x",
        'X' if field.alternate => "0X",
        'o' if field.alternate => "0o",
        _ => "",
    };
    let sign = format!("{}{prefix}", sign_of(number < 0, field));
    padded(out, &sign, &digits, field, field.zero);
    Ok(())
}

fn fraction(value: &Value, kind: char, field: &Field, out: &mut String) -> Result<(), Error> {
    let float = kinds::float(value)
        .ok_or_else(|| fault("%", &format!("%{kind} needs a number, not {}", kinds::name(value))))?;
    let size = float.abs();
    let precision = field.precision.unwrap_or(6);
    let text = if float.is_nan() {
        "nan".to_owned()
    } else if float.is_infinite() {
        "inf".to_owned()
    } else {
        match kind.to_ascii_lowercase() {
            'e' => exponential(size, precision),
            'f' => format!("{size:.precision$}"),
            _ => general(size, precision.max(1), field.alternate),
        }
    };
    let text = if kind.is_ascii_uppercase() { text.to_ascii_uppercase() } else { text };
    let negative = float.is_sign_negative() && !float.is_nan();
    padded(out, sign_of(negative, field), &text, field, field.zero && float.is_finite());
    Ok(())
}

fn exponential(size: f64, precision: usize) -> String {
    let text = format!("{size:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}

fn general(size: f64, precision: usize, keep_zeros: bool) -> String {
    let rounded = format!("{size:.digits$e}", digits = precision - 1);
    let exponent: i32 = rounded.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    let without_zeros = |text: &str| {
        if keep_zeros || !text.contains('.') {
            return text.to_owned();
        }
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    if exponent < -4 || exponent >= precision as i32 {
        let text = exponential(size, precision - 1);
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "+00"));
        return format!("{}e{exponent}", without_zeros(digits));
    }
    without_zeros(&format!("{size:.digits$}", digits = (precision as i32 - 1 - exponent).max(0) as usize))
}
