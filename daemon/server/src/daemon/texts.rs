//! The text sides of bases (tokenizer, template, config), shared by all threads: opened once, forgotten when unused.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use hotplate_engine::base_text::{BaseError, BaseSource, BaseText};

#[derive(Default)]
pub(crate) struct Texts {
    open: Mutex<HashMap<BaseSource, Entry>>,
}

struct Entry {
    text: Arc<BaseText>,
    stamp: Stamp,
    used: Instant,
}

/// When the files that a base is made of were changed last: a fingerprint covers its weights, too.
type Stamp = Vec<Option<(u64, SystemTime)>>;

fn stamp(source: &BaseSource) -> Stamp {
    let Some(place) = source.on_disk() else { return Vec::new() };
    // In a GGUF file there is none of these.
    let files = [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "generation_config.json",
    ]
    .map(|name| place.join(name));
    // Weights that are written anew in place change no folder.
    let weights = source.weight_files().unwrap_or_default();
    let files = files.iter().chain(&weights).map(PathBuf::as_path);
    let stamped = std::iter::once(place).chain(files).map(|path| {
        let found = fs::metadata(path).ok()?;
        Some((found.len(), found.modified().ok()?))
    });
    stamped.collect()
}

impl Texts {
    /// Opens it, or answers what is open if its files are still the same.
    pub(crate) fn open(&self, source: &BaseSource) -> Result<Arc<BaseText>, BaseError> {
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
        let text = Arc::new(BaseText::open(source)?);
        let entry = Entry { text: Arc::clone(&text), stamp: now, used: Instant::now() };
        self.lock().insert(source.clone(), entry);
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
