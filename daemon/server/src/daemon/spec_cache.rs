//! The text sides of bases (tokenizer, template, config), shared by all threads: opened once, forgotten when unused.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use hotplate_engine::base_spec::{BaseError, BaseSource, BaseSpec};

#[derive(Default)]
pub(crate) struct SpecCache {
    open: Mutex<HashMap<BaseSource, Entry>>,
}

struct Entry {
    text: Arc<BaseSpec>,
    stamp: Stamp,
    used: Instant,
}

/// What is looked at to notice that a file was written: a fingerprint covers a base's weights, too.
type Stamp = Vec<Option<FileStamp>>;

#[derive(Debug, PartialEq, Eq)]
struct FileStamp {
    bytes: u64,
    modified: SystemTime,
    /// Of the file itself, which no tool sets back: times of change and number.
    #[cfg(unix)]
    of_system: (i64, i64, u64),
}

impl FileStamp {
    fn of(path: &Path) -> Option<FileStamp> {
        let found = fs::metadata(path).ok()?;
        Some(FileStamp {
            bytes: found.len(),
            modified: found.modified().ok()?,
            #[cfg(unix)]
            of_system: {
                use std::os::unix::fs::MetadataExt;
                (found.ctime(), found.ctime_nsec(), found.ino())
            },
        })
    }
}

fn stamp(source: &BaseSource) -> Stamp {
    let files = source.files();
    files.iter().map(|path| FileStamp::of(path)).collect()
}

impl SpecCache {
    /// Opens it, or answers what is open if its files are still the same.
    pub(crate) fn open(&self, source: &BaseSource) -> Result<Arc<BaseSpec>, BaseError> {
        // Quantised or not, it reads the same.
        let source = source.stored();
        let now = stamp(source);
        if let Some(entry) = self.lock().get_mut(source)
            && entry.stamp == now
        {
            entry.used = Instant::now();
            return Ok(Arc::clone(&entry.text));
        }
        // Outside the lock: a large tokenizer takes a second, and others go on meanwhile.
        let text = Arc::new(BaseSpec::open(source)?);
        let entry = Entry { text: Arc::clone(&text), stamp: now, used: Instant::now() };
        let mut open = self.lock();
        // Somebody else may have opened the same meanwhile: one of them is everybody's.
        if let Some(other) = open.get(source)
            && other.stamp == entry.stamp
        {
            return Ok(Arc::clone(&other.text));
        }
        open.insert(source.clone(), entry);
        Ok(text)
    }

    pub(crate) fn forget_unused(&self, longer_than: Duration) {
        self.lock()
            .retain(|_, entry| entry.used.elapsed() <= longer_than || Arc::strong_count(&entry.text) > 1);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<BaseSource, Entry>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
