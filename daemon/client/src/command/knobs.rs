//! The knobs of a run, for `train` and `watch`: the keys of a recipe as options, made from the one table of them. All of them may be left out.

use clap::builder::{PossibleValuesParser, TypedValueParser, ValueParser};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use hotplate_protocol::knobs::{KEYS, Key, Kind, Knobs, Quantize, Targets};
use serde_json::{Map, Value};

/// The knob that also holds where nothing is trained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
pub struct QuantizeArg {
    /// Keep the base's weights in 8 or 4 bits [default: as the adapter learnt, else none]
    #[arg(long, value_parser = quantize(), value_name = "WORD")]
    pub quantize: Option<Quantize>,
}

fn quantize() -> impl TypedValueParser<Value = Quantize> {
    PossibleValuesParser::new(Quantize::WORDS)
        .try_map(|word| Quantize::of_word(&word).ok_or_else(|| format!("{word} is none of the words")))
}

const HEADING: &str =
    "Knobs (what you leave out comes from hotplate.toml in the folder, else from the size of your data)";

/// Every knob as an option.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KnobArgs(Knobs);

impl KnobArgs {
    pub fn to_knobs(&self) -> Knobs {
        self.0.clone()
    }
}

/// Those of a recipe's keys that are knobs.
fn knobs() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(|key| Knobs::NAMES.contains(&key.name))
}

impl Args for KnobArgs {
    fn augment_args(command: Command) -> Command {
        command.args(knobs().map(option))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for KnobArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut values = Map::new();
        for key in knobs() {
            if let Some(value) = given(key, matches) {
                // The whole list or table is looked at, too: how many there are, and whether two are the same.
                key.kind.check(key.name, &value).map_err(|why| {
                    clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("{why}\n"))
                })?;
                values.insert(key.name.to_owned(), value);
            }
        }
        let knobs = serde_json::from_value(Value::Object(values)).map_err(|error| {
            clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("{error}\n"))
        })?;
        Ok(KnobArgs(knobs))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let knobs = std::mem::take(&mut self.0);
        self.0 = Self::from_arg_matches(matches)?.0.or(knobs);
        Ok(())
    }
}

/// One option may be given several times: a list or a table of its own.
fn is_collected(kind: Kind) -> bool {
    matches!(kind, Kind::Texts { .. } | Kind::Counts { .. } | Kind::Numbers(_) | Kind::Columns(_))
}

fn option(key: &'static Key) -> Arg {
    let kind = key.kind;
    let help = key.help.trim_end_matches('.').replace('`', "");
    let again = if is_collected(kind) { "; may be given several times" } else { "" };
    let default = key.default.replace('`', "");
    let arg = Arg::new(key.name)
        .long(key.name.replace('_', "-"))
        .help(format!("{help}{again} [default: {default}]"))
        .help_heading(HEADING)
        .value_name(value_name(kind))
        .value_parser(parser(kind))
        .visible_aliases(key.aliases)
        .action(if is_collected(kind) { ArgAction::Append } else { ArgAction::Set });
    match kind {
        Kind::Flag => arg.num_args(0..=1).default_missing_value("true").require_equals(true),
        Kind::Count { .. } | Kind::Number(_) => arg.allow_negative_numbers(true),
        _ => arg,
    }
}

fn value_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Count { .. } => "N",
        Kind::Number(_) => "X",
        Kind::Flag => "BOOL",
        Kind::Word(_) => "WORD",
        Kind::Name | Kind::Texts { .. } => "TEXT",
        Kind::Targets => "NAMES",
        Kind::Counts { .. } => "NAME=N",
        Kind::Numbers(_) => "NAME=X",
        Kind::Columns(_) => "FIELD=NAME",
    }
}

/// From a word of the command line to a value; of a table, to one entry of it.
fn parser(kind: Kind) -> ValueParser {
    let text = |text: &str| Ok::<_, String>(Value::String(text.to_owned()));
    match kind {
        Kind::Word(words) => PossibleValuesParser::new(words).map(Value::String).into(),
        Kind::Count { .. } | Kind::Number(_) => ValueParser::new(move |text: &str| number(kind, text)),
        Kind::Flag => clap::builder::BoolishValueParser::new().map(Value::Bool).into(),
        Kind::Name | Kind::Texts { .. } => ValueParser::new(text),
        Kind::Targets => ValueParser::new(|text: &str| {
            serde_json::to_value(targets(text)).map_err(|error| error.to_string())
        }),
        Kind::Counts { .. } | Kind::Numbers(_) | Kind::Columns(_) => {
            ValueParser::new(move |text: &str| entry(kind, text))
        }
    }
}

/// A number within the knob's range, or what it must be.
fn number(kind: Kind, text: &str) -> Result<Value, String> {
    let whole = matches!(kind, Kind::Count { .. });
    let parsed = if whole {
        text.parse::<u64>().ok().map(Value::from)
    } else {
        text.parse::<f64>().ok().map(Value::from)
    };
    parsed.filter(|value| kind.check("", value).is_ok()).ok_or_else(|| format!("must be {}", kind.words()))
}

