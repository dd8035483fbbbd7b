//! The knobs of a run, for `train` and `watch`: the keys of a recipe as options. All of them may be left out.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use hotplate_protocol::knobs::{
    Knobs, Method, Patterns, Quantize, Recompute, Schedule, Style, Targets, TrainOn,
};

use super::numbers::{above_zero, below_one, one_or_more, up_to, zero_or_more};

/// The words of a closed list, named in the help and in the error.
macro_rules! word {
    ($type:ty) => {
        PossibleValuesParser::new(<$type>::WORDS)
            .try_map(|word| <$type>::of_word(&word).ok_or_else(|| format!("{word} is none of the words")))
    };
}

/// The knob that also holds where nothing is trained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
pub struct QuantizeArg {
    /// Keep the base's weights in 8 or 4 bits [default: as the adapter learnt, else none]
    #[arg(long, value_parser = word!(Quantize), value_name = "WORD")]
    pub quantize: Option<Quantize>,
}

#[derive(Debug, Clone, Default, PartialEq, Args)]
#[command(
    next_help_heading = "Knobs (what you leave out comes from hotplate.toml in the folder, else from the size of your data)"
)]
pub struct KnobArgs {
    /// What is trained: an adapter, or all weights of a small base
    #[arg(long, value_parser = word!(Method), value_name = "WORD")]
    pub method: Option<Method>,
    /// Keep the base's weights in 8 or 4 bits, in training and for the adapter's answers: less memory, a little less exact
    #[arg(long, value_parser = word!(Quantize), value_name = "WORD")]
    pub quantize: Option<Quantize>,
    /// What a column (or a field of records) is, as FIELD=NAME, such as prompt=Question; may be given several times
    #[arg(long, value_name = "FIELD=NAME", value_parser = column)]
    pub columns: Vec<(String, String)>,
    /// What carries loss: the completions, the last one, or everything (all is the same)
    #[arg(long, value_parser = word!(TrainOn), value_name = "WORD")]
    pub train_on: Option<TrainOn>,
    /// How plain texts are learnt: as they are, as the answer to an instruction, or as both (instruct)
    #[arg(long, value_parser = word!(Style), value_name = "WORD")]
    pub style: Option<Style>,
    /// Cut longer examples to this many tokens, with a finding
    #[arg(long, value_name = "N", value_parser = one_or_more, allow_negative_numbers = true)]
    pub max_tokens: Option<usize>,
    /// Times through the data at most; a run stops earlier when it gets no better
    #[arg(long, value_name = "N", value_parser = one_or_more, allow_negative_numbers = true)]
    pub epochs: Option<usize>,
    /// Optimiser steps at most
    #[arg(long, value_name = "N", value_parser = one_or_more, allow_negative_numbers = true)]
    pub max_steps: Option<usize>,
    /// Minutes that the run may take: it ends in order by then, with the best it has reached
    #[arg(long, value_name = "X", value_parser = above_zero, allow_negative_numbers = true)]
    pub minutes: Option<f64>,
    /// How far each step goes, at its highest
    #[arg(long = "learning-rate", visible_alias = "lr", value_name = "X", value_parser = above_zero, allow_negative_numbers = true)]
    pub learning_rate: Option<f64>,
    /// How the learning rate falls after the warm-up
    #[arg(long, value_parser = word!(Schedule), value_name = "WORD")]
    pub schedule: Option<Schedule>,
    /// Steps over which the learning rate rises from 0
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub warmup_steps: Option<usize>,
    /// How strongly weights are drawn towards 0
    #[arg(long, value_name = "X", value_parser = zero_or_more, allow_negative_numbers = true)]
    pub weight_decay: Option<f64>,
    /// Largest norm of all gradients together; a larger one is scaled down
    #[arg(long, value_name = "X", value_parser = above_zero, allow_negative_numbers = true)]
    pub clip: Option<f64>,
    /// Share of the adapter's inputs that is left out at random in each step
    #[arg(long, value_name = "P", value_parser = below_one, allow_negative_numbers = true)]
    pub dropout: Option<f64>,
    /// Rank of the adapter: how much it can hold
    #[arg(long, value_name = "R", value_parser = one_or_more, allow_negative_numbers = true)]
    pub rank: Option<usize>,
    /// Strength of the adapter; it is scaled by alpha / rank
    #[arg(long, value_name = "X", value_parser = above_zero, allow_negative_numbers = true)]
    pub alpha: Option<f64>,
    /// Scale by alpha / √rank instead
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub rslora: Option<bool>,
    /// Layers to adapt: all-linear, names with commas, or a regular expression for a module's whole name
    #[arg(long, value_name = "NAMES", value_parser = targets)]
    pub targets: Option<Targets>,
    /// Another rank for modules of this name, as NAME=R; may be given several times
    #[arg(long, value_name = "NAME=R", value_parser = pair::<usize>)]
    pub rank_pattern: Vec<(String, usize)>,
    /// Another alpha for modules of this name, as NAME=X; may be given several times
    #[arg(long, value_name = "NAME=X", value_parser = pair::<f64>)]
    pub alpha_pattern: Vec<(String, f64)>,
    /// How many times faster the factors B learn than the factors A
    #[arg(long, value_name = "X", value_parser = above_zero, allow_negative_numbers = true)]
    pub lora_plus: Option<f64>,
    /// Examples that go into one gradient
    #[arg(long, value_name = "N", value_parser = one_or_more, allow_negative_numbers = true)]
    pub batch: Option<usize>,
    /// Batches whose gradients are added up before each step
    #[arg(long, value_name = "N", value_parser = one_or_more, allow_negative_numbers = true)]
    pub accumulate: Option<usize>,
    /// The same seed and data give the same adapter
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Compute activations again on the way back: less memory, more time
    #[arg(long, value_parser = word!(Recompute), value_name = "WORD")]
    pub recompute: Option<Recompute>,
    /// Evaluations without gain after which a run stops
    #[arg(long, value_name = "N", value_parser = one_or_more, allow_negative_numbers = true)]
    pub patience: Option<usize>,
    /// Looks at the held-out examples per epoch
    #[arg(long, value_name = "N", value_parser = one_or_more, allow_negative_numbers = true)]
    pub evaluations: Option<usize>,
    /// A prompt to answer during training, by the base and by the adapter; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub prompts: Vec<String>,
    /// Share of a save's tokens that comes from examples learnt before
    #[arg(long, value_name = "P", value_parser = below_one, allow_negative_numbers = true)]
    pub replay: Option<f64>,
    /// How many of the base model's own answers are learnt with each example, so that it keeps what else it can; 0 for none
    #[arg(long, value_name = "X", value_parser = zero_or_more, allow_negative_numbers = true)]
    pub rehearsal: Option<f64>,
    /// How much worse a save may make the held-out loss before the old version stays
    #[arg(long, value_name = "P", value_parser = zero_or_more, allow_negative_numbers = true)]
    pub margin: Option<f64>,
    /// How far training stands back for other programs, 0 to 19
    #[arg(long, value_name = "N", value_parser = up_to::<19>, allow_negative_numbers = true)]
    pub nice: Option<u32>,
}

