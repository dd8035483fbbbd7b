//! The ways in which editors save, replayed on a real file system.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

struct Desk {
    folder: tempfile::TempDir,
    root: PathBuf,
    watcher: Watcher,
    news: Receiver<News>,
}

impl Desk {
    fn new() -> Desk {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap().join("notes");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("a.txt"), "first").unwrap();
        let settings = Settings { settle: Duration::from_millis(200), ..Settings::default() };
        let (sender, news) = unbounded();
        let watcher = Watcher::start(&settings, move |news| sender.send(news).unwrap()).unwrap();
        watcher.add(&root);
        let desk = Desk { folder, root, watcher, news };
        assert_eq!(desk.health(), None);
        assert_eq!(desk.saved(), [PathBuf::new()], "everything is looked at once when watching begins");
        desk
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

    /// The files of the next settled save; it must be the only one.
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
    let desk = Desk::new();
    let mut file = File::create(desk.path("a.txt")).unwrap();
    for piece in ["one ", "two ", "three"] {
        file.write_all(piece.as_bytes()).unwrap();
        file.flush().unwrap();
        thread::sleep(Duration::from_millis(40));
    }
    drop(file);
    desk.expect_saved("a.txt");
}

#[test]
fn temporary_file_and_rename() {
    let desk = Desk::new();
    fs::write(desk.path(".a.txt.tmp"), "new text").unwrap();
    fs::rename(desk.path(".a.txt.tmp"), desk.path("a.txt")).unwrap();
    desk.expect_saved("a.txt");
    // The watch is on the folder: it outlives the file that was replaced.
    fs::write(desk.path("a.txt"), "and once more").unwrap();
    desk.expect_saved("a.txt");
}

#[test]
fn vims_probe_backup_and_new_file() {
    let desk = Desk::new();
    fs::write(desk.path("4913"), "").unwrap();
    fs::remove_file(desk.path("4913")).unwrap();
    fs::rename(desk.path("a.txt"), desk.path("a.txt~")).unwrap();
    fs::write(desk.path("a.txt"), "vim wrote this").unwrap();
    fs::remove_file(desk.path("a.txt~")).unwrap();
    desk.expect_saved("a.txt");
}

#[test]
fn delete_and_create() {
    let desk = Desk::new();
    fs::remove_file(desk.path("a.txt")).unwrap();
    thread::sleep(Duration::from_millis(50));
    fs::write(desk.path("a.txt"), "again").unwrap();
    desk.expect_saved("a.txt");
}

#[test]
fn a_new_subfolder_with_files_in_it() {
    let desk = Desk::new();
    fs::create_dir_all(desk.path("more/deep")).unwrap();
    fs::write(desk.path("more/deep/b.txt"), "b").unwrap();
    assert!(!desk.saved().is_empty());
    fs::write(desk.path("more/deep/b.txt"), "b, edited").unwrap();
    desk.expect_saved("more/deep/b.txt");
}

#[test]
fn reading_and_other_files_are_no_saves() {
    let desk = Desk::new();
    fs::read(desk.path("a.txt")).unwrap();
    fs::write(desk.path("picture.png"), "png").unwrap();
    fs::write(desk.path(".a.txt.swp"), "swap").unwrap();
    let quiet = desk.news.recv_timeout(Duration::from_millis(900));
    assert!(quiet.is_err(), "{quiet:?}");
}

#[test]
fn a_folder_that_goes_is_said_and_comes_back() {
    let desk = Desk::new();
    fs::remove_dir_all(&desk.root).unwrap();
    let gone = desk.health().expect("a problem");
    assert!(gone.contains("gone"), "{gone}");
    fs::create_dir(&desk.root).unwrap();
    fs::write(desk.path("b.txt"), "b").unwrap();
    assert_eq!(desk.health(), None);
    assert!(!desk.saved().is_empty());
    fs::write(desk.path("b.txt"), "b, edited").unwrap();
    desk.expect_saved("b.txt");
    drop(desk.folder);
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
        watching.settle(Instant::now());
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
    let desk = Desk::new();
    desk.watcher.remove(&desk.root);
    thread::sleep(Duration::from_millis(50));
    fs::write(desk.path("a.txt"), "unseen").unwrap();
    assert!(desk.news.recv_timeout(Duration::from_millis(700)).is_err());
}
