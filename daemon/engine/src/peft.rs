//! Adapters on disk: folders exactly as the PEFT library writes them.
//!
//! Owns the two files that everything else reads (`adapter_config.json`, `adapter_model.safetensors`) and our own one
//! beside them (`hotplate.json`: which base, which chat template, which end tokens). Contents that this engine would not
//! compute exactly are refused, never half loaded. What the settings mean lies in [`config`](self::config).
//!
//! A tied head follows an adapted embedding only if `ensure_weight_tying` says so, as in PEFT. Every tensor of a file is accounted for, and copies of the
//! base's own weights (PEFT saves them beside factors of embedding and head) must be the base's.

mod config;
mod folder;
mod tensors;

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use candle_core::Device;
use hotplate_dataset::regular_file;
use serde::{Deserialize, Serialize};

use crate::base_source::BaseSource;
use crate::base_spec::BaseSpec;
use crate::golden::Golden;
use crate::lora::Adapter;
use crate::mlx;
use crate::quantise::Quantise;
pub use folder::folder_of;
pub(crate) use tensors::translated;

pub(crate) const CONFIG_FILE: &str = "adapter_config.json";
pub(crate) const WEIGHTS_FILE: &str = "adapter_model.safetensors";
pub(crate) const OWN_FILE: &str = "hotplate.json";
/// Bytes; settings beyond this are none.
pub const LARGEST_SETTINGS: u64 = 1 << 26;

/// An adapter that cannot be used, or not be saved.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    #[error("{} does not exist; an adapter is a folder with {CONFIG_FILE} and {WEIGHTS_FILE}", file.display())]
    Missing { file: PathBuf },
    #[error("{} {what}", path.display())]
    NoAdapter { path: PathBuf, what: String },
    #[error("{}: {source}", file.display())]
    Io { file: PathBuf, source: std::io::Error },
    #[error("{}: {why}", file.display())]
    BadConfig { file: PathBuf, why: String },
    #[error("{}: {what}; this version applies LoRA, rsLoRA and DoRA on a decoder's linear layers, embedding and head", file.display())]
    Unsupported { file: PathBuf, what: String },
    #[error("{} is damaged: {why}; copy it again from where it came", file.display())]
    Corrupt { file: PathBuf, why: String },
    #[error("{} was made for another base than {base}: {why}; name its own base with --base", folder.display())]
    OtherBase { folder: PathBuf, base: String, why: String },
    #[error("{} holds values that are not finite in {name}: its training went wrong, use an earlier version", file.display())]
    NotFinite { file: PathBuf, name: String },
    #[error("{} is not empty; an adapter is saved into an empty folder", folder.display())]
    NotEmpty { folder: PathBuf },
    #[error("a tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
}

/// What stands in [`OWN_FILE`]. An adapter from elsewhere has none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`BaseSpec::name`] and [`BaseSpec::fingerprint`].
    pub base: String,
    pub fingerprint: String,
    /// How the base was quantised while it trained and wrote the golden answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantise: Option<Quantise>,
    /// What training saw; for whoever serves the adapter elsewhere and wonders why it babbles.
    pub chat_template: Option<String>,
    pub eos_token_ids: Vec<u32>,
    /// Content hash of the factors and their scales.
    #[serde(default)]
    pub weights: String,
    /// What the adapter wrote when it was new.
    #[serde(default)]
    pub goldens: Vec<Golden>,
}

impl Snapshot {
    /// # Errors
    /// The adapter's values are not finite.
    pub fn new(base: &BaseSpec, adapter: &Adapter, goldens: Vec<Golden>) -> Result<Snapshot, AdapterError> {
        Ok(Snapshot {
            base: base.name.clone(),
            fingerprint: base.fingerprint.clone(),
            quantise: None,
            chat_template: base.chat_template().map(str::to_owned),
            eos_token_ids: base.eos.clone(),
            weights: weights_hash(adapter)?,
            goldens,
        })
    }

