//! Filters of numbers.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, State};

use crate::template::python::arguments::{bind, optional_text, truth, whole_or};
use crate::template::python::{fault, kinds};

pub(super) fn abs(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let _: [Option<Value>; 0] = bind("abs", args, [], 0)?;
    if let Some(number) = kinds::integer(value) {
        return number
            .checked_abs()
            .map(kinds::of_integer)
            .ok_or_else(|| fault("abs", "the number is too large"));
    }
    let number = kinds::float(value).ok_or_else(|| fault("abs", &format!("of {}", kinds::name(value))))?;
    Ok(Value::from(number.abs()))
}

pub(super) fn int(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [default, base] = bind("int", args, ["default", "base"], 0)?;
    let base = whole_or("int", base.as_ref(), 10);
    let default = || default.clone().unwrap_or_else(|| Value::from(0));
    let of_float = |float: f64| {
        if !float.is_finite() {
            return Ok(default());
        }
        if float.abs() >= 1.7e38 {
            return Err(fault("int", "the number is too large"));
        }
        Ok(kinds::of_integer(float.trunc() as i128))
    };
    if value.is_undefined() {
        return Err(fault("int", "of a value that is not there"));
    }
    if let Some(number) = kinds::integer(value) {
        return Ok(kinds::of_integer(number));
    }
    match value.kind() {
        ValueKind::Number => {
            let float = kinds::float(value).unwrap_or(f64::NAN);
            if float.is_infinite() { Ok(default()) } else { of_float(float) }
        }
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            match base.ok().and_then(|base| parsed(text, base)) {
                Some(Ok(number)) => Ok(kinds::of_integer(number)),
                Some(Err(())) => Err(fault("int", "the number is too large")),
                None => parsed_float(text).map_or_else(|| Ok(default()), of_float),
            }
        }
        _ => Ok(default()),
    }
}

/// A text as Python's `int(text, base)` reads it: nothing where it does not, an error where it is too large.
fn parsed(text: &str, base: i64) -> Option<Result<i128, ()>> {
    let base = u32::try_from(base).ok().filter(|base| *base == 0 || (2..=36).contains(base))?;
    let text = text.trim_matches(crate::template::python::text::is_space);
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let prefix = digits.get(..2).unwrap_or_default().to_ascii_lowercase();
    let prefixed = [("0b", 2), ("0o", 8), ("0x", 16)].into_iter().find(|(known, _)| *known == prefix);
    let (digits, base) = match prefixed {
        Some((_, radix)) if base == 0 || base == radix => {
            let rest = &digits[2..];
            (rest.strip_prefix('_').unwrap_or(rest), radix)
        }
        _ if base == 0 => {
            // Python wants no leading zeros here, but for zero itself.
            if digits.starts_with('0') && digits.chars().any(|char| char != '0' && char != '_') {
                return None;
            }
            (digits, 10)
        }
        _ => (digits, base),
    };
    let well_formed = !digits.is_empty()
        && !digits.starts_with('_')
        && !digits.ends_with('_')
        && !digits.contains("__")
        && digits.chars().all(|char| char == '_' || digit(char).is_some_and(|digit| digit < base));
    if !well_formed {
        return None;
    }
    let mut number: i128 = 0;
    for value in digits.chars().filter_map(digit) {
        let next =
            number.checked_mul(i128::from(base)).and_then(|number| number.checked_add(i128::from(value)));
        let Some(next) = next else { return Some(Err(())) };
        number = next;
    }
    Some(Ok(if negative { -number } else { number }))
}

/// Digits of any script count.
fn digit(char: char) -> Option<u32> {
    use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};
    if char.is_ascii_alphanumeric() {
        return char.to_digit(36);
    }
    if char.general_category() != GeneralCategory::DecimalNumber {
        return None;
    }
    // Each script's digits stand in a row of ten.
    let code = u32::from(char);
    let is_digit = |code: u32| {
        char::from_u32(code).is_some_and(|char| char.general_category() == GeneralCategory::DecimalNumber)
    };
    (0..10).rev().find(|before| {
        code >= *before && (code - before..code).all(is_digit) && !is_digit(code.wrapping_sub(before + 1))
    })
}

