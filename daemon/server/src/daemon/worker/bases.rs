//! Bases and adapters in memory: loaded when needed, unloaded when unused for long, or when others need the room.
//!
//! Weights are read in their file first. They are copied whenever nobody waits for text, before training or scoring, and after two seconds in any case
//! (`Bases::materialize`), and the file's pages are let go meanwhile. Weights that find no memory stay in their file, and the log says so once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use hotplate_engine::base::{Base, Materialized};
use hotplate_engine::base_spec::{BaseSource, BaseSpec};
use hotplate_engine::device::{self, Device, Machine};
use hotplate_engine::lora::Adapter;
use hotplate_engine::peft;
use hotplate_protocol::RpcError;

use super::{WorkerEvent, packing};
use crate::daemon::file_pool::FilePool;
use crate::daemon::runs::memory_estimate::{base_bytes, check_base_fits};
use crate::daemon::{memory, rpc_errors};

/// Bases in memory at a time.
const BASES: usize = 3;
/// Adapters are small; each version is loaded once.
const ADAPTERS: usize = 64;
/// Somebody may write to the file; answers that never end must not leave it open for that.
const LONGEST_IN_FILE: Duration = Duration::from_secs(2);
/// As long as a layer of training takes: whoever asks for text meanwhile waits no longer.
const MOMENT: Duration = Duration::from_millis(10);

pub(super) struct Bases {
    device: Device,
    file_pool: Arc<FilePool>,
    resident: HashMap<BaseSource, Resident>,
    adapters: HashMap<PathBuf, Loaded>,
}

struct Resident {
    base: Arc<Base>,
    loaded: Instant,
    /// Whether all its weights are copies, but for those that found no memory.
    materialized: bool,
    /// Bytes of those.
    in_file: usize,
    used: Instant,
}

struct Loaded {
    adapter: Arc<Adapter>,
    /// Of the base it was checked against.
    fingerprint: String,
    stamp: Option<(u64, SystemTime)>,
    used: Instant,
}

impl Bases {
    pub(super) fn new(device: Device, file_pool: &Arc<FilePool>) -> Self {
        Self { device, file_pool: Arc::clone(file_pool), resident: HashMap::new(), adapters: HashMap::new() }
    }

    /// Whether nothing has to be loaded for it.
    pub(super) fn holds(&self, source: &BaseSource) -> bool {
        self.resident.contains_key(source)
    }

    /// The base with this text side, loaded if need be.
    pub(super) fn get(
        &mut self,
        source: &BaseSource,
        text: &Arc<BaseSpec>,
        report: &dyn Fn(WorkerEvent),
    ) -> Result<Arc<Base>, RpcError> {
        if let Some(resident) = self.resident.get_mut(source)
            && resident.base.text.fingerprint == text.fingerprint
        {
            resident.used = Instant::now();
            if Arc::ptr_eq(&resident.base.text, text) {
                report(WorkerEvent::Used { source: source.clone() });
            } else {
                resident.base = Arc::new(resident.base.with_other_text(Arc::clone(text)));
                report(loaded(source, &resident.base));
            }
            return Ok(Arc::clone(&resident.base));
        }
        // Another one lies in that folder now, or there is no room for one more.
        if self.resident.remove(source).is_some() {
            report(WorkerEvent::Unloaded { source: source.clone() });
        }
        while self.resident.len() >= BASES && self.unload_oldest(report) {}
        check_base_fits(&text.name, base_bytes(&text.config, source.quantise()), memory::free())?;
        if Machine::look_again() {
            tracing::warn!(
                processor = device::processor(),
                "this processor has no tiles (AMX) any more; computing goes on without them"
            );
        }
        let began = Instant::now();
        let packed = source.quantise().and_then(|_| packing::folder(&self.file_pool.home));
        let base = Arc::new(
            Base::with_text(Arc::clone(text), source.quantise(), &self.device, packed.as_deref())
                .map_err(|error| rpc_errors::of_base(&error))?,
        );
        if let Some(folder) = packed {
            packing::keep(&base, folder);
        }
        tracing::info!(
            base = text.name,
            bytes = base.bytes(),
            seconds = began.elapsed().as_secs_f64(),
            "base loaded"
        );
        report(loaded(source, &base));
        self.resident.insert(
            source.clone(),
            Resident {
                base: Arc::clone(&base),
                loaded: Instant::now(),
                materialized: false,
                in_file: 0,
                used: Instant::now(),
            },
        );
        Ok(base)
    }

