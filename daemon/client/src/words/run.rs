//! What happens in a run, and how a generated text came about.

use hotplate_home::figures::{count, duration, loss, number};
use hotplate_protocol::methods::generate::{FinishReason, GenerateResult};
use hotplate_protocol::run::{Cause, Futile, Guard, GuardVerdict, RunEvent, RunResult, RunWork, SamplePair};

use super::answers::author;
use super::feeding::fed;
use super::noticed::noticed;
use super::removal::versions_phrase;
use super::visible::path;

/// One event; `None` where a sentence would only be in the way.
pub fn event(event: &RunEvent) -> Option<String> {
    Some(match event {
        RunEvent::Queued { position: 0 } => return None,
        RunEvent::Queued { position } => {
            format!("Waits for {} in front of it.", count(*position, "run"))
        }
        RunEvent::Started { plan, cause: why } => {
            format!("Training {}: {}.", plan.adapter, cause(why))
        }
        RunEvent::Step { step, steps, loss: value, tokens_per_second, seconds_left, .. } => format!(
            "step {} of {}: loss {}, {} tokens/s, {} left",
            number(*step),
            number(*steps),
            loss(*value),
            number(tokens_per_second.max(0.0).round() as usize),
            duration(*seconds_left)
        ),
        RunEvent::Working { work, done, of, seconds_left } => {
            let what = working(*work, *done, *of);
            match seconds_left {
                Some(left) => format!("{what}, {} left", duration(*left)),
                None => what,
            }
        }
        RunEvent::Evaluated { step: 0, heldout_loss, .. } => {
            format!("before training: held-out loss {}", loss(*heldout_loss))
        }
        RunEvent::Evaluated { step, heldout_loss, best, drift } => format!(
            "step {}: held-out loss {}{}",
            number(*step),
            loss(*heldout_loss),
            match drift {
                _ if *best => ", the best so far".to_owned(),
                Some(drift) =>
                    format!(", but it forgets what the base model answers (drift {drift:.2}): not kept"),
                None => String::new(),
            }
        ),
        RunEvent::FoldsDone { folds, best_step, heldout_loss } => format!(
            "{} of the examples judged each other: step {} did best, held-out loss {}; now all are learnt for as many steps",
            count(*folds, "part"),
            number(*best_step),
            loss(*heldout_loss)
        ),
        RunEvent::Sampled { step, samples } => samples_of(*step, samples),
        RunEvent::Note { text } => text.clone(),
        RunEvent::Finished { result } => finished(result),
        RunEvent::Kept { reason, heldout_loss_before, heldout_loss_after, seconds, guard: signs, .. } => {
            format!(
                "The version before stays in use: {reason} (held-out loss {} before, {} after; {}).{}",
                loss(*heldout_loss_before),
                loss(*heldout_loss_after),
                duration(*seconds),
                signs.as_ref().map(|signs| format!("\n{}", guard(signs))).unwrap_or_default()
            )
        }
        RunEvent::Failed { error } => format!("The run failed: {error}"),
        RunEvent::Cancelled => "The run was cancelled; it made no version.".to_owned(),
    })
}

/// What a run is at, with how much of it is done: `looking at held-out texts 3/12`.
pub fn working(work: RunWork, done: usize, of: usize) -> String {
    let what = match work {
        RunWork::Loading => return "loading the base model".to_owned(),
        RunWork::Saving => return "writing the version".to_owned(),
        RunWork::Learning => return "learning".to_owned(),
        RunWork::Rehearsal => "letting the base model answer everyday questions, once for all runs",
        RunWork::HeldOut => "looking at held-out texts",
        RunWork::Samples => "answering the prompts",
        RunWork::Gap => "looking again at texts it has learnt",
        RunWork::Copies => "writing, to see whether it copies",
        RunWork::Neutral => "letting the base model write, once for all runs",
        RunWork::Drift => "comparing it with the base model",
        RunWork::Behaviour => "asking it everyday questions",
        RunWork::OwnLosses => "looking at what each text has left to teach",
        RunWork::Goldens => "writing answers to verify it by later",
    };
    format!("{what} {}/{}", number(done), number(of))
}

