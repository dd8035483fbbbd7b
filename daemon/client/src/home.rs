//! Where Hotplate keeps its things: the folders, and the names of the files in them.
//!
//! Owns the rule that every folder of ours belongs to the user and is closed to others. Knows nothing of what is
//! inside the files.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The system's limit for the path of a Unix socket is 108 bytes on Linux and 104 on macOS, the final zero included.
const MAX_SOCKET_PATH_BYTES: usize = 100;

/// The environment variable that moves everything to another root.
pub const HOME_VARIABLE: &str = "HOTPLATE_HOME";

/// The folders of one daemon and its clients. They exist, belong to this user, and nobody else may write to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// Set where one folder holds everything (`HOTPLATE_HOME`).
    root: Option<PathBuf>,
    runtime: PathBuf,
    data: PathBuf,
    state: PathBuf,
    cache: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    #[error(
        "cannot find a place for Hotplate's files: neither HOME nor {HOME_VARIABLE} is set; set {HOME_VARIABLE} to a folder"
    )]
    NoHome,
    #[error("cannot make the folder {}: {source}; make it yourself, or set {HOME_VARIABLE} to a folder that you can write to", folder.display())]
    CannotCreate { folder: PathBuf, source: io::Error },
    #[error("{} is not a folder; set {HOME_VARIABLE} to a folder", folder.display())]
    NotAFolder { folder: PathBuf },
    #[error("the folder {} belongs to another user (uid {owner}); set {HOME_VARIABLE} to a folder of your own", folder.display())]
    ForeignOwner { folder: PathBuf, owner: u32 },
    #[error("other users can write to the folder {}; close it with: chmod 700 {}", folder.display(), folder.display())]
    OpenToOthers { folder: PathBuf },
    #[error(
        "the path of the daemon's socket is {bytes} bytes long, and the system allows {MAX_SOCKET_PATH_BYTES}: {}; \
         set {HOME_VARIABLE} to a folder with a shorter path", socket.display()
    )]
    SocketPathTooLong { socket: PathBuf, bytes: usize },
}

impl Home {
    /// `HOTPLATE_HOME` if it is set, else the XDG folders: runtime for socket and lock, data for store, adapters and
    /// runs, state for the log, cache for what can be made again.
    /// <https://specifications.freedesktop.org/basedir-spec/latest/>
    pub fn from_env() -> Result<Home, HomeError> {
        if let Some(root) = set_variable(HOME_VARIABLE) {
            return Home::at(Path::new(&root));
        }
        let user = || set_variable("HOME").map(PathBuf::from).ok_or(HomeError::NoHome);
        let xdg = |variable: &str, below_home: &str| -> Result<PathBuf, HomeError> {
            match absolute_variable(variable) {
                Some(folder) => Ok(folder.join("hotplate")),
                None => Ok(user()?.join(below_home).join("hotplate")),
            }
        };
        let runtime = match absolute_variable("XDG_RUNTIME_DIR") {
            Some(folder) => folder.join("hotplate"),
            None => env::temp_dir().join(format!("hotplate-{}", current_user())),
        };
        let home = Home {
            root: None,
            runtime,
            data: xdg("XDG_DATA_HOME", ".local/share")?,
            state: xdg("XDG_STATE_HOME", ".local/state")?,
            cache: xdg("XDG_CACHE_HOME", ".cache")?,
        };
        home.prepare()
    }

    /// One folder for everything; made if it is missing. A relative path is taken from the current folder.
    pub fn at(root: &Path) -> Result<Home, HomeError> {
        let root = std::path::absolute(root)
            .map_err(|source| HomeError::CannotCreate { folder: root.to_owned(), source })?;
        let home = Home {
            runtime: root.clone(),
            data: root.clone(),
            state: root.clone(),
            cache: root.clone(),
            root: Some(root),
        };
        home.prepare()
    }

    fn prepare(self) -> Result<Home, HomeError> {
        let socket = self.socket();
        let bytes = socket.as_os_str().len();
        if bytes > MAX_SOCKET_PATH_BYTES {
            return Err(HomeError::SocketPathTooLong { socket, bytes });
        }
        for folder in [&self.runtime, &self.data, &self.state] {
            own_folder(folder)?;
        }
        Ok(self)
    }

