//! Tells Jupyter about the kernel: a folder with `kernel.json` and logos where Jupyter looks for them.
//!
//! The files lie in `kernelspec/` and are compiled in, so that the program alone is enough to install it.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const TEMPLATE: &str = include_str!("../../kernelspec/kernel.json");
/// Stands in the template for this program's path.
const PROGRAM: &str = "{hotplate_kernel}";

const LOGOS: [(&str, &[u8]); 3] = [
    ("logo-svg.svg", include_bytes!("../../kernelspec/logo-svg.svg")),
    ("logo-32x32.png", include_bytes!("../../kernelspec/logo-32x32.png")),
    ("logo-64x64.png", include_bytes!("../../kernelspec/logo-64x64.png")),
];

/// For whom the kernel is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InstallPrefix {
    /// The user's own Jupyter folder.
    User,
    Prefix(PathBuf),
    /// The prefix of the active Python environment.
    SysPrefix,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    #[error("{0:?} cannot be a kernel's name; use letters, digits, '.', '_' and '-'")]
    BadName(String),
    #[error("cannot find your Jupyter folder: HOME is not set; give a folder with --prefix DIR")]
    NoHome,
    #[error(
        "there is no active Python environment, and no python3 to ask; give its folder with --prefix DIR"
    )]
    NoPython,
    #[error("cannot find out where this program is: {0}")]
    NoProgram(io::Error),
    #[error("the path of this program, {}, is not UTF-8; move it elsewhere", .0.display())]
    OddPath(PathBuf),
    #[error("cannot write {}: {source}; check that the folder is yours, or give another one with --prefix DIR", file.display())]
    CannotWrite { file: PathBuf, source: io::Error },
    #[error("the template kernel.json is broken: {0}")]
    BadTemplate(#[from] serde_json::Error),
    #[error("no kernel is installed in {}; give the same --user, --prefix, --sys-prefix or --name as at its installation", .0.display())]
    NotInstalled(PathBuf),
    #[error("{} holds another program's kernel and is left alone; remove it with: jupyter kernelspec remove", .0.display())]
    NotOurs(PathBuf),
    #[error("cannot remove {}: {source}", folder.display())]
    CannotRemove { folder: PathBuf, source: io::Error },
}

/// Gives the folder that was written.
pub(crate) fn install(place: &InstallPrefix, name: &str) -> Result<PathBuf, InstallError> {
    let folder = kernel_folder(place, name)?;
    let program = env::current_exe().map_err(InstallError::NoProgram)?;
    let kernel_json = filled_in(&program)?;
    let cannot_write = |file: &Path| {
        let file = file.to_owned();
        move |source| InstallError::CannotWrite { file, source }
    };
    fs::create_dir_all(&folder).map_err(cannot_write(&folder))?;
    for (file_name, bytes) in LOGOS {
        let file = folder.join(file_name);
        fs::write(&file, bytes).map_err(cannot_write(&file))?;
    }
    // Last, and by a rename: Jupyter lists a kernel by this file.
    let file = folder.join("kernel.json");
    let next = folder.join("kernel.json.next");
    fs::write(&next, kernel_json).and_then(|()| fs::rename(&next, &file)).map_err(cannot_write(&file))?;
    Ok(folder)
}

/// Gives the folder that was removed.
pub(crate) fn uninstall(place: &InstallPrefix, name: &str) -> Result<PathBuf, InstallError> {
    let folder = kernel_folder(place, name)?;
    let file = folder.join("kernel.json");
    let Ok(bytes) = fs::read(&file) else { return Err(InstallError::NotInstalled(folder)) };
    if !is_ours(&bytes) {
        return Err(InstallError::NotOurs(folder));
    }
    // Only what was installed: somebody may have put something beside it.
    let cannot_remove = |source| InstallError::CannotRemove { folder: folder.clone(), source };
    fs::remove_file(&file).map_err(cannot_remove)?;
    for (file_name, _) in LOGOS {
        match fs::remove_file(folder.join(file_name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot_remove(error)),
            _ => {}
        }
    }
    match fs::remove_dir(&folder) {
        Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(cannot_remove(error)),
        _ => Ok(folder),
    }
}

