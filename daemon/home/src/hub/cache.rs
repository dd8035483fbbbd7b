//! The hub's cache on disk, as huggingface_hub lays it out; found where its variables say.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hf_hub::{Repo, RepoType};

use super::name::is_revision;
use super::{HubError, HubName};

/// A folder of models, whoever fetched them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubCache {
    root: PathBuf,
}

impl HubCache {
    /// `HF_HUB_CACHE`, else `HF_HOME/hub`, else `~/.cache/huggingface/hub`.
    ///
    /// # Errors
    /// None of them is known.
    pub fn from_env() -> Result<Self, HubError> {
        let root = match set("HF_HUB_CACHE").or_else(|| set("HUGGINGFACE_HUB_CACHE")) {
            Some(root) => PathBuf::from(root),
            None => hub_home().ok_or(HubError::NoHome)?.join("hub"),
        };
        // Links in it are relative, but its own place must not depend on where a command is called.
        Ok(Self { root: std::path::absolute(&root).unwrap_or(root) })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// All that belongs to one model.
    pub fn model(&self, id: &str) -> PathBuf {
        self.root.join(folder_name(id))
    }

    pub fn lock(&self, id: &str, blob: &str) -> PathBuf {
        self.root.join(".locks").join(folder_name(id)).join(format!("{blob}.lock"))
    }

    /// The folder with a model's files, if it has been fetched (at least its config.json).
    pub fn find(&self, name: &HubName) -> Option<PathBuf> {
        let model = self.model(&name.id);
        let revision = name.revision();
        let commit = fs::read_to_string(model.join("refs").join(revision)).ok();
        let commit = commit.as_deref().map_or(revision, str::trim);
        // A file of somebody's becomes a path here.
        if !is_revision(commit) {
            return None;
        }
        let snapshot = model.join("snapshots").join(commit);
        snapshot.join("config.json").is_file().then_some(snapshot)
    }

    /// The same, or what to do.
    ///
    /// # Errors
    /// [`HubError::NotHere`].
    pub fn get(&self, name: &HubName) -> Result<PathBuf, HubError> {
        self.find(name).ok_or_else(|| {
            let pull = match &name.revision {
                Some(revision) => format!("{} --revision {revision}", name.id),
                None => name.id.clone(),
            };
            HubError::NotHere { id: name.to_string(), pull }
        })
    }

    /// Says that `revision` is this commit from now on.
    pub fn set_ref(&self, name: &HubName, commit: &str) -> Result<(), HubError> {
        if name.revision() == commit {
            return Ok(());
        }
        let path = self.model(&name.id).join("refs").join(name.revision());
        let written =
            path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, commit));
        written.map_err(|source| HubError::writing(&path, source))
    }

    /// Lets `file` of a snapshot be this blob.
    pub fn place(&self, id: &str, commit: &str, file: &str, blob: &str) -> Result<(), HubError> {
        let model = self.model(id);
        let pointer = model.join("snapshots").join(commit).join(file);
        let blob_path = model.join("blobs").join(blob);
        let up = 1 + file.matches('/').count();
        let relative: PathBuf = std::iter::repeat_n("..", up + 1)
            .map(Path::new)
            .chain([Path::new("blobs"), Path::new(blob)])
            .collect();
        let linked = (|| -> io::Result<()> {
            if let Some(folder) = pointer.parent() {
                fs::create_dir_all(folder)?;
            }
            if fs::symlink_metadata(&pointer).is_ok() {
                if fs::canonicalize(&pointer).ok() == fs::canonicalize(&blob_path).ok() && pointer.is_file() {
                    return Ok(());
                }
                fs::remove_file(&pointer)?;
            }
            link(&relative, &pointer).or_else(|_| fs::copy(&blob_path, &pointer).map(|_| ()))
        })();
        linked.map_err(|source| HubError::writing(&pointer, source))
    }
}

#[cfg(unix)]
fn link(target: &Path, pointer: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, pointer)
}

#[cfg(not(unix))]
fn link(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

/// `models--ORG--NAME`.
fn folder_name(id: &str) -> String {
    Repo::new(id.to_owned(), RepoType::Model).folder_name()
}

/// A variable that is set to something.
fn set(variable: &str) -> Option<OsString> {
    env::var_os(variable).filter(|value| !value.is_empty())
}

/// Where the hub's programs keep their things.
fn hub_home() -> Option<PathBuf> {
    if let Some(home) = set("HF_HOME") {
        return Some(home.into());
    }
    let cache = set("XDG_CACHE_HOME").map(PathBuf::from);
    Some(cache.or_else(|| Some(env::home_dir()?.join(".cache")))?.join("huggingface"))
}

/// The token that the hub's programs use, and where it stands.
pub fn token() -> Option<(String, String)> {
    for variable in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
        if let Ok(token) = env::var(variable)
            && !token.trim().is_empty()
        {
            return Some((token.trim().to_owned(), variable.to_owned()));
        }
    }
    let path = set("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| Some(hub_home()?.join("token")))?;
    let token = fs::read_to_string(&path).ok()?;
    let token = token.trim();
    (!token.is_empty()).then(|| (token.to_owned(), path.display().to_string()))
}

pub fn endpoint() -> String {
    let endpoint = env::var("HF_ENDPOINT").ok().filter(|endpoint| !endpoint.trim().is_empty());
    let endpoint = endpoint.unwrap_or_else(|| "https://huggingface.co".to_owned());
    endpoint.trim().trim_end_matches('/').to_owned()
}

/// Whether a person has forbidden to ask the hub.
pub fn told_offline() -> bool {
    let told = env::var("HF_HUB_OFFLINE").unwrap_or_default();
    matches!(told.to_ascii_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_fetched_is_found_and_linked_like_the_hubs_own() {
        let folder = tempfile::tempdir().unwrap();
        let cache = HubCache { root: folder.path().to_owned() };
        let name: HubName = "org/name".parse().unwrap();
        assert!(matches!(cache.get(&name), Err(HubError::NotHere { .. })));
        let model = folder.path().join("models--org--name");
        fs::create_dir_all(model.join("blobs")).unwrap();
        fs::write(model.join("blobs/e1"), "{}").unwrap();
        for file in ["config.json", "chat_templates/tool_use.jinja"] {
            cache.place("org/name", "abc", file, "e1").unwrap();
            assert_eq!(fs::read_to_string(model.join("snapshots/abc").join(file)).unwrap(), "{}");
        }
        assert_eq!(cache.find(&name), None);
        cache.set_ref(&name, "abc").unwrap();
        assert_eq!(cache.find(&name), Some(model.join("snapshots/abc")));
        assert_eq!(cache.find(&"org/name@abc".parse().unwrap()), Some(model.join("snapshots/abc")));
        // A newer blob takes the pointer over.
        fs::write(model.join("blobs/e2"), "{ }").unwrap();
        cache.place("org/name", "abc", "config.json", "e2").unwrap();
        assert_eq!(fs::read_to_string(model.join("snapshots/abc/config.json")).unwrap(), "{ }");
        fs::write(model.join("refs/main"), "../../etc").unwrap();
        assert_eq!(cache.find(&name), None);
    }
}
