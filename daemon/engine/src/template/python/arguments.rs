//! Arguments by place and by name, as Python binds them.

use minijinja::Error;
use minijinja::value::{Kwargs, Value, ValueKind};

use super::{fault, kinds};

/// The arguments of a call, each in its place. The first `required` must be there.
pub(in crate::template) fn bind<const N: usize>(
    construct: &str,
    args: &[Value],
    names: [&str; N],
    required: usize,
) -> Result<[Option<Value>; N], Error> {
    let (plain, named) = split(args)?;
    let mut bound: [Option<Value>; N] = std::array::from_fn(|_| None);
    if plain.len() > N {
        return Err(fault(construct, &format!("takes {N} arguments at most, not {}", plain.len())));
    }
    for (place, value) in bound.iter_mut().zip(plain) {
        *place = Some(value.clone());
    }
    for (name, value) in named {
        let place = names.iter().position(|known| *known == name && !known.is_empty());
        match place.map(|at| &mut bound[at]) {
            Some(empty @ None) => *empty = Some(value),
            Some(_) => return Err(fault(construct, &format!("the argument {name} is given twice"))),
            None => return Err(fault(construct, &format!("has no argument {name}"))),
        }
    }
    match bound.iter().take(required).position(Option::is_none) {
        Some(missing) => Err(fault(construct, &format!("the argument {} is missing", missing + 1))),
        None => Ok(bound),
    }
}

/// Arguments by place, and those by name.
pub(in crate::template) type Split<'a> = (&'a [Value], Vec<(String, Value)>);

pub(in crate::template) fn split(args: &[Value]) -> Result<Split<'_>, Error> {
    let Some((last, rest)) = args.split_last().filter(|(last, _)| last.is_kwargs()) else {
        return Ok((args, Vec::new()));
    };
    let named = Kwargs::try_from(last.clone())?;
    let pairs = named.args().map(|name| Ok((name.to_owned(), named.peek::<Value>(name)?)));
    Ok((rest, pairs.collect::<Result<_, Error>>()?))
}

/// Something that must be a text.
pub(in crate::template) fn text<'a>(construct: &str, value: &'a Value) -> Result<&'a str, Error> {
    let wrong = || fault(construct, &format!("needs a text, not {}", kinds::name(value)));
    value.as_str().ok_or_else(wrong)
}

pub(in crate::template) fn optional_text<'a>(
    construct: &str,
    value: Option<&'a Value>,
) -> Result<Option<&'a str>, Error> {
    value.filter(|value| !value.is_none()).map(|value| text(construct, value)).transpose()
}

/// Something that must be a whole number.
pub(in crate::template) fn whole(construct: &str, value: &Value) -> Result<i64, Error> {
    let wrong = || fault(construct, &format!("needs a whole number, not {}", kinds::name(value)));
    let number = kinds::integer(value).ok_or_else(wrong)?;
    Ok(number.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
}

pub(in crate::template) fn whole_or(
    construct: &str,
    value: Option<&Value>,
    default: i64,
) -> Result<i64, Error> {
    value.map_or(Ok(default), |value| whole(construct, value))
}

/// Whatever Python takes for a yes. A value that is not there is asked in vain.
pub(in crate::template) fn truth(value: Option<&Value>) -> bool {
    value.is_some_and(|value| match value.kind() {
        ValueKind::Undefined => false,
        _ => value.is_true(),
    })
}
