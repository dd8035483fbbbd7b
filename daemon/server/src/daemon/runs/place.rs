//! From what a client wrote to an order: the real folder, the adapter's name, the base.
//!
//! A watched folder is known by the name that the person gave it, links kept, so that a link may be swapped; but one folder has one name, the first one.

use std::fs;
use std::path::{Component, Path, PathBuf};

use hotplate_dataset::recipe::{Recipe, Setting};
use hotplate_engine::base_spec::BaseSource;
use hotplate_home::{
    hub::{HubCache, HubName},
    is_gguf_file,
};
use hotplate_protocol::methods::train::TrainParams;
use hotplate_protocol::run::{Cause, RunId, RunKind};
use hotplate_protocol::{ErrorCode, RpcError};

use super::overrides::{at_setting, check_knobs, recipe_of};
use super::train_request::{DatasetTarget, Named, TrainRequest};
use crate::daemon::file_pool::FilePool;
use crate::daemon::names;
use crate::daemon::store::{AdapterRow, Store, lineage};

/// The embedded base's name on the command line.
const EMBEDDED: &str = "hotplate-tiny";

/// A full run of what the client asked for, or of an import a further one; nothing is read but names and the recipe. The command line goes
/// before the recipe, and that before what the adapter had so far.
pub(crate) fn resolve_request(file_pool: &FilePool, params: &TrainParams) -> Result<TrainRequest, RpcError> {
    let store = file_pool.store()?;
    let folder = dataset_folder(file_pool, &store, &params.folder)?;
    check_knobs(&params.knobs)?;
    let recipe = recipe_of(&folder)?;
    let adapter = match (&params.adapter, recipe_adapter(&recipe)?) {
        (Some(name), _) => {
            names::check(name)?;
            name.clone()
        }
        (None, Some(name)) => name,
        (None, None) => adapter_of(&store, &folder)?,
    };
    let known = store.adapter(&adapter)?;
    let goes_on = match &known {
        Some(row) => came_from_elsewhere(&store, row)?,
        None => false,
    };
    let base = match (&params.base, recipe_base(&recipe, &folder)?) {
        (Some(base), _) => base_folder(base)?,
        (None, Some(base)) => base,
        // An adapter keeps its base.
        (None, None) => match known {
            Some(row) => row.base_folder,
            None => params.fallback_base.as_deref().map(base_folder).transpose()?.flatten(),
        },
    };
    Ok(TrainRequest {
        target: DatasetTarget { folder, adapter },
        base,
        quantise: None,
        knobs: params.knobs.clone(),
        kind: if goes_on { RunKind::Incremental } else { RunKind::Full },
        cause: Cause::Asked,
        saved_at: None,
        named: Named { base: params.base.is_some(), adapter: params.adapter.is_some() },
    })
}

/// Whether what answers is an import, or was built on one: it is trained further and never anew, for what it learnt lies elsewhere.
pub(crate) fn came_from_elsewhere(store: &Store, row: &AdapterRow) -> Result<bool, RpcError> {
    let versions = store.versions(&row.name)?;
    let chain = lineage(&versions, row.current);
    Ok(versions.iter().any(|version| version.run == RunId(0) && chain.contains(&version.version)))
}

/// The adapter that a recipe names.
pub(crate) fn recipe_adapter(recipe: &Recipe) -> Result<Option<String>, RpcError> {
    let Some((setting, name)) = text_of(recipe, "adapter") else { return Ok(None) };
    names::check(name).map_err(|error| at_setting(setting, &error))?;
    Ok(Some(name.to_owned()))
}

#[expect(
    clippy::option_option,
    reason = "a recipe may name no base, or the embedded one, which has no folder"
)]
/// The base that a recipe names, as [`base_folder`] has it. A relative path starts at the recipe's own folder.
pub(crate) fn recipe_base(recipe: &Recipe, folder: &Path) -> Result<Option<Option<PathBuf>>, RpcError> {
    let Some((setting, name)) = text_of(recipe, "base") else { return Ok(None) };
    let beside = folder.join(name);
    let is_path = name.starts_with("./")
        || name.starts_with("../")
        || beside.join("config.json").is_file()
        || is_gguf_file(&beside);
    let named = if is_path { beside.to_string_lossy().into_owned() } else { name.to_owned() };
    base_folder(&named).map(Some).map_err(|error| at_setting(setting, &error))
}