fn filled_in(program: &Path) -> Result<Vec<u8>, InstallError> {
    let path = program.to_str().ok_or_else(|| InstallError::OddPath(program.to_owned()))?;
    let mut spec: Value = serde_json::from_str(TEMPLATE)?;
    for word in spec.get_mut("argv").and_then(Value::as_array_mut).into_iter().flatten() {
        if word.as_str() == Some(PROGRAM) {
            *word = Value::from(path);
        }
    }
    Ok(serde_json::to_vec_pretty(&spec)?)
}

fn is_ours(kernel_json: &[u8]) -> bool {
    serde_json::from_slice::<Value>(kernel_json)
        .is_ok_and(|spec| spec.get("language").and_then(Value::as_str) == Some("hotplate"))
}

fn kernel_folder(place: &InstallPrefix, name: &str) -> Result<PathBuf, InstallError> {
    // Jupyter's own rule for names.
    let good = !name.is_empty()
        && !name.starts_with('.')
        && name.chars().all(|character| character.is_ascii_alphanumeric() || "._-".contains(character));
    if !good {
        return Err(InstallError::BadName(name.to_owned()));
    }
    let data = match place {
        InstallPrefix::User => user_data_folder()?,
        InstallPrefix::Prefix(prefix) => prefix.join("share/jupyter"),
        InstallPrefix::SysPrefix => python_prefix()?.join("share/jupyter"),
    };
    Ok(data.join("kernels").join(name))
}

/// As `jupyter --data-dir` says it.
fn user_data_folder() -> Result<PathBuf, InstallError> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("JUPYTER_DATA_DIR") {
        return Ok(folder);
    }
    let home = || set("HOME").ok_or(InstallError::NoHome);
    if cfg!(target_os = "macos") {
        Ok(home()?.join("Library/Jupyter"))
    } else if cfg!(windows) {
        Ok(set("APPDATA").ok_or(InstallError::NoHome)?.join("jupyter"))
    } else if let Some(folder) = set("XDG_DATA_HOME") {
        Ok(folder.join("jupyter"))
    } else {
        Ok(home()?.join(".local/share/jupyter"))
    }
}

fn python_prefix() -> Result<PathBuf, InstallError> {
    let active =
        ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(env::var_os).find(|prefix| !prefix.is_empty());
    if let Some(prefix) = active {
        return Ok(prefix.into());
    }
    let asked = Command::new("python3").args(["-c", "import sys; print(sys.prefix)"]).output();
    match asked {
        Ok(answer) if answer.status.success() => {
            let prefix = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
            if prefix.is_empty() { Err(InstallError::NoPython) } else { Ok(prefix.into()) }
        }
        _ => Err(InstallError::NoPython),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_filled_in() {
        let spec: Value =
            serde_json::from_slice(&filled_in(Path::new("/opt/a \"b\"/kernel")).unwrap()).unwrap();
        assert_eq!(spec["argv"], serde_json::json!(["/opt/a \"b\"/kernel", "run", "{connection_file}"]));
        assert_eq!(spec["interrupt_mode"], "message");
        assert_eq!(spec["display_name"], "Hotplate");
        assert!(is_ours(&serde_json::to_vec(&spec).unwrap()));
    }

    #[test]
    fn install_and_uninstall_leave_nothing() {
        let prefix = tempfile::tempdir().unwrap();
        let place = InstallPrefix::Prefix(prefix.path().to_owned());
        let folder = install(&place, "hot.plate-2").unwrap();
        assert_eq!(folder, prefix.path().join("share/jupyter/kernels/hot.plate-2"));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 4);
        install(&place, "hot.plate-2").unwrap();
        assert_eq!(uninstall(&place, "hot.plate-2").unwrap(), folder);
        assert!(!folder.exists());
        assert!(matches!(uninstall(&place, "hot.plate-2"), Err(InstallError::NotInstalled(_))));
    }

    #[test]
    fn other_kernels_and_files_are_left_alone() {
        let prefix = tempfile::tempdir().unwrap();
        let place = InstallPrefix::Prefix(prefix.path().to_owned());
        let folder = install(&place, "mine").unwrap();
        fs::write(folder.join("notes.txt"), "mine").unwrap();
        uninstall(&place, "mine").unwrap();
        assert!(folder.join("notes.txt").exists());
        fs::write(folder.join("kernel.json"), r#"{"language":"python"}"#).unwrap();
        assert!(matches!(uninstall(&place, "mine"), Err(InstallError::NotOurs(_))));
        for name in ["", "..", "a/b", "ü", ".hidden"] {
            assert!(matches!(install(&place, name), Err(InstallError::BadName(_))), "{name}");
        }
    }
}