/// One entry of a table, `NAME=VALUE`: a table of one.
fn entry(kind: Kind, text: &str) -> Result<Value, String> {
    let (split, example) = match kind {
        // A column's name may hold anything, a module's pattern a sign of equality.
        Kind::Columns(_) => (text.split_once('='), "a field and the name of a column, as in prompt=Question"),
        _ => (text.rsplit_once('='), "a name and a number, as in q_proj=32"),
    };
    let pair = split.map(|(name, value)| (name.trim(), value.trim()));
    let pair = pair.filter(|(name, value)| !name.is_empty() && !value.is_empty());
    let (name, value) = pair.ok_or_else(|| format!("write {example}"))?;
    let value = match kind.part() {
        Some(part @ (Kind::Count { .. } | Kind::Number(_))) => number(part, value)?,
        _ => Value::String(value.to_owned()),
    };
    Ok(Value::Object(Map::from_iter([(name.to_owned(), value)])))
}

fn given(key: &Key, matches: &ArgMatches) -> Option<Value> {
    if !is_collected(key.kind) {
        return matches.get_one::<Value>(key.name).cloned();
    }
    let mut all = matches.get_many::<Value>(key.name)?.cloned().peekable();
    all.peek()?;
    Some(if matches!(key.kind, Kind::Texts { .. }) {
        Value::Array(all.collect())
    } else {
        let entries = all.filter_map(|entry| match entry {
            Value::Object(entry) => Some(entry),
            _ => None,
        });
        Value::Object(entries.flatten().collect())
    })
}

/// A list with commas is a list; what has none of a regular expression's signs is a name.
fn targets(text: &str) -> Targets {
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|each| each.is_ascii_alphanumeric() || "_-".contains(each))
    };
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    match names.as_slice() {
        [only] if only == "all-linear" => Targets::Pattern(only.clone()),
        names if names.iter().all(|name| is_name(name)) => Targets::Names(names.to_vec()),
        _ => Targets::Pattern(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::grammar;
    use super::*;

    fn parsed(words: &[&str]) -> Result<Knobs, clap::Error> {
        let command = KnobArgs::augment_args(Command::new("train").no_binary_name(true));
        KnobArgs::from_arg_matches(&command.try_get_matches_from(words)?).map(|args| args.to_knobs())
    }

    #[test]
    fn every_knob_is_an_option_of_its_name() {
        for command in ["train", "watch"] {
            let grammar = grammar();
            let command = grammar.find_subcommand(command).unwrap();
            for name in Knobs::NAMES {
                let option = name.replace('_', "-");
                assert!(command.get_arguments().any(|arg| arg.get_long() == Some(&option)), "--{option}");
            }
        }
    }

    #[test]
    fn targets_are_a_word_a_list_or_an_expression() {
        assert_eq!(targets("all-linear"), Targets::Pattern("all-linear".into()));
        assert_eq!(targets("q_proj"), Targets::Names(vec!["q_proj".into()]));
        assert_eq!(targets("q_proj, v_proj"), Targets::Names(vec!["q_proj".into(), "v_proj".into()]));
        assert_eq!(targets(r".*\.q_proj"), Targets::Pattern(r".*\.q_proj".into()));
    }

    #[test]
    fn options_are_what_a_recipe_would_say() {
        let knobs = parsed(&[
            "--rank",
            "8",
            "--lr",
            "1e-3",
            "--rslora",
            "--schedule",
            "cosine",
            "--prompts",
            "A, b.",
            "--prompts",
            "C",
            "--rank-pattern",
            "q_proj=4",
            "--rank-pattern",
            "a=b=2",
            "--columns",
            "prompt = a=b",
            "--seed",
            "18446744073709551615",
        ])
        .unwrap();
        let expected = serde_json::json!({
            "columns": {"prompt": "a=b"}, "learning_rate": 1e-3, "schedule": "cosine", "rank": 8, "rslora": true,
            "rank_pattern": {"q_proj": 4, "a=b": 2}, "seed": u64::MAX, "prompts": ["A, b.", "C"],
        });
        assert_eq!(serde_json::to_value(&knobs).unwrap(), expected);
        assert_eq!(parsed(&[]).unwrap(), Knobs::default());
        assert_eq!(parsed(&["--rslora=false"]).unwrap().rslora, Some(false));
    }

    #[test]
    fn a_value_out_of_its_range_is_an_error_that_says_it() {
        for (words, said) in [
            (["--rank", "0"], "a whole number from 1 to 4096"),
            (["--rank", "8.5"], "a whole number from 1 to 4096"),
            (["--epochs", "-1"], "a whole number from 1 to 10000"),
            (["--alpha", "NaN"], "a number above 0"),
            (["--replay", "1"], "below 1"),
            (["--schedule", "cosin"], "'cosine'"),
            (["--rank-pattern", "q_proj"], "as in q_proj=32"),
            (["--rank-pattern", "q_proj=x"], "a whole number from 1 to 4096"),
            (["--columns", "=x"], "as in prompt=Question"),
            (["--columns", "promt=Question"], "did you mean prompt?"),
            (["--prompts", " "], "an empty text"),
        ] {
            let error = parsed(&words).unwrap_err().to_string();
            assert!(error.contains(said), "{words:?}: {error}");
        }
    }
}