/// A list with commas is a list; what has none of a regular expression's signs is a name.
#[expect(clippy::unnecessary_wraps, reason = "the shape that clap asks for")]
fn targets(text: &str) -> Result<Targets, String> {
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|each| each.is_ascii_alphanumeric() || "_-".contains(each))
    };
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    Ok(match names.as_slice() {
        [only] if only == "all-linear" => Targets::Pattern(only.clone()),
        names if names.iter().all(|name| is_name(name)) => Targets::Names(names.to_vec()),
        _ => Targets::Pattern(text.to_owned()),
    })
}

fn pair<T: std::str::FromStr>(text: &str) -> Result<(String, T), String> {
    let pair = text.rsplit_once('=').and_then(|(name, value)| {
        let name = name.trim();
        (!name.is_empty()).then_some((name.to_owned(), value.trim().parse().ok()?))
    });
    pair.ok_or_else(|| "write a name and a number, as in q_proj=32".to_owned())
}

fn column(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(field, name)| (field.trim(), name.trim()));
    let pair = pair.filter(|(field, name)| !field.is_empty() && !name.is_empty());
    let pair = pair.map(|(field, name)| (field.to_owned(), name.to_owned()));
    pair.ok_or_else(|| "write a field and the name of a column, as in prompt=Question".to_owned())
}

impl KnobArgs {
    pub fn to_knobs(&self) -> Knobs {
        let some = |is_there: bool| is_there.then_some(());
        Knobs {
            method: self.method,
            quantize: self.quantize,
            columns: some(!self.columns.is_empty()).map(|()| Patterns(self.columns.clone())),
            train_on: self.train_on,
            style: self.style,
            max_tokens: self.max_tokens,
            epochs: self.epochs,
            max_steps: self.max_steps,
            minutes: self.minutes,
            learning_rate: self.learning_rate,
            schedule: self.schedule,
            warmup_steps: self.warmup_steps,
            weight_decay: self.weight_decay,
            clip: self.clip,
            dropout: self.dropout,
            rank: self.rank,
            alpha: self.alpha,
            rslora: self.rslora,
            targets: self.targets.clone(),
            rank_pattern: some(!self.rank_pattern.is_empty()).map(|()| Patterns(self.rank_pattern.clone())),
            alpha_pattern: some(!self.alpha_pattern.is_empty())
                .map(|()| Patterns(self.alpha_pattern.clone())),
            lora_plus: self.lora_plus,
            batch: self.batch,
            accumulate: self.accumulate,
            seed: self.seed,
            recompute: self.recompute,
            patience: self.patience,
            evaluations: self.evaluations,
            prompts: some(!self.prompts.is_empty()).map(|()| self.prompts.clone()),
            replay: self.replay,
            rehearsal: self.rehearsal,
            margin: self.margin,
            nice: self.nice,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::grammar;
    use super::*;

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
        assert_eq!(targets("all-linear").unwrap(), Targets::Pattern("all-linear".into()));
        assert_eq!(targets("q_proj").unwrap(), Targets::Names(vec!["q_proj".into()]));
        assert_eq!(
            targets("q_proj, v_proj").unwrap(),
            Targets::Names(vec!["q_proj".into(), "v_proj".into()])
        );
        assert_eq!(targets(r".*\.q_proj").unwrap(), Targets::Pattern(r".*\.q_proj".into()));
        assert_eq!(pair::<usize>("q_proj=8").unwrap(), ("q_proj".into(), 8));
        assert_eq!(column("prompt = a=b").unwrap(), ("prompt".into(), "a=b".into()));
        assert!(column("prompt").is_err() && column("=x").is_err() && column("text= ").is_err());
        assert!(pair::<usize>("q_proj").is_err() && pair::<f64>("=8").is_err());
    }
}
