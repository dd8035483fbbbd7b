//! Adapters: a table of their versions, and each one's history as a picture.

use std::fmt::Write;

use hotplate_client::protocol::methods::adapters::{AdapterInfo, VersionFiles, VersionInfo};
use hotplate_client::words;

use super::html::{self, ACCENT, SECOND};

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 110.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 26.0;
/// More versions than these are too close to be told apart.
const MOST: usize = 60;

pub(super) fn adapters(list: &[AdapterInfo]) -> String {
    let mut rows = Vec::new();
    for adapter in list {
        for version in &adapter.versions {
            let current = version.version == adapter.current;
            rows.push(vec![
                adapter.name.clone(),
                version.version.to_string(),
                state(version, current, adapter.stale),
                adapter.base.clone(),
                words::losses(version),
                version.guard.as_ref().map_or("-", words::guard_word).to_owned(),
                measured(version, &|| words::number(version.examples)),
                measured(version, &|| words::duration(version.seconds)),
                words::day_and_minute(&version.created),
            ]);
        }
    }
    let headers =
        ["adapter", "version", "", "base model", "held-out loss", "guard", "examples", "took", "made (UTC)"];
    let pictures: String = list.iter().map(history).collect();
    html::table(&headers, &rows) + &pictures
}

/// A figure of the version's run; there is none for what came from elsewhere.
fn measured(version: &VersionInfo, figure: &dyn Fn() -> String) -> String {
    if version.is_imported() { "-".to_owned() } else { figure() }
}

fn state(version: &VersionInfo, current: bool, stale: bool) -> String {
    let parts = [
        current.then_some("answers"),
        (current && stale).then_some("stale: train it again"),
        match version.files {
            VersionFiles::Whole => None,
            VersionFiles::Gone => Some("its files are gone"),
            VersionFiles::Damaged => Some("its files are damaged"),
            VersionFiles::Pruned => Some("pruned"),
        },
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// The held-out loss from version to version, beside the base's, cut where other texts judged. Empty where there is one version only.
fn history(adapter: &AdapterInfo) -> String {
    let skipped = adapter.versions.len().saturating_sub(MOST);
    let versions = &adapter.versions[skipped..];
    // Only losses by the same texts make a line.
    let mut losses: Vec<(u32, f64, f64)> = Vec::new();
    let mut parts: Vec<std::ops::Range<usize>> = Vec::new();
    for part in words::judged_alike(versions) {
        let start = losses.len();
        losses.extend(part.into_iter().filter_map(|version| {
            let (base, own) = (version.base_heldout_loss?, version.heldout_loss?);
            (base.is_finite() && own.is_finite()).then_some((version.version, own, base))
        }));
        parts.push(start..losses.len());
    }
    if losses.len() < 2 {
        return String::new();
    }
    let all = || losses.iter().flat_map(|(_, mine, base)| [*mine, *base]);
    let highest = all().fold(f64::NEG_INFINITY, f64::max);
    let lowest = all().fold(f64::INFINITY, f64::min);
    let range = if highest - lowest > 1e-9 { highest - lowest } else { 1.0 };
    let last = (losses.len() - 1) as f64;
    let x = |index: usize| LEFT + (WIDTH - LEFT - RIGHT) * index as f64 / last;
    let y = |loss: f64| TOP + (HEIGHT - TOP - BOTTOM) * (highest - loss) / range;
    let line = |part: &std::ops::Range<usize>, of: fn(&(u32, f64, f64)) -> f64| {
        let points = part.clone().map(|index| format!("{:.1},{:.1}", x(index), y(of(&losses[index]))));
        points.collect::<Vec<_>>().join(" ")
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"Held-out loss by version\" style=\"width:100%;max-width:{WIDTH}px;height:auto;color:inherit\" \
         font-size=\"11\" fill=\"none\">"
    );
    for loss in [highest, lowest] {
        let _ = write!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"currentColor\" opacity=\".15\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"currentColor\" opacity=\".7\">{loss:.2}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y(loss) + 4.0,
            y = y(loss),
        );
    }
    for part in parts.iter().filter(|part| part.len() > 1) {
        let _ = write!(
            svg,
            "<polyline points=\"{}\" stroke=\"currentColor\" opacity=\".5\" stroke-dasharray=\"2 3\"/>\
             <polyline points=\"{}\" style=\"stroke:{ACCENT}\" stroke-width=\"2\"/>",
            line(part, |entry| entry.2),
            line(part, |entry| entry.1),
        );
    }
    // A label each, as long as they do not run into each other.
    let every = losses.len().div_ceil(16);
    for (index, (version, mine, _)) in losses.iter().enumerate() {
        let (radius, colour) = if *version == adapter.current { (4.5, SECOND) } else { (2.5, ACCENT) };
        let _ = write!(
            svg,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius}\" style=\"fill:{colour}\"/>",
            x(index),
            y(*mine)
        );
        if index % every == 0 || *version == adapter.current {
            let _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"currentColor\" opacity=\".7\">{version}</text>",
                x(index),
                HEIGHT - 9.0
            );
        }
    }
    svg.push_str("</svg>");
    let title = format!("{}: held-out loss by version", adapter.name);
    let cut = if parts.len() > 1 { " Where no line leads on, other texts judged." } else { "" };
    let legend = format!(
        "Solid: the adapter; the large point answers. Dotted: its base model on the same texts.{cut}"
    );
    html::heading(&title) + &svg + &html::note(&legend)
}

