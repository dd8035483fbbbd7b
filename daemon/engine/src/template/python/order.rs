//! Equality and order, as Python has them: kinds that have no order are an error.

use std::cmp::Ordering;

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use super::{fault, kinds};

pub(in crate::template) fn equal(a: &Value, b: &Value) -> bool {
    if let (ValueKind::Seq, ValueKind::Seq) = (a.kind(), b.kind()) {
        return kinds::name(a) == kinds::name(b) && all_equal(a, b);
    }
    a == b
}

fn all_equal(a: &Value, b: &Value) -> bool {
    let (Ok(a), Ok(b)) = (kinds::items("==", a), kinds::items("==", b)) else { return false };
    a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| equal(a, b))
}

pub(in crate::template) fn compare(construct: &str, a: &Value, b: &Value) -> Result<Ordering, Error> {
    let none = || fault(construct, &format!("{} and {} have no order", kinds::name(a), kinds::name(b)));
    if let (Some(a), Some(b)) = (kinds::integer(a), kinds::integer(b)) {
        return Ok(a.cmp(&b));
    }
    if let (Some(a), Some(b)) = (kinds::float(a), kinds::float(b)) {
        // Where one is no number, nothing is less.
        return Ok(a.partial_cmp(&b).unwrap_or(Ordering::Equal));
    }
    match (kinds::name(a), kinds::name(b)) {
        ("str", "str") => Ok(a.as_str().cmp(&b.as_str())),
        ("list", "list") | ("tuple", "tuple") => {
            let (a, b) = (kinds::items(construct, a)?, kinds::items(construct, b)?);
            match a.iter().zip(&b).find(|(a, b)| !equal(a, b)) {
                Some((a, b)) => compare(construct, a, b),
                None => Ok(a.len().cmp(&b.len())),
            }
        }
        _ => Err(none()),
    }
}

/// Sorts by keys, equal ones in their order. A single key is compared even with its equal, of which some kinds have no order either;
/// several keys are compared where they differ, as Python's lists are.
pub(in crate::template) fn sort<T>(
    construct: &str,
    items: Vec<(Value, T)>,
    reverse: bool,
) -> Result<Vec<T>, Error> {
    sort_by(items, reverse, |a, b| compare(construct, a, b))
}

pub(in crate::template) fn sort_by_all<T>(
    construct: &str,
    items: Vec<(Vec<Value>, T)>,
    reverse: bool,
) -> Result<Vec<T>, Error> {
    sort_by(items, reverse, |a, b| {
        let apart = a.iter().zip(b).find(|(a, b)| !equal(a, b));
        apart.map_or(Ok(Ordering::Equal), |(a, b)| compare(construct, a, b))
    })
}

fn sort_by<K, T>(
    mut items: Vec<(K, T)>,
    reverse: bool,
    order: impl Fn(&K, &K) -> Result<Ordering, Error>,
) -> Result<Vec<T>, Error> {
    let mut failed = None;
    items.sort_by(|(a, _), (b, _)| {
        let order = order(a, b).unwrap_or_else(|error| {
            failed.get_or_insert(error);
            Ordering::Equal
        });
        if reverse { order.reverse() } else { order }
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(items.into_iter().map(|(_, item)| item).collect()),
    }
}
