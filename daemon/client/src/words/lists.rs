//! What there is: the daemon's state, adapters, base models, watched folders.

use hotplate_home::figures::{bytes, count, duration, loss, number, sparkline};
use hotplate_protocol::methods::adapters::{AdapterInfo, VersionFiles, VersionInfo};
use hotplate_protocol::methods::models::ModelInfo;
use hotplate_protocol::methods::status::{RunState, StatusResult, WatchMethod, WatchStatus};

use super::removal::versions_phrase;
use super::run::{cause, guard, guard_word};
use super::table::{TOGETHER, table};
use super::visible::path;

/// The daemon, then what is in memory, what runs, what is watched.
pub fn status(status: &StatusResult) -> String {
    let processor = match status.processor.as_str() {
        "" => String::new(),
        processor => format!(" ({processor})"),
    };
    let mut lines = vec![
        format!(
            "Hotplate {} has been up for {} (process {}), working on {}{processor}.",
            status.version,
            duration(status.uptime_seconds),
            status.pid,
            status.device
        ),
        format!("Memory: {} now, {} at most.", bytes(status.rss_bytes), bytes(status.peak_rss_bytes)),
        format!("Home: {}", path(&status.home)),
    ];
    lines.extend(status.problems.iter().map(|problem| format!("Problem: {problem}")));
    if status.models.is_empty() {
        lines.push("No base model is in memory; the first use loads one.".to_owned());
    }
    for model in &status.models {
        let idle = match model.idle_seconds {
            Some(idle) => format!(
                ", unused for {} (leaves memory after {})",
                duration(idle),
                duration(status.model_ttl_seconds)
            ),
            None => String::new(),
        };
        let quantised = model.quantize.map(|word| format!(" as {}", word.word())).unwrap_or_default();
        lines.push(format!("In memory: {}, {}{quantised}{idle}.", model.name, bytes(model.bytes)));
    }
    if status.generating > 0 {
        lines.push(format!("Writing: {}.", count(status.generating, "text")));
    }
    if status.runs.is_empty() {
        lines.push("No run.".to_owned());
    }
    for run in &status.runs {
        lines.push(match run.state {
            RunState::Queued => {
                format!("Waits: run {} of {} from {}.", run.run.0, run.adapter, path(&run.folder))
            }
            RunState::Running => format!(
                "Runs: run {} of {} from {}, {}; step {} of {}{}.",
                run.run.0,
                run.adapter,
                path(&run.folder),
                cause(&run.cause),
                number(run.step),
                number(run.steps),
                run.loss.map(|value| format!(", loss {}", loss(value))).unwrap_or_default()
            ),
        });
    }
    if status.watches.is_empty() {
        lines.push("No folder is watched.".to_owned());
    }
    lines.extend(status.watches.iter().map(watching));
    for adapter in &status.adapters {
        let signs = adapter.guard.as_ref().map(|signs| format!(" {}", guard(signs))).unwrap_or_default();
        let stale = if adapter.stale { "; some of what it learnt is gone" } else { "" };
        lines.push(format!("Adapter {}: version {} answers{stale}.{signs}", adapter.name, adapter.version));
    }
    lines.push(if status.watches.is_empty() {
        format!(
            "{} connected; the daemon leaves after {} without any.",
            count(status.sessions, "client"),
            duration(status.idle_exit_seconds)
        )
    } else {
        format!("{} connected; the daemon stays for its watched folders.", count(status.sessions, "client"))
    });
    lines.join("\n")
}

/// One watched folder.
pub fn watching(watch: &WatchStatus) -> String {
    let method = match watch.method {
        WatchMethod::Native => "",
        WatchMethod::Polling => "; looks every few seconds, as the system does not tell of saves here",
    };
    let findings = match watch.findings {
        0 => String::new(),
        findings => format!(", {}", count(findings, "finding")),
    };
    let problem = match &watch.problem {
        Some(problem) => format!("\n    {problem}"),
        None => String::new(),
    };
    format!(
        "Watches {} for {} on {}: {}{findings}{method}.{problem}",
        path(&watch.folder),
        watch.adapter,
        watch.base,
        count(watch.examples, "example"),
    )
}

/// Characters of a curve.
const HISTORY_WIDTH: usize = 40;