fn parsed_float(text: &str) -> Option<f64> {
    let text = text.trim_matches(crate::template::python::text::is_space);
    let plain: String = text
        .chars()
        .map(|char| {
            digit(char)
                .filter(|_| !char.is_ascii())
                .and_then(|digit| char::from_digit(digit, 10))
                .unwrap_or(char)
        })
        .collect();
    let misplaced = plain.starts_with('_') || plain.ends_with('_') || plain.contains("__");
    let between_digits = plain.char_indices().filter(|(_, char)| *char == '_').all(|(at, _)| {
        let is_digit = |char: Option<char>| char.is_some_and(|char| char.is_ascii_digit());
        is_digit(plain[..at].chars().next_back()) && is_digit(plain[at + 1..].chars().next())
    });
    if misplaced || !between_digits {
        return None;
    }
    plain.replace('_', "").parse().ok()
}

pub(super) fn float(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [default] = bind("float", args, ["default"], 0)?;
    if value.is_undefined() {
        return Err(fault("float", "of a value that is not there"));
    }
    let number = match value.kind() {
        ValueKind::String => parsed_float(value.as_str().unwrap_or_default()),
        _ => kinds::float(value),
    };
    Ok(number.map_or_else(|| default.unwrap_or_else(|| Value::from(0.0)), Value::from))
}

pub(super) fn round(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [precision, method] = bind("round", args, ["precision", "method"], 0)?;
    let method = method.unwrap_or_else(|| Value::from("common"));
    let method = optional_text("round", Some(&method))?.unwrap_or_default();
    if !matches!(method, "common" | "ceil" | "floor") {
        return Err(fault("round", "the method must be common, ceil or floor"));
    }
    let precision = whole_or("round", precision.as_ref(), 0)?;
    if !(-300..=300).contains(&precision) {
        return Err(fault("round", "the precision is too large"));
    }
    let number = kinds::float(value).ok_or_else(|| fault("round", &format!("of {}", kinds::name(value))))?;
    if method != "common" {
        if !number.is_finite() {
            return Err(fault("round", "of what is no number"));
        }
        let shift = 10_f64.powi(precision as i32);
        let moved = number * shift;
        let rounded = if method == "ceil" { moved.ceil() } else { moved.floor() };
        // Python's ceil and floor are whole numbers: there is no negative zero.
        return Ok(Value::from((rounded + 0.0) / shift));
    }
    if let Some(whole) = kinds::integer(value) {
        if precision >= 0 {
            return Ok(kinds::of_integer(whole));
        }
        let unit = 10_i128.checked_pow(precision.unsigned_abs() as u32).unwrap_or(i128::MAX);
        let down = whole.div_euclid(unit) * unit;
        let rest = whole.rem_euclid(unit);
        let up = rest * 2 > unit || (rest * 2 == unit && whole.div_euclid(unit) % 2 != 0);
        return Ok(kinds::of_integer(if up { down + unit } else { down }));
    }
    if !number.is_finite() {
        return Err(fault("round", "of what is no number")).or_else(|error| {
            if precision == 0 && args.is_empty() { Ok(Value::from(number)) } else { Err(error) }
        });
    }
    Ok(Value::from(if precision >= 0 {
        format!("{number:.digits$}", digits = precision as usize).parse().unwrap_or(number)
    } else {
        let unit = 10_f64.powi(precision.unsigned_abs() as i32);
        (number / unit).round_ties_even() * unit
    }))
}

pub(super) fn filesizeformat(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [binary] = bind("filesizeformat", args, ["binary"], 0)?;
    let number = match value.kind() {
        ValueKind::String => parsed_float(value.as_str().unwrap_or_default()),
        _ => kinds::float(value),
    };
    let bytes = number.ok_or_else(|| fault("filesizeformat", &format!("of {}", kinds::name(value))))?;
    let (base, sign) = if truth(binary.as_ref()) { (1024.0_f64, "i") } else { (1000.0_f64, "") };
    if (bytes - 1.0).abs() < f64::EPSILON / 2.0 {
        return Ok(Value::from("1 Byte"));
    }
    if bytes < base {
        return Ok(Value::from(format!("{} Bytes", bytes.trunc() as i128)));
    }
    let prefixes = if sign == "i" { "KMGTPEZY" } else { "kMGTPEZY" };
    let mut unit = base;
    let mut letter = 'Y';
    for prefix in prefixes.chars() {
        unit *= base;
        if bytes < unit {
            letter = prefix;
            break;
        }
    }
    Ok(Value::from(format!("{:.1} {letter}{sign}B", base * bytes / unit)))
}
