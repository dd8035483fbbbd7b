//! A base's chat template: messages in, the text that the base was trained on out.
//!
//! Owns the Jinja environment that transformers gives to templates (`_compile_jinja_template` and `special_tokens_map`
//! there). It must not know tokens.
//!
//! Filters, tests and methods are ours, with Python's values: `tests/template_table.py` runs every built-in on every kind of value, here and in Python;
//! `tests/test_templates.py` holds families and single features against transformers.

mod calls;
mod checks;
mod environment;
mod files;
mod filters;
mod globals;
mod json;
mod limits;
mod operators;
mod python;
mod whole_number;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use hotplate_dataset::Turn;
use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind};
use serde_json::{Map, Value as Json};

use crate::template_source::{for_minijinja, with_marks};
pub(crate) use files::{Texts, find, own_paths};
use limits::Patience;
pub use limits::late_templates;

const NAME: &str = "chat";
/// The same with marks around answers, for a template that tells where they are.
const MARKED: &str = "marked";
/// For conversations with tools, where the base has another template for them.
const TOOL_USE: &str = "tool_use";
const MARKED_TOOL_USE: &str = "marked tool_use";
/// What a template sees of the tokenizer, as transformers 5 gives it.
const SPECIAL_TOKENS: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// A compiled template.
#[derive(Debug)]
pub(crate) struct ChatTemplate {
    environment: Arc<Environment<'static>>,
    special_tokens: BTreeMap<String, String>,
    /// As the base has it, for the snapshot beside an adapter.
    text: String,
    /// Whether conversations with tools have a template of their own.
    tool_use: bool,
    patience: Patience,
}

impl ChatTemplate {
    /// A template that does the same with tools and without.
    ///
    /// # Errors
    /// What is wrong with its syntax, in words.
    pub(crate) fn compile(text: &str, special_tokens: BTreeMap<String, String>) -> Result<Self, String> {
        Self::compile_all(Texts { default: text.to_owned(), tool_use: None }, special_tokens)
    }

    /// The default and, for conversations with tools, the one for those.
    ///
    /// # Errors
    /// What is wrong with a template's syntax, or which limit it goes beyond, in words.
    pub(crate) fn compile_all(
        texts: Texts,
        special_tokens: BTreeMap<String, String>,
    ) -> Result<Self, String> {
        let (text, tool_use) = (texts.default.clone(), texts.tool_use.is_some());
        let patience = Patience::default();
        let environment = patience.run(move || {
            let mut environment = environment::new().map_err(|error| words(&error))?;
            environment.set_fuel(Some(limits::FUEL));
            add(&mut environment, NAME, MARKED, &texts.default)?;
            if let Some(text) = &texts.tool_use {
                add(&mut environment, TOOL_USE, MARKED_TOOL_USE, text)?;
            }
            Ok(Arc::new(environment))
        })?;
        let special_tokens =
            special_tokens.into_iter().filter(|(key, _)| SPECIAL_TOKENS.contains(&key.as_str())).collect();
        Ok(Self { environment, special_tokens, text, tool_use, patience })
    }

    pub(crate) fn special_tokens(&self) -> &BTreeMap<String, String> {
        &self.special_tokens
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// # Errors
    /// What the template says against these messages, in words.
    pub(crate) fn render(
        &self,
        turns: &[Turn],
        tools: Option<&Json>,
        add_generation_prompt: bool,
    ) -> Result<String, String> {
        self.render_as(self.name(tools), &messages(turns), tools, add_generation_prompt)
    }

    /// The text with [`ANSWER_MARKS`](crate::template_source::ANSWER_MARKS) around each answer, where the template tells.
    pub(crate) fn render_marked(
        &self,
        turns: &[Turn],
        tools: Option<&Json>,
    ) -> Option<Result<String, String>> {
        let name = if self.name(tools) == TOOL_USE { MARKED_TOOL_USE } else { MARKED };
        self.environment.get_template(name).ok()?;
        Some(self.render_as(name, &messages(turns), tools, false))
    }

    /// Messages with whatever keys they have, in their order, as transformers shows them to a template.
    pub(crate) fn render_messages(
        &self,
        messages: &[Json],
        tools: Option<&Json>,
        add_generation_prompt: bool,
    ) -> Result<String, String> {
        self.render_as(self.name(tools), messages, tools, add_generation_prompt)
    }

    fn name(&self, tools: Option<&Json>) -> &'static str {
        if self.tool_use && tools.is_some() { TOOL_USE } else { NAME }
    }

    fn render_as(
        &self,
        name: &'static str,
        messages: &[Json],
        tools: Option<&Json>,
        add_generation_prompt: bool,
    ) -> Result<String, String> {
        messages.iter().chain(tools).try_for_each(limits::check_depth)?;
        let rendered = self.render_values(name, messages, tools, add_generation_prompt);
        match (rendered, calls::with_text_arguments(messages)) {
            // Some families' templates join a call's arguments to a text, and are served with arguments as text.
            (Err(why), Some(messages)) if operators::is_text_with_dict(&why) => {
                self.render_values(name, &messages, tools, add_generation_prompt).map_err(|_| why)
            }
            (rendered, _) => rendered,
        }
    }

