//! `hotplate demo`: the whole path in two minutes, in a place of its own, through the same protocol as everybody.
//!
//! Owns the order of events and nothing else: it knows neither tensors nor the store. Every figure it shows is
//! measured or comes from the daemon.

mod play;
mod samples;
mod score;
mod speaker;
mod stage;
mod tongue;

use std::io::{self, Write};

use anyhow::Context;
use clap::Args;

use crate::cli::Ending;
use crate::cli::columns::ledger;
use crate::cli::interrupt::{Patience, on_interrupt};
use play::Play;
use samples::Samples;
use score::Score;
use speaker::Speaker;
use stage::Stage;
use tongue::Part;
pub(crate) use tongue::Tongue;

/// See the whole path in two minutes: check, train, save a file, and the model follows
///
/// Everything happens in a folder for a short while, with a daemon of its own and the model that is part of this program.
/// Nothing is fetched, nothing of yours is touched, and nothing stays.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  # In Chinese, and keep what it made\n  hotplate demo --lang zh --keep")]
pub(crate) struct DemoArgs {
    /// Language of the notes and of the explanations
    #[arg(long, value_enum, default_value_t = Tongue::English)]
    lang: Tongue,
    /// Say nothing and print the measured figures as one JSON object
    #[arg(long)]
    json: bool,
    /// Leave the folder with the notes and the adapter, and say where it is
    #[arg(long)]
    keep: bool,
}

pub(crate) fn run(args: &DemoArgs) -> Result<(), Ending> {
    let canceller = on_interrupt(Patience::CleansUp).context("cannot listen for Ctrl-C")?;
    let tongue = args.lang;
    let speaker = Speaker::new(!args.json, canceller.clone());
    speaker.heading(tongue.title());

    let mut stage = Stage::build()?;
    if args.keep {
        stage.keep();
    }
    let play = Play {
        stage: &stage,
        samples: Samples::of(tongue),
        tongue,
        speaker: &speaker,
        canceller: &canceller,
    };
    let played = play.all();
    if args.keep {
        speaker.gap();
        speaker.say(&tongue.kept(stage.home()));
        if args.json {
            // The one line on standard output is for the figures.
            let _ = writeln!(io::stderr(), "{}", tongue.kept(stage.home()));
        }
    }
    let score = played?;
    // Before the last word: whoever reads it finds everything cleared away.
    drop(stage);
    if args.json {
        let line = serde_json::to_string(&score).context("the figures cannot be written as JSON")?;
        writeln!(io::stdout(), "{line}").context("cannot write the figures")?;
    } else {
        goodbye(&speaker, tongue, &score);
    }
    Ok(())
}

/// The short table, and what to do next.
fn goodbye(speaker: &Speaker, tongue: Tongue, score: &Score) {
    speaker.heading(&tongue.heading(Part::Score));
    let values = [
        tongue.change(score.base_heldout_loss, score.tuned_heldout_loss),
        tongue.speed(score.train_seconds, score.train_tokens_per_second),
        tongue.change(score.new_notes_loss_before, score.new_notes_loss_after),
        tongue.duration(score.save_to_swap_seconds),
        format!("{:.0} ms", score.first_token_ms),
        score.adapter_versions.to_string(),
        hotplate_client::words::bytes(score.peak_rss_bytes),
    ];
    let rows: Vec<(String, String)> =
        tongue.score_rows().map(str::to_owned).into_iter().zip(values).collect();
    speaker.lines(&ledger(&rows));

    speaker.heading(tongue.next_heading());
    let next: Vec<(String, String)> =
        tongue.next().iter().map(|(line, what)| ((*line).to_owned(), (*what).to_owned())).collect();
    speaker.lines(&ledger(&next));
    speaker.gap();
    speaker.say_softly(tongue.toy());
}
