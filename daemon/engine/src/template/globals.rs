//! Jinja's global functions, as transformers restricts them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use minijinja::value::{Enumerator, Object, ObjectRepr, Rest, Value, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State};

use super::python::arguments::{bind, split, whole};
use super::python::kinds::{self, Range};
use super::python::{dict, fault};

/// As Jinja's sandbox has it.
const LONGEST_RANGE: i128 = 100_000;

pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_function("range", |args: Rest<ValueOrKwargs>| range(&args.into_values()));
    environment.add_function("namespace", |args: Rest<ValueOrKwargs>| namespace(&args.into_values()));
    environment.add_function("cycler", |args: Rest<ValueOrKwargs>| {
        if args.is_empty() {
            return Err(fault("cycler", "needs something to go through"));
        }
        Ok(Value::from_object(Cycler { items: args.into_values(), at: AtomicUsize::new(0) }))
    });
    environment.add_function("joiner", |args: Rest<ValueOrKwargs>| {
        let [between] = bind("joiner", &args.into_values(), ["sep"], 0)?;
        let between = between.unwrap_or_else(|| Value::from(", "));
        Ok::<_, Error>(Value::from_object(Joiner { between, used: AtomicBool::new(false) }))
    });
    environment.add_function("lipsum", |_: Rest<ValueOrKwargs>| {
        Err::<Value, _>(fault("lipsum", "texts by chance are no part of a chat"))
    });
    environment.add_global("dict", Value::from_object(Dict));
}

fn range(args: &[Value]) -> Result<Value, Error> {
    let [first, second, step] = bind("range", args, ["", "", ""], 1)?;
    let number =
        |value: Option<Value>, default: i64| value.map_or(Ok(default), |value| whole("range", &value));
    let first = number(first, 0)?;
    let (start, stop) = match second {
        Some(stop) => (first, whole("range", &stop)?),
        None => (0, first),
    };
    let range = Range { start, stop, step: number(step, 1)? };
    if range.step == 0 {
        return Err(fault("range", "the step is zero"));
    }
    if range.length() > LONGEST_RANGE {
        return Err(fault("range", &format!("more than {LONGEST_RANGE} numbers")));
    }
    Ok(Value::from_object(range))
}

/// The range that some items of one are.
pub(super) fn range_of(kept: &[Value], step: i128, whole: &Value) -> Value {
    let own = whole.downcast_object_ref::<Range>().map_or(1, |range| range.step);
    let step = (step as i64).saturating_mul(own);
    let number = |value: Option<&Value>| value.and_then(kinds::integer).unwrap_or(0) as i64;
    let start = number(kept.first());
    let stop = kept.last().map_or(start, |last| number(Some(last)) + step);
    Value::from_object(Range { start, stop, step })
}

fn namespace(args: &[Value]) -> Result<Value, Error> {
    let pairs = dict::pairs("namespace", args)?;
    if let Some((name, _)) =
        pairs.iter().find(|(key, _)| key.as_str().is_some_and(|key| key.starts_with('_')))
    {
        return Err(fault("namespace", &format!("a name may not begin with _, as {name} does")));
    }
    minijinja::functions::namespace(Some(Value::from_pairs(pairs).into()))
}

/// `dict(…)` and `dict.fromkeys(…)`.
#[derive(Debug)]
struct Dict;

impl Object for Dict {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        Ok(dict::of(dict::pairs("dict", args)?))
    }

    fn call_method(
        self: &Arc<Self>,
        _: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        if method == "fromkeys" { dict::fromkeys(args) } else { Err(Error::from(ErrorKind::UnknownMethod)) }
    }
}

#[derive(Debug)]
struct Cycler {
    items: Vec<Value>,
    at: AtomicUsize,
}

impl Object for Cycler {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        (key.as_str() == Some("current")).then(|| self.items.get(self.at.load(Ordering::Relaxed)).cloned())?
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }

    fn call_method(
        self: &Arc<Self>,
        _: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        let _: [Option<Value>; 0] = bind(method, args, [], 0)?;
        match method {
            "next" => {
                let at = self.at.load(Ordering::Relaxed);
                self.at.store((at + 1) % self.items.len(), Ordering::Relaxed);
                Ok(self.items[at].clone())
            }
            "reset" => {
                self.at.store(0, Ordering::Relaxed);
                Ok(Value::from(()))
            }
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }
}

#[derive(Debug)]
struct Joiner {
    between: Value,
    used: AtomicBool,
}

impl Object for Joiner {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        split(args)?;
        Ok(if self.used.swap(true, Ordering::Relaxed) { self.between.clone() } else { Value::from("") })
    }
}