    fn render_values(
        &self,
        name: &'static str,
        messages: &[Json],
        tools: Option<&Json>,
        add_generation_prompt: bool,
    ) -> Result<String, String> {
        let messages: Vec<Value> = messages.iter().map(|message| value_of(&prepared(message))).collect();
        let mut context = vec![
            ("messages".to_owned(), Value::from(messages)),
            ("add_generation_prompt".to_owned(), Value::from(add_generation_prompt)),
            ("tools".to_owned(), tools.map_or(Value::from(()), value_of)),
            ("documents".to_owned(), Value::from(())),
        ];
        context.extend(
            self.special_tokens.iter().map(|(key, token)| (key.clone(), Value::from(token.as_str()))),
        );
        let environment = Arc::clone(&self.environment);
        self.patience.run(move || {
            let template = environment.get_template(name).map_err(|error| words(&error))?;
            let text = template.render(Value::from_pairs(context)).map_err(|error| words(&error))?;
            limits::check_length(&text).map_err(|error| words(&error))?;
            Ok(text)
        })
    }
}

fn add(
    environment: &mut Environment<'static>,
    name: &'static str,
    marked_name: &'static str,
    text: &str,
) -> Result<(), String> {
    limits::check_source(text)?;
    environment.add_template_owned(name, for_minijinja(text)?).map_err(|error| words(&error))?;
    if let Some(marked) = with_marks(text) {
        environment.add_template_owned(marked_name, marked).map_err(|error| words(&error))?;
    }
    Ok(())
}

fn messages(turns: &[Turn]) -> Vec<Json> {
    turns.iter().map(|turn| Json::Object(turn.message().into_owned())).collect()
}

/// What JSON holds, as a template sees it; keys keep their order.
fn value_of(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::from(number),
            (None, Some(number)) => Value::from(number),
            (None, None) => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => hotplate_dataset::whole_number(text)
            .map_or_else(|| Value::from(text.as_str()), whole_number::value),
        Json::Array(items) => Value::from(items.iter().map(value_of).collect::<Vec<_>>()),
        Json::Object(members) => {
            Value::from_pairs(members.iter().map(|(key, item)| (key.as_str(), value_of(item))))
        }
    }
}

/// A message as transformers prepares it: keys that hold nothing are left out, and reasoning goes by all its names.
fn prepared(message: &Json) -> Json {
    let Json::Object(message) = message else { return message.clone() };
    let mut kept: Map<String, Json> =
        message.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect();
    let reasoning =
        ["reasoning_content", "thinking", "reasoning"].iter().find_map(|key| kept.get(*key)).cloned();
    if let Some(reasoning) = reasoning {
        let mut all = Map::from_iter([("thinking".to_owned(), reasoning.clone())]);
        all.extend(kept);
        all.insert("reasoning_content".to_owned(), reasoning);
        kept = all;
    }
    Json::Object(kept)
}

/// An error with its causes, on one line.
fn words(error: &Error) -> String {
    if error.kind() == ErrorKind::OutOfFuel {
        return "it takes more steps or more memory than a chat template may".to_owned();
    }
    let mut words = error.to_string();
    // Names of ours inside; the line is what helps.
    if let (Some(name), Some(line)) = (error.name(), error.line())
        && let Some(plain) = words.strip_suffix(&format!(" (in {name}:{line})"))
    {
        words = format!("{plain} (line {line})");
    }
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let _ = write!(words, ": {inner}");
        cause = inner.source();
    }
    match words.char_indices().nth(limits::LONGEST_ERROR) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
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
        let template = ChatTemplate::compile(template, specials)?;
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

    /// What a template makes of the arguments of a call.
    fn render_call(template: &str, arguments: &Json) -> Result<String, String> {
        let message = serde_json::json!({"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": arguments}}]});
        let template = ChatTemplate::compile(template, BTreeMap::new())?;
        template.render_messages(&[message], None, false)
    }

    #[test]
    fn whole_numbers_are_written_with_all_their_digits() {
        let digits = "12345678901234567890123";
        let longer = digits.repeat(3);
        // As the dataset marks them.
        let arguments = serde_json::json!({"n": format!("\u{fdd1}-{digits}"), "m": format!("\u{fdd1}{longer}"), "t": digits});
        let said = render_call("{{ messages[0].tool_calls[0].function.arguments | tojson }}", &arguments);
        assert_eq!(said.unwrap(), format!("{{\"n\": -{digits}, \"m\": {longer}, \"t\": \"{digits}\"}}"));
        let said = render_call("{{ messages[0].tool_calls[0].function.arguments }}", &arguments);
        assert_eq!(said.unwrap(), format!("{{'n': -{digits}, 'm': {longer}, 't': '{digits}'}}"));
    }

    #[test]
    fn a_template_that_wants_arguments_as_text_gets_text() {
        let joined = "{{ 'args: ' + messages[0].tool_calls[0].function.arguments }}";
        let arguments = serde_json::json!({"place": "Köln", "unit": null});
        assert_eq!(render_call(joined, &arguments).unwrap(), "args: {\"place\": \"Köln\", \"unit\": null}");
        assert!(
            render_call("{{ raise_exception('no calls') }}", &arguments).unwrap_err().contains("no calls")
        );
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
