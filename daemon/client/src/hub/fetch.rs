//! Fetching a model, file by file, each resumable and checked.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use hotplate_home::hub::{HubCache, HubError, HubName, is_revision};
use sha2::{Digest, Sha256};

use super::transport::{Hub, Metadata};
use super::wanted::{INDEX, text_files, weight_files};
use crate::canceller::Canceller;
use crate::words;

/// How often a broken connection is tried again without a byte of progress.
const TRIES: usize = 5;
/// The end of the name of a file that has not come whole, as the hub's own programs have it.
const PART: &str = ".incomplete";
/// After how long nobody is likely to go on with it.
const UNFINISHED: Duration = Duration::from_hours(14 * 24);
const BUFFER: usize = 256 << 10;

/// A model that lies in the cache now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    pub name: HubName,
    pub commit: String,
    /// The folder to use as a base.
    pub folder: PathBuf,
    pub files: usize,
    pub bytes: u64,
    /// Of those, what came over the network this time.
    pub fetched_bytes: u64,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    pub file: String,
    /// From 1.
    pub number: usize,
    pub files: usize,
    /// Of all files together, those that were here already included.
    pub done: u64,
    pub total: u64,
}

struct Planned {
    file: String,
    metadata: Metadata,
    size: u64,
}

/// Fetches what a base needs into the hub's cache. `progress` is called often.
///
/// # Errors
/// Each says what to do; what has come stays and is not fetched again.
pub fn fetch(
    cache: &HubCache,
    name: &HubName,
    canceller: &Canceller,
    progress: &mut dyn FnMut(Progress),
) -> Result<Fetched, HubError> {
    let hub = Hub::from_env()?;
    let mut job = Job { hub, cache, name, canceller, commit: None, fetched: 0 };
    job.run(progress)
}

struct Job<'a> {
    hub: Hub,
    cache: &'a HubCache,
    name: &'a HubName,
    canceller: &'a Canceller,
    /// Told by the listing, or by the first file.
    commit: Option<String>,
    fetched: u64,
}

