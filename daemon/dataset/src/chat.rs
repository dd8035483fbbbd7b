//! A conversation as a record holds it: turns, and the tools that the assistant may call.
//!
//! A turn knows what training must know (whose it is, its text) and keeps the message that it came from, with all its
//! keys in their order, so that a chat template sees what transformers would show it.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Map, Value};

use crate::mark::{MARKS, Mark};

/// Turns in order. Only the assistant's are learnt; there is at least one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chat {
    pub turns: Vec<Turn>,
    /// A list of function descriptions, as templates get them.
    pub tools: Option<Value>,
    /// The first so many turns lead to what is learnt and are not learnt themselves: a prompt given as messages.
    pub context: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    pub role: Role,
    /// Its text; parts are joined by line breaks, and no text at all is empty.
    pub content: String,
    /// The message itself, where it says more than a role and a text.
    pub message: Option<Box<Map<String, Value>>>,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    System,
    /// OpenAI's newer word for the system's turn; templates that do not know it say so.
    Developer,
    User,
    Assistant,
    /// What a tool answered.
    Tool,
}

impl Role {
    pub const ALL: [Role; 5] = [Role::System, Role::Developer, Role::User, Role::Assistant, Role::Tool];

    /// As JSON and chat templates spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::Developer => "developer",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        }
    }

    /// The role that a message's word means. Some families have words of their own; the message keeps them.
    pub(crate) fn of(word: &str) -> Option<Role> {
        match word {
            "ipython" | "function" => Some(Role::Tool),
            "model" => Some(Role::Assistant),
            _ => Role::ALL.into_iter().find(|known| known.name() == word),
        }
    }
}

impl Chat {
    pub fn new(turns: Vec<Turn>) -> Self {
        Self { turns, tools: None, context: 0 }
    }

    /// The same conversation with its turns the other way round: those of the assistant that are marked as not to be learnt are learnt,
    /// and no others. `None`: none is marked.
    pub fn marked_off(&self) -> Option<Chat> {
        let is_off = |turn: &Turn| turn.role == Role::Assistant && !turn.is_learnt();
        if !self.turns.iter().any(is_off) {
            return None;
        }
        let mut chat = Chat { context: 0, ..self.clone() };
        for turn in chat.turns.iter_mut().filter(|turn| turn.role == Role::Assistant) {
            let off = is_off(turn);
            let mut message = turn.message().into_owned();
            message.retain(|name, _| !MARKS.contains(&name.as_str()));
            if !off {
                message.insert("weight".to_owned(), Value::from(0));
            }
            turn.message = Some(Box::new(message));
        }
        Some(chat)
    }

    /// Which turns may carry loss, in order.
    pub fn learnt(&self) -> impl DoubleEndedIterator<Item = usize> {
        let turns = self.turns.iter().enumerate();
        turns.filter(|(at, turn)| *at >= self.context && turn.is_learnt()).map(|(at, _)| at)
    }
}

impl Turn {
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into(), message: None }
    }

    /// Whether it is the assistant's and not marked as not to be learnt: `"weight": 0`, `"train": false` and their like.
    pub fn is_learnt(&self) -> bool {
        self.role == Role::Assistant
            && MARKS.iter().filter_map(|name| self.key(name)).all(|value| Mark::of(value).is_learnt())
    }

    /// A key of the message beside role and text.
    pub fn key(&self, name: &str) -> Option<&Value> {
        self.message.as_ref()?.get(name)
    }

    /// Whether the assistant calls a tool here.
    pub fn calls_tools(&self) -> bool {
        self.key("tool_calls").and_then(Value::as_array).is_some_and(|calls| !calls.is_empty())
            || self.key("function_call").is_some()
    }

    /// Whether the text was written as a list of parts.
    pub fn has_parts(&self) -> bool {
        self.key("content").is_some_and(Value::is_array)
    }

    /// The same turn with its parts as one text.
    #[must_use]
    pub fn flat(&self) -> Turn {
        let mut turn = self.clone();
        if self.has_parts()
            && let Some(message) = &mut turn.message
        {
            message.insert("content".to_owned(), Value::String(self.content.clone()));
        }
        turn
    }

    /// The message, keys in the order of the record.
    pub fn message(&self) -> Cow<'_, Map<String, Value>> {
        match &self.message {
            Some(message) => Cow::Borrowed(message),
            None => Cow::Owned(
                [("role", self.role.name()), ("content", &self.content)]
                    .map(|(key, text)| (key.to_owned(), Value::from(text)))
                    .into_iter()
                    .collect(),
            ),
        }
    }
}

/// As the message itself.
impl Serialize for Turn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(message) = &self.message {
            message.serialize(serializer)
        } else {
            let mut message = serializer.serialize_map(Some(2))?;
            message.serialize_entry("role", self.role.name())?;
            message.serialize_entry("content", &self.content)?;
            message.end()
        }
    }
}
