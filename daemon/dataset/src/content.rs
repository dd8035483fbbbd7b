//! What an example is, and the hash that names it. The hash is of the content, never of the place: a note that
//! moves to another file stays the same example.
//!
//! What older versions could not read is hashed in addition, so that examples they knew keep their names.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::chat::{Chat, Role};

/// A BLAKE3 hash; shown, stored and read as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ContentHash([u8; 32]);

/// The name of an example: the hash of its content.
pub type ExampleId = ContentHash;

/// The text is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a content hash is 64 hexadecimal digits")]
pub struct NotAHash;

impl ContentHash {
    pub fn of(bytes: &[u8]) -> Self {
        blake3::hash(bytes).into()
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight bytes as a number: uniform over all of `u64`, the same on every machine.
    pub(crate) fn number(&self) -> u64 {
        self.0.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

impl From<blake3::Hash> for ContentHash {
    fn from(hash: blake3::Hash) -> Self {
        Self(hash.into())
    }
}

impl From<ContentHash> for String {
    fn from(hash: ContentHash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for ContentHash {
    type Error = NotAHash;

    fn try_from(text: String) -> Result<Self, NotAHash> {
        text.parse()
    }
}

impl FromStr for ContentHash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Self, NotAHash> {
        blake3::Hash::from_hex(text).map(Self::from).map_err(|_| NotAHash)
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&blake3::Hash::from(self.0).to_hex())
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// One training item and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    pub id: ExampleId,
    pub content: Content,
    /// What a text is called: its front matter, heading, first line or file says so. No part of the content.
    pub title: Option<String>,
    /// Relative to the dataset's folder.
    pub file: PathBuf,
    /// First and last line, from 1, without the blank lines around it; in a table without lines, the row twice.
    pub lines: (usize, usize),
}

/// What there is to learn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Learnt from its first to its last character.
    Text(String),
    /// Only the completion is learnt.
    Completion { prompt: String, completion: String },
    /// Only the assistant's turns are learnt; there is at least one.
    Chat(Chat),
}

impl Content {
    /// The name of an example with this content. Kinds and borders are hashed too: "ab" + "c" is not "a" + "bc".
    ///
    /// What older versions could not read (tools, keys beside role and text) is hashed in addition, so that what they could
    /// read keeps its name.
    pub fn id(&self) -> ExampleId {
        let mut hasher = blake3::Hasher::new();
        let mut field = |kind: &str, text: &str| {
            hasher.update(kind.as_bytes());
            hasher.update(&[0]);
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        match self {
            Content::Text(text) => field("text", text),
            Content::Completion { prompt, completion } => {
                field("prompt", prompt);
                field("completion", completion);
            }
            Content::Chat(Chat { turns, tools, context }) => {
                for turn in turns {
                    field(turn.role.name(), &turn.content);
                    if let Some(message) = &turn.message {
                        // A map of texts always becomes JSON.
                        field("message", &serde_json::to_string(message).unwrap_or_default());
                    }
                }
                if let Some(tools) = tools {
                    field("tools", &tools.to_string());
                }
                if *context > 0 {
                    field("context", &context.to_string());
                }
            }
        }
        hasher.finalize().into()
    }

    /// Everything that somebody wrote in it.
    pub(crate) fn words(&self) -> String {
        match self {
            Content::Text(text) => text.clone(),
            Content::Completion { prompt, completion } => format!("{prompt}\n{completion}"),
            Content::Chat(chat) => {
                chat.turns.iter().map(|turn| turn.content.as_str()).collect::<Vec<_>>().join("\n")
            }
        }
    }

    /// Whether there is nothing to learn in it: no visible character, and no call of a tool, where loss would lie.
    pub fn is_empty(&self) -> bool {
        match self {
            Content::Text(text) => text.trim().is_empty(),
            Content::Completion { completion, .. } => completion.trim().is_empty(),
            Content::Chat(chat) => chat
                .turns
                .iter()
                .skip(chat.context)
                .filter(|turn| turn.role == Role::Assistant)
                .all(|turn| turn.content.trim().is_empty() && !turn.calls_tools()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Turn;

    #[test]
    fn ids_differ_where_contents_do() {
        let completion =
            |a: &str, b: &str| Content::Completion { prompt: a.into(), completion: b.into() }.id();
        let chat = |role| Content::Chat(Chat::new(vec![Turn::new(role, "a")])).id();
        assert_ne!(completion("ab", "c"), completion("a", "bc"));
        assert_ne!(Content::Text("a".into()).id(), chat(Role::User));
        assert_ne!(chat(Role::User), chat(Role::Assistant));
        assert_eq!(chat(Role::User), chat(Role::User));
    }

    #[test]
    fn an_id_survives_text_and_json() {
        let id = Content::Text("面".into()).id();
        assert_eq!(id.to_string().parse::<ExampleId>().unwrap(), id);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<ExampleId>(&json).unwrap(), id);
        assert_eq!("zz".parse::<ExampleId>(), Err(NotAHash));
    }
}
