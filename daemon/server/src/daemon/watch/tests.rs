//! The ways in which editors save, replayed on a real file system.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

struct WatchedFolder {
    folder: tempfile::TempDir,
    root: PathBuf,
    watcher: Watcher,
    news: Receiver<News>,
}

impl WatchedFolder {
    fn new() -> WatchedFolder {
        WatchedFolder::laid_out(|root| {
            fs::create_dir(root).unwrap();
            fs::write(root.join("a.txt"), "first").unwrap();
        })
    }

    /// `lay_out` makes the watched folder.
    fn laid_out(lay_out: impl FnOnce(&Path)) -> WatchedFolder {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap().join("notes");
        lay_out(&root);
        let settings = Settings { debounce: Duration::from_millis(200), ..Settings::default() };
        let (sender, news) = unbounded();
        let watcher = Watcher::start(&settings, move |news| sender.send(news).unwrap()).unwrap();
        watcher.add(&root);
        let watched = WatchedFolder { folder, root, watcher, news };
        assert_eq!(watched.health(), None);
        assert_eq!(watched.saved(), [PathBuf::new()], "everything is looked at once when watching begins");
        watched
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn next(&self) -> News {
        self.news.recv_timeout(PATIENCE).expect("news")
    }

    fn health(&self) -> Option<String> {
        loop {
            if let News::Health { problem, .. } = self.next() {
                return problem;
            }
        }
    }

    /// The files of the next saved save; it must be the only one.
    fn saved(&self) -> Vec<PathBuf> {
        loop {
            if let News::Saved { files, .. } = self.next() {
                let more = self.news.recv_timeout(Duration::from_millis(600));
                assert!(more.is_err(), "one save, one piece of news: {more:?}");
                return files;
            }
        }
    }

    fn expect_saved(&self, name: &str) {
        let files = self.saved();
        assert!(files.contains(&PathBuf::from(name)), "{files:?}");
    }
}

#[test]
fn truncate_and_write_in_place() {
    let watched = WatchedFolder::new();
    let mut file = File::create(watched.path("a.txt")).unwrap();
    for piece in ["one ", "two ", "three"] {
        file.write_all(piece.as_bytes()).unwrap();
        file.flush().unwrap();
        thread::sleep(Duration::from_millis(40));
    }
    drop(file);
    watched.expect_saved("a.txt");
}

#[test]
fn temporary_file_and_rename() {
    let watched = WatchedFolder::new();
    fs::write(watched.path(".a.txt.tmp"), "new text").unwrap();
    fs::rename(watched.path(".a.txt.tmp"), watched.path("a.txt")).unwrap();
    watched.expect_saved("a.txt");
    // The watch is on the folder: it outlives the file that was replaced.
    fs::write(watched.path("a.txt"), "and once more").unwrap();
    watched.expect_saved("a.txt");
}

#[test]
fn vims_probe_backup_and_new_file() {
    let watched = WatchedFolder::new();
    fs::write(watched.path("4913"), "").unwrap();
    fs::remove_file(watched.path("4913")).unwrap();
    fs::rename(watched.path("a.txt"), watched.path("a.txt~")).unwrap();
    fs::write(watched.path("a.txt"), "vim wrote this").unwrap();
    fs::remove_file(watched.path("a.txt~")).unwrap();
    watched.expect_saved("a.txt");
}

#[test]
fn delete_and_create() {
    let watched = WatchedFolder::new();
    fs::remove_file(watched.path("a.txt")).unwrap();
    thread::sleep(Duration::from_millis(50));
    fs::write(watched.path("a.txt"), "again").unwrap();
    watched.expect_saved("a.txt");
}

#[test]
fn a_new_subfolder_with_files_in_it() {
    let watched = WatchedFolder::new();
    fs::create_dir_all(watched.path("more/deep")).unwrap();
    fs::write(watched.path("more/deep/b.txt"), "b").unwrap();
    assert!(!watched.saved().is_empty());
    fs::write(watched.path("more/deep/b.txt"), "b, edited").unwrap();
    watched.expect_saved("more/deep/b.txt");
}

#[test]
fn folders_with_dots_in_their_names_come_and_go() {
    let watched = WatchedFolder::new();
    let aside = watched.folder.path().join("2026.05");
    fs::create_dir(&aside).unwrap();
    fs::write(aside.join("new.md"), "new").unwrap();
    fs::rename(&aside, watched.path("2026.05")).unwrap();
    watched.expect_saved("2026.05");
    fs::rename(watched.path("2026.05"), &aside).unwrap();
    watched.expect_saved("2026.05");
}

/// `link` leads to `to`, with no moment in which it leads nowhere.
#[cfg(unix)]
fn swap(link: &Path, to: &Path) {
    let beside = link.with_file_name("link-in-the-making");
    std::os::unix::fs::symlink(to, &beside).unwrap();
    fs::rename(&beside, link).unwrap();
}

/// Time from now until the next news of a save; `what` is for the person who reads a failure.
#[cfg(unix)]
fn soon(watched: &WatchedFolder, what: &str) {
    let began = Instant::now();
    let files = watched.saved();
    // Two seconds, and what `saved` waits to see that nothing more comes.
    assert!(began.elapsed() < Duration::from_millis(2600), "{what}: {files:?} after {:?}", began.elapsed());
}

#[cfg(unix)]
#[test]
fn what_lies_behind_links_is_watched_too() {
    let elsewhere = tempfile::tempdir().unwrap();
    let out = |name: &str| elsewhere.path().join(name);
    for folder in ["one", "two"] {
        fs::create_dir(out(folder)).unwrap();
        fs::write(out(folder).join("b.txt"), folder).unwrap();
    }
    fs::write(out("c.txt"), "c").unwrap();
    let watched = WatchedFolder::laid_out(|root| {
        fs::create_dir(root).unwrap();
        swap(&root.join("sub"), &out("one"));
        swap(&root.join("c.txt"), &out("c.txt"));
    });
    fs::write(out("c.txt"), "c, edited").unwrap();
    soon(&watched, "a linked file");
    fs::write(out("one/b.txt"), "b, edited").unwrap();
    soon(&watched, "a file in a linked folder");
    swap(&watched.path("sub"), &out("two"));
    soon(&watched, "a linked folder that is swapped");
}

#[cfg(unix)]
#[test]
fn folders_are_swapped_as_kubernetes_does() {
    let version = |root: &Path, name: &str, text: &str| {
        fs::create_dir_all(root.join(name)).unwrap();
        fs::write(root.join(name).join("a.txt"), text).unwrap();
    };
    // Of the files in a mounted folder...
    let watched = WatchedFolder::laid_out(|root| {
        version(root, "..2026_05_01", "one");
        swap(&root.join("..data"), Path::new("..2026_05_01"));
        swap(&root.join("a.txt"), Path::new("..data/a.txt"));
    });
    version(&watched.root, "..2026_05_02", "two");
    swap(&watched.path("..data"), Path::new("..2026_05_02"));
    fs::remove_dir_all(watched.path("..2026_05_01")).unwrap();
    soon(&watched, "files behind ..data");
    // ...and of the watched folder itself.
    let watched = WatchedFolder::laid_out(|root| {
        version(root.parent().unwrap(), "v1", "one");
        version(root.parent().unwrap(), "v2", "two");
        swap(root, Path::new("v1"));
    });
    swap(&watched.root, Path::new("v2"));
    soon(&watched, "the watched folder");
    fs::write(watched.root.join("a.txt"), "two, edited").unwrap();
    watched.expect_saved("a.txt");
}

#[test]
fn reading_and_other_files_are_no_saves() {
    let watched = WatchedFolder::new();
    fs::read(watched.path("a.txt")).unwrap();
    fs::write(watched.path("picture.png"), "png").unwrap();
    fs::write(watched.path(".a.txt.swp"), "swap").unwrap();
    let quiet = watched.news.recv_timeout(Duration::from_millis(900));
    assert!(quiet.is_err(), "{quiet:?}");
}

#[test]
fn a_folder_that_goes_is_said_and_comes_back() {
    let watched = WatchedFolder::new();
    fs::remove_dir_all(&watched.root).unwrap();
    let gone = watched.health().expect("a problem");
    assert!(gone.contains("gone"), "{gone}");
    fs::create_dir(&watched.root).unwrap();
    fs::write(watched.path("b.txt"), "b").unwrap();
    assert_eq!(watched.health(), None);
    assert!(!watched.saved().is_empty());
    fs::write(watched.path("b.txt"), "b, edited").unwrap();
    watched.expect_saved("b.txt");
    drop(watched.folder);
}

#[test]
fn without_native_events_saves_are_found_by_looking() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.txt"), "first").unwrap();
    let (inputs, _received) = unbounded();
    let (sender, news) = unbounded();
    let mut watching = Watching {
        inputs,
        quiet: Duration::from_millis(20),
        poll_every: Duration::ZERO,
        folders: BTreeMap::new(),
        tell: Box::new(move |news| sender.send(news).unwrap()),
    };
    watching.add(folder.path().to_owned());
    let watched = watching.folders.get_mut(folder.path()).unwrap();
    (watched.source, watched.method) = (Source::Polling, WatchMethod::Polling);
    watched.next_scan = Instant::now();
    fs::write(folder.path().join("a.txt"), "second text").unwrap();
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        watching.heartbeat(Instant::now());
        watching.debounce(Instant::now());
        if let Some(News::Saved { files, .. }) =
            news.try_iter().find(|news| matches!(news, News::Saved { .. }))
        {
            assert!(files.contains(&PathBuf::from("a.txt")), "{files:?}");
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("the save was not found");
}

#[test]
fn what_is_no_longer_watched_is_silent() {
    let watched = WatchedFolder::new();
    watched.watcher.remove(&watched.root);
    thread::sleep(Duration::from_millis(50));
    fs::write(watched.path("a.txt"), "unseen").unwrap();
    assert!(watched.news.recv_timeout(Duration::from_millis(700)).is_err());
}