#[cfg(test)]
mod tests {
    use hotplate_client::protocol::knobs::Method;
    use hotplate_client::protocol::run::{RunId, RunKind};

    use super::*;

    fn adapter(losses: &[f64]) -> AdapterInfo {
        let version = |(index, loss): (usize, &f64)| VersionInfo {
            version: index as u32 + 1,
            path: "/a".into(),
            created: "2026-01-31T09:15:00Z".into(),
            run: RunId(1),
            kind: RunKind::Full,
            base_heldout_loss: Some(5.0),
            heldout_loss: Some(*loss),
            judged_by: Some("a".into()),
            examples: 9,
            steps: 3,
            seconds: 2.0,
            guard: None,
            method: Method::Lora,
            files: VersionFiles::Whole,
        };
        AdapterInfo {
            name: "<notes>".into(),
            base: "tiny".into(),
            folder: None,
            current: 1,
            stale: false,
            versions: losses.iter().enumerate().map(version).collect(),
        }
    }

    #[test]
    fn a_history_has_two_versions_at_least() {
        let one = adapters(&[adapter(&[3.0])]);
        assert!(one.contains("2026-01-31 09:15") && !one.contains("<svg"), "{one}");
        let three = adapters(&[adapter(&[3.0, f64::NAN, 2.5])]);
        assert!(three.contains("<svg") && three.matches("<circle").count() == 2, "{three}");
        assert!(three.contains("&lt;notes&gt;: held-out loss") && !three.contains("NaN\""), "{three}");
        let mut other = adapter(&[3.0, 2.9, 2.0, 1.9]);
        other.versions[2].judged_by = Some("b".into());
        other.versions[3].judged_by = Some("b".into());
        let cut = adapters(&[other]);
        assert!(cut.matches("<polyline").count() == 4 && cut.contains("other texts judged"), "{cut}");
        let mut came = adapter(&[3.0]);
        came.versions[0] = VersionInfo {
            run: RunId(0),
            heldout_loss: None,
            files: VersionFiles::Gone,
            ..came.versions[0].clone()
        };
        let came = adapters(&[came]);
        assert!(
            came.contains("answers; its files are gone") && came.contains(">-<") && !came.contains(">9<"),
            "{came}"
        );
        let many = adapters(&[adapter(&vec![3.0; 500])]);
        assert!(many.matches("<circle").count() == MOST && !many.contains("NaN"));
    }
}
