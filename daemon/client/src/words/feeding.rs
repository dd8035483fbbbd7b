//! Feeding: what stood before a prompt, and whether that or training is needed.

use hotplate_protocol::feed::{Fed, FedPlace, FeedEnd};
use hotplate_protocol::methods::score::{Judges, ScoreResult};

use super::visible::path;
use super::{UNBOUNDED, count, loss, number, table};
use crate::weighed::{AdapterSide, Difference, FewShotVsTuned};

/// More rows would bury what they say; `--json` has all.
const MOST_ROWS: usize = 40;

/// How many examples, which, and why not more.
pub fn fed(fed: &Fed) -> String {
    let list: Vec<String> =
        fed.examples.iter().map(|one| format!("{} ({})", place(&one.place), number(one.tokens))).collect();
    let mut text = format!(
        "Fed {} of {}, {}, the nearest first: {}.",
        number(fed.examples.len()),
        count(fed.of, "example"),
        count(fed.tokens, "token"),
        list.join(", ")
    );
    match fed.ended {
        FeedEnd::Everything => {}
        FeedEnd::Wanted => text.push_str(" More were not wanted: --feed-examples says how many."),
        FeedEnd::Room => text.push_str(&format!(
            " What is left does not fit: there is room for {}.",
            count(fed.room, "token")
        )),
    }
    if fed.no_room > 0 && fed.ended == FeedEnd::Wanted {
        text.push_str(&format!(" {} too long for what was left.", were(fed.no_room)));
    }
    if fed.other_system > 0 {
        text.push_str(&format!(
            " {} left out, with other system words or tools than the nearest.",
            were(fed.other_system)
        ));
    }
    if fed.refused > 0 {
        text.push_str(&format!(
            " {} left out: the base's chat template does not take their turns before a prompt.",
            were(fed.refused)
        ));
    }
    if let Some(itself) = &fed.itself {
        text.push_str(&format!(
            " {} answers this very prompt and was left out: it would give its answer away.",
            place(itself)
        ));
    }
    text
}

fn were(examples: usize) -> String {
    format!("{} {}", number(examples), if examples == 1 { "was" } else { "were" })
}

fn place(place: &FedPlace) -> String {
    format!("{}:{}", path(&place.file), place.line)
}

/// The figures, example by example and together, and what they say.
pub fn weighed(weighed: &FewShotVsTuned) -> String {
    format!("{}\n\n{}", weighed_rows(weighed, UNBOUNDED), weighed_summary(weighed))
}

/// Each example's losses. Those that feeding helps most stand first.
pub fn weighed_rows(weighed: &FewShotVsTuned, width: usize) -> String {
    let (headers, rows) = weighed_table(weighed);
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let mut text = table(&headers, &rows[..rows.len().min(MOST_ROWS)], width);
    if rows.len() > MOST_ROWS {
        text.push_str(&format!("\n… and {} (--json lists all)", number(rows.len() - MOST_ROWS)));
    }
    text
}

/// The same as cells.
pub fn weighed_table(weighed: &FewShotVsTuned) -> (Vec<String>, Vec<Vec<String>>) {
    let mut headers = vec!["base".to_owned(), "fed".to_owned()];
    let scored = if let AdapterSide::Scored(mine) = &weighed.mine { Some(mine) } else { None };
    headers.extend(scored.map(who));
    headers.push("where".to_owned());
    let mut rows: Vec<_> = weighed.rows.iter().collect();
    let gain = |base: Option<f64>, fed: Option<f64>| base.unwrap_or(0.0) - fed.unwrap_or(0.0);
    rows.sort_by(|one, other| gain(other.base, other.fed).total_cmp(&gain(one.base, one.fed)));
    let cell = |figure: Option<f64>| figure.map_or_else(|| "-".to_owned(), loss);
    let rows = rows.into_iter().map(|row| {
        let mut cells = vec![cell(row.base), cell(row.fed)];
        cells.extend(scored.map(|_| cell(row.mine)));
        cells.push(format!("{}:{}", path(&row.file), row.line));
        cells
    });
    (headers, rows.collect())
}

fn who(result: &ScoreResult) -> String {
    result.adapter.clone().unwrap_or_else(|| result.base.clone())
}