impl Job<'_> {
    fn run(&mut self, progress: &mut dyn FnMut(Progress)) -> Result<Fetched, HubError> {
        let (listed, commit) = self.hub.listing(&self.name.id, self.name.revision())?;
        self.commit = commit;
        let mut planned = Vec::new();
        for file in text_files(&self.name.id, &listed)? {
            planned.push(self.plan(file)?);
        }
        let index = planned.iter().find(|planned| planned.file == INDEX);
        let index = match index {
            None => None,
            Some(index) => {
                let blob = self.blob(&index.metadata.etag);
                if !blob.is_file() {
                    self.download(index, &mut |_| {})?;
                }
                Some(fs::read(&blob).map_err(|source| HubError::writing(&blob, source))?)
            }
        };
        for file in weight_files(&self.name.id, &listed, index.as_deref())? {
            planned.push(self.plan(file)?);
        }
        let total: u64 = planned.iter().map(|planned| planned.size).sum();
        let mut before = 0;
        for (at, item) in planned.iter().enumerate() {
            let mut say = |done: u64| {
                progress(Progress {
                    file: item.file.clone(),
                    number: at + 1,
                    files: planned.len(),
                    done: before + done,
                    total,
                });
            };
            if !self.blob(&item.metadata.etag).is_file() {
                self.download(item, &mut say)?;
            }
            say(item.size);
            before += item.size;
        }
        let commit = self.commit.clone().ok_or_else(|| HubError::BadAnswer {
            endpoint: self.hub.endpoint().to_owned(),
            why: "it names no commit".to_owned(),
        })?;
        for item in &planned {
            self.cache.place(&self.name.id, &commit, &item.file, &item.metadata.etag)?;
        }
        // Last: until here, nobody takes it for whole.
        self.cache.set_ref(self.name, &commit)?;
        self.forget_old_parts();
        let found = HubName { id: self.name.id.clone(), revision: Some(commit.clone()) };
        Ok(Fetched {
            name: self.name.clone(),
            folder: self.cache.get(&found)?,
            commit,
            files: planned.len(),
            bytes: total,
            fetched_bytes: self.fetched,
        })
    }

    /// What pulls of other revisions have left of their files, and nobody has gone on with for long.
    fn forget_old_parts(&self) {
        let entries = fs::read_dir(self.cache.model(&self.name.id).join("blobs"));
        for part in entries.into_iter().flatten().flatten().map(|entry| entry.path()) {
            let name = part.file_name().and_then(|name| name.to_str());
            let Some(etag) = name.and_then(|name| name.strip_suffix(PART)) else { continue };
            let old = fs::metadata(&part).and_then(|found| found.modified()).ok();
            let old = old.and_then(|changed| changed.elapsed().ok()).is_some_and(|age| age > UNFINISHED);
            let used =
                File::open(self.cache.lock(&self.name.id, etag)).is_ok_and(|lock| lock.try_lock().is_err());
            if old && !used {
                // It costs room only.
                let _ = fs::remove_file(&part);
            }
        }
    }

    fn plan(&mut self, file: String) -> Result<Planned, HubError> {
        if self.canceller.is_cancelled() {
            return Err(HubError::Cancelled);
        }
        let metadata = self.hub.metadata(&self.name.id, self.name.revision(), &file)?;
        match (&self.commit, &metadata.commit) {
            (Some(known), Some(told)) if known != told => return Err(HubError::Changed),
            (None, Some(told)) => self.commit = Some(told.clone()),
            _ => {}
        }
        // A commit becomes a path.
        if self.commit.as_deref().is_some_and(|commit| !is_revision(commit) || commit.contains('/')) {
            let endpoint = self.hub.endpoint().to_owned();
            return Err(HubError::BadAnswer { endpoint, why: "its commit is none".to_owned() });
        }
        let size = metadata.size.unwrap_or(0);
        Ok(Planned { file, metadata, size })
    }

    fn blob(&self, etag: &str) -> PathBuf {
        self.cache.model(&self.name.id).join("blobs").join(etag)
    }

    /// One file to its blob. What came before goes on being used.
    fn download(&mut self, item: &Planned, say: &mut dyn FnMut(u64)) -> Result<(), HubError> {
        let blob = self.blob(&item.metadata.etag);
        let part = self.blob(&format!("{}{PART}", item.metadata.etag));
        let lock_path = self.cache.lock(&self.name.id, &item.metadata.etag);
        for path in [&part, &lock_path] {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(|source| HubError::writing(folder, source))?;
            }
        }
        let lock = File::create(&lock_path).map_err(|source| HubError::writing(&lock_path, source))?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(HubError::InUse { file: item.file.clone() }),
            // A file system without locks: two pulls at a time are rarer than such a disk.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&part)
            .map_err(|source| HubError::writing(&part, source))?;
        self.fill(item, &part, &mut file, say)?;
        file.sync_all().map_err(|source| HubError::writing(&part, source))?;
        if let Err(damage) = check(&mut file, item) {
            let _ = fs::remove_file(&part);
            return Err(damage);
        }
        fs::rename(&part, &blob).map_err(|source| HubError::writing(&blob, source))
    }

    /// Appends to `file` until it has its size, over as many connections as it takes.
    fn fill(
        &mut self,
        item: &Planned,
        part: &Path,
        file: &mut File,
        say: &mut dyn FnMut(u64),
    ) -> Result<(), HubError> {
        let writing = |source| HubError::writing(part, source);
        let mut have = file.seek(SeekFrom::End(0)).map_err(writing)?;
        if item.metadata.size.is_some_and(|size| have > size) {
            // Of something else.
            file.set_len(0).map_err(writing)?;
            have = 0;
        }
        let mut tries = 0;
        loop {
            if item.metadata.size == Some(have) {
                return Ok(());
            }
            let before = have;
            let ended = self.receive(item, file, &mut have, part, say);
            match ended {
                Ok(()) if item.metadata.size.is_none_or(|size| size == have) => return Ok(()),
                Err(Stop::Final(error)) => return Err(error),
                Ok(()) | Err(Stop::Broken(_)) => {}
            }
            tries = if have > before { 1 } else { tries + 1 };
            if tries >= TRIES {
                let why = match ended {
                    Err(Stop::Broken(why)) => why,
                    _ => "it ended too early".to_owned(),
                };
                return Err(HubError::Broken {
                    file: item.file.clone(),
                    done: words::bytes(have),
                    total: words::bytes(item.size),
                    why,
                });
            }
            thread::sleep(Duration::from_millis(200 << tries));
        }
    }

    /// One connection's worth.
    fn receive(
        &mut self,
        item: &Planned,
        file: &mut File,
        have: &mut u64,
        part: &Path,
        say: &mut dyn FnMut(u64),
    ) -> Result<(), Stop> {
        let writing = |source| Stop::Final(HubError::writing(part, source));
        let revision = self.name.revision();
        let (mut reader, begins) = match self.hub.bytes(&self.name.id, revision, &item.file, *have) {
            Ok(found) => found,
            // Once something has come, a connection that fails is one that broke.
            Err(HubError::Offline { why, .. }) if *have > 0 => return Err(Stop::Broken(why)),
            Err(HubError::Status { status: 500.., .. }) => {
                return Err(Stop::Broken("the hub is busy".to_owned()));
            }
            Err(error) => return Err(Stop::Final(error)),
        };
        if begins != *have {
            file.set_len(begins.min(*have)).map_err(writing)?;
            if begins > *have {
                return Err(Stop::Broken("it sent another part than was asked for".to_owned()));
            }
            *have = begins;
        }
        file.seek(SeekFrom::Start(*have)).map_err(writing)?;
        let mut buffer = vec![0; BUFFER];
        loop {
            if self.canceller.is_cancelled() {
                return Err(Stop::Final(HubError::Cancelled));
            }
            let count = match reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Stop::Broken(error.to_string())),
            };
            file.write_all(&buffer[..count]).map_err(writing)?;
            *have += count as u64;
            self.fetched += count as u64;
            if item.metadata.size.is_some_and(|size| *have > size) {
                let _ = file.set_len(0);
                let why = "it is longer than the hub said".to_owned();
                return Err(Stop::Final(HubError::Damaged { file: item.file.clone(), why }));
            }
            say(*have);
        }
    }
}

enum Stop {
    /// Worth another try.
    Broken(String),
    Final(HubError),
}

/// Large files are named by their SHA-256; of others the length is known.
fn check(file: &mut File, item: &Planned) -> Result<(), HubError> {
    let etag = &item.metadata.etag;
    if etag.len() != 64 || !etag.chars().all(|char| char.is_ascii_hexdigit()) {
        return Ok(());
    }
    let damaged = |why: String| HubError::Damaged { file: item.file.clone(), why };
    let mut hasher = Sha256::new();
    file.seek(SeekFrom::Start(0)).map_err(|error| damaged(error.to_string()))?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(|error| damaged(error.to_string()))? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    let found = hasher.finalize().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    if found.eq_ignore_ascii_case(etag) { Ok(()) } else { Err(damaged("its checksum is wrong".to_owned())) }
}
