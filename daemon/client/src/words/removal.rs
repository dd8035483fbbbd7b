//! What goes, or has gone; and what an adapter is called now.

use hotplate_home::figures::{bytes, count};
use hotplate_protocol::methods::adapters::AdapterInfo;
use hotplate_protocol::methods::delete::DeleteResult;
use hotplate_protocol::methods::prune::{PruneResult, PrunedAdapter};

use super::visible::path;

/// `version 3`, `versions 1, 2 and 5`, `versions 1 to 9 and 12`.
pub fn versions_phrase(versions: &[u32]) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut rest = versions;
    while let [first, ..] = rest {
        let length = rest.iter().zip(*first..).take_while(|(version, expected)| *version == expected).count();
        if length > 2 {
            parts.push(format!("{first} to {}", rest[length - 1]));
        } else {
            parts.extend(rest[..length].iter().map(ToString::to_string));
        }
        rest = &rest[length..];
    }
    let noun = if versions.len() == 1 { "version" } else { "versions" };
    match parts.as_slice() {
        [] => "no version".to_owned(),
        [one] => format!("{noun} {one}"),
        [most @ .., last] => format!("{noun} {} and {last}", most.join(", ")),
    }
}

/// Before a delete; to be answered with yes or no.
pub fn delete_question(result: &DeleteResult) -> String {
    let size = bytes(result.bytes);
    if result.whole {
        let versions = count(result.versions.len(), "version");
        return format!(
            "Delete {}, all of it ({versions}, {size})? It cannot be brought back.",
            result.adapter
        );
    }
    let versions = versions_phrase(&result.versions);
    format!("Delete {versions} of {} ({size})? It cannot be brought back.", result.adapter)
}

/// After a delete.
pub fn deleted(result: &DeleteResult) -> String {
    let size = bytes(result.bytes);
    if result.whole {
        let versions = count(result.versions.len(), "version");
        return format!("{} is deleted: {versions}, {size}.", result.adapter);
    }
    let record =
        if result.record_stays { " Its record stays, because other versions were built on it." } else { "" };
    format!("Deleted {} of {}: {size}.{record}", versions_phrase(&result.versions), result.adapter)
}

/// Before a prune; to be answered with yes or no.
pub fn prune_question(result: &PruneResult) -> String {
    format!("{}\nDelete them? They cannot be brought back.", each(&result.adapters, "go", "stay"))
}

/// After a prune, or instead of one.
pub fn pruned(result: &PruneResult) -> String {
    if result.adapters.is_empty() {
        return format!(
            "Nothing to prune: no adapter has more than its newest {} and what it needs.",
            count(result.keep, "version")
        );
    }
    if result.pruned {
        each(&result.adapters, "are gone", "stay")
    } else {
        each(&result.adapters, "would go", "would stay")
    }
}

fn each(adapters: &[PrunedAdapter], go: &str, stay: &str) -> String {
    let line = |one: &PrunedAdapter| {
        let go = if one.versions.len() == 1 { go.replace("are gone", "is gone") } else { go.to_owned() };
        let go = if one.versions.len() == 1 && go == "go" { "goes".to_owned() } else { go };
        let stay = if one.stay.len() == 1 && stay == "stay" { "stays" } else { stay };
        format!(
            "{}: {} {go} ({}); {} {stay}.",
            one.adapter,
            versions_phrase(&one.versions),
            bytes(one.bytes),
            versions_phrase(&one.stay)
        )
    };
    adapters.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// After a rename.
pub fn renamed(from: &str, adapter: &AdapterInfo) -> String {
    let name = &adapter.name;
    // What came from elsewhere has no folder of texts.
    let trained = adapter.versions.iter().any(|version| !version.is_imported());
    let on = match adapter.folder.as_ref().filter(|_| trained) {
        Some(folder) => format!(" To train it further: hotplate train {} -a {name}", path(folder)),
        None => String::new(),
    };
    format!("{from} is called {name} now.{on}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_named_in_few_words() {
        assert_eq!(versions_phrase(&[3]), "version 3");
        assert_eq!(versions_phrase(&[1, 2]), "versions 1 and 2");
        assert_eq!(versions_phrase(&[1, 2, 5]), "versions 1, 2 and 5");
        assert_eq!(versions_phrase(&[1, 2, 3, 4, 9, 11, 12, 13]), "versions 1 to 4, 9 and 11 to 13");
        assert_eq!(versions_phrase(&[2, 3, 4]), "versions 2 to 4");
        assert_eq!(versions_phrase(&[]), "no version");
    }

    #[test]
    fn what_goes_and_what_stays() {
        let one = |versions: &[u32], stay: &[u32]| PrunedAdapter {
            adapter: "notes".into(),
            versions: versions.to_vec(),
            stay: stay.to_vec(),
            bytes: 1_500_000,
        };
        let result = |pruned| PruneResult { keep: 2, adapters: vec![one(&[1, 2, 3], &[4, 5])], pruned };
        assert_eq!(pruned(&result(true)), "notes: versions 1 to 3 are gone (1.5 MB); versions 4 and 5 stay.");
        assert_eq!(
            pruned(&result(false)),
            "notes: versions 1 to 3 would go (1.5 MB); versions 4 and 5 would stay."
        );
        let single = PruneResult { keep: 1, adapters: vec![one(&[1], &[2])], pruned: false };
        assert_eq!(
            prune_question(&single),
            "notes: version 1 goes (1.5 MB); version 2 stays.\nDelete them? They cannot be brought back."
        );
        let nothing = PruneResult { keep: 10, adapters: Vec::new(), pruned: true };
        assert!(pruned(&nothing).starts_with("Nothing to prune"));
        let version = DeleteResult {
            adapter: "notes".into(),
            versions: vec![2],
            whole: false,
            record_stays: true,
            bytes: 900,
            deleted: true,
        };
        assert_eq!(
            deleted(&version),
            "Deleted version 2 of notes: 900 B. Its record stays, because other versions were built on it."
        );
        assert_eq!(
            delete_question(&version),
            "Delete version 2 of notes (900 B)? It cannot be brought back."
        );
        let whole = DeleteResult { whole: true, versions: vec![1, 2], ..version };
        assert_eq!(deleted(&whole), "notes is deleted: 2 versions, 900 B.");
    }
}