    /// What a folder's own file says; `None` where it has none.
    ///
    /// # Errors
    /// The file cannot be read or is damaged.
    pub fn read(folder: &Path) -> Result<Option<Snapshot>, AdapterError> {
        let file = folder.join(OWN_FILE);
        let bytes = match read(&file) {
            Ok(bytes) => bytes,
            Err(AdapterError::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| AdapterError::BadConfig { file, why: format!("cannot be read: {error}") })
    }
}

/// Content hash of an adapter's factors and scales: what makes it answer as it does.
///
/// # Errors
/// A tensor cannot be read, or holds values that are not finite.
pub fn weights_hash(adapter: &Adapter) -> Result<String, AdapterError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&tensors::bytes(adapter, Path::new(WEIGHTS_FILE))?);
    for (_, pair) in adapter.pairs() {
        hasher.update(&pair.scale.to_le_bytes());
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// Reads an adapter for a base: a PEFT folder, or one of mlx-lm's.
///
/// # Errors
/// A missing or damaged file, settings or tensors that this version does not apply, an adapter of another base, values
/// that are not finite. Each names the file and what is in it.
pub fn load(folder: &Path, base: &BaseSpec, device: &Device) -> Result<Adapter, AdapterError> {
    if !folder.is_dir() {
        return Err(AdapterError::Missing { file: folder.to_owned() });
    }
    if mlx::is_mlx(folder) {
        return mlx::load(folder, base, device);
    }
    let settings = config::Settings::parse(&read(&folder.join(CONFIG_FILE))?, &folder.join(CONFIG_FILE))?;
    check_own_file(folder, base)?;
    tensors::load(folder, &settings, base, device)
}

/// Writes an adapter into an existing, empty folder, and waits until it is on the disk. The caller renames the folder
/// into place, so that nobody sees half of it.
///
/// # Errors
/// The folder is not empty, or the disk refuses.
pub fn save(
    folder: &Path,
    adapter: &Adapter,
    base: &BaseSpec,
    goldens: &[Golden],
) -> Result<(), AdapterError> {
    save_with(folder, adapter, base, &Snapshot::new(base, adapter, goldens.to_vec())?)
}

/// The same with a snapshot that is older than this folder.
///
/// # Errors
/// As [`save`].
pub fn save_with(
    folder: &Path,
    adapter: &Adapter,
    base: &BaseSpec,
    own: &Snapshot,
) -> Result<(), AdapterError> {
    let io = |file: &Path| {
        let file = file.to_owned();
        move |source| AdapterError::Io { file, source }
    };
    if fs::read_dir(folder).map_err(io(folder))?.next().is_some() {
        return Err(AdapterError::NotEmpty { folder: folder.to_owned() });
    }
    let own = serde_json::to_vec_pretty(own)
        .map_err(|error| AdapterError::Io { file: folder.join(OWN_FILE), source: error.into() })?;
    let weights = tensors::bytes(adapter, &folder.join(WEIGHTS_FILE))?;
    let settings = config::write(adapter, &name_for_others(base));
    for (name, bytes) in [(WEIGHTS_FILE, weights), (OWN_FILE, own), (CONFIG_FILE, settings)] {
        let file = folder.join(name);
        write_synced(&file, &bytes).map_err(io(&file))?;
    }
    // The names are in the folder, which is a file of its own on Unix; elsewhere it cannot be opened.
    #[cfg(unix)]
    File::open(folder).and_then(|opened| opened.sync_all()).map_err(io(folder))?;
    Ok(())
}

/// The hub's id, or what tells the base apart from every other: never a path or a folder's name, which mean nothing elsewhere.
fn name_for_others(base: &BaseSpec) -> String {
    match (&base.hub_id, &base.source) {
        (Some(id), _) => id.clone(),
        (None, BaseSource::Embedded) => base.name.clone(),
        (None, _) => format!("blake3:{}", base.fingerprint),
    }
}

fn write_synced(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut opened = File::create_new(file)?;
    opened.write_all(bytes)?;
    opened.sync_all()
}

pub(crate) fn read(file: &Path) -> Result<Vec<u8>, AdapterError> {
    regular_file::read(file, LARGEST_SETTINGS).map_err(|source| unreadable(file, source))
}

fn unreadable(file: &Path, source: std::io::Error) -> AdapterError {
    let file = file.to_owned();
    match source.kind() {
        ErrorKind::NotFound => AdapterError::Missing { file },
        ErrorKind::InvalidInput | ErrorKind::FileTooLarge => {
            AdapterError::BadConfig { file, why: source.to_string() }
        }
        _ => AdapterError::Io { file, source },
    }
}

/// Our own file tells another base even where all shapes are equal.
fn check_own_file(folder: &Path, base: &BaseSpec) -> Result<(), AdapterError> {
    let Some(own) = Snapshot::read(folder)? else { return Ok(()) };
    if own.fingerprint == base.fingerprint {
        return Ok(());
    }
    let why = format!(
        "it was trained on {} with fingerprint {}, not {}",
        own.base,
        brief(&own.fingerprint),
        brief(&base.fingerprint)
    );
    Err(AdapterError::OtherBase { folder: folder.to_owned(), base: base.name.clone(), why })
}

fn brief(fingerprint: &str) -> String {
    fingerprint.chars().take(12).collect()
}

#[cfg(test)]
mod tests;
