//! The tutorial: notebooks that are compiled in, and the person's own copy.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::demo::Tongue;

const ENGLISH: &str = include_str!("../../../../kernelspec/tour.ipynb");
const CHINESE: &str = include_str!("../../../../kernelspec/tour.zh.ipynb");

pub(super) enum Laid {
    New(PathBuf),
    /// It may hold the person's own work.
    WasThere(PathBuf),
}

impl Laid {
    fn file(&self) -> &Path {
        match self {
            Laid::New(file) | Laid::WasThere(file) => file,
        }
    }

    /// As JupyterLab, which runs in its folder, is told to open it.
    pub(super) fn name(&self) -> &Path {
        Path::new(self.file().file_name().unwrap_or_default())
    }

    pub(super) fn in_words(&self) -> String {
        match self {
            Laid::New(file) => format!("The tutorial: {}", file.display()),
            Laid::WasThere(file) => {
                format!("The tutorial, as you left it: {} (move it away to get a new one)", file.display())
            }
        }
    }
}

/// What is there stays, whatever it is.
pub(super) fn lay_out(folder: &Path, tongue: Tongue) -> anyhow::Result<Laid> {
    let (name, notebook) = match tongue {
        Tongue::English => ("tour.ipynb", ENGLISH),
        Tongue::Chinese => ("tour.zh.ipynb", CHINESE),
    };
    let file = folder.join(name);
    let cannot_write = || format!("cannot write {}; give another folder with --dir", file.display());
    let mut draft = tempfile::NamedTempFile::new_in(folder).with_context(cannot_write)?;
    draft.write_all(notebook.as_bytes()).with_context(cannot_write)?;
    match draft.persist_noclobber(&file) {
        Ok(_) => {
            readable(&file).with_context(cannot_write)?;
            Ok(Laid::New(file))
        }
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(Laid::WasThere(file)),
        Err(error) => Err(error.error).with_context(cannot_write),
    }
}

/// A draft is its owner's alone; a notebook is an ordinary file.
#[cfg(unix)]
fn readable(file: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    fs::set_permissions(file, fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable(_file: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        for (tongue, name) in [(Tongue::English, "tour.ipynb"), (Tongue::Chinese, "tour.zh.ipynb")] {
            let laid = lay_out(folder.path(), tongue).unwrap();
            assert!(matches!(laid, Laid::New(_)));
            let file = folder.path().join(name);
            serde_json::from_str::<serde_json::Value>(&fs::read_to_string(&file).unwrap()).unwrap();
            fs::write(&file, "mine").unwrap();
            let laid = lay_out(folder.path(), tongue).unwrap();
            assert!(laid.in_words().contains("as you left it"));
            assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no drafts stay");
    }
}
