//! What a check found, and what a run would do.

use hotplate_protocol::knobs::{Effective, FROM_SIZE, KEYS, Source};
use hotplate_protocol::methods::check::{
    CheckResult, ExampleState, FileKind, Finding, ListedExample, RehearsedAnswer, ShapeCount,
};
use hotplate_protocol::run::{Plan, RunKind};

use hotplate_home::figures::{bytes, count, duration, loss, number, significant};
use serde_json::Value;

use super::table::table;
use super::visible::{path, visible};
use crate::chosen_base::TOY;

/// One to learn from and one to judge by.
const FEWEST: usize = 2;

/// How much there is, in two lines, and what to do where it is too little.
pub fn check_summary(check: &CheckResult) -> String {
    let mut found = match check.findings.len() {
        0 if check.examples < FEWEST => String::new(),
        0 => " Nothing to complain about.".to_owned(),
        some => format!(" {} to look at.", count(some, "finding")),
    };
    if check.examples < FEWEST {
        found.push_str(
            "\nToo few to train: at least 2 are needed, and 10 or more to learn well. Put texts there: .txt or .md files (one note each, \
             or several separated by lines of ---), or .jsonl, .json, .csv or .parquet with text, prompt and completion, or messages.",
        );
    }
    format!(
        "{} in {} of {}: {}\n{}{} to learn from, {} held out to judge by.{found}",
        count(check.examples, "example"),
        count(check.files, "file"),
        path(&check.folder),
        lengths(check),
        kinds(&check.kinds),
        number(check.train_examples),
        number(check.heldout_examples),
    )
}

/// The same of texts that are in no folder yet: whether they are enough is not theirs to say.
pub fn texts_summary(check: &CheckResult) -> String {
    let found = match (check.findings.len(), check.examples) {
        (0, 0) => "There is nothing in them to learn.".to_owned(),
        (0, _) => "Nothing to complain about.".to_owned(),
        (some, 0) => format!("{} to look at; nothing is left to learn.", count(some, "finding")),
        (some, _) => format!("{} to look at.", count(some, "finding")),
    };
    format!(
        "{} in {}: {}\n{}{found}",
        count(check.examples, "example"),
        path(&check.folder),
        lengths(check),
        kinds(&check.kinds),
    )
}

fn lengths(check: &CheckResult) -> String {
    let lengths = match check.examples {
        0 => String::new(),
        _ => format!(
            ", {} to {}, half of them up to {}",
            number(check.shortest_tokens),
            number(check.longest_tokens),
            number(check.median_tokens)
        ),
    };
    let cut = match check.truncated_examples {
        0 => String::new(),
        some => format!(" The end of {} is cut off.", count(some, "example")),
    };
    format!("{}{lengths}.{cut}", count(check.tokens, "token"))
}

/// More files than these are told by their kind, not by their name.
const MOST_FILES: usize = 12;

/// What was read as what: a line a file, or a line a kind where there are many.
fn kinds(files: &[FileKind]) -> String {
    let mut lines: Vec<(String, usize, Vec<ShapeCount>)> = Vec::new();
    for FileKind { file, format, shapes } in files {
        let name = if files.len() > MOST_FILES { String::new() } else { format!("{}: ", path(file)) };
        let name = format!("{name}{format}");
        let Some((_, count, known)) = lines.iter_mut().find(|(known, ..)| *known == name) else {
            lines.push((name, 1, shapes.clone()));
            continue;
        };
        *count += 1;
        for ShapeCount { shape, records } in shapes {
            match known.iter_mut().find(|known| known.shape == *shape) {
                Some(known) => known.records += records,
                None => known.push(ShapeCount { shape: shape.clone(), records: *records }),
            }
        }
    }
    let line = |(name, files, shapes): (String, usize, Vec<ShapeCount>)| {
        let files = if files > 1 { format!(" ({})", count(files, "file")) } else { String::new() };
        let shapes: Vec<String> = shapes
            .iter()
            .map(|known| format!("{} of {}", count(known.records, "record"), known.shape))
            .collect();
        let shapes = if shapes.is_empty() { "no records".to_owned() } else { shapes.join(", ") };
        format!("  {name}{files}, {shapes}\n")
    };
    lines.into_iter().map(line).collect()
}

/// `notes.jsonl:19:45`, as editors and terminals make links of.
pub fn finding_place(finding: &Finding) -> String {
    let place = format!("{}:{}", path(&finding.file), finding.lines.0);
    match finding.column {
        Some(column) => format!("{place}:{column}"),
        None => place,
    }
}

