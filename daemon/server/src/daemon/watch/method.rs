//! How the daemon learns of saves in one folder: from the system, or by looking every few seconds.

use std::path::{Path, PathBuf};

use crossbeam_channel::Sender;
use hotplate_dataset::is_dataset_file;
use hotplate_dataset::recipe::is_recipe;
use hotplate_protocol::methods::status::WatchMethod;
use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RemoveKind};
use notify::{Config, RecommendedWatcher, RecursiveMode, Watcher};

use super::Input;
use super::scan::is_regarded_folder;

/// Where events come from. Dropping it ends them.
pub(super) enum Source {
    Native(#[expect(dead_code, reason = "held for its events")] RecommendedWatcher),
    Polling,
    /// The folder is not there.
    None,
}

/// File systems whose changes by other machines the system does not tell.
#[cfg(target_os = "linux")]
const SILENT: &[(u32, &str)] = &[
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE"),
    (0x5346_414f, "AFS"),
    (0x00c3_6400, "Ceph"),
    (0x786f_4256, "VirtualBox"),
    (0x7375_7245, "Coda"),
];

#[cfg(target_os = "linux")]
fn silent_file_system(folder: &Path) -> Option<&'static str> {
    let kind = rustix::fs::statfs(folder).ok()?.f_type as u32;
    SILENT.iter().find(|(known, _)| *known == kind).map(|(_, name)| *name)
}

#[cfg(not(target_os = "linux"))]
fn silent_file_system(_folder: &Path) -> Option<&'static str> {
    None
}

/// Watches the folder with everything below it: folders, not files, because editors replace files.
pub(super) fn attach(folder: &Path, inputs: &Sender<Input>) -> (Source, WatchMethod, Option<String>) {
    if let Some(name) = silent_file_system(folder) {
        let problem = format!(
            "the folder lies on {name}, which does not tell of saves; it is looked at every few seconds"
        );
        return (Source::Polling, WatchMethod::Polling, Some(problem));
    }
    let inputs = inputs.clone();
    let owned = folder.to_owned();
    // Some systems name the real folder in their events, whatever it was called when watching began.
    let real = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let below = real.clone();
    let handler = move |event| {
        // The other side ends with the daemon.
        let _ = inputs.send(Input::Raw { folder: owned.clone(), real: real.clone(), event });
    };
    // A link in the folder may lead to half of the disk; what is read behind links is found by looking.
    let config = Config::default().with_follow_symlinks(false);
    let watched = RecommendedWatcher::new(handler, config)
        .and_then(|mut watcher| watcher.watch(&below, RecursiveMode::Recursive).map(|()| watcher));
    match watched {
        Ok(watcher) => (Source::Native(watcher), WatchMethod::Native, None),
        Err(error) => (Source::Polling, WatchMethod::Polling, Some(words(&error))),
    }
}

fn words(error: &notify::Error) -> String {
    let out_of_instances = matches!(&error.kind, notify::ErrorKind::Io(io) if io.raw_os_error() == Some(24));
    match &error.kind {
        notify::ErrorKind::MaxFilesWatch => {
            "the system's limit of watched folders is reached, so this one is looked at every few seconds; \
             raise it with: sudo sysctl fs.inotify.max_user_watches=524288"
                .to_owned()
        }
        _ if out_of_instances => {
            "the system's limit of watchers is reached, so this folder is looked at every few seconds; \
             raise it with: sudo sysctl fs.inotify.max_user_instances=512"
                .to_owned()
        }
        _ => format!("the system cannot watch this folder ({error}), so it is looked at every few seconds"),
    }
}

/// What an event says about a dataset.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// These may have changed; relative.
    Paths(Vec<PathBuf>),
    /// Events were lost: anything may have changed.
    Everything,
}

/// `is_folder` says of a relative path whether it is a folder, or was one.
pub(super) fn hint(folder: &Path, event: &notify::Event, is_folder: &dyn Fn(&Path) -> bool) -> Hint {
    if event.need_rescan() {
        return Hint::Everything;
    }
    // Reading a file is an event too: the daemon would wake itself up for ever.
    if let EventKind::Access(kind) = event.kind
        && kind != AccessKind::Close(AccessMode::Write)
    {
        return Hint::Paths(Vec::new());
    }
    let folder_event = matches!(
        event.kind,
        EventKind::Create(CreateKind::Folder | CreateKind::Any | CreateKind::Other)
            | EventKind::Remove(RemoveKind::Folder | RemoveKind::Any | RemoveKind::Other)
            | EventKind::Modify(ModifyKind::Name(_))
    );
    let paths = event.paths.iter().filter_map(|path| path.strip_prefix(folder).ok()).filter(|relative| {
        // A folder that came, went or moved brings, takes or moves files without telling of each.
        is_dataset_file(relative)
            || is_recipe(relative)
            || (folder_event
                && (relative.as_os_str().is_empty() || (is_regarded_folder(relative) && is_folder(relative))))
    });
    Hint::Paths(paths.map(Path::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use notify::event::{DataChange, Flag, RenameMode};

    use super::*;

    fn paths(kind: EventKind, names: &[&str]) -> Hint {
        let mut event = notify::Event::new(kind);
        for name in names {
            event = event.add_path(Path::new("/notes").join(name));
        }
        let is_folder = |path: &Path| {
            path.file_name().is_some_and(|name| {
                ["old", "new", "more", ".git", "2026.05"].iter().any(|known| name == *known)
            })
        };
        hint(Path::new("/notes"), &event, &is_folder)
    }

    fn some(names: &[&str]) -> Hint {
        Hint::Paths(names.iter().map(PathBuf::from).collect())
    }

    #[test]
    fn what_matters_and_what_does_not() {
        let write = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let rename = EventKind::Modify(ModifyKind::Name(RenameMode::Both));
        assert_eq!(paths(write, &["a.txt"]), some(&["a.txt"]));
        assert_eq!(paths(write, &["hotplate.toml", "sub/hotplate.toml"]), some(&["hotplate.toml"]));
        assert_eq!(paths(write, &["a.txt~", ".a.txt.swp", "picture.png"]), some(&[]));
        assert_eq!(paths(rename, &[".a.txt.tmp", "a.txt"]), some(&["a.txt"]));
        assert_eq!(paths(rename, &["old", "new"]), some(&["old", "new"]));
        assert_eq!(paths(EventKind::Create(CreateKind::Folder), &["more", ".git"]), some(&["more"]));
        assert_eq!(paths(rename, &["2026.05", "a.png", "b.part"]), some(&["2026.05"]));
        assert_eq!(paths(EventKind::Access(AccessKind::Open(AccessMode::Read)), &["a.txt"]), some(&[]));
        assert_eq!(
            paths(EventKind::Access(AccessKind::Close(AccessMode::Write)), &["a.txt"]),
            some(&["a.txt"])
        );
    }

    #[test]
    fn an_overflow_means_everything() {
        let event = notify::Event::new(EventKind::Other).set_flag(Flag::Rescan);
        assert_eq!(hint(Path::new("/notes"), &event, &|_| false), Hint::Everything);
    }
}