    /// The folder that holds everything, or, with the XDG folders, the one with the store and the adapters.
    pub fn root(&self) -> &Path {
        &self.data
    }

    /// What a daemon that is to live in this home needs in its environment.
    pub fn environment(&self) -> Option<(&'static str, &Path)> {
        self.root.as_deref().map(|root| (HOME_VARIABLE, root))
    }

    pub fn socket(&self) -> PathBuf {
        self.runtime.join("daemon.sock")
    }

    /// Held by the daemon for as long as it lives; only its holder may unlink and bind the socket.
    pub fn lock(&self) -> PathBuf {
        self.runtime.join("daemon.lock")
    }

    /// Says who holds the lock (JSON: pid, version, since when); written by the daemon.
    pub fn note(&self) -> PathBuf {
        self.runtime.join("daemon.json")
    }

    pub fn log(&self) -> PathBuf {
        self.state.join("daemon.log")
    }

    /// The SQLite file.
    pub fn store(&self) -> PathBuf {
        self.data.join("store.sqlite")
    }

    /// PEFT folders, one per adapter and version. May not exist yet.
    pub fn adapters(&self) -> PathBuf {
        self.data.join("adapters")
    }

    /// Weights that were quantised, to be read the next time: anything here may be deleted at any time. Made if it is missing, unlike the others, because few
    /// need it.
    ///
    /// # Errors
    /// As for a home.
    pub fn packed(&self) -> Result<PathBuf, HomeError> {
        let folder = self.cache.join("packed");
        own_folder(&folder)?;
        Ok(folder)
    }

    /// Checkpoints of runs in progress. May not exist yet.
    pub fn runs(&self) -> PathBuf {
        self.data.join("runs")
    }
}

fn set_variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// Room on the disk that holds a folder; nothing where the system does not say.
pub fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

/// The XDG specification has relative paths ignored.
fn absolute_variable(name: &str) -> Option<PathBuf> {
    set_variable(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

#[cfg(unix)]
fn current_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(not(unix))]
fn current_user() -> String {
    env::var("USERNAME").unwrap_or_default()
}

/// Makes the folder with mode 0700, or checks the one that is there.
#[cfg(unix)]
fn own_folder(folder: &Path) -> Result<(), HomeError> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};

    let cannot_create = |source| HomeError::CannotCreate { folder: folder.to_owned(), source };
    match fs::DirBuilder::new().recursive(true).mode(0o700).create(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(HomeError::NotAFolder { folder: folder.to_owned() });
        }
        Err(error) => return Err(cannot_create(error)),
    }
    let found = fs::metadata(folder).map_err(cannot_create)?;
    if found.uid() != current_user() {
        return Err(HomeError::ForeignOwner { folder: folder.to_owned(), owner: found.uid() });
    }
    if found.mode() & 0o022 != 0 {
        return Err(HomeError::OpenToOthers { folder: folder.to_owned() });
    }
    Ok(())
}

#[cfg(not(unix))]
fn own_folder(folder: &Path) -> Result<(), HomeError> {
    fs::create_dir_all(folder).map_err(|source| HomeError::CannotCreate { folder: folder.to_owned(), source })
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_home_is_closed_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("a/b");
        let home = Home::at(&root).unwrap();
        assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(home.socket(), root.join("daemon.sock"));
        assert_eq!(home.environment(), Some((HOME_VARIABLE, root.as_path())));
    }

    #[test]
    fn a_home_that_others_can_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(Home::at(folder.path()), Err(HomeError::OpenToOthers { .. })));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(Home::at(folder.path()).is_ok());
    }

    #[test]
    fn a_file_is_no_home() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(Home::at(file.path()), Err(HomeError::NotAFolder { .. })));
        assert!(matches!(Home::at(&file.path().join("below")), Err(HomeError::CannotCreate { .. })));
    }

    #[test]
    fn a_long_path_is_an_error_before_anything_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("x".repeat(100));
        let error = Home::at(&root).unwrap_err();
        assert!(matches!(error, HomeError::SocketPathTooLong { .. }));
        assert!(error.to_string().contains("shorter path"));
        assert!(!root.exists());
    }
}
