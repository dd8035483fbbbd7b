//! A base's chat template: messages in, the text that the base was trained on out.
//!
//! Owns the Jinja environment that transformers gives to templates (`_compile_jinja_template` and `special_tokens_map`
//! there). It must not know tokens.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hotplate_dataset::Turn;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind};

use crate::base_error::BaseError;
use crate::base_source::BaseSource;
use crate::template_source::{for_minijinja, with_marks};
use crate::tokenizer::TokenizerConfig;

const FILE: &str = "chat_template.jinja";
const NAME: &str = "chat";
/// The same with marks around answers, for a template that tells where they are.
const MARKED: &str = "marked";

/// A compiled template.
#[derive(Debug)]
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
    special_tokens: BTreeMap<String, String>,
    /// As the base has it, for the snapshot beside an adapter.
    text: String,
}

/// The template's text: its own file goes before the tokenizer's settings.
pub(crate) fn find(source: &BaseSource, config: &TokenizerConfig) -> Result<Option<String>, BaseError> {
    let bad = |why: &str| BaseError::BadTemplate {
        file: source.path("tokenizer_config.json"),
        why: why.to_owned(),
    };
    if let Some(bytes) = source.read_if_present(FILE)? {
        let text = String::from_utf8(bytes.into_owned());
        return text.map(Some).map_err(|_| BaseError::BadTemplate {
            file: source.path(FILE),
            why: "it is not UTF-8".to_owned(),
        });
    }
    match &config.chat_template {
        None => Ok(None),
        Some(serde_json::Value::String(text)) => Ok(Some(text.clone())),
        Some(serde_json::Value::Array(named)) => {
            let default = named.iter().find(|entry| entry["name"] == "default");
            match default.and_then(|entry| entry["template"].as_str()) {
                Some(text) => Ok(Some(text.to_owned())),
                None => Err(bad("none of the chat_template entries is named \"default\"")),
            }
        }
        Some(_) => Err(bad("chat_template is neither a text nor a list")),
    }
}

impl ChatTemplate {
    /// # Errors
    /// What is wrong with the template's syntax, in words.
    pub(crate) fn compile(text: String, special_tokens: BTreeMap<String, String>) -> Result<Self, String> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", tojson);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| error.to_string())?);
        environment.add_template_owned(NAME, for_minijinja(&text)).map_err(|error| words(&error))?;
        if let Some(marked) = with_marks(&text) {
            environment.add_template_owned(MARKED, marked).map_err(|error| words(&error))?;
        }
        Ok(Self { environment, special_tokens, text })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// # Errors
    /// What the template says against these messages, in words.
    pub(crate) fn render(
        &self,
        turns: &[Turn],
        tools: Option<&serde_json::Value>,
        add_generation_prompt: bool,
    ) -> Result<String, String> {
        self.render_as(NAME, turns, tools, add_generation_prompt)
    }

    /// The text with [`ANSWER_MARKS`](crate::template_source::ANSWER_MARKS) around each answer, where the template tells.
    pub(crate) fn render_marked(
        &self,
        turns: &[Turn],
        tools: Option<&serde_json::Value>,
    ) -> Option<Result<String, String>> {
        self.environment.get_template(MARKED).ok()?;
        Some(self.render_as(MARKED, turns, tools, false))
    }

    fn render_as(
        &self,
        name: &str,
        turns: &[Turn],
        tools: Option<&serde_json::Value>,
        add_generation_prompt: bool,
    ) -> Result<String, String> {
        let mut context = vec![
            ("messages", turns.iter().map(message).collect()),
            ("add_generation_prompt", Value::from(add_generation_prompt)),
            ("tools", tools.map_or(Value::from(()), from_json)),
            ("documents", Value::from(())),
        ];
        context.extend(
            self.special_tokens.iter().map(|(key, token)| (key.as_str(), Value::from(token.as_str()))),
        );
        let template = self.environment.get_template(name).map_err(|error| words(&error))?;
        template.render(Value::from_pairs(context)).map_err(|error| words(&error))
    }
}

/// A message with all its keys, in the record's order.
fn message(turn: &Turn) -> Value {
    match &turn.message {
        Some(message) => from_map(message),
        None => Value::from_pairs([
            ("role", Value::from(turn.role.name())),
            ("content", turn.content.as_str().into()),
        ]),
    }
}

fn from_json(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(flag) => Value::from(*flag),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::from(number),
            (None, Some(number)) => Value::from(number),
            (None, None) => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => items.iter().map(from_json).collect(),
        serde_json::Value::Object(map) => from_map(map),
    }
}

fn from_map(map: &serde_json::Map<String, serde_json::Value>) -> Value {
    Value::from_pairs(map.iter().map(|(key, value)| (key.as_str(), from_json(value))))
}

/// An error with its causes, on one line.
fn words(error: &Error) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let _ = write!(words, ": {inner}");
        cause = inner.source();
    }
    words
}

fn raise_exception(message: &str) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message.to_owned()))
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