fn text_of<'a>(recipe: &'a Recipe, key: &str) -> Option<(&'a Setting, &'a str)> {
    let setting = recipe.get(key)?;
    Some((setting, setting.value.as_str()?))
}

fn not_found(message: String) -> RpcError {
    RpcError::new(ErrorCode::NotFound, message)
}

/// A dataset's folder under the name that it is known by. A link that the person named stays one, so that it may be swapped for another folder
/// later; but one folder has one name here, the first one.
pub(crate) fn dataset_folder(
    file_pool: &FilePool,
    store: &Store,
    folder: &Path,
) -> Result<PathBuf, RpcError> {
    let real = real_folder(folder)?;
    let written = |own: PathBuf| fs::canonicalize(own).is_ok_and(|own| real.starts_with(own));
    let is_home = fs::canonicalize(file_pool.home.root()).is_ok_and(|home| home == real);
    if is_home || written(file_pool.home.adapters()) || written(file_pool.home.runs()) {
        let message = format!(
            "{} belongs to Hotplate's own home, where it writes itself; put your texts into a folder elsewhere",
            folder.display()
        );
        return Err(RpcError::new(ErrorCode::InvalidParams, message));
    }
    let named = without_parents(folder).filter(|named| named.to_str().is_some()).unwrap_or(real.clone());
    let known: Vec<PathBuf> = store
        .watches()?
        .into_iter()
        .map(|watch| watch.target.folder)
        .chain(store.adapters()?.into_iter().map(|row| row.folder))
        .collect();
    Ok(known_name(&named, &real, &known).unwrap_or(named))
}

fn known_name(named: &Path, real: &Path, known: &[PathBuf]) -> Option<PathBuf> {
    let same = |known: &&PathBuf| fs::canonicalize(known).is_ok_and(|known| known == real);
    known.iter().find(|known| *known == named).or_else(|| known.iter().find(same)).cloned()
}

/// Without `..`, which behind a link leads elsewhere than it says.
fn without_parents(folder: &Path) -> Option<PathBuf> {
    let parts: Vec<Component<'_>> = folder.components().collect();
    let Some(last) = parts.iter().rposition(|part| *part == Component::ParentDir) else {
        return Some(parts.iter().collect());
    };
    let (before, behind) = parts.split_at(last + 1);
    let before = fs::canonicalize(before.iter().collect::<PathBuf>()).ok()?;
    Some(before.join(behind.iter().collect::<PathBuf>()))
}

/// The folder itself, not a link to it.
pub(crate) fn real_folder(folder: &Path) -> Result<PathBuf, RpcError> {
    if !folder.is_absolute() {
        let message = format!("the folder {} is not an absolute path", folder.display());
        return Err(RpcError::new(ErrorCode::InvalidParams, message));
    }
    let real = fs::canonicalize(folder).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
            not_found(format!("there is no folder {}; check the path", folder.display()))
        }
        _ => not_found(format!(
            "cannot open the folder {}: {error}; check that you may read it",
            folder.display()
        )),
    })?;
    if !real.is_dir() {
        return Err(not_found(format!(
            "{} is a file; name the folder that holds your texts",
            folder.display()
        )));
    }
    if real.to_str().is_none() {
        return Err(not_found(format!("the path {} is not UTF-8; rename the folder", folder.display())));
    }
    Ok(real)
}

