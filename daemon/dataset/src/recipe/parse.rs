//! From the text of a recipe to checked settings.

use hotplate_protocol::knobs::{KEYS, Key, Kind, key, nearest};
use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Problem, Recipe, RecipeError, Setting};
use crate::findings::shown;

/// Who has more mends these first. Each looks through the text or the keys: a file of another kind must not take minutes.
const MOST_PROBLEMS: usize = 50;

/// What the text says.
///
/// # Errors
/// Everything that is wrong with it, by line.
pub fn parse(text: &str) -> Result<Recipe, RecipeError> {
    // Spans count from here too.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = Lines::of(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let mut errors: Vec<(usize, usize, &str)> = errors
            .iter()
            .map(|error| {
                let start = error.span().map_or(text.len(), |span| span.start);
                (lines.line_of(start), start, error.message())
            })
            .collect();
        errors.sort_by_key(|(line, ..)| *line);
        // One slip often gives several errors in its line.
        errors.dedup_by_key(|(line, ..)| *line);
        let problem =
            |(line, start, message)| Problem { line, message: of_syntax(text, &lines, start, message) };
        return Err(RecipeError { problems: errors.into_iter().take(MOST_PROBLEMS).map(problem).collect() });
    }
    let mut recipe = Recipe::default();
    let mut problems = Vec::new();
    for (name, value) in table.get_ref() {
        let line = lines.line_of(name.span().start);
        match key(name.get_ref()) {
            Some(key) => match take(key, value, line, &lines) {
                Ok(value) => recipe.settings.push(Setting { key, value, line }),
                Err(problem) => problems.push(problem),
            },
            None if problems.len() >= MOST_PROBLEMS => {}
            None => problems.push(Problem { line, message: unknown(name.get_ref(), value.get_ref()) }),
        }
    }
    if problems.is_empty() {
        recipe.settings.sort_by_key(|setting| setting.line);
        return Ok(recipe);
    }
    problems.sort_by_key(|problem| problem.line);
    Err(RecipeError { problems })
}

/// Where the lines start, in bytes.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    /// From 1.
    fn line_of(&self, byte: usize) -> usize {
        self.0.partition_point(|start| *start <= byte).max(1)
    }
}

fn take(
    key: &'static Key,
    value: &Spanned<DeValue<'_>>,
    line: usize,
    lines: &Lines,
) -> Result<Value, Problem> {
    let json = to_json(value.get_ref());
    let for_example = |message: String| format!("{message}, for example {} = {}", key.name, key.example);
    let Err(message) = key.kind.check(key.name, &json) else { return Ok(json) };
    // In a list or table of many lines, the part that is wrong says where.
    let part = key.kind.part().and_then(|kind| match value.get_ref() {
        DeValue::Array(parts) => parts.iter().find_map(|part| {
            let wrong = kind.check(&format!("an entry of {}", key.name), &to_json(part.get_ref())).err()?;
            Some((part.span().start, wrong))
        }),
        DeValue::Table(parts) => parts.iter().find_map(|(name, part)| {
            let named = format!("{} in {}", shown(name.get_ref()), key.name);
            Some((name.span().start, kind.check(&named, &to_json(part.get_ref())).err()?))
        }),
        _ => None,
    });
    Err(match part {
        Some((start, message)) => Problem { line: lines.line_of(start), message: for_example(message) },
        None => Problem { line, message: for_example(message) },
    })
}

/// TOML as JSON. What JSON has no number for (nan, inf, more than 64 bits) becomes null, which fits no key.
fn to_json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.clone().into_owned()),
        DeValue::Integer(number) => {
            let (digits, radix) = (number.as_str(), number.radix());
            let whole = u64::from_str_radix(digits, radix).map(Number::from);
            let negative = || i64::from_str_radix(digits, radix).map(Number::from);
            whole.or_else(|_| negative()).map_or(Value::Null, Value::Number)
        }
        DeValue::Float(number) => {
            number.as_str().parse().ok().and_then(Number::from_f64).map_or(Value::Null, Value::Number)
        }
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(when) => Value::String(when.to_string()),
        DeValue::Array(parts) => parts.iter().map(|part| to_json(part.get_ref())).collect(),
        DeValue::Table(parts) => {
            let members: Map<String, Value> = parts
                .iter()
                .map(|(name, part)| (name.get_ref().clone().into_owned(), to_json(part.get_ref())))
                .collect();
            Value::Object(members)
        }
    }
}