/// What was measured, the three figures, and which way is needed.
pub fn weighed_summary(weighed: &FewShotVsTuned) -> String {
    let folder = path(&weighed.folder);
    let examples = count(weighed.rows.len(), "example");
    let judges = match weighed.base.heldout.map(|heldout| heldout.judges) {
        Some(Judges::EachInTurn) => format!("{examples}, each in turn with the others to feed"),
        Some(Judges::HeldOut) | None => format!("{examples} that no run learns"),
    };
    let figure = |result: &ScoreResult| result.loss.map_or_else(|| "-".to_owned(), loss);
    let mut figures = format!("base {}, fed {}", figure(&weighed.base), figure(&weighed.fed));
    if let AdapterSide::Scored(mine) = &weighed.mine {
        figures.push_str(&format!(", {} {}", who(mine), figure(mine)));
    }
    let before = weighed.fed.heldout.map_or_else(String::new, |heldout| {
        let each = |total: usize| total as f64 / weighed.rows.len().max(1) as f64;
        format!(
            " Fed were {:.1} examples with {} tokens before each.",
            each(heldout.fed_examples),
            number(each(heldout.fed_tokens).round() as usize)
        )
    });
    let mut text = format!(
        "Held-out loss, nats a token (lower is better): {figures}.\nMeasured on {judges}, each as the answer to its own prompt or title.{before}\n{}",
        verdict(weighed)
    );
    match &weighed.mine {
        AdapterSide::NotNamed => text.push_str(&format!(
            "\nWhat training does: hotplate train {folder}, then the same with -a and the adapter's name."
        )),
        AdapterSide::Learnt { adapter, examples, trained } => {
            text.push_str(&format!(
                "\n{adapter} has learnt {} of these examples, so its figure here would flatter it.",
                number(*examples)
            ));
            if let Some((base, own)) = trained {
                text.push_str(&format!(
                    " On texts that it had not learnt, its own run measured {} for the base and {} for it.",
                    loss(*base),
                    loss(*own)
                ));
            }
        }
        AdapterSide::Scored(_) => {}
    }
    text
}

