//! Names of adapters: which are allowed, what a folder's is, and how a version is asked for.

use std::path::Path;

use hotplate_protocol::{ErrorCode, RpcError};

const LONGEST: usize = 64;

/// A name that is also a folder's: letters and digits of any script, `-`, `_`, `.`.
fn is_allowed(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '-' | '_' | '.')
}

/// What a person wrote, as it is, or why not.
pub(crate) fn check(name: &str) -> Result<(), RpcError> {
    if sanitise(name) == name {
        return Ok(());
    }
    let message = format!(
        "{name:?} cannot be an adapter's name; use letters, digits, '-', '_' and '.', at most {LONGEST} bytes, for example {:?}",
        sanitise(name)
    );
    Err(RpcError::new(ErrorCode::InvalidParams, message))
}

/// The name that a folder gives its adapter.
pub(crate) fn of_folder(folder: &Path) -> String {
    sanitise(&folder.file_name().unwrap_or_default().to_string_lossy())
}

fn sanitise(text: &str) -> String {
    let replaced: String = text.chars().map(|c| if is_allowed(c) { c } else { '-' }).collect();
    let mut name = replaced.trim_matches(['-', '.']).to_owned();
    while name.len() > LONGEST {
        name.pop();
    }
    if name.is_empty() { "adapter".to_owned() } else { name }
}

/// What `-a` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted<'a> {
    Folder(&'a Path),
    Name { name: &'a str, version: Option<u32> },
}

pub(crate) fn parse(text: &str) -> Result<Wanted<'_>, RpcError> {
    if Path::new(text).is_absolute() {
        return Ok(Wanted::Folder(Path::new(text)));
    }
    let Some((name, version)) = text.rsplit_once('@') else {
        return Ok(Wanted::Name { name: text, version: None });
    };
    if let Ok(number) = version.trim_start_matches('v').parse() {
        return Ok(Wanted::Name { name, version: Some(number) });
    }
    let message = format!("{version:?} is no version; write {name}@3 for version 3 of {name}");
    Err(RpcError::new(ErrorCode::UnusableAdapter, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_give_names_that_are_allowed() {
        let name = |folder: &str| of_folder(Path::new(folder));
        assert_eq!(name("/home/u/notes"), "notes");
        assert_eq!(name("/home/u/My notes (2)"), "My-notes--2");
        assert_eq!(name("/home/u/笔记"), "笔记");
        assert_eq!(name("/"), "adapter");
        assert_eq!(name("/a/.hidden"), "hidden");
        assert!(name(&format!("/{}", "长".repeat(90))).len() <= LONGEST);
        for folder in ["/home/u/My notes (2)", "/x@3", "/..", "/笔记"] {
            assert!(check(&name(folder)).is_ok());
        }
    }

    #[test]
    fn paths_and_oddities_are_refused() {
        for name in ["", "..", "a/b", "a@3", "a b", ".hidden"] {
            assert!(check(name).is_err(), "{name}");
        }
    }

    #[test]
    fn versions_and_folders_are_told_apart() {
        assert_eq!(parse("notes").unwrap(), Wanted::Name { name: "notes", version: None });
        assert_eq!(parse("notes@3").unwrap(), Wanted::Name { name: "notes", version: Some(3) });
        assert_eq!(parse("notes@v3").unwrap(), Wanted::Name { name: "notes", version: Some(3) });
        assert_eq!(parse("/x/notes@3").unwrap(), Wanted::Folder(Path::new("/x/notes@3")));
        assert!(parse("notes@best").is_err());
    }
}
