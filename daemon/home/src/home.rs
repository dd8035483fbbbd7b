//! Where Hotplate keeps its things: the folders, and the names of the files in them.
//!
//! Owns the rule that every folder of ours belongs to the user and is closed to others. Knows nothing of what is
//! inside the files.

use std::env;
use std::ffi::OsString;
use std::fmt;
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
    #[error("other users can {can} the folder {}; close it with: chmod 700 {}", folder.display(), folder.display())]
    OpenToOthers { folder: PathBuf, can: &'static str },
    #[error("{} is a link{}; set {HOME_VARIABLE} to the folder itself, or remove the link", folder.display(), OfOther(*owner))]
    Link { folder: PathBuf, owner: Option<u32> },
    #[error(
        "the path of the daemon's socket is {bytes} bytes long, and the system allows {MAX_SOCKET_PATH_BYTES}: {}; \
         set {HOME_VARIABLE} to a folder with a shorter path", socket.display()
    )]
    SocketPathTooLong { socket: PathBuf, bytes: usize },
}

struct OfOther(Option<u32>);

impl fmt::Display for OfOther {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(owner) => write!(formatter, " of another user (uid {owner})"),
            None => Ok(()),
        }
    }
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
            self.own(folder)?;
        }
        Ok(self)
    }

    /// Makes one of our folders, or looks at the one that is there. A link is somebody's choice where `HOTPLATE_HOME` names it, and nowhere else.
    fn own(&self, folder: &Path) -> Result<(), HomeError> {
        own_folder(folder, if self.root.as_deref() == Some(folder) { Links::Own } else { Links::None })
    }

    /// The folder that holds everything, or, with the XDG folders, the one with the store and the adapters.
    pub fn root(&self) -> &Path {
        &self.data
    }

    /// All of ours, each once.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        let all = [&self.data, &self.runtime, &self.state, &self.cache];
        let first = move |at: usize| all[..at].iter().all(|earlier| *earlier != all[at]);
        (0..all.len()).filter(move |at| first(*at)).map(move |at| all[at].as_path())
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

    /// What the log was before it grew too long.
    pub fn earlier_log(&self) -> PathBuf {
        self.state.join("daemon.log.1")
    }

    /// The SQLite file.
    pub fn store(&self) -> PathBuf {
        self.data.join("store.sqlite")
    }

    /// Says which base holds where a command names none (JSON); written by the client.
    pub fn chosen_base(&self) -> PathBuf {
        self.data.join("base.json")
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
        let folder = self.packed_place();
        self.own(&self.cache)?;
        self.own(&folder)?;
        Ok(folder)
    }

    /// What was measured of processors (JSON): may be deleted at any time. Its folder is made if it is missing.
    ///
    /// # Errors
    /// As for a home.
    pub fn processors(&self) -> Result<PathBuf, HomeError> {
        self.own(&self.cache)?;
        Ok(self.cache.join("processors.json"))
    }

    /// Notes of exports that are being written. May not exist yet.
    pub fn exports(&self) -> PathBuf {
        self.data.join("exports")
    }

    /// Where [`packed`](Self::packed) makes its folder. May not exist yet.
    pub fn packed_place(&self) -> PathBuf {
        self.cache.join("packed")
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

/// Which links may stand for a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Links {
    /// This user's, or the system's.
    Own,
    None,
}

/// Makes the folder with mode 0700, whatever the umask, or looks at the one that is there: what others can write to is refused, and what they can
/// read is closed where it is ours.
#[cfg(unix)]
fn own_folder(folder: &Path, links: Links) -> Result<(), HomeError> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    let cannot_create = |source| HomeError::CannotCreate { folder: folder.to_owned(), source };
    make_folder(folder).map_err(cannot_create)?;
    let named = folder.symlink_metadata().map_err(cannot_create)?;
    if named.is_symlink() {
        let foreign = Some(named.uid()).filter(|owner| ![0, current_user()].contains(owner));
        if links == Links::None || foreign.is_some() {
            return Err(HomeError::Link { folder: folder.to_owned(), owner: foreign });
        }
    }
    let found = fs::metadata(folder).map_err(cannot_create)?;
    if !found.is_dir() {
        return Err(HomeError::NotAFolder { folder: folder.to_owned() });
    }
    if found.uid() != current_user() {
        return Err(HomeError::ForeignOwner { folder: folder.to_owned(), owner: found.uid() });
    }
    if found.mode() & 0o022 != 0 {
        return Err(HomeError::OpenToOthers { folder: folder.to_owned(), can: "write to" });
    }
    if found.mode() & 0o077 != 0 {
        if !looks_ours(folder, links) {
            return Err(HomeError::OpenToOthers { folder: folder.to_owned(), can: "read" });
        }
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(cannot_create)?;
    }
    Ok(())
}

/// A folder that somebody shares on purpose, and gave us by mistake, is not closed.
#[cfg(unix)]
fn looks_ours(folder: &Path, links: Links) -> bool {
    let is_empty = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    // Where no link is taken, the folder's name is one that we gave.
    links == Links::None
        || is_empty
        || ["daemon.lock", "store.sqlite", "daemon.log"].iter().any(|name| folder.join(name).is_file())
}

/// Step by step: a umask may take away what the next step needs.
#[cfg(unix)]
fn make_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};

    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        make_folder(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => fs::set_permissions(folder, fs::Permissions::from_mode(0o700)),
        // Somebody was quicker, or it is no folder.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(not(unix))]
fn own_folder(folder: &Path, _: Links) -> Result<(), HomeError> {
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
        assert_eq!(mode(&root), 0o700);
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
        assert_eq!(mode(folder.path()), 0o700, "it is closed");
        // A folder with things of somebody's in it is not.
        let shared = folder.path().join("shared");
        fs::create_dir(&shared).unwrap();
        fs::write(shared.join("page.html"), "").unwrap();
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o755)).unwrap();
        let error = Home::at(&shared).unwrap_err();
        assert!(error.to_string().contains("can read") && mode(&shared) == 0o755, "{error}");
        fs::write(shared.join("store.sqlite"), "").unwrap();
        assert!(Home::at(&shared).is_ok() && mode(&shared) == 0o700);
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_link_may_stand_for_a_home_and_for_nothing_in_it() {
        use std::os::unix::fs::symlink;

        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        fs::create_dir(folder.path().join("real")).unwrap();
        symlink(folder.path().join("real"), &link).unwrap();
        let home = Home::at(&link).unwrap();
        assert_eq!(home.packed().unwrap(), link.join("packed"));
        fs::remove_dir(link.join("packed")).unwrap();
        symlink(folder.path(), link.join("packed")).unwrap();
        assert!(matches!(home.packed(), Err(HomeError::Link { owner: None, .. })));
    }

    #[test]
    fn our_folders_are_named_once() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path()).unwrap();
        assert_eq!(home.folders().collect::<Vec<_>>(), [folder.path()]);
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