/// A table of the adapters at their current versions, how each came about, and what is wrong with any.
pub fn adapters(adapters: &[AdapterInfo], width: usize) -> String {
    if adapters.is_empty() {
        return "No adapters yet. Make one: hotplate train FOLDER".to_owned();
    }
    let rows: Vec<Vec<String>> = adapters
        .iter()
        .map(|adapter| {
            let current = adapter.versions.iter().find(|version| version.version == adapter.current);
            let of =
                |figure: &dyn Fn(&VersionInfo) -> String| current.map_or_else(|| UNKNOWN.to_owned(), figure);
            vec![
                adapter.name.clone(),
                format!("{}{TOGETHER}of{TOGETHER}{}", adapter.current, newest(adapter)),
                adapter.base.clone(),
                of(&|version| losses(version).replace(' ', &TOGETHER.to_string())),
                of(&|version| version.guard.as_ref().map_or(UNKNOWN, guard_word).to_owned()),
                of(&|version| {
                    if version.is_imported() { UNKNOWN.to_owned() } else { number(version.examples) }
                }),
                of(&|version| day_and_minute(&version.created)),
            ]
        })
        .collect();
    let mut text = table(
        &["adapter", "version", "base model", "held-out loss", "guard", "examples", "made (UTC)"],
        &rows,
        width,
    );
    for line in adapters.iter().flat_map(|adapter| [curve(adapter), flaws(adapter)]).flatten() {
        text.push('\n');
        text.push_str(&line);
    }
    for adapter in adapters.iter().filter(|adapter| adapter.stale) {
        text.push('\n');
        text.push_str(&stale(adapter));
    }
    text
}

/// How an adapter forgets what is gone: anew from its folder, or from what came in, which no folder holds.
fn stale(adapter: &AdapterInfo) -> String {
    let name = &adapter.name;
    let came_in = adapter
        .versions
        .iter()
        .rfind(|version| version.is_imported() && version.files == VersionFiles::Whole);
    let remedy = match (came_in, &adapter.folder) {
        (Some(version), Some(folder)) => format!(
            "to forget it, go back to what was imported and learn from there: hotplate rollback {name} --to {}, then hotplate train {} -a {name}",
            version.version,
            path(folder)
        ),
        _ => "train it again to forget it.".to_owned(),
    };
    format!("{name} is stale: some of what it learnt is gone from its folder; {remedy}")
}

/// A figure that nobody has measured.
const UNKNOWN: &str = "-";

fn newest(adapter: &AdapterInfo) -> u32 {
    adapter.versions.last().map_or(adapter.current, |version| version.version)
}

/// The base's loss and the version's.
pub fn losses(version: &VersionInfo) -> String {
    match (version.base_heldout_loss, version.heldout_loss) {
        (Some(base), Some(own)) => format!("{} → {}", loss(base), loss(own)),
        _ => UNKNOWN.to_owned(),
    }
}

/// The newest versions that the same texts have judged, as a curve; none where they are not two at least.
fn curve(adapter: &AdapterInfo) -> Option<String> {
    let last = judged_alike(&adapter.versions).pop()?;
    let losses: Vec<f64> = last.iter().filter_map(|version| version.heldout_loss).collect();
    let [first, .., end] = losses.as_slice() else { return None };
    // A curve of all of them needs no numbers.
    let which = if last.len() == adapter.versions.len() {
        "by version".to_owned()
    } else {
        let versions: Vec<u32> = last.iter().map(|version| version.version).collect();
        format!("{}, which the same texts judged", versions_phrase(&versions))
    };
    Some(format!(
        "{} {which}: {}  held-out loss {} → {}",
        adapter.name,
        sparkline(&losses, HISTORY_WIDTH),
        loss(*first),
        loss(*end)
    ))
}

/// Versions in their order, cut where other texts judged: only losses within a part are comparable.
pub fn judged_alike(versions: &[VersionInfo]) -> Vec<Vec<&VersionInfo>> {
    let mut parts: Vec<Vec<&VersionInfo>> = Vec::new();
    for version in versions.iter().filter(|version| version.heldout_loss.is_some()) {
        match parts.last_mut() {
            Some(part)
                if version.judged_by.is_some()
                    && part.last().is_some_and(|before| before.judged_by == version.judged_by) =>
            {
                part.push(version);
            }
            _ => parts.push(vec![version]),
        }
    }
    parts
}

