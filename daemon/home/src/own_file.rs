//! Files in Hotplate's own folders: for this user alone, and opened through no link.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// Opens a file to read it.
///
/// # Errors
/// It is not there, cannot be read, or is a link.
pub fn open(path: &Path) -> io::Result<File> {
    open_with(path, OpenOptions::new().read(true))
}

/// Opens a file to append to it; makes it if it is missing.
///
/// # Errors
/// It cannot be made or written to, or is a link.
pub fn append(path: &Path) -> io::Result<File> {
    open_with(path, OpenOptions::new().create(true).append(true))
}

/// Opens a file with these options, for this user alone if it is made.
///
/// # Errors
/// As the options have it, or it is a link.
pub fn open_with(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // What is no file (a pipe) must not be waited for.
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        options.mode(0o600).custom_flags(flags.bits() as i32);
    }
    let opened = options.open(path);
    if opened.is_err() && path.is_symlink() {
        return Err(io::Error::other(
            "it is a link, and Hotplate opens nothing in its own folders through a link; remove it",
        ));
    }
    let file = opened?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Made by an older version, or with a umask that takes even the owner's rights; where it cannot be changed, it stays.
        if found.permissions().mode() & 0o777 != 0o600 {
            let _ = file.set_permissions(fs::Permissions::from_mode(0o600));
        }
    }
    Ok(file)
}

/// Looks for links between one of our folders and what lies in it, and in a folder there.
///
/// # Errors
/// There is one; it is named.
pub fn without_links(ours: &Path, path: &Path) -> io::Result<()> {
    let refuse = |link: &Path| {
        Err(io::Error::other(format!(
            "{} is a link, and Hotplate opens nothing in its own folders through a link; put the files themselves there",
            link.display()
        )))
    };
    let Ok(below) = path.strip_prefix(ours) else { return Ok(()) };
    let mut step = ours.to_owned();
    for part in below {
        step.push(part);
        if step.is_symlink() {
            return refuse(&step);
        }
    }
    match fs::read_dir(path) {
        Ok(entries) => {
            for entry in entries {
                let entry = entry?;
                if entry.file_type()?.is_symlink() {
                    return refuse(&entry.path());
                }
            }
            Ok(())
        }
        // What is missing or no folder is for whoever opens it to say.
        Err(_) => Ok(()),
    }
}

/// Takes from others what they may do with files and folders of ours: those of older versions were made as the umask had it. Links are left alone.
#[cfg(unix)]
pub fn close_to_others(path: &Path) {
    use std::os::unix::fs::PermissionsExt;

    let Ok(found) = path.symlink_metadata() else { return };
    let mode = found.permissions().mode();
    if (found.is_dir() || found.is_file()) && mode & 0o077 != 0 {
        // Where it cannot be done (a file system without modes), the folder around it is closed.
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o700));
    }
    if found.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            close_to_others(&entry.path());
        }
    }
}

#[cfg(not(unix))]
pub fn close_to_others(_: &Path) {}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn closed_to_others_and_no_link() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        append(&file).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        symlink(&file, &link).unwrap();
        for opened in [open(&link), append(&link)] {
            assert!(opened.unwrap_err().to_string().contains("it is a link"));
        }
        assert!(open(folder.path()).unwrap_err().to_string().contains("no file"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(open(&file).is_ok());
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn links_on_the_way_and_at_the_end_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("adapters/notes/v0001")).unwrap();
        fs::write(at("adapters/notes/v0001/adapter_config.json"), "{}").unwrap();
        let check = |path: &str| without_links(folder.path(), &at(path)).map_err(|error| error.to_string());
        assert_eq!(check("adapters/notes/v0001"), Ok(()));
        assert_eq!(check("adapters/none"), Ok(()));
        symlink("v0001", at("adapters/notes/v0002")).unwrap();
        assert!(check("adapters/notes/v0002").unwrap_err().contains("v0002 is a link"));
        symlink(at("adapters/notes"), at("adapters/other")).unwrap();
        assert!(check("adapters/other/v0001").unwrap_err().contains("other is a link"));
        symlink("adapter_config.json", at("adapters/notes/v0001/hotplate.json")).unwrap();
        assert!(check("adapters/notes/v0001").unwrap_err().contains("hotplate.json is a link"));
    }

    #[test]
    fn what_was_open_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        let mode = |path: &str| at(path).metadata().unwrap().permissions().mode() & 0o777;
        fs::create_dir(at("v0001")).unwrap();
        fs::write(at("v0001/a"), "").unwrap();
        fs::write(at("outside"), "").unwrap();
        symlink(at("outside"), at("v0001/link")).unwrap();
        for (path, mode) in [("v0001", 0o755), ("v0001/a", 0o644), ("outside", 0o644)] {
            fs::set_permissions(at(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        close_to_others(&at("v0001"));
        assert_eq!((mode("v0001"), mode("v0001/a"), mode("outside")), (0o700, 0o600, 0o644));
    }
}