    /// Copies weights of a base that still lie in its file, for a moment; false where there are none. While somebody waits for text, only of a base that has
    /// lain there too long.
    pub(super) fn materialize(&mut self, answering: bool) -> bool {
        let due = |resident: &Resident| !answering || resident.loaded.elapsed() >= LONGEST_IN_FILE;
        let waiting_base =
            self.resident.values_mut().find(|resident| !resident.materialized && due(resident));
        let Some(resident) = waiting_base else { return false };
        let began = Instant::now();
        while !resident.materialized && began.elapsed() < MOMENT {
            match resident.base.materialize() {
                Materialized::Copied => {}
                Materialized::Stays { bytes } => resident.in_file += bytes,
                Materialized::Nothing => resident.materialized = true,
            }
        }
        if resident.materialized && resident.in_file > 0 {
            let (base, bytes) = (&resident.base.text.name, resident.in_file);
            tracing::warn!(
                base,
                bytes,
                "no memory for weights: they stay in their file, which must not be written to"
            );
        }
        true
    }

    /// A PEFT folder's adapter for this base.
    pub(super) fn adapter(&mut self, folder: &Path, text: &BaseSpec) -> Result<Arc<Adapter>, RpcError> {
        let stamp = stamp(folder);
        if let Some(loaded) = self.adapters.get_mut(folder)
            && loaded.stamp == stamp
            && loaded.fingerprint == text.fingerprint
        {
            loaded.used = Instant::now();
            return Ok(Arc::clone(&loaded.adapter));
        }
        let adapter =
            peft::load(folder, text, &self.device).map_err(|error| rpc_errors::of_adapter(&error))?;
        let adapter = Arc::new(adapter);
        if self.adapters.len() >= ADAPTERS {
            let oldest =
                self.adapters.iter().min_by_key(|(_, loaded)| loaded.used).map(|(folder, _)| folder.clone());
            oldest.map(|folder| self.adapters.remove(&folder));
        }
        let loaded = Loaded {
            adapter: Arc::clone(&adapter),
            fingerprint: text.fingerprint.clone(),
            stamp,
            used: Instant::now(),
        };
        self.adapters.insert(folder.to_owned(), loaded);
        Ok(adapter)
    }

    /// Adapters whose folders go; who uses them keeps them.
    pub(super) fn forget(&mut self, folders: &[PathBuf]) {
        self.adapters.retain(|folder, _| !folders.contains(folder));
    }

    /// Unloads what nobody has used for `longer_than`, and nobody uses now.
    pub(super) fn unload_unused(&mut self, longer_than: Duration, report: &dyn Fn(WorkerEvent)) {
        let mut gone = Vec::new();
        self.resident.retain(|source, resident| {
            let keep = resident.base.is_shared() || resident.used.elapsed() < longer_than;
            if !keep {
                gone.push((source.clone(), resident.base.text.fingerprint.clone()));
            }
            keep
        });
        for (source, fingerprint) in gone {
            self.adapters.retain(|_, loaded| loaded.fingerprint != fingerprint);
            tracing::info!(?source, "base unloaded");
            report(WorkerEvent::Unloaded { source });
        }
    }

    /// When [`unload_unused`](Self::unload_unused) may have something to do.
    pub(super) fn next_unload(&self, longer_than: Duration) -> Option<Instant> {
        self.resident.values().filter_map(|resident| resident.used.checked_add(longer_than)).min()
    }

    /// Notes that a run or an answer used the base until now.
    pub(super) fn touch(&mut self, source: &BaseSource) {
        if let Some(resident) = self.resident.get_mut(source) {
            resident.used = Instant::now();
        }
    }

    fn unload_oldest(&mut self, report: &dyn Fn(WorkerEvent)) -> bool {
        let unused = self.resident.iter().filter(|(_, resident)| !resident.base.is_shared());
        let Some(source) = unused.min_by_key(|(_, resident)| resident.used).map(|(source, _)| source.clone())
        else {
            return false;
        };
        self.resident.remove(&source);
        report(WorkerEvent::Unloaded { source });
        true
    }
}

fn loaded(source: &BaseSource, base: &Base) -> WorkerEvent {
    WorkerEvent::Loaded {
        source: source.clone(),
        text: Arc::clone(&base.text),
        bytes: base.bytes(),
        parameters: base.parameters(),
    }
}

/// A folder of a person's own may change under its name; versions in the store never do.
fn stamp(folder: &Path) -> Option<(u64, SystemTime)> {
    // PEFT's name, then mlx-lm's.
    let found = ["adapter_model.safetensors", "adapters.safetensors"]
        .iter()
        .find_map(|name| std::fs::metadata(folder.join(name)).ok())?;
    Some((found.len(), found.modified().ok()?))
}