/// Versions whose files are not as they should be. What was pruned is as it should be.
fn flaws(adapter: &AdapterInfo) -> Option<String> {
    let with = |files: VersionFiles| -> Vec<&VersionInfo> {
        adapter.versions.iter().filter(|version| version.files == files).collect()
    };
    let said = |versions: &[&VersionInfo], what: &str| {
        let numbers: Vec<u32> = versions.iter().map(|version| version.version).collect();
        let place = versions.first().map_or_else(String::new, |version| path(&version.path));
        format!("the files of {} are {what} ({place})", versions_phrase(&numbers))
    };
    let (gone, damaged) = (with(VersionFiles::Gone), with(VersionFiles::Damaged));
    let mut parts = Vec::new();
    if !gone.is_empty() {
        parts.push(said(&gone, "gone"));
    }
    if !damaged.is_empty() {
        parts.push(said(&damaged, "damaged"));
    }
    if parts.is_empty() {
        return None;
    }
    let name = &adapter.name;
    let bad = |version: &&VersionInfo| !matches!(version.files, VersionFiles::Whole);
    let current_is_bad =
        adapter.versions.iter().filter(bad).any(|version| version.version == adapter.current);
    let whole = adapter.versions.iter().rev().find(|version| version.files == VersionFiles::Whole);
    let remedy = match (current_is_bad, whole) {
        (false, _) => {
            format!("hotplate delete {name}@{} forgets one", gone.iter().chain(&damaged).next()?.version)
        }
        (true, Some(whole)) => {
            format!("hotplate rollback {name} --to {} goes to one that is whole", whole.version)
        }
        (true, None) => format!("train it again, or hotplate delete {name} forgets it"),
    };
    Some(format!("{name}: {}; {remedy}.", parts.join(", and ")))
}

/// `2026-01-31T09:15:00Z` as `2026-01-31 09:15`; anything else as it is.
pub fn day_and_minute(created: &str) -> String {
    match (created.get(..10), created.get(10..11), created.get(11..16)) {
        (Some(day), Some("T"), Some(minute)) => format!("{day} {minute}"),
        _ => created.to_owned(),
    }
}

/// After a rollback.
pub fn rolled_back(adapter: &AdapterInfo) -> String {
    let whole = adapter.versions.iter().rev().find(|version| version.files == VersionFiles::Whole);
    let newest = whole.map_or(adapter.current, |version| version.version);
    let back = if newest == adapter.current {
        String::new()
    } else {
        format!(" Forward again: hotplate rollback {} --to {newest}", adapter.name)
    };
    format!("{} answers with version {} now.{back}", adapter.name, adapter.current)
}

/// A table of the base models.
pub fn models(models: &[ModelInfo], width: usize) -> String {
    let rows: Vec<Vec<String>> = models
        .iter()
        .map(|model| {
            vec![
                model.name.clone(),
                model.architecture.clone().unwrap_or_else(|| "?".to_owned()),
                model.parameters.map_or_else(|| "?".to_owned(), millions),
                match (model.loaded, model.quantize) {
                    (true, Some(quantize)) => format!("{}, {}", bytes(model.bytes), quantize.word()),
                    (true, None) => bytes(model.bytes),
                    (false, Some(quantize)) => format!("no ({})", quantize.word()),
                    (false, None) => "no".to_owned(),
                },
                number(model.adapters),
                model.path.as_ref().map_or_else(|| "built in".to_owned(), |found| path(found)),
            ]
        })
        .collect();
    table(&["base model", "architecture", "weights", "in memory", "adapters", "place"], &rows, width)
}