/// Each finding: where, what, and what to do.
pub fn findings(findings: &[Finding]) -> String {
    let each = findings.iter().map(|finding| {
        format!(
            "{}: {} {}: {}{}\n    {}",
            finding_place(finding),
            finding.code,
            finding.name,
            finding.message,
            if finding.skipped { " (left out)" } else { "" },
            finding.remedy
        )
    });
    each.collect::<Vec<_>>().join("\n")
}

/// Every knob with its value and where that comes from; `examples`: how many a choice was made for. Empty without any.
pub fn settings(settings: &[Effective], examples: usize, width: usize) -> String {
    if settings.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = settings
        .iter()
        .map(|Effective { key, value, source }| {
            let from = match source {
                Source::CommandLine => "command line".to_owned(),
                Source::Recipe { line } => format!("hotplate.toml:{line}"),
                Source::Version { version } => format!("as version {version} has it"),
                Source::Chosen if is_chosen_by_size(key) => {
                    format!("chosen for {}", count(examples, "example"))
                }
                Source::Chosen if key == "learning_rate" => "chosen for the base model".to_owned(),
                // An adapter keeps its own; a folder without one takes what holds for all commands.
                Source::Chosen if key == "base" && *value != TOY => "chosen before".to_owned(),
                Source::Chosen => "default".to_owned(),
            };
            vec![key.clone(), from, value_text(value)]
        })
        .collect();
    // The value comes last: a list of prompts is long.
    table(&["setting", "from", "value"], &rows, width)
}

fn is_chosen_by_size(key: &str) -> bool {
    KEYS.iter().any(|known| known.name == key && known.default == FROM_SIZE)
}

fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => number.as_f64().map(significant).unwrap_or_default(),
        Value::Array(parts) => parts.iter().map(value_text).collect::<Vec<_>>().join(", "),
        Value::Object(parts) => {
            let each: Vec<String> =
                parts.iter().map(|(name, part)| format!("{name} = {}", value_text(part))).collect();
            each.join(", ")
        }
        other => other.to_string(),
    }
}

/// Answers of the base's own that are shown in a shell; `--json` has all.
const REHEARSED_SHOWN: usize = 8;

/// What a run learns along with the examples, the first few of it. Empty without any.
pub fn rehearsed(answers: &[RehearsedAnswer]) -> String {
    if answers.is_empty() {
        return String::new();
    }
    let shown = answers.iter().take(REHEARSED_SHOWN).map(|each| {
        format!(
            "\n  {} → {}",
            each.prompt,
            visible(&each.answer.split_whitespace().collect::<Vec<_>>().join(" "))
        )
    });
    let more = match answers.len() - answers.len().min(REHEARSED_SHOWN) {
        0 => String::new(),
        more => format!("\n  and {} more (--json has them)", number(more)),
    };
    format!(
        "Rehearsed along with them, so that the base model's other answers stay: {} of its own to everyday questions.{}{more}",
        count(answers.len(), "answer"),
        shown.collect::<String>()
    )
}

/// Each example with its place, its part in training, and the run that learnt it. Empty without any.
pub fn examples(listed: &[ListedExample], width: usize) -> String {
    if listed.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = listed
        .iter()
        .map(|example| {
            let state = match example.state {
                ExampleState::New => "new",
                ExampleState::Learnt => "learnt",
                ExampleState::HeldOut => "held out",
                ExampleState::Tried => "tried",
            };
            vec![
                format!("{}:{}", path(&example.file), example.lines.0),
                state.to_owned(),
                example.run.map_or_else(String::new, |run| format!("run {}", run.0)),
                example.version.map_or_else(String::new, |version| format!("version {version}")),
                example.loss.map(loss).unwrap_or_default(),
                number(example.tokens),
            ]
        })
        .collect();
    table(&["example", "", "by", "in", "loss", "tokens"], &rows, width)
}

