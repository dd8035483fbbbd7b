//! How raw prose is learnt: as it is, as the answer to an instruction that is made from its title, or as both.
//!
//! A chat base answers instructions. Prose that it only ever saw as plain text colours its plain text; prose that it saw as
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
    Plain,
    /// The text as the answer to an instruction, or alone where it has no title. Only for bases with a chat template, where it is the default.
    #[default]
    Answers,
    /// The text alone, and the text as the answer to an instruction. Only for bases with a chat template.
    Instruct,
}

impl Style {
    pub const ALL: [Style; 3] = [Style::Plain, Style::Answers, Style::Instruct];

    /// As recipes and commands spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Style::Plain => "plain",
            Style::Answers => "answers",
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
#[error("style is \"plain\", \"answers\" or \"instruct\", not {0:?}")]
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
        let alone = Cow::Borrowed(&self.content);
        let (Content::Text(text), Some(title)) = (&self.content, &self.title) else { return vec![alone] };
        let answer = || {
            let prompt = Language::of(text).instruction(title);
            Cow::Owned(Content::Completion { prompt, completion: text.clone() })
        };
        match style {
            Style::Plain => vec![alone],
            Style::Answers => vec![answer()],
            Style::Instruct => vec![alone, answer()],
        }
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
        assert_eq!(note.forms(Style::Answers), [Cow::Owned(answer.clone())]);
        assert_eq!(note.forms(Style::Instruct), [Cow::Borrowed(&note.content), Cow::Owned(answer)]);
    }
}