/// `4.9 M`, `1.2 B`: how the field counts weights.
fn millions(weights: u64) -> String {
    match weights as f64 {
        weights if weights >= 999.5e6 => format!("{:.1} B", weights / 1e9),
        weights if weights >= 99.95e6 => format!("{:.0} M", weights / 1e6),
        weights => format!("{:.1} M", weights / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use hotplate_protocol::knobs::Method;
    use hotplate_protocol::methods::status::{AdapterStatus, RunStatus};
    use hotplate_protocol::run::{Cause, Guard, GuardVerdict, RunId, RunKind};

    use super::super::UNBOUNDED;
    use super::*;

    fn tiny() -> ModelInfo {
        ModelInfo {
            name: "hotplate-tiny".into(),
            path: None,
            fingerprint: None,
            architecture: Some("LlamaForCausalLM".into()),
            parameters: Some(4_900_000),
            loaded: true,
            bytes: 19_600_000,
            idle_seconds: Some(12.0),
            adapters: 1,
            quantize: None,
        }
    }

    #[test]
    fn a_busy_daemon() {
        let status = StatusResult {
            version: "0.1.0".into(),
            pid: 77,
            home: "/home/me/.local/share/hotplate".into(),
            uptime_seconds: 125.0,
            device: "CPU".into(),
            processor: "2 threads, AVX2".to_owned(),
            rss_bytes: 120_000_000,
            peak_rss_bytes: 300_000_000,
            sessions: 1,
            models: vec![tiny()],
            runs: vec![RunStatus {
                run: RunId(1),
                kind: RunKind::Full,
                folder: "/home/me/notes".into(),
                adapter: "notes".into(),
                cause: Cause::Asked,
                state: RunState::Running,
                step: 12,
                steps: 112,
                loss: Some(3.217),
            }],
            watches: vec![WatchStatus {
                folder: "/home/me/notes".into(),
                base: "hotplate-tiny".into(),
                adapter: "notes".into(),
                method: WatchMethod::Polling,
                examples: 59,
                findings: 3,
                problem: Some("The folder is gone; it is watched again when it comes back.".into()),
            }],
            adapters: vec![AdapterStatus {
                name: "notes".into(),
                version: 3,
                stale: true,
                guard: Some(Guard {
                    verdict: GuardVerdict::Fine,
                    gap: Some(0.3),
                    copy_rate: None,
                    heldout_copy_rate: None,
                    longest_copy_tokens: None,
                    drift: Some(0.1),
                    agreement: None,
                    loops: None,
                    base_loops: None,
                    leaks: None,
                }),
            }],
            generating: 0,
            problems: vec!["a run of soups was suspended".to_owned()],
            model_ttl_seconds: 600.0,
            idle_exit_seconds: 1800.0,
        };
        expect![[r"
            Hotplate 0.1.0 has been up for 2 min 5 s (process 77), working on CPU (2 threads, AVX2).
            Memory: 120 MB now, 300 MB at most.
            Home: /home/me/.local/share/hotplate
            Problem: a run of soups was suspended
            In memory: hotplate-tiny, 20 MB, unused for 12 s (leaves memory after 10 min).
            Runs: run 1 of notes from /home/me/notes, as you asked; step 12 of 112, loss 3.22.
            Watches /home/me/notes for notes on hotplate-tiny: 59 examples, 3 findings; looks every few seconds, as the system does not tell of saves here.
                The folder is gone; it is watched again when it comes back.
            Adapter notes: version 3 answers; some of what it learnt is gone. No sign of memorising or forgetting: gap 0.30, drift 0.10.
            1 client connected; the daemon stays for its watched folders."]].assert_eq(&super::status(&status));
    }

    #[test]
    fn adapters_and_models() {
        let adapter = AdapterInfo {
            name: "notes".into(),
            base: "hotplate-tiny".into(),
            folder: None,
            current: 1,
            stale: true,
            versions: [1, 2]
                .map(|version| VersionInfo {
                    version,
                    path: "/p".into(),
                    created: "2026-01-31T09:15:00Z".into(),
                    run: RunId(1),
                    kind: RunKind::Full,
                    base_heldout_loss: Some(4.0),
                    heldout_loss: Some(2.0),
                    judged_by: Some("a".into()),
                    examples: 53,
                    steps: 100,
                    seconds: 20.0,
                    guard: None,
                    method: Method::Lora,
                    files: VersionFiles::Whole,
                })
                .to_vec(),
        };
        expect![[r"
            adapter  version  base model     held-out loss  guard  examples  made (UTC)
            notes     1 of 2  hotplate-tiny    4.00 → 2.00      -        53  2026-01-31
                                                                             09:15
            notes by version: ▅▅  held-out loss 2.00 → 2.00
            notes is stale: some of what it learnt is gone from its folder; train it again to forget it."]]
        .assert_eq(&adapters(std::slice::from_ref(&adapter), 80));
        let mut imported = adapter.clone();
        imported.folder = Some("/notes".into());
        imported.versions[0].run = RunId(0);
        expect!["notes is stale: some of what it learnt is gone from its folder; to forget it, go back to what was imported and learn from there: hotplate rollback notes --to 1, then hotplate train /notes -a notes"]
            .assert_eq(&stale(&imported));
        let mut flawed = adapter.clone();
        flawed.stale = false;
        flawed.versions[0].files = VersionFiles::Gone;
        flawed.versions[1].judged_by = Some("b".into());
        // Other texts judged the second one, and nobody the third, which came from elsewhere.
        flawed.versions.push(VersionInfo {
            version: 3,
            run: RunId(0),
            base_heldout_loss: None,
            heldout_loss: None,
            files: VersionFiles::Damaged,
            ..flawed.versions[1].clone()
        });
        flawed.current = 3;
        expect![[r"
            adapter  version  base model     held-out loss  guard  examples  made (UTC)
            notes     3 of 3  hotplate-tiny              -      -         -  2026-01-31 09:15
            notes: the files of version 1 are gone (/p), and the files of version 3 are damaged (/p); hotplate rollback notes --to 2 goes to one that is whole."]]
        .assert_eq(&adapters(&[flawed], UNBOUNDED));
        expect!["notes answers with version 1 now. Forward again: hotplate rollback notes --to 2"]
            .assert_eq(&rolled_back(&adapter));
        expect![[r"
            base model     architecture      weights  in memory  adapters  place
            hotplate-tiny  LlamaForCausalLM    4.9 M      20 MB         1  built in"]]
        .assert_eq(&models(&[tiny()], 80));
        assert_eq!(millions(1_235_814_400), "1.2 B");
        assert_eq!(millions(494_000_000), "494 M");
    }
}
