//! Ranges of the numbers in options, so that a wrong one is an error of grammar and not of a run.

fn number(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err("give a number such as 0.5".to_owned()),
    }
}

pub(super) fn above_zero(text: &str) -> Result<f64, String> {
    number(text).and_then(|value| if value > 0.0 { Ok(value) } else { Err("must be above 0".to_owned()) })
}

pub(super) fn zero_or_more(text: &str) -> Result<f64, String> {
    number(text).and_then(|value| if value >= 0.0 { Ok(value) } else { Err("must be 0 or more".to_owned()) })
}

pub(super) fn probability(text: &str) -> Result<f64, String> {
    above_zero(text).and_then(|value| {
        if value <= 1.0 { Ok(value) } else { Err("must be above 0 and at most 1".to_owned()) }
    })
}

pub(super) fn one_or_more(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(0) => Err("must be 1 or more".to_owned()),
        Ok(value) => Ok(value),
        Err(_) => Err("give a whole number such as 4".to_owned()),
    }
}