/// `None`: the embedded base.
pub(crate) fn base_folder(base: &str) -> Result<Option<PathBuf>, RpcError> {
    if base == EMBEDDED {
        return Ok(None);
    }
    let unusable = |message: String| RpcError::new(ErrorCode::UnusableBase, message);
    if let Ok(name) = base.parse::<HubName>() {
        let found = HubCache::from_env().and_then(|cache| cache.get(&name));
        return found.map(Some).map_err(|error| unusable(error.to_string()));
    }
    let path = Path::new(base);
    if !path.is_absolute() {
        return Err(unusable(format!(
            "there is no base {base:?}; name a folder in Hugging Face's layout, a GGUF file, ORG/NAME as on the hub, or {EMBEDDED}"
        )));
    }
    let real = fs::canonicalize(path).map_err(|error| {
        unusable(format!("cannot open the base {}: {error}; check the path", path.display()))
    })?;
    // A folder that stands for the GGUF file in it has that file's name from here on.
    Ok(BaseSource::at(&real).on_disk().map(Path::to_owned))
}

/// The adapter that a folder has already, or its own name, or that name with a number if another folder's adapter has it.
pub(crate) fn adapter_of(store: &Store, folder: &Path) -> Result<String, RpcError> {
    if let Some(watch) = store.watches()?.into_iter().find(|watch| watch.target.folder == folder) {
        return Ok(watch.target.adapter);
    }
    let mut taken: Vec<(String, PathBuf)> = store
        .adapters()?
        .into_iter()
        .map(|row: AdapterRow| (row.name, row.folder))
        .chain(store.watches()?.into_iter().map(|watch| (watch.target.adapter, watch.target.folder)))
        .collect();
    taken.extend(
        store.open_runs()?.into_iter().map(|row| (row.order.target.adapter, row.order.target.folder)),
    );
    Ok(free_name(&names::of_folder(folder), folder, &taken))
}

fn free_name(wanted: &str, folder: &Path, taken: &[(String, PathBuf)]) -> String {
    let candidates =
        std::iter::once(wanted.to_owned()).chain((2_usize..).map(|number| format!("{wanted}-{number}")));
    for candidate in candidates {
        let mut owners = taken.iter().filter(|(name, _)| *name == candidate).peekable();
        if owners.peek().is_none() || owners.any(|(_, owner)| owner == folder) {
            return candidate;
        }
    }
    wanted.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_folder_of_the_same_name_gets_a_name_of_its_own() {
        let taken = [
            ("notes".to_owned(), PathBuf::from("/a/notes")),
            ("notes-2".to_owned(), PathBuf::from("/b/notes")),
        ];
        let name = |folder: &str| free_name("notes", Path::new(folder), &taken);
        assert_eq!(name("/a/notes"), "notes");
        assert_eq!(name("/b/notes"), "notes-2");
        assert_eq!(name("/c/notes"), "notes-3");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_keeps_its_name_and_a_folder_the_first_one() {
        use std::os::unix::fs::symlink;

        let root = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(root.path()).unwrap();
        fs::create_dir_all(root.join("v1/sub")).unwrap();
        symlink("v1", root.join("current")).unwrap();
        let (v1, current) = (root.join("v1"), root.join("current"));
        assert_eq!(without_parents(&current.join("sub")), Some(current.join("sub")));
        assert_eq!(without_parents(&current.join("../v1/sub")), Some(v1.join("sub")));
        assert_eq!(known_name(&current, &v1, &[]), None);
        assert_eq!(known_name(&current, &v1, std::slice::from_ref(&v1)), Some(v1.clone()));
        assert_eq!(known_name(&v1, &v1, std::slice::from_ref(&current)), Some(current.clone()));
        assert_eq!(known_name(&current, &v1, &[v1.clone(), current.clone()]), Some(current));
    }

    #[test]
    fn what_is_no_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.txt");
        fs::write(&file, "a").unwrap();
        let message = |path: &Path| real_folder(path).unwrap_err().message;
        assert!(message(&file).contains("a.txt is a file"));
        assert!(message(&folder.path().join("none")).contains("there is no folder"));
        assert!(message(&file.join("below")).contains("there is no folder"));
        assert!(message(Path::new("relative")).contains("absolute"));
    }
}
