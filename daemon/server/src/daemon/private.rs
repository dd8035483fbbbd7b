//! What the daemon writes is for its user alone, whatever the umask that it was started with; but for exports, which are for others.

use std::io;
use std::path::Path;

use hotplate_home::{Home, own_file};

/// The umask that this process was started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Umask(pub(crate) u32);

impl Umask {
    /// From here on, nothing that is made can be opened by others.
    pub(crate) fn close() -> Umask {
        #[cfg(unix)]
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077)).bits();
        #[cfg(not(unix))]
        let before = 0;
        Umask(before)
    }

    /// Gives a folder or file, and what is in it, the modes that the user's own programs would have given it.
    #[cfg(unix)]
    pub(crate) fn apply(self, path: &Path) -> io::Result<()> {
        use std::fs::{self, Permissions};
        use std::os::unix::fs::PermissionsExt;

        let found = path.symlink_metadata()?;
        if found.is_dir() {
            for entry in fs::read_dir(path)? {
                self.apply(&entry?.path())?;
            }
        }
        let most = if found.is_dir() { 0o777 } else { 0o666 };
        // A file system without modes has nothing to be opened.
        let _ = fs::set_permissions(path, Permissions::from_mode(most & !self.0));
        Ok(())
    }

    #[cfg(not(unix))]
    pub(crate) fn apply(self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// What older versions have made in the home is closed, too.
///
/// # Errors
/// One of its folders is a link.
pub(crate) fn close_home(home: &Home) -> io::Result<()> {
    for folder in [home.adapters(), home.runs(), home.exports()] {
        if folder.is_symlink() {
            own_file::without_links(home.root(), &folder)?;
        }
        own_file::close_to_others(&folder);
    }
    own_file::close_to_others(&home.packed_place());
    for folder in home.folders() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                own_file::close_to_others(&entry.path());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_export_is_as_open_as_the_users_other_files() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        fs::create_dir(&out).unwrap();
        fs::write(out.join("a"), "").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        Umask(0o027).apply(&out).unwrap();
        assert_eq!((mode(&out), mode(&out.join("a"))), (0o750, 0o640));
    }
}
