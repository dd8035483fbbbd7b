//! Jinja's tests: what stands behind `is`.

use std::cmp::Ordering;

use minijinja::value::{Rest, Value, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error};

use super::operators::{contains, modulo};
use super::python::arguments::bind;
use super::python::kinds;
use super::python::order::{compare, equal};
use super::python::{fault, show};

type Check = fn(&Value) -> Result<bool, Error>;

const PLAIN: [(&str, Check); 19] = [
    ("boolean", |value| Ok(value.kind() == ValueKind::Bool)),
    ("callable", |value| {
        Ok(matches!(value.kind(), ValueKind::Plain | ValueKind::Undefined)
            || kinds::is_macro(value)
            || kinds::is_loop(value))
    }),
    ("defined", |value| Ok(!value.is_undefined())),
    ("escaped", |value| Ok(value.is_safe())),
    ("even", |value| remainder("even", value).map(|rest| equal(&rest, &Value::from(0)))),
    ("false", |value| Ok(value.kind() == ValueKind::Bool && !value.is_true())),
    ("float", |value| Ok(kinds::name(value) == "float")),
    ("integer", |value| Ok(kinds::name(value) == "int")),
    ("iterable", |value| Ok(kinds::items("iterable", value).is_ok())),
    ("lower", |value| Ok(cased(&show::shown(value)?, char::is_lowercase, char::is_uppercase))),
    ("mapping", |value| Ok(kinds::is_dict(value))),
    ("none", |value| Ok(value.is_none())),
    ("number", |value| Ok(matches!(value.kind(), ValueKind::Number | ValueKind::Bool))),
    ("odd", |value| remainder("odd", value).map(|rest| equal(&rest, &Value::from(1)))),
    ("sequence", |value| {
        Ok(matches!(value.kind(), ValueKind::Seq | ValueKind::String | ValueKind::Undefined)
            || kinds::is_dict(value))
    }),
    ("string", |value| Ok(value.kind() == ValueKind::String)),
    ("true", |value| Ok(value.kind() == ValueKind::Bool && value.is_true())),
    ("undefined", |value| Ok(value.is_undefined())),
    ("upper", |value| Ok(cased(&show::shown(value)?, char::is_uppercase, char::is_lowercase))),
];

type Wanted = fn(Ordering) -> bool;

/// What two values are to each other, by all the names that Jinja has for it.
const ORDERS: [(&[&str], Wanted); 4] = [
    (&["gt", ">", "greaterthan"], Ordering::is_gt),
    (&["ge", ">="], Ordering::is_ge),
    (&["lt", "<", "lessthan"], Ordering::is_lt),
    (&["le", "<="], Ordering::is_le),
];

pub(super) fn add_to(environment: &mut Environment<'static>) {
    for (name, check) in PLAIN {
        environment.add_test(name, move |value: &Value, args: Rest<ValueOrKwargs>| {
            let _: [Option<Value>; 0] = bind(name, &args.into_values(), [], 0)?;
            check(value)
        });
    }
    for (names, wanted) in ORDERS {
        for name in names {
            environment.add_test(*name, move |value: &Value, args: Rest<ValueOrKwargs>| {
                let [other] = one(name, &args.into_values())?;
                let is_nan =
                    [value, &other].into_iter().any(|value| kinds::float(value).is_some_and(f64::is_nan));
                compare(name, value, &other).map(|order| !is_nan && wanted(order))
            });
        }
    }
    for (name, wanted) in [("eq", true), ("==", true), ("equalto", true), ("ne", false), ("!=", false)] {
        environment.add_test(name, move |value: &Value, args: Rest<ValueOrKwargs>| {
            one(name, &args.into_values()).map(|[other]| equal(value, &other) == wanted)
        });
    }
    environment.add_test("sameas", |value: &Value, args: Rest<ValueOrKwargs>| {
        let [other] = one("sameas", &args.into_values())?;
        match (kinds::name(value), kinds::name(&other)) {
            ("NoneType", "NoneType") => Ok(true),
            ("bool", "bool") => Ok(value.is_true() == other.is_true()),
            // Python's small numbers are one object each; whether others are depends on where they came from.
            ("int", "int") if kinds::integer(value).is_some_and(|number| (-5..=256).contains(&number)) => {
                Ok(equal(value, &other))
            }
            (a, b) if a != b => Ok(false),
            _ if !equal(value, &other) => Ok(false),
            _ => Err(fault("sameas", "known here for none, true, false and small numbers")),
        }
    });
    environment.add_test("divisibleby", |value: &Value, args: Rest<ValueOrKwargs>| {
        let [number] = bind("divisibleby", &args.into_values(), ["num"], 1)?;
        let rest = modulo(value, &number.unwrap_or_default())?;
        Ok::<_, Error>(equal(&rest, &Value::from(0)))
    });
    for name in ["in", "__in"] {
        environment.add_test(name, |value: &Value, args: Rest<ValueOrKwargs>| {
            one("in", &args.into_values()).and_then(|[container]| contains(&container, value))
        });
    }
    environment.add_test("filter", |name: &Value| named("filter", name, super::filters::is_known));
    environment.add_test("test", |name: &Value| named("test", name, is_known));
    for name in ["safe", "int", "startingwith", "endingwith", "containing"] {
        environment.remove_test(name);
    }
}

fn named(test: &str, name: &Value, is_known: fn(&str) -> bool) -> Result<bool, Error> {
    if !kinds::is_hashable(name) {
        return Err(fault(test, &format!("{} is no name", kinds::name(name))));
    }
    Ok(name.as_str().is_some_and(is_known))
}

fn is_known(name: &str) -> bool {
    PLAIN.iter().any(|(known, _)| *known == name)
        || ORDERS.iter().any(|(names, _)| names.contains(&name))
        || ["eq", "==", "equalto", "ne", "!=", "sameas", "divisibleby", "in", "filter", "test"]
            .contains(&name)
}

fn one(name: &str, args: &[Value]) -> Result<[Value; 1], Error> {
    let [other] = bind(name, args, [""], 1)?;
    Ok([other.unwrap_or_default()])
}

fn remainder(name: &str, value: &Value) -> Result<Value, Error> {
    modulo(value, &Value::from(2)).map_err(|error| fault(name, &error.to_string()))
}

/// Python's `islower` and `isupper`.
pub(super) fn cased(text: &str, wanted: fn(char) -> bool, unwanted: fn(char) -> bool) -> bool {
    text.chars().any(wanted) && !text.chars().any(unwanted)
}
