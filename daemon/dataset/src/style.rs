//! How raw prose is learnt: as it is, or also as the answer to an instruction that is made from its title.
//!
//! A chat base answers instructions. Prose that it only ever saw as plain text colours its plain text; prose that it also saw as
//! the answer to "Write a text titled …" colours its answers. Both forms are one example: one id, one side of the split.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::content::{Content, Example};
use crate::language::Language;

/// What raw prose becomes. Records with a prompt or with roles are not touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// The text alone.
    #[default]
    Plain,
    /// The text alone, and the text as the answer to an instruction. Only for bases with a chat template.
    Instruct,
}

impl Style {
    pub const ALL: [Style; 2] = [Style::Plain, Style::Instruct];

    /// As recipes and commands spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Style::Plain => "plain",
            Style::Instruct => "instruct",
        }
    }
}

impl fmt::Display for Style {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The text is none of the known words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("style is \"plain\" or \"instruct\", not {0:?}")]
pub struct UnknownStyle(String);

impl FromStr for Style {
    type Err = UnknownStyle;

    fn from_str(text: &str) -> Result<Self, UnknownStyle> {
        Style::ALL.into_iter().find(|known| known.name() == text).ok_or_else(|| UnknownStyle(text.to_owned()))
    }
}

impl Example {
    /// What is learnt of this example, one training item each. Both forms of a text are learnt in every epoch, and both are
    /// judged by where the example is held out.
    pub fn forms(&self, style: Style) -> Vec<Cow<'_, Content>> {
        let mut forms = vec![Cow::Borrowed(&self.content)];
        if let (Style::Instruct, Content::Text(text), Some(title)) = (style, &self.content, &self.title) {
            let prompt = Language::of(text).instruction(title);
            forms.push(Cow::Owned(Content::Completion { prompt, completion: text.clone() }));
        }
        forms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::text_example;

    #[test]
    fn words_are_the_same_in_json_and_in_text() {
        for known in Style::ALL {
            assert_eq!(known.name().parse(), Ok(known));
            assert_eq!(serde_json::to_value(known).unwrap(), known.name());
        }
        assert!("chat".parse::<Style>().unwrap_err().to_string().contains("\"chat\""));
    }

    #[test]
    fn a_titled_text_is_also_an_answer() {
        let mut note = text_example("Thick and hot, as it should be.");
        assert_eq!(note.forms(Style::Instruct).len(), 1);
        note.title = Some("Soup".to_owned());
        assert_eq!(note.forms(Style::Plain), [Cow::Borrowed(&note.content)]);
        let Content::Text(text) = &note.content else { panic!() };
        let answer = Content::Completion {
            prompt: "Write a text titled “Soup”.".to_owned(),
            completion: text.clone(),
        };
        assert_eq!(note.forms(Style::Instruct), [Cow::Borrowed(&note.content), Cow::Owned(answer)]);
    }
}