/// Why a run exists, as the end of a sentence.
pub fn cause(cause: &Cause) -> String {
    match cause {
        Cause::Asked => "as you asked".to_owned(),
        Cause::Saved { files } => match files.as_slice() {
            [] => "files were saved".to_owned(),
            [file] => format!("{file} was saved"),
            [first, rest @ ..] => format!("{first} and {} were saved", count(rest.len(), "other file")),
        },
        Cause::Resumed => "going on where it was interrupted".to_owned(),
        Cause::Stale => "examples that it had learnt are gone".to_owned(),
    }
}

/// A loss before and after, in one word and in per cent: `clearly better (37 % lower)`.
pub fn gain(before: f64, after: f64) -> String {
    let change = (after - before) / before;
    if !change.is_finite() {
        return "not comparable".to_owned();
    }
    let percent = (change.abs() * 100.0).round();
    let (word, direction) = match change {
        change if change <= -0.25 => ("much better", "lower"),
        change if change <= -0.1 => ("clearly better", "lower"),
        change if change <= -0.005 => ("a little better", "lower"),
        change if change < 0.005 => return "no better".to_owned(),
        _ => ("worse", "higher"),
    };
    format!("{word} ({percent} % {direction})")
}

fn finished(result: &RunResult) -> String {
    let RunResult { adapter, version, base_heldout_loss, heldout_loss_before, heldout_loss, .. } = result;
    let new_notes = match (result.new_heldout_loss_before, result.new_heldout_loss_after) {
        (Some(before), Some(after)) => {
            format!("\nOn what is new: {} → {}, {}.", loss(before), loss(after), gain(before, after))
        }
        _ => String::new(),
    };
    let before = if (base_heldout_loss - heldout_loss_before).abs() > f64::EPSILON {
        format!(
            "\nAgainst the version before: {} → {}, {}.",
            loss(*heldout_loss_before),
            loss(*heldout_loss),
            gain(*heldout_loss_before, *heldout_loss)
        )
    } else {
        String::new()
    };
    let swap = match result.save_to_swap_seconds {
        Some(seconds) => format!(", in use {} after the save", duration(seconds)),
        None => String::new(),
    };
    let judged = match result.folds {
        0 => "On texts it has not seen".to_owned(),
        folds => format!("On texts it had not seen, in the mean of {folds} parts"),
    };
    // A run that was stopped because it began to memorise keeps what was before that.
    let signs = result.guard.as_ref().map(|signs| match (&result.reason, signs.verdict) {
        (Some(_), GuardVerdict::Fine) => {
            format!("\nWhat is kept shows {}", with_figures("no sign of memorising or forgetting", signs))
        }
        _ => format!("\n{}", guard(signs)),
    });
    let signs = signs.unwrap_or_default();
    let better = match result.better {
        Some(better) => format!(
            "\nVersion {} did better on the same texts: loss {}, {}. hotplate rollback {adapter}@{} brings it back.",
            better.version,
            loss(better.heldout_loss),
            gain(*heldout_loss, better.heldout_loss),
            better.version
        ),
        None => String::new(),
    };
    let advice =
        result.futile.map(|futile| format!("\n{}", do_not_train(futile, adapter))).unwrap_or_default();
    let end = match &result.reason {
        Some(reason) => reason.clone(),
        None => format!("the best state was that of step {}", number(result.best_step)),
    };
    let room = if result.pruned.is_empty() {
        String::new()
    } else {
        format!(
            "\nTo keep the disk bounded, {} of {adapter} made room: saves keep the newest versions only (hotplate prune --help).",
            versions_phrase(&result.pruned)
        )
    };
    format!(
        "{adapter} version {version} is ready{swap}.\n\
         {judged}: loss {} → {}, {}.{before}{new_notes}{advice}{better}{signs}\n\
         {} and {} in {}; {end}.{room}\n\
         {}",
        loss(*base_heldout_loss),
        loss(*heldout_loss),
        gain(*base_heldout_loss, *heldout_loss),
        count(result.steps, "step"),
        count(result.tokens, "token"),
        duration(result.seconds),
        path(&result.path)
    )
}

