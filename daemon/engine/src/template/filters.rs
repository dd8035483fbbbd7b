//! Jinja's filters.

pub(super) mod markup;
mod numbers;
mod sequences;
mod texts;
mod wrapping;

use minijinja::value::{Rest, Value, ValueOrKwargs};
use minijinja::{Environment, Error, State};

use super::python::arguments::bind;
use super::python::kinds;
use super::python::order::equal;
use super::python::{fault, show};

/// What a filter does with its value and arguments.
type Filter = fn(&mut State, &Value, &[Value]) -> Result<Value, Error>;

const FILTERS: [(&str, Filter); 53] = [
    ("abs", numbers::abs),
    ("attr", sequences::attr),
    ("batch", sequences::batch),
    ("capitalize", texts::capitalize),
    ("center", texts::center),
    ("count", sequences::length),
    ("d", default),
    ("default", default),
    ("dictsort", sequences::dictsort),
    ("e", markup::escape),
    ("escape", markup::escape),
    ("filesizeformat", numbers::filesizeformat),
    ("first", sequences::first),
    ("float", numbers::float),
    ("forceescape", markup::forceescape),
    ("format", texts::format),
    ("groupby", sequences::groupby),
    ("indent", texts::indent),
    ("int", numbers::int),
    ("items", sequences::items),
    ("join", sequences::join),
    ("last", sequences::last),
    ("length", sequences::length),
    ("list", sequences::list),
    ("lower", texts::lower),
    ("map", sequences::map),
    ("max", sequences::max),
    ("min", sequences::min),
    ("pprint", pprint),
    ("random", random),
    ("reject", sequences::reject),
    ("rejectattr", sequences::rejectattr),
    ("replace", texts::replace),
    ("reverse", sequences::reverse),
    ("round", numbers::round),
    ("safe", markup::safe),
    ("select", sequences::select),
    ("selectattr", sequences::selectattr),
    ("slice", sequences::slice),
    ("sort", sequences::sort),
    ("string", texts::string),
    ("striptags", markup::striptags),
    ("sum", sequences::sum),
    ("title", texts::title),
    ("trim", texts::trim),
    ("truncate", texts::truncate),
    ("unique", sequences::unique),
    ("upper", texts::upper),
    ("urlencode", markup::urlencode),
    ("urlize", markup::urlize),
    ("wordcount", texts::wordcount),
    ("wordwrap", wrapping::wordwrap),
    ("xmlattr", markup::xmlattr),
];

pub(super) fn add_to(environment: &mut Environment<'static>) {
    for name in ["bool", "lines", "split", "chain", "zip"] {
        environment.remove_filter(name);
    }
    for (name, filter) in FILTERS {
        environment.add_filter(name, move |state: &mut State, value: &Value, args: Rest<ValueOrKwargs>| {
            filter(state, value, &args.into_values())
        });
    }
}

pub(super) fn is_known(name: &str) -> bool {
    name == "tojson" || FILTERS.iter().any(|(known, _)| *known == name)
}

fn default(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [default, boolean] = bind("default", args, ["default_value", "boolean"], 0)?;
    let is_empty =
        value.is_undefined() || (super::python::arguments::truth(boolean.as_ref()) && !value.is_true());
    Ok(if is_empty { default.unwrap_or_else(|| Value::from("")) } else { value.clone() })
}

/// Python breaks what is longer than a line: that is not known here.
fn pprint(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let _: [Option<Value>; 0] = bind("pprint", args, [], 0)?;
    let is_set = |value: &Value| kinds::is_dict(value) && value.len().is_some_and(|length| length > 1);
    let text = show::repr_of(value)?;
    if text.chars().count() > 79 || is_set(value) || text.matches('{').count() > 1 {
        return Err(fault("pprint", "of long values and of dicts with several keys is not known here"));
    }
    Ok(Value::from(text))
}

/// An answer must be the same each time: only where there is nothing to choose.
fn random(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let _: [Option<Value>; 0] = bind("random", args, [], 0)?;
    if !matches!(kinds::name(value), "str" | "list" | "tuple" | "range" | "Undefined") {
        return Err(fault("random", &format!("{} has no places", kinds::name(value))));
    }
    let items = kinds::items("random", value)?;
    match items.as_slice() {
        [] => Ok(Value::UNDEFINED),
        [first, rest @ ..] if rest.iter().all(|item| equal(item, first)) => Ok(first.clone()),
        _ => Err(fault("random", "chance is no part of a chat")),
    }
}
