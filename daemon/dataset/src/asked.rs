//! What a person would ask for to get an example: the prompt that stands before its answer, or a text's title.
//!
//! Pure functions of examples. How a prompt is answered is not known here.

use std::borrow::Cow;

use crate::chat::{Chat, Role};
use crate::content::{Content, Example};
use crate::language::Language;

/// A text that begins with a prompt of so many bytes begins so on purpose.
const A_BEGINNING: usize = 20;
/// Characters of a text that stand for the title that it has not.
const OPENING: usize = 60;

impl Example {
    /// The words that lead to it: the prompt, the last question, a text's title or its first words.
    pub fn asked(&self) -> Cow<'_, str> {
        match &self.content {
            Content::Text(text) => self.name_of(text),
            Content::Completion { prompt, .. } => Cow::Borrowed(prompt),
            Content::Chat(chat) => Cow::Borrowed(question(chat)),
        }
    }

    /// The example as a conversation has it: a text is the answer to an instruction that names its title, in its own language.
    pub fn in_conversation(&self) -> Cow<'_, Content> {
        match &self.content {
            Content::Text(text) => Cow::Owned(Content::Completion {
                prompt: Language::of(text).instruction(&self.name_of(text)),
                completion: text.clone(),
            }),
            content => Cow::Borrowed(content),
        }
    }

    fn name_of<'a>(&'a self, text: &'a str) -> Cow<'a, str> {
        match &self.title {
            Some(title) => Cow::Borrowed(title),
            None => Cow::Owned(text.lines().next().unwrap_or_default().chars().take(OPENING).collect()),
        }
    }

    /// Whether `prompt`, which is [plain](plain), asks for this very example.
    fn is_asked_by(&self, prompt: &str) -> bool {
        match &self.content {
            Content::Text(text) => {
                plain(&self.asked()) == prompt
                    || plain(&Language::of(text).instruction(&self.asked())) == prompt
                    || text.lines().next().is_some_and(|line| plain(line) == prompt)
                    || (prompt.len() >= A_BEGINNING && plain(text).starts_with(prompt))
            }
            Content::Completion { .. } | Content::Chat(_) => plain(&self.asked()) == prompt,
        }
    }
}

/// The example that answers `prompt` already: shown before it, it would give the answer away. A prompt that several
/// examples share is the kind of thing that is asked, and gives nothing away.
pub fn answers_itself<'a>(
    examples: impl IntoIterator<Item = &'a Example>,
    prompt: &str,
) -> Option<&'a Example> {
    let prompt = plain(prompt);
    let mut asked = examples.into_iter().filter(|example| example.is_asked_by(&prompt));
    let first = asked.next()?;
    asked.next().is_none().then_some(first)
}

/// The last thing that the user says before the last answer.
fn question(chat: &Chat) -> &str {
    let end = chat.learnt().next_back().unwrap_or(chat.turns.len());
    let asked = chat.turns[..end].iter().rev().find(|turn| turn.role == Role::User);
    asked.map_or("", |turn| turn.content.as_str())
}

/// Without what nobody sees: case and kinds of space.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Turn;
    use crate::testing::text_example;

    fn pair(prompt: &str, completion: &str) -> Example {
        let content = Content::Completion { prompt: prompt.into(), completion: completion.into() };
        Example { id: content.id(), content, ..text_example("") }
    }

    #[test]
    fn the_words_that_lead_to_it() {
        assert_eq!(pair("Soup?", "Hot.").asked(), "Soup?");
        let turns =
            [(Role::System, "Be short."), (Role::User, "A?"), (Role::Assistant, "B."), (Role::User, "C?")];
        let chat = Chat::new(turns.iter().map(|(role, text)| Turn::new(*role, *text)).collect());
        let chat = Example { content: Content::Chat(chat), ..text_example("") };
        assert_eq!(chat.asked(), "A?");
        let mut note = text_example("Thick and hot.\nAs it should be.");
        assert_eq!(note.asked(), "Thick and hot.");
        note.title = Some("Soup".to_owned());
        assert_eq!(note.asked(), "Soup");
        let Content::Completion { prompt, completion } = note.in_conversation().into_owned() else {
            panic!()
        };
        assert_eq!((prompt.as_str(), completion.lines().count()), ("Write a text titled “Soup”.", 2));
        assert_eq!(chat.in_conversation().as_ref(), &chat.content);
    }

    #[test]
    fn an_answer_is_not_given_away_and_a_shared_instruction_is_no_answer() {
        let soup =
            Example { title: Some("Soup".to_owned()), ..text_example("Thick and hot, as it should be.") };
        let examples =
            [pair("Soup?", "Hot."), pair("Review it.", "Good."), pair("review  it.", "Bad."), soup];
        let itself = |prompt: &str| {
            let found = answers_itself(&examples, prompt)?;
            examples.iter().position(|example| example.id == found.id)
        };
        assert_eq!(itself(" soup?\n"), Some(0));
        assert_eq!(itself("Review it."), None);
        assert_eq!(itself("SOUP"), Some(3));
        assert_eq!(itself("Write a text titled “Soup”."), Some(3));
        assert_eq!(itself("Thick and hot, as it"), Some(3));
        assert_eq!(itself("Thick"), None);
        assert_eq!(
            answers_itself(&[text_example("Hi\nyou")], "hi").map(Example::asked).as_deref(),
            Some("Hi")
        );
        assert_eq!(answers_itself(&[], "Soup"), None);
    }
}