/// Why these texts had better not be trained on, and what to do instead.
fn do_not_train(futile: Futile, adapter: &str) -> String {
    let delete = format!("hotplate delete {adapter}");
    match futile {
        Futile::Known => format!(
            "Do not train on these texts: the base model writes such texts already, and training adds next to nothing. Ask it as it is ({delete} clears up)."
        ),
        Futile::NoOrder => format!(
            "Do not train on these texts: what comes next in them cannot be foreseen, as if their words or letters stood there by chance. Look into the folder \
             whether it holds what you meant ({delete} clears up)."
        ),
        Futile::TooLittle => format!(
            "Do not train on these texts: they have too little in common to learn from so few, and training adds next to nothing. More texts of one kind help, or \
             the nearest of them before each prompt (--feed FOLDER; {delete} clears up)."
        ),
    }
}

/// Signs of memorising and forgetting: the sentence, then the figures it comes from.
pub fn guard(guard: &Guard) -> String {
    let sentence = match guard.verdict {
        GuardVerdict::Fine => "No sign of memorising or forgetting",
        GuardVerdict::Memorising => "It memorises: it repeats training texts word for word",
        GuardVerdict::Drifting => {
            "It forgets: to everyday questions it no longer answers as the base model does"
        }
        GuardVerdict::Looping => "It repeats itself: its answers to everyday questions go round in circles",
        GuardVerdict::Leaking => {
            "It mixes things up: your texts turn up in its answers to everyday questions, where nobody asked for them"
        }
        GuardVerdict::GapWide => "It knows its training texts much better than texts it has not seen",
    };
    let remedy = match guard.verdict {
        GuardVerdict::Drifting | GuardVerdict::Leaking => {
            " What helps: more rehearsal (rehearsal in hotplate.toml), a smaller learning_rate, or fewer epochs."
        }
        GuardVerdict::Looping => " What helps: a smaller learning_rate, or fewer epochs.",
        GuardVerdict::Memorising => " What helps: more texts, or fewer epochs.",
        GuardVerdict::Fine | GuardVerdict::GapWide => "",
    };
    format!("{}{remedy}", with_figures(sentence, guard))
}

fn with_figures(sentence: &str, guard: &Guard) -> String {
    let figures = [
        guard.gap.map(|gap| format!("gap {gap:.2}")),
        guard.copy_rate.map(|rate| format!("{:.0} % copied", 100.0 * rate)),
        guard.drift.map(|drift| format!("drift {drift:.2}")),
        guard.agreement.map(|share| {
            format!(
                "{:.0} % of the base model's words to everyday questions are still its likeliest",
                100.0 * share
            )
        }),
        guard
            .loops
            .filter(|share| *share > 0.0)
            .map(|share| format!("{:.0} % of its answers repeat themselves", 100.0 * share)),
        guard
            .leaks
            .filter(|share| *share > 0.0)
            .map(|share| format!("{:.0} % hold phrases of your texts", 100.0 * share)),
    ];
    let figures: Vec<String> = figures.into_iter().flatten().collect();
    if figures.is_empty() { format!("{sentence}.") } else { format!("{sentence}: {}.", figures.join(", ")) }
}

/// In one word, for a table.
pub fn guard_word(guard: &Guard) -> &'static str {
    match guard.verdict {
        GuardVerdict::Fine => "fine",
        GuardVerdict::Memorising => "memorises",
        GuardVerdict::Drifting => "forgets",
        GuardVerdict::Looping => "repeats itself",
        GuardVerdict::Leaking => "mixes up",
        GuardVerdict::GapWide => "wide gap",
    }
}