/// What a run will do, and what it costs.
pub fn plan(plan: &Plan) -> String {
    let replay = if plan.replay_examples > 0 {
        format!(" ({} of them again, lest they be forgotten)", number(plan.replay_examples))
    } else {
        String::new()
    };
    let start = match plan.kind {
        RunKind::Full => format!("Teaches {} from the start", plan.adapter),
        RunKind::Incremental => format!("Goes on teaching {}", plan.adapter),
    };
    let answers = match plan.texts_as_answers {
        0 => String::new(),
        texts => format!(
            "\n{} learnt as answers to \u{201c}Write a text titled \u{2026}\u{201d}, because this base model chats.",
            if texts == 1 { "1 text is".to_owned() } else { format!("{} texts are", number(texts)) }
        ),
    };
    let rehearsal = if plan.rehearsed_answers > 0 {
        format!(
            "\nLearns {} of the base model along with each pass, so that it keeps what else it can.",
            count(plan.rehearsed_answers, "answer")
        )
    } else {
        String::new()
    };
    let sooner = (1..plan.steps).contains(&plan.likely_steps);
    let time = match (plan.seconds, plan.seconds_at_most) {
        (Some(seconds), Some(most)) if sooner && most > 1.1 * seconds => {
            format!("About {} (at most {})", duration(seconds), duration(most))
        }
        (Some(seconds), _) => format!("About {}", duration(seconds)),
        (None, _) => "How long: said after its first steps".to_owned(),
    };
    let stops = if sooner {
        format!("it will probably stop after {}", number(plan.likely_steps))
    } else {
        "stops earlier when it gets no better".to_owned()
    };
    let judges = match plan.folds {
        0 => format!("judges by {} held out", number(plan.heldout_examples)),
        folds => {
            format!("too few to hold some out: they judge each other in {folds} parts, then all are learnt")
        }
    };
    let mut findings = match plan.findings {
        0 => String::new(),
        findings => format!("\n{} on the way: see them with hotplate check.", count(findings, "finding")),
    };
    if let Some(problem) = &plan.problem {
        findings.push_str("\nIt cannot start: ");
        findings.push_str(problem);
        findings.push('.');
    }
    format!(
        "{start}, on the base model {}.\n\
         Learns from {}{replay}, {judges}.{answers}{rehearsal}\n\
         At most {}, {} through {}; {stops}.\n\
         {time}; {} of memory beside the base model.\n\
         Learning rate {}, rank {}, alpha {}: {} to train.{findings}",
        plan.base,
        count(plan.train_examples, "example"),
        count(plan.steps, "step"),
        passes(plan),
        count(plan.tokens, "token"),
        bytes(plan.memory_bytes),
        significant(plan.learning_rate),
        plan.rank,
        plan.alpha,
        count(plan.trainable_parameters, "weight"),
    )
}