/// Python's `json.dumps`, with the options and defaults that transformers gives to templates.
#[expect(clippy::needless_pass_by_value, reason = "the shape that minijinja asks for")]
fn tojson(value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let separators: Option<Vec<String>> = options.get("separators")?;
    let (item, key) = match separators.as_deref() {
        Some([item, key]) => (item.clone(), key.clone()),
        Some(_) => {
            return Err(Error::new(ErrorKind::InvalidOperation, "tojson: separators must be two texts"));
        }
        // Python puts no space before a line break.
        None => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
    };
    let writer = JsonWriter {
        item,
        key,
        indent,
        ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sorted: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    options.assert_all_used()?;
    let mut out = String::new();
    writer.write(&mut out, value, 0)?;
    Ok(out)
}

struct JsonWriter {
    item: String,
    key: String,
    indent: Option<usize>,
    ascii: bool,
    sorted: bool,
}

/// Deeper values are nobody's chat; the stack is finite.
const DEEPEST_JSON: usize = 100;

impl JsonWriter {
    fn write(&self, out: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > DEEPEST_JSON {
            return Err(Error::new(ErrorKind::InvalidOperation, "tojson: nested too deeply"));
        }
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            // A float that is whole keeps its ".0" in both languages.
            ValueKind::Number => out.push_str(&value.to_string()),
            ValueKind::String => self.text(out, value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.list(out, ('[', ']'), depth, &items, |writer, out, item| {
                    writer.write(out, item, depth + 1)
                })?;
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sorted {
                    keys.sort();
                }
                self.list(out, ('{', '}'), depth, &keys, |writer, out, key| {
                    writer.text(out, &key.to_string());
                    out.push_str(&writer.key);
                    writer.write(out, &value.get_item(key)?, depth + 1)
                })?;
            }
            other => {
                return Err(Error::new(ErrorKind::InvalidOperation, format!("tojson: {other} has no JSON")));
            }
        }
        Ok(())
    }

    fn list(
        &self,
        out: &mut String,
        (open, close): (char, char),
        depth: usize,
        items: &[Value],
        mut one: impl FnMut(&Self, &mut String, &Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        out.push(open);
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                out.push_str(&self.item);
            }
            self.line(out, depth + 1);
            one(self, out, item)?;
        }
        if !items.is_empty() {
            self.line(out, depth);
        }
        out.push(close);
        Ok(())
    }

    fn line(&self, out: &mut String, depth: usize) {
        if let Some(indent) = self.indent {
            out.push('\n');
            // A width from a template: bounded, so that it cannot fill the memory.
            out.extend(std::iter::repeat_n(' ', indent.min(64) * depth));
        }
    }

    fn text(&self, out: &mut String, text: &str) {
        out.push('"');
        for char in text.chars() {
            match char {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                char if char < ' ' || (self.ascii && !char.is_ascii()) => {
                    for unit in char.encode_utf16(&mut [0; 2]) {
                        let _ = write!(out, "\\u{unit:04x}");
                    }
                }
                // Python escapes DEL only in ASCII mode, where it counts as printable too.
                char => out.push(char),
            }
        }
        out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use hotplate_dataset::Role;

    use super::*;

    fn turn(role: Role, content: &str) -> Turn {
        Turn::new(role, content)
    }

    fn render(template: &str) -> Result<String, String> {
        let specials = BTreeMap::from([("bos_token".to_owned(), "<s>".to_owned())]);
        let template = ChatTemplate::compile(template.to_owned(), specials)?;
        template.render(&[turn(Role::User, " Hi <b>\n"), turn(Role::Assistant, "\"好\"")], None, true)
    }

    fn check(template: &str, expected: &str) {
        assert_eq!(render(template).as_deref(), Ok(expected), "{template}");
    }

    #[test]
    fn templates_see_what_transformers_gives_them() {
        check("{{ bos_token }}{{ eos_token }}{{ messages | length }}{{ add_generation_prompt }}", "<s>2True");
        check("{{ tools is none }}{{ tools is defined }}{{ xyz is defined }}", "TrueTrueFalse");
        check("{{ messages[0].content | trim }}|{{ messages[1]['role'] }}", "Hi <b>|assistant");
        check("{{ messages[0].content.strip().upper() }}{{ messages[-1].get('name') }}", "HI <B>None");
        check("{{ messages[0]['content'].split(' ')[1] }}{{ 'tool_calls' in messages[0] }}", "HiFalse");
        check(
            "{% set ns = namespace(n=0) %}{% for m in messages[::-1] %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
            "2",
        );
        check(
            "{% for m in messages %}{% if loop.last %}{% break %}{% endif %}{{ m.role }}{% endfor %}",
            "user",
        );
        check("{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f(messages[0].role) }}", "<user>");
    }

    #[test]
    fn blocks_leave_no_lines_behind() {
        check("a\n  {% if true %}\n  b\n  {% endif %}\nc\n", "a\n  b\nc");
        check("{% generation %}x{%- endgeneration %}\ny", "xy");
    }

    #[test]
    fn tojson_is_pythons() {
        check("{{ messages[1] | tojson }}", r#"{"role": "assistant", "content": "\"好\""}"#);
        check("{{ messages[1].content | tojson(ensure_ascii=true) }}", r#""\"\u597d\"""#);
        check(
            "{{ {'b': [1, 2.0, none], 'a': {}} | tojson(indent=2) }}",
            "{\n  \"b\": [\n    1,\n    2.0,\n    null\n  ],\n  \"a\": {}\n}",
        );
        check(
            "{{ {'b': 1, 'a': true} | tojson(sort_keys=true, separators=(',', ':')) }}",
            r#"{"a":true,"b":1}"#,
        );
        assert!(render("{{ nothing | tojson }}").is_err());
    }

    #[test]
    fn a_template_may_refuse_in_its_own_words() {
        let error = render("{{ raise_exception('roles must alternate') }}").unwrap_err();
        assert!(error.contains("roles must alternate"), "{error}");
        assert!(render("{% if %}").is_err());
        assert!(render("{{ strftime_now('%Q %9') }}").is_err());
        let today = render("{{ strftime_now('%Y') }}").unwrap();
        assert!(today.len() == 4 && today.starts_with("20"), "{today}");
        let deep = format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000));
        assert!(render(&deep).is_err());
    }
}