fn samples_of(step: usize, samples: &[SamplePair]) -> String {
    let each = samples.iter().map(|SamplePair { prompt, base, mine }| {
        format!("{prompt}\n  base: {}\n  mine: {}", one_line(base), one_line(mine))
    });
    format!("step {}:\n{}", number(step), each.collect::<Vec<_>>().join("\n"))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How a text came about, in one line.
pub fn generated(result: &GenerateResult) -> String {
    let who = author(result);
    let end = match result.finish_reason {
        FinishReason::Stop => "it came to its end",
        FinishReason::Length => "cut off at the limit: see --max-tokens",
    };
    let figures = format!(
        "{who}: {} ({end}), the first after {:.0} ms, then {} a second; seed {}",
        count(result.token_ids.len(), "token"),
        result.first_token_ms,
        number(result.tokens_per_second.max(0.0).round() as usize),
        result.seed
    );
    let lines = result.fed.iter().map(fed).chain(noticed(result)).chain([figures]);
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use hotplate_protocol::run::{BetterVersion, RunId, RunKind};

    use super::*;

    fn result() -> RunResult {
        RunResult {
            run: RunId(2),
            kind: RunKind::Incremental,
            adapter: "notes".into(),
            version: 2,
            path: "/home/me/.local/share/hotplate/adapters/notes/2".into(),
            base_heldout_loss: 4.0,
            heldout_loss_before: 2.5,
            heldout_loss: 2.4,
            new_heldout_loss_before: Some(3.0),
            new_heldout_loss_after: Some(2.5),
            train_loss: 1.5,
            train_examples: 50,
            heldout_examples: 6,
            best_step: 30,
            steps: 42,
            tokens: 12_345,
            tokens_per_second: 1500.0,
            seconds: 8.2,
            save_to_swap_seconds: Some(9.1),
            guard: None,
            reason: None,
            folds: 0,
            futile: None,
            better: None,
            pruned: Vec::new(),
        }
    }

    #[test]
    fn the_end_of_a_run() {
        expect![[r"
            notes version 2 is ready, in use 9.1 s after the save.
            On texts it has not seen: loss 4.00 → 2.40, much better (40 % lower).
            Against the version before: 2.50 → 2.40, a little better (4 % lower).
            On what is new: 3.00 → 2.50, clearly better (17 % lower).
            42 steps and 12,345 tokens in 8.2 s; the best state was that of step 30.
            /home/me/.local/share/hotplate/adapters/notes/2"]]
        .assert_eq(&event(&RunEvent::Finished { result: result() }).unwrap());
        let roomy =
            event(&RunEvent::Finished { result: RunResult { pruned: vec![1, 2], ..result() } }).unwrap();
        assert!(
            roomy.contains("of step 30.\nTo keep the disk bounded, versions 1 and 2 of notes made room"),
            "{roomy}"
        );
        let worse = RunResult { better: Some(BetterVersion { version: 1, heldout_loss: 2.0 }), ..result() };
        let worse = event(&RunEvent::Finished { result: worse }).unwrap();
        assert!(
            worse.contains(
                "\nVersion 1 did better on the same texts: loss 2.00, clearly better (17 % lower). hotplate rollback notes@1 brings it back."
            ),
            "{worse}"
        );
        let asked = RunResult {
            heldout_loss_before: 4.0,
            new_heldout_loss_before: None,
            save_to_swap_seconds: None,
            ..result()
        };
        expect![[r"
            notes version 2 is ready.
            On texts it has not seen: loss 4.00 → 2.40, much better (40 % lower).
            42 steps and 12,345 tokens in 8.2 s; the best state was that of step 30.
            /home/me/.local/share/hotplate/adapters/notes/2"]]
        .assert_eq(&event(&RunEvent::Finished { result: asked }).unwrap());
    }

    #[test]
    fn signs_and_samples() {
        let fine = Guard {
            verdict: GuardVerdict::Fine,
            gap: Some(0.314),
            copy_rate: Some(0.04),
            heldout_copy_rate: Some(0.02),
            longest_copy_tokens: Some(9),
            drift: Some(0.12),
            agreement: None,
            loops: None,
            base_loops: None,
            leaks: None,
        };
        assert_eq!(guard(&fine), "No sign of memorising or forgetting: gap 0.31, 4 % copied, drift 0.12.");
        let bare = Guard {
            verdict: GuardVerdict::Memorising,
            gap: None,
            copy_rate: None,
            drift: None,
            agreement: None,
            loops: None,
            base_loops: None,
            leaks: None,
            ..fine.clone()
        };
        assert_eq!(
            guard(&bare),
            "It memorises: it repeats training texts word for word. What helps: more texts, or fewer epochs."
        );
        let result = RunResult {
            guard: Some(fine),
            reason: Some("stopped at step 42: it began to memorise".into()),
            folds: 5,
            new_heldout_loss_before: None,
            ..result()
        };
        let text = event(&RunEvent::Finished { result }).unwrap();
        assert!(text.contains("in the mean of 5 parts: loss 4.00 → 2.40"), "{text}");
        assert!(text.contains("8.2 s; stopped at step 42: it began to memorise.\n"), "{text}");
        assert!(
            text.contains("\nWhat is kept shows no sign of memorising or forgetting: gap 0.31"),
            "{text}"
        );
        let samples =
            vec![SamplePair { prompt: "A note.".into(), base: "One\ntwo".into(), mine: "Three".into() }];
        expect![[r"
            step 12:
            A note.
              base: One two
              mine: Three"]]
        .assert_eq(&event(&RunEvent::Sampled { step: 12, samples }).unwrap());
    }

    #[test]
    fn what_a_run_is_at() {
        let event =
            |work, seconds_left| event(&RunEvent::Working { work, done: 3, of: 12, seconds_left }).unwrap();
        assert_eq!(event(RunWork::HeldOut, Some(75.0)), "looking at held-out texts 3/12, 1 min 15 s left");
        assert_eq!(event(RunWork::Loading, None), "loading the base model");
    }

    #[test]
    fn gains() {
        assert_eq!(gain(4.0, 2.0), "much better (50 % lower)");
        assert_eq!(gain(4.0, 3.5), "clearly better (13 % lower)");
        assert_eq!(gain(4.0, 3.9), "a little better (3 % lower)");
        assert_eq!(gain(4.0, 4.0), "no better");
        assert_eq!(gain(4.0, 5.0), "worse (25 % higher)");
        assert_eq!(gain(0.0, 0.0), "not comparable");
    }

    #[test]
    fn causes() {
        let saved = |files: &[&str]| {
            cause(&Cause::Saved { files: files.iter().map(|&file| file.to_owned()).collect() })
        };
        assert_eq!(saved(&["later.md"]), "later.md was saved");
        assert_eq!(saved(&["a.md", "b.md", "c.md"]), "a.md and 2 other files were saved");
    }

    #[test]
    fn a_generated_text() {
        let result = GenerateResult {
            text: "Warm.".into(),
            token_ids: vec![1, 2],
            finish_reason: FinishReason::Stop,
            prompt_tokens: 5,
            seed: 7,
            adapter: Some("notes@2".into()),
            base: "hotplate-tiny".into(),
            fed: None,
            noticed: Vec::new(),
            first_token_ms: 12.4,
            tokens_per_second: 310.2,
        };
        expect!["notes@2: 2 tokens (it came to its end), the first after 12 ms, then 310 a second; seed 7"]
            .assert_eq(&generated(&result));
    }
}
