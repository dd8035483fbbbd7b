//! # HP008 `unreadable`
//!
//! A file or folder is there and cannot be read: it may belong to somebody else, be a link to something that is gone, have
//! vanished between listing and reading, or sit on a disk that answers with an error.
//!
//! The file or folder is left out; the rest of the dataset is read.

use std::io;
use std::path::Path;

use super::{Code, Finding, Rule};

pub(super) const RULE: Rule = Rule {
    code: "HP008",
    name: "unreadable",
    remedy: "Check that it still exists and that you may read it, then check again.",
    skips: true,
};

pub(crate) fn unreadable(file: &Path, error: &io::Error) -> Finding {
    let message = match error.kind() {
        io::ErrorKind::NotFound => {
            "it is gone, or a link to something that is gone; it was there a moment ago".to_owned()
        }
        io::ErrorKind::PermissionDenied => "you may not read it (permission denied)".to_owned(),
        io::ErrorKind::InvalidInput => format!("it {error}"),
        _ => format!("reading it failed: {error}"),
    };
    Finding::new(Code::Unreadable, file, (1, 1), message)
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::os::unix::net::UnixListener;

    use expect_test::expect;

    use crate::read::{Limits, read};
    use crate::testing::line_of;

    #[test]
    fn a_dangling_link_and_a_socket_do_not_stop_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.txt"), "fine").unwrap();
        symlink("/nowhere/at/all", folder.path().join("b.txt")).unwrap();
        let _socket = UnixListener::bind(folder.path().join("c.txt")).unwrap();
        let dataset = read(folder.path(), &Limits::default()).unwrap();
        assert_eq!(dataset.examples.len(), 1);
        assert_eq!(dataset.files.len(), 1);
        let found: Vec<_> = dataset.findings.iter().map(line_of).collect();
        expect![[r"
            b.txt:1-1 HP008 unreadable: it is gone, or a link to something that is gone; it was there a moment ago
            c.txt:1-1 HP008 unreadable: it is not a regular file but a socket"]]
        .assert_eq(&found.join("\n"));
    }

    #[test]
    fn no_permission() {
        let folder = tempfile::tempdir().unwrap();
        let (closed, inside) = (folder.path().join("a.txt"), folder.path().join("sub"));
        std::fs::write(&closed, "secret").unwrap();
        std::fs::create_dir(&inside).unwrap();
        for path in [&closed, &inside] {
            std::fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap();
        }
        // Root may read everything: there is nothing to find then.
        let root = std::fs::read(&closed).is_ok();
        let dataset = read(folder.path(), &Limits::default()).unwrap();
        std::fs::set_permissions(&inside, Permissions::from_mode(0o700)).unwrap();
        let found: Vec<_> = dataset.findings.iter().map(line_of).collect();
        if root {
            assert_eq!((dataset.examples.len(), found.len()), (1, 0));
        } else {
            let denied = "HP008 unreadable: you may not read it (permission denied)";
            assert_eq!(found, [format!("a.txt:1-1 {denied}"), format!("sub:1-1 {denied}")]);
        }
    }
}
