//! `ORG/NAME`, or `ORG/NAME@REVISION`.

use std::fmt;
use std::str::FromStr;

use super::HubError;

/// A model on the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubName {
    /// `ORG/NAME`.
    pub id: String,
    /// A branch, a tag or a commit; `None`: the main branch.
    pub revision: Option<String>,
}

impl HubName {
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }
}

impl FromStr for HubName {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        let (id, revision) = match text.split_once('@') {
            Some((id, revision)) => (id, Some(revision.to_owned())),
            None => (text, None),
        };
        let named = id.split_once('/').is_some_and(|(org, name)| is_part(org) && is_part(name));
        if !named || revision.as_deref().is_some_and(|revision| !is_revision(revision)) {
            return Err(HubError::BadName { name: text.to_owned() });
        }
        Ok(Self { id: id.to_owned(), revision })
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.revision {
            Some(revision) => write!(f, "{}@{revision}", self.id),
            None => f.write_str(&self.id),
        }
    }
}

/// The hub's own rule: letters, digits, `-`, `_` and `.`, but no path in disguise.
fn is_part(part: &str) -> bool {
    !part.is_empty()
        && part.len() <= 96
        && !part.starts_with(['.', '-'])
        && !part.ends_with(['.', '-'])
        && !part.contains("--")
        && !part.contains("..")
        && part.chars().all(|char| char.is_ascii_alphanumeric() || "-_.".contains(char))
}

/// May hold slashes (`refs/pr/1`); becomes a path in the cache.
pub fn is_revision(revision: &str) -> bool {
    !revision.is_empty()
        && revision.split('/').all(|part| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.chars().all(|char| char.is_ascii_alphanumeric() || "-_.+".contains(char))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_paths() {
        let name: HubName = "Qwen/Qwen2.5-0.5B".parse().unwrap();
        assert_eq!((name.id.as_str(), name.revision()), ("Qwen/Qwen2.5-0.5B", "main"));
        let name: HubName = "a/b@refs/pr/1".parse().unwrap();
        assert_eq!((name.to_string().as_str(), name.revision()), ("a/b@refs/pr/1", "refs/pr/1"));
        for bad in [
            "", "a", "/a/b", "./a", "../a", "a/b/c", "a/", "a b/c", "~/a", "a/b@", "a/b@../x", "a/..",
            "a--b/c",
        ] {
            assert!(bad.parse::<HubName>().is_err(), "{bad}");
        }
    }
}
