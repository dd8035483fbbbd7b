//! The environment that transformers gives to templates (`_compile_jinja_template` there): Jinja2's own built-ins, and what it adds.

use std::fmt::Write as _;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, ErrorKind};

use super::python::{call_method, show};
use super::{checks, filters, globals, json, operators};

/// For templates that [`for_minijinja`](crate::template_source::for_minijinja) has rewritten.
pub(crate) fn new() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    // White space is settled in the rewritten template.
    environment.set_syntax(SyntaxConfig::builder().keep_trailing_newline(true).build()?);
    environment.set_formatter(|out, _, value| out.write_str(&show::shown(value)?).map_err(Error::from));
    environment.set_unknown_method_callback(call_method);
    // It looks into values without an end, and Jinja has no such function.
    environment.remove_global("debug");
    operators::add_to(&mut environment);
    filters::add_to(&mut environment);
    checks::add_to(&mut environment);
    globals::add_to(&mut environment);
    environment.add_filter("tojson", json::tojson);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    Ok(environment)
}

fn raise_exception(message: &Value) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, show::shown(message)?))
}

/// The one place where this crate reads the calendar: templates of Llama 3 put today's date into the prompt.
fn strftime_now(format: &str) -> Result<String, Error> {
    let mut text = String::new();
    // Formatting, not `to_string`, which would panic on an unknown directive.
    match write!(text, "{}", chrono::Local::now().format(format)) {
        Ok(()) => Ok(text),
        Err(_) => {
            Err(Error::new(ErrorKind::InvalidOperation, format!("strftime_now knows no format {format:?}")))
        }
    }
}