fn unknown(name: &str, value: &DeValue<'_>) -> String {
    let what = if matches!(value, DeValue::Table(_)) { "no table" } else { "no key" };
    let start = format!("there is {what} {}", plain(name));
    if let DeValue::Table(inside) = value
        && inside.keys().any(|name| key(name.get_ref()).is_some())
    {
        return format!("{start}; keys stand at the top of the file, without [{}] above them", plain(name));
    }
    if let Some(key) = KEYS.iter().find(|key| key.elsewhere.contains(&name)) {
        return format!(
            "{start}; here it is called {}, for example {} = {}",
            key.name, key.name, key.example
        );
    }
    if let Some(near) = nearest(name, KEYS.iter().map(|key| key.name)) {
        return format!("{start}; did you mean {near}?");
    }
    let names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    format!("{start}; the keys are {}", names.join(", "))
}

/// A key as it is written, if it is a plain word.
fn plain(name: &str) -> String {
    let is_plain =
        name.len() <= 40 && name.chars().all(|each| each.is_ascii_alphanumeric() || "_-.".contains(each));
    if is_plain && !name.is_empty() { name.to_owned() } else { shown(name) }
}

/// What a parser's error means to somebody who does not know TOML.
fn of_syntax(text: &str, lines: &Lines, start: usize, message: &str) -> String {
    if message.starts_with("duplicate key") {
        let key: String = text[start.min(text.len())..]
            .chars()
            .take_while(|each| each.is_ascii_alphanumeric() || "_-".contains(*each))
            .collect();
        let first = text
            .lines()
            .position(|line| {
                line.trim_start().strip_prefix(&key).is_some_and(|rest| rest.trim_start().starts_with('='))
            })
            .map_or(1, |index| index + 1);
        if !key.is_empty() && first < lines.line_of(start) {
            return format!("{key} is given a second time, after line {first}; keep one of the two");
        }
        return "a key is given a second time; keep one of the two".to_owned();
    }
    let line = text.lines().nth(lines.line_of(start) - 1).unwrap_or_default();
    if let Some((name, value)) = line.split_once('=') {
        let (name, value) = (name.trim(), value.split('#').next().unwrap_or_default().trim());
        let is_word = |text: &str| {
            text.starts_with(|first: char| first.is_alphabetic())
                && text.len() <= 200
                && text.chars().all(|each| each.is_alphanumeric() || "_-./ ".contains(each))
        };
        if let Some(key) = key(name) {
            if value.is_empty() {
                return format!("{name} has no value, for example {name} = {}", key.example);
            }
            if is_word(value) && key.kind == Kind::Flag {
                return format!("{name} is {value}, and must be true or false");
            }
            if is_word(value) {
                return format!("a text is written in quotes: {name} = \"{value}\"");
            }
        }
    }
    let why: String =
        message.chars().map(|each| if each.is_control() { ' ' } else { each }).take(160).collect();
    format!(
        "this is not TOML ({why}); write each setting on a line of its own, as key = value, with texts in quotes"
    )
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn wrong(text: &str, expected: &Expect) {
        let error = parse(text).unwrap_err();
        let said: Vec<String> = error.problems.iter().map(ToString::to_string).collect();
        expected.assert_eq(&said.join("\n"));
    }

    #[test]
    fn every_example_is_a_value_and_no_name_is_given_twice() {
        let mut names = Vec::new();
        for key in KEYS {
            let recipe = parse(&format!("{} = {}", key.name, key.example)).unwrap();
            assert_eq!(recipe.settings[0].key.name, key.name);
            names.push(key.name);
            names.extend(key.elsewhere);
            assert!(
                key.help.ends_with('.') && !key.help.contains('\n') && !key.help.contains("  "),
                "{}",
                key.name
            );
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{names:?}");
    }

    #[test]
    fn a_whole_recipe() {
        let recipe = parse(
            "# for the blog\nbase = \"../models/qwen\"\nrank = 8\nlearning_rate = 1e-4\nalpha = 32\nrslora = true\nschedule = 'cosine'\n\
             prompts = [\n  \"One.\",\n  \"Two.\",\n]\ntargets = [\"q_proj\"]\nseed = 0x10\n\n[rank_pattern]\nz_proj = 4\na_proj = 2\n",
        )
        .unwrap();
        assert_eq!(
            Value::Object(recipe.values()),
            json!({
                "base": "../models/qwen", "rank": 8, "learning_rate": 1e-4, "alpha": 32, "rslora": true, "schedule": "cosine",
                "prompts": ["One.", "Two."], "targets": ["q_proj"], "seed": 16, "rank_pattern": { "z_proj": 4, "a_proj": 2 },
            })
        );
        assert_eq!((recipe.get("rank").unwrap().line, recipe.get("targets").unwrap().line), (3, 12));
        let order: Vec<_> =
            recipe.get("rank_pattern").unwrap().value.as_object().unwrap().keys().cloned().collect();
        assert_eq!(order, ["z_proj", "a_proj"], "the first pattern that matches counts");
    }

    #[test]
    fn typos_and_other_trainers_names() {
        wrong("rnak = 8\n", &expect!["hotplate.toml:1: there is no key rnak; did you mean rank?"]);
        wrong(
            "\nlr = 1e-4\nnum_train_epochs = 3\ntemperature = 1\n[training]\nrank = 8\n[\"odd \\u001b name\"]\n",
            &expect![[r#"
                hotplate.toml:2: there is no key lr; here it is called learning_rate, for example learning_rate = 2e-4
                hotplate.toml:3: there is no key num_train_epochs; here it is called epochs, for example epochs = 3
                hotplate.toml:4: there is no key temperature; the keys are base, adapter, method, quantize, columns, train_on, style, max_tokens, epochs, max_steps, minutes, learning_rate, schedule, warmup_steps, weight_decay, clip, dropout, rank, alpha, rslora, targets, rank_pattern, alpha_pattern, lora_plus, batch, accumulate, seed, recompute, patience, evaluations, prompts, replay, rehearsal, margin, nice
                hotplate.toml:5: there is no table training; keys stand at the top of the file, without [training] above them
                hotplate.toml:7: there is no table "odd   name"; the keys are base, adapter, method, quantize, columns, train_on, style, max_tokens, epochs, max_steps, minutes, learning_rate, schedule, warmup_steps, weight_decay, clip, dropout, rank, alpha, rslora, targets, rank_pattern, alpha_pattern, lora_plus, batch, accumulate, seed, recompute, patience, evaluations, prompts, replay, rehearsal, margin, nice"#]],
        );
    }

    #[test]
    fn wrong_kinds_ranges_and_words() {
        wrong(
            "rank = \"eight\"\nepochs = 0\nbatch = 4.0\nlearning_rate = nan\ndropout = 1\nrslora = \"yes\"\nschedule = \"linaer\"\nstyle = \"ornate\"\n\
             adapter = \" \"\nprompts = \"one\"\ntargets = []\nreplay = -0.5\nnice = 20\nseed = -1\nmax_steps = 99999999999999999999\nmethod = 2026-11-24\n",
            &expect![[r#"
                hotplate.toml:1: rank is the text "eight", and must be a whole number from 1 to 4096, for example rank = 16
                hotplate.toml:2: epochs is 0, and must be a whole number from 1 to 10000, for example epochs = 3
                hotplate.toml:3: batch is 4.0, and must be a whole number from 1 to 65536, written without a point, for example batch = 4
                hotplate.toml:4: learning_rate is no number that can be used, and must be a number above 0 and at most 100, for example learning_rate = 2e-4
                hotplate.toml:5: dropout is 1, and must be a number from 0 to 0.95, for example dropout = 0.05
                hotplate.toml:6: rslora is the text "yes", and must be true or false, for example rslora = true
                hotplate.toml:7: schedule is the text "linaer"; did you mean "linear"? It must be one of "linear", "cosine" or "constant", for example schedule = "linear"
                hotplate.toml:8: style is the text "ornate", and must be one of "plain", "answers" or "instruct", for example style = "plain"
                hotplate.toml:9: adapter is an empty text, and must be a text in quotes, for example adapter = "my-voice"
                hotplate.toml:10: prompts is the text "one", and must be a list of up to 16 texts in quotes, for example prompts = ["Write a note about a bakery."]
                hotplate.toml:11: targets is an empty list, so that nothing would be trained; it must be "all-linear", a list of names in quotes, or one regular expression in quotes, for example targets = ["q_proj", "v_proj"]
                hotplate.toml:12: replay is -0.5, and must be a number from 0 up, below 1, for example replay = 0.33
                hotplate.toml:13: nice is 20, and must be a whole number from 0 to 19, for example nice = 2
                hotplate.toml:14: seed is -1, and must be a whole number of 0 or more, for example seed = 7
                hotplate.toml:15: max_steps is no number that can be used, and must be a whole number of 1 or more, for example max_steps = 200
                hotplate.toml:16: method is the text "2026-11-24", and must be one of "lora" or "full", for example method = "lora""#]],
        );
        wrong(
            "prompts = [\n  \"One.\",\n  2,\n]\n[rank_pattern]\nq_proj = 8\n\"v_proj\" = 0\n",
            &expect![[r#"
                hotplate.toml:3: an entry of prompts is 2, and must be a text in quotes, for example prompts = ["Write a note about a bakery."]
                hotplate.toml:7: "v_proj" in rank_pattern is 0, and must be a whole number from 1 to 4096, for example rank_pattern = { q_proj = 32 }"#]],
        );
    }

    #[test]
    fn what_is_no_toml() {
        wrong(
            "rank 8\n",
            &expect![
                "hotplate.toml:1: this is not TOML (key with no value, expected `=`); write each setting on a line of its own, as key = value, with texts in quotes"
            ],
        );
        wrong(
            "rank = 8\nmethod = full # all\nadapter = \"open\nrslora = True\n",
            &expect![[r#"
            hotplate.toml:2: a text is written in quotes: method = "full"
            hotplate.toml:3: this is not TOML (invalid basic string, expected `"`); write each setting on a line of its own, as key = value, with texts in quotes
            hotplate.toml:4: rslora is True, and must be true or false"#]],
        );
        wrong(
            "rank = 8\nalpha = 3\nrank = 16\n",
            &expect!["hotplate.toml:3: rank is given a second time, after line 1; keep one of the two"],
        );
        wrong("rank =", &expect!["hotplate.toml:1: rank has no value, for example rank = 16"]);
        wrong(
            "{\"rank\": 8}",
            &expect![
                "hotplate.toml:1: this is not TOML (invalid key-value pair, expected key); write each setting on a line of its own, as key = value, with texts in quotes"
            ],
        );
    }

    #[test]
    fn depth_and_noise_do_no_harm() {
        for text in [
            "a=".repeat(10_000),
            "[".repeat(100_000),
            "a.".repeat(20_000),
            "\0\u{7f}=\r".repeat(100),
            "=".repeat(9),
        ] {
            assert!(!parse(&text).unwrap_err().problems.is_empty());
        }
        let nested = format!("prompts = {}{}", "[".repeat(5000), "]".repeat(5000));
        assert!(parse(&nested).is_err());
    }
}