/// One sentence; chance is never called a difference.
fn verdict(weighed: &FewShotVsTuned) -> String {
    let nats = |gain: f64| format!("{} nats a token", loss(gain));
    let feeding = match weighed.by_feeding() {
        Difference::TooFew => {
            return "Too few examples to say which helps: chance says more than these figures.".to_owned();
        }
        Difference::Better(gain) => format!("Feeding helps, by {} on average", nats(gain)),
        Difference::Worse(loss) => format!("Feeding makes it worse, by {} on average", nats(loss)),
        Difference::Unclear => "Feeding makes no clear difference".to_owned(),
    };
    let (Some(training), Some(between)) = (weighed.by_training(), weighed.from_feeding_to_training()) else {
        return format!("{feeding}.");
    };
    let training = match training {
        Difference::Better(gain) => format!("training helps, by {}", nats(gain)),
        Difference::Worse(loss) => format!("training makes it worse, by {}", nats(loss)),
        Difference::Unclear | Difference::TooFew => "training makes no clear difference".to_owned(),
    };
    let helps = |difference: Option<Difference>| matches!(difference, Some(Difference::Better(_)));
    let which = match between {
        Difference::Better(_) if helps(weighed.by_training()) => "Here training is needed.",
        Difference::Worse(_) if helps(Some(weighed.by_feeding())) => "Here feeding is enough, and better.",
        _ if helps(weighed.by_training()) && helps(Some(weighed.by_feeding())) => {
            "Either does; feeding reads its tokens anew for every prompt, an adapter does not."
        }
        _ => "Here neither of them is shown to help.",
    };
    format!("{feeding}; {training}. {which}")
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use hotplate_protocol::feed::FedExample;
    use hotplate_protocol::methods::score::HeldOutScored;

    use super::*;
    use crate::weighed::FewShotVsTunedRow;

    fn at(file: &str, line: usize) -> FedPlace {
        FedPlace { file: file.into(), line, last_line: line + 1 }
    }

    #[test]
    fn what_was_fed_and_what_was_not() {
        let mut told = Fed {
            folder: "/notes".into(),
            examples: vec![
                FedExample { place: at("a.md", 3), tokens: 120 },
                FedExample { place: at("面.txt", 1), tokens: 1300 },
            ],
            tokens: 1420,
            room: 2048,
            of: 52,
            ended: FeedEnd::Room,
            no_room: 7,
            other_system: 0,
            refused: 1,
            itself: Some(at("b.md", 9)),
        };
        expect!["Fed 2 of 52 examples, 1,420 tokens, the nearest first: a.md:3 (120), 面.txt:1 (1,300). What is left does not fit: there is room for 2,048 tokens. 1 was left out: the base's chat template does not take their turns before a prompt. b.md:9 answers this very prompt and was left out: it would give its answer away."]
        .assert_eq(&fed(&told));
        told.itself = None;
        told.refused = 0;
        told.other_system = 2;
        told.ended = FeedEnd::Wanted;
        expect!["Fed 2 of 52 examples, 1,420 tokens, the nearest first: a.md:3 (120), 面.txt:1 (1,300). More were not wanted: --feed-examples says how many. 7 were too long for what was left. 2 were left out, with other system words or tools than the nearest."]
        .assert_eq(&fed(&told));
    }

    fn result(loss: f64, adapter: Option<&str>, judges: Judges, fed: usize) -> ScoreResult {
        ScoreResult {
            examples: 5,
            left_out: 0,
            loss: Some(loss),
            perplexity: Some(loss.exp()),
            supervised_tokens: 100,
            tokens: 500,
            heldout: Some(HeldOutScored {
                judges,
                of: 50,
                learnt: 0,
                fed_examples: fed,
                fed_tokens: fed * 100,
            }),
            adapter: adapter.map(str::to_owned),
            base: "hotplate-tiny".to_owned(),
        }
    }

    fn sum(fed: f64, mine: Option<f64>, rows: usize) -> FewShotVsTuned {
        let row = |line: usize| {
            let hard = line as f64 / 50.0;
            FewShotVsTunedRow {
                file: "a.md".into(),
                line,
                base: Some(3.0),
                fed: Some(fed + hard),
                mine: mine.map(|mine| mine - hard),
            }
        };
        FewShotVsTuned {
            folder: "notes/".into(),
            rows: (1..=rows).map(row).collect(),
            base: result(3.0, None, Judges::HeldOut, 0),
            fed: result(fed, None, Judges::HeldOut, 16),
            mine: mine.map_or(AdapterSide::NotNamed, |mine| {
                AdapterSide::Scored(result(mine, Some("notes@2"), Judges::HeldOut, 0))
            }),
        }
    }

    fn check(weighed: &FewShotVsTuned, expected: &Expect) {
        expected.assert_eq(&weighed_summary(weighed));
    }

    #[test]
    fn which_is_needed_in_words() {
        check(
            &sum(2.5, Some(2.0), 5),
            &expect![[r"
            Held-out loss, nats a token (lower is better): base 3.00, fed 2.50, notes@2 2.00.
            Measured on 5 examples that no run learns, each as the answer to its own prompt or title. Fed were 3.2 examples with 320 tokens before each.
            Feeding helps, by 0.44 nats a token on average; training helps, by 1.06 nats a token. Here training is needed."]],
        );
        let verdict = |weighed: &FewShotVsTuned| verdict(weighed);
        assert!(verdict(&sum(2.0, Some(2.7), 5)).ends_with("Here feeding is enough, and better."));
        assert!(
            verdict(&sum(3.1, Some(3.2), 5)).ends_with("Here neither of them is shown to help."),
            "{}",
            verdict(&sum(3.1, Some(3.2), 5))
        );
        assert!(verdict(&sum(2.0, Some(2.1), 5)).contains("Either does"));
        assert!(verdict(&sum(2.0, None, 5)).starts_with("Feeding helps, by 0.94"));
        assert!(verdict(&sum(2.0, Some(1.0), 4)).starts_with("Too few examples"));
        check(
            &FewShotVsTuned {
                mine: AdapterSide::Learnt { adapter: "notes".into(), examples: 5, trained: Some((3.1, 2.3)) },
                ..sum(3.5, None, 5)
            },
            &expect![[r"
            Held-out loss, nats a token (lower is better): base 3.00, fed 3.50.
            Measured on 5 examples that no run learns, each as the answer to its own prompt or title. Fed were 3.2 examples with 320 tokens before each.
            Feeding makes it worse, by 0.56 nats a token on average.
            notes has learnt 5 of these examples, so its figure here would flatter it. On texts that it had not learnt, its own run measured 3.10 for the base and 2.30 for it."]],
        );
    }

    #[test]
    fn the_most_helped_stands_first() {
        let mut weighed = sum(2.5, Some(2.0), 2);
        weighed.rows[0].fed = None;
        expect![[r"
            base   fed  notes@2  where
            3.00     -     1.98  a.md:1
            3.00  2.54     1.96  a.md:2"]]
        .assert_eq(&weighed_rows(&weighed, 80));
    }
}
