//! The shape of a JSONL record, read without building what is not needed: a record with a megabyte of foreign fields costs
//! no more memory than its text. Wrong kinds are values here, not errors, so that a finding can name them.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::chat::{Role, Turn};

/// More names than this are not worth naming.
const MOST_NAMES: usize = 12;

/// What kind of value stands where another one is wanted: "a number", "a list", ...
pub(crate) type Kind = &'static str;

pub(crate) enum Record {
    Object {
        text: Option<Field>,
        prompt: Option<Field>,
        completion: Option<Field>,
        messages: Option<Messages>,
        /// The names of all fields, up to a dozen.
        names: Vec<String>,
    },
    Other(Kind),
}

pub(crate) enum Field {
    Text(String),
    Other(Kind),
}

pub(crate) enum Messages {
    Turns(Vec<Turn>),
    /// The first message that is wrong, counted from 1.
    Fault {
        message: usize,
        fault: ChatFault,
    },
    Other(Kind),
}

pub(crate) enum ChatFault {
    NotAnObject(Kind),
    NotText { field: &'static str, kind: Kind },
    Missing { field: &'static str, names: Vec<String> },
    UnknownRole(String),
}

/// One element of `messages`.
enum Message {
    Object { role: Option<Field>, content: Option<Field>, names: Vec<String> },
    Other(Kind),
}

impl Message {
    fn into_turn(self) -> Result<Turn, ChatFault> {
        let (role, content, names) = match self {
            Message::Other(kind) => return Err(ChatFault::NotAnObject(kind)),
            Message::Object { role, content, names } => (role, content, names),
        };
        let text = |field, value| match value {
            Some(Field::Text(text)) => Ok(text),
            Some(Field::Other(kind)) => Err(ChatFault::NotText { field, kind }),
            None => Err(ChatFault::Missing { field, names: names.clone() }),
        };
        let role = text("role", role)?;
        let content = text("content", content)?;
        match Role::ALL.into_iter().find(|known| known.name() == role) {
            Some(role) => Ok(Turn::new(role, content)),
            None => Err(ChatFault::UnknownRole(role)),
        }
    }
}

/// A value that any JSON can be read into: what it wants, or the kind of what stands there.
trait Shape: Sized {
    fn other(kind: Kind) -> Self;

    fn text(_: &str) -> Self {
        Self::other("text")
    }

    fn list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::other("a list"))
    }

    fn object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::other("an object"))
    }
}

struct Shaped<S>(PhantomData<S>);

impl<'de, S: Shape> Visitor<'de> for Shaped<S> {
    type Value = S;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<S, E> {
        Ok(S::other("null"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<S, E> {
        Ok(S::other("a boolean"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<S, E> {
        Ok(S::other("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<S, E> {
        Ok(S::other("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<S, E> {
        Ok(S::other("a number"))
    }

    fn visit_str<E>(self, text: &str) -> Result<S, E> {
        Ok(S::text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<S, A::Error> {
        S::list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<S, A::Error> {
        S::object(object)
    }
}

macro_rules! deserialize_any_json {
    ($($shape:ty),*) => {$(
        impl<'de> Deserialize<'de> for $shape {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Shaped::<$shape>(PhantomData))
            }
        }
    )*};
}
deserialize_any_json!(Record, Field, Messages, Message);

impl Shape for Field {
    fn other(kind: Kind) -> Self {
        Field::Other(kind)
    }

    fn text(text: &str) -> Self {
        Field::Text(text.to_owned())
    }
}

impl Shape for Record {
    fn other(kind: Kind) -> Self {
        Record::Other(kind)
    }

    fn object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let (mut text, mut prompt, mut completion, mut messages) = (None, None, None, None);
        let mut names = Vec::new();
        while let Some(name) = object.next_key::<String>()? {
            match name.as_str() {
                "text" => text = Some(object.next_value()?),
                "prompt" => prompt = Some(object.next_value()?),
                "completion" => completion = Some(object.next_value()?),
                "messages" => messages = Some(object.next_value()?),
                _ => drop(object.next_value::<IgnoredAny>()?),
            }
            note_name(&mut names, name);
        }
        Ok(Record::Object { text, prompt, completion, messages, names })
    }
}

impl Shape for Messages {
    fn other(kind: Kind) -> Self {
        Messages::Other(kind)
    }

    fn list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut turns = Vec::new();
        while let Some(message) = list.next_element::<Message>()? {
            match message.into_turn() {
                Ok(turn) => turns.push(turn),
                Err(fault) => {
                    while list.next_element::<IgnoredAny>()?.is_some() {}
                    return Ok(Messages::Fault { message: turns.len() + 1, fault });
                }
            }
        }
        Ok(Messages::Turns(turns))
    }
}

impl Shape for Message {
    fn other(kind: Kind) -> Self {
        Message::Other(kind)
    }

    fn object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let (mut role, mut content) = (None, None);
        let mut names = Vec::new();
        while let Some(name) = object.next_key::<String>()? {
            match name.as_str() {
                "role" => role = Some(object.next_value()?),
                "content" => content = Some(object.next_value()?),
                _ => drop(object.next_value::<IgnoredAny>()?),
            }
            note_name(&mut names, name);
        }
        Ok(Message::Object { role, content, names })
    }
}

fn note_name(names: &mut Vec<String>, name: String) {
    if names.len() < MOST_NAMES {
        names.push(name);
    }
}
