//! A run in progress on disk: `runs/ID/step-N`, each whole or not there. The newest one counts.

use std::fs;
use std::path::{Path, PathBuf};

use hotplate_engine::base::Base;
use hotplate_protocol::RpcError;
use hotplate_train::Trainer;

use super::prepare::RunJob;
use crate::daemon::{durable, rpc_errors};

const JOB: &str = "job.json";
const STATE: &str = "state";
const STEP_PREFIX: &str = "step-";
const DRAFT: &str = ".new";

/// Saves the run as it is now; older saves of it go.
pub(crate) fn save(folder: &Path, job: &RunJob, trainer: &Trainer, base: &Base) -> Result<(), RpcError> {
    let place = folder.join(format!("{STEP_PREFIX}{:08}", trainer.step_number()));
    if place.exists() {
        return Ok(());
    }
    let draft = folder.join(DRAFT);
    let written = || -> Result<(), RpcError> {
        let failed = |error: std::io::Error| rpc_errors::of_writing(folder, &error);
        let json = serde_json::to_vec(job).map_err(|error| failed(error.into()))?;
        durable::fresh_folder(&draft.join(STATE)).map_err(failed)?;
        durable::write(&draft.join(JOB), &json).map_err(failed)?;
        trainer.save_state(&draft.join(STATE), base).map_err(|error| rpc_errors::of_training(&error))?;
        durable::sync_folder(&draft.join(STATE)).map_err(failed)?;
        durable::publish(&draft, &place).map_err(failed)
    };
    let result = fs::remove_dir_all(&draft)
        .or_else(missing_is_fine)
        .map_err(|error| rpc_errors::of_writing(&draft, &error))
        .and_then(|()| written());
    if result.is_err() {
        let _ = fs::remove_dir_all(&draft);
        return result;
    }
    for older in saved(folder) {
        if older != place {
            let _ = fs::remove_dir_all(older);
        }
    }
    Ok(())
}

fn missing_is_fine(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Newest first.
fn saved(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(STEP_PREFIX))
        .map(|entry| entry.path())
        .collect();
    found.sort_unstable();
    found.reverse();
    found
}

/// The newest saved state of a run and its job, if there is one.
pub(crate) fn newest(folder: &Path) -> Result<Option<(PathBuf, RunJob)>, String> {
    let Some(place) = saved(folder).into_iter().next() else { return Ok(None) };
    let file = place.join(JOB);
    let json = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let job = serde_json::from_slice(&json).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(Some((place.join(STATE), job)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_state_counts() {
        let folder = tempfile::tempdir().unwrap();
        assert!(newest(folder.path()).unwrap().is_none());
        for name in ["step-00000050", "step-00000100", ".new"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        assert_eq!(saved(folder.path())[0], folder.path().join("step-00000100"));
        let broken = newest(folder.path()).unwrap_err();
        assert!(broken.contains("job.json"), "{broken}");
    }
}