/// How often the data is gone through; the steps may be too few for every pass.
fn passes(plan: &Plan) -> String {
    let passes = (plan.steps * plan.tokens_per_step) as f64 / plan.tokens.max(1) as f64;
    match passes.min(plan.epochs as f64).round() {
        _ if passes < 0.9 => "less than one pass".to_owned(),
        whole if whole <= 1.0 => "one pass".to_owned(),
        whole => format!("{whole} passes"),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_check_in_words() {
        let mut check = CheckResult {
            folder: "/home/me/notes".into(),
            files: 2,
            examples: 1,
            train_examples: 1,
            heldout_examples: 0,
            tokens: 1204,
            longest_tokens: 300,
            shortest_tokens: 300,
            median_tokens: 300,
            truncated_examples: 0,
            kinds: vec![FileKind {
                file: "shop.jsonl".into(),
                format: "JSON Lines".into(),
                shapes: vec![ShapeCount { shape: "messages".into(), records: 1 }],
            }],
            findings: vec![Finding {
                code: "HP003".into(),
                name: "invalid-json".into(),
                file: "shop.jsonl".into(),
                lines: (19, 19),
                column: Some(45),
                message: "expected `,` or `}`".into(),
                remedy: "Mend the line or delete it.".into(),
                skipped: true,
            }],
            settings: Vec::new(),
            listed: Vec::new(),
            rehearsed: Vec::new(),
        };
        expect![[r"
            1 example in 2 files of /home/me/notes: 1,204 tokens, 300 to 300, half of them up to 300.
              shop.jsonl: JSON Lines, 1 record of messages
            1 to learn from, 0 held out to judge by. 1 finding to look at.
            Too few to train: at least 2 are needed, and 10 or more to learn well. Put texts there: .txt or .md files (one note each, or several separated by lines of ---), or .jsonl, .json, .csv or .parquet with text, prompt and completion, or messages.

            shop.jsonl:19:45: HP003 invalid-json: expected `,` or `}` (left out)
                Mend the line or delete it."]]
        .assert_eq(&super::super::shown(&crate::Shown::Checked(check.clone())).unwrap());
        check.folder = "this cell".into();
        expect![[r"
            1 example in this cell: 1,204 tokens, 300 to 300, half of them up to 300.
              shop.jsonl: JSON Lines, 1 record of messages
            1 finding to look at."]]
        .assert_eq(&texts_summary(&check));
        check.findings.clear();
        assert!(texts_summary(&check).ends_with("Nothing to complain about."));
    }

    #[test]
    fn settings_and_where_they_come_from() {
        let entry = |key: &str, value: Value, source| Effective { key: key.into(), value, source };
        let settings = [
            entry("base", "hotplate-tiny".into(), Source::Chosen),
            entry("epochs", 8.into(), Source::Chosen),
            entry("rehearsal", 0.5.into(), Source::Chosen),
            entry("learning_rate", 0.002_425.into(), Source::Chosen),
            entry("rank", 8.into(), Source::Recipe { line: 3 }),
            entry("alpha", 16.0.into(), Source::Version { version: 2 }),
            entry("targets", vec!["q_proj", "v_proj"].into(), Source::CommandLine),
            entry("rank_pattern", serde_json::json!({ "q_proj": 32 }), Source::Recipe { line: 4 }),
        ];
        expect![[r"
            setting        from                       value
            base           default                    hotplate-tiny
            epochs         chosen for 53 examples     8
            rehearsal      chosen for 53 examples     0.5
            learning_rate  chosen for the base model  0.0024
            rank           hotplate.toml:3            8
            alpha          as version 2 has it        16
            targets        command line               q_proj, v_proj
            rank_pattern   hotplate.toml:4            q_proj = 32"]]
        .assert_eq(&super::settings(&settings, 53, super::super::UNBOUNDED));
        let mine = [entry("base", "Qwen3-0.6B".into(), Source::Chosen)];
        let said = super::settings(&mine, 53, super::super::UNBOUNDED);
        assert!(said.ends_with("base     chosen before  Qwen3-0.6B"), "{said}");
        let listed = [ListedExample {
            id: "0".into(),
            file: "a.md".into(),
            lines: (3, 9),
            tokens: 120,
            state: ExampleState::Learnt,
            run: Some(hotplate_protocol::run::RunId(4)),
            version: Some(2),
            loss: Some(1.234),
        }];
        expect![[r"
            example          by     in         loss  tokens
            a.md:3   learnt  run 4  version 2  1.23     120"]]
        .assert_eq(&examples(&listed, super::super::UNBOUNDED));
    }

    #[test]
    fn a_plan_in_words() {
        let mut what = Plan {
            kind: RunKind::Full,
            base: "hotplate-tiny".into(),
            adapter: "notes".into(),
            train_examples: 53,
            heldout_examples: 6,
            replay_examples: 0,
            texts_as_answers: 0,
            rehearsed_answers: 0,
            tokens: 3412,
            supervised_tokens: 3000,
            epochs: 8,
            steps: 112,
            tokens_per_step: 240,
            learning_rate: 0.001,
            rank: 16,
            alpha: 16.0,
            trainable_parameters: 294_912,
            likely_steps: 60,
            seconds: Some(24.6),
            seconds_at_most: Some(41.0),
            memory_bytes: 181_000_000,
            findings: 3,
            settings: Vec::new(),
            folds: 0,
            problem: None,
        };
        expect![[r"
            Teaches notes from the start, on the base model hotplate-tiny.
            Learns from 53 examples, judges by 6 held out.
            At most 112 steps, 8 passes through 3,412 tokens; it will probably stop after 60.
            About 25 s (at most 41 s); 181 MB of memory beside the base model.
            Learning rate 0.001, rank 16, alpha 16: 294,912 weights to train.
            3 findings on the way: see them with hotplate check."]]
        .assert_eq(&plan(&what));
        what.kind = RunKind::Incremental;
        what.replay_examples = 40;
        what.epochs = 1;
        what.seconds = None;
        what.likely_steps = 112;
        what.findings = 0;
        expect![[r"
            Goes on teaching notes, on the base model hotplate-tiny.
            Learns from 53 examples (40 of them again, lest they be forgotten), judges by 6 held out.
            At most 112 steps, one pass through 3,412 tokens; stops earlier when it gets no better.
            How long: said after its first steps; 181 MB of memory beside the base model.
            Learning rate 0.001, rank 16, alpha 16: 294,912 weights to train."]]
        .assert_eq(&plan(&what));
    }
}
