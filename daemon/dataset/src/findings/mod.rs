//! What can be wrong with a place of a dataset. One file per code: its page, its words, its tests.
//!
//! A new code is one file and its line in the table below. Numbers are stable: they are never given twice.

mod bad_recipe;
mod conflict_copy;
mod dataset_card;
mod draft;
mod duplicate;
mod empty;
mod front_matter;
mod invalid_json;
mod invalid_parquet;
mod invalid_table;
mod missing_column;
mod missing_field;
mod no_answer;
mod not_utf8;
mod nothing_learnt;
mod null_characters;
mod other_encoding;
mod preference_data;
mod record_too_large;
mod template_leakage;
mod template_refuses;
mod text_arguments;
mod too_long;
mod turn_left_out;
mod unclear_columns;
mod unknown_role;
mod unread_list;
mod unread_mark;
mod unreadable;
mod unsupported_file;
mod unsure_border;
mod wrong_type;

use std::path::{Path, PathBuf};

pub(crate) use hotplate_protocol::knobs::quoted as shown;

pub use bad_recipe::bad_recipe;
pub(crate) use conflict_copy::conflict_copy;
pub(crate) use dataset_card::{CardSign, dataset_card};
pub(crate) use draft::draft;
pub(crate) use duplicate::duplicate;
pub(crate) use empty::{EmptyPlace, empty};
pub(crate) use front_matter::front_matter;
pub(crate) use invalid_json::invalid_json;
pub(crate) use invalid_parquet::invalid_parquet;
pub(crate) use invalid_table::{TableFault, invalid_table};
pub(crate) use missing_column::missing_column;
pub(crate) use missing_field::missing_field;
pub(crate) use no_answer::no_answer;
pub(crate) use not_utf8::{BadByte, not_utf8};
pub(crate) use nothing_learnt::{marked_off, nothing_learnt};
pub(crate) use null_characters::null_characters;
pub(crate) use other_encoding::other_encoding;
pub(crate) use preference_data::preference_data;
pub(crate) use record_too_large::record_too_large;
pub(crate) use template_leakage::template_leakage;
pub(crate) use template_refuses::template_refuses;
pub(crate) use text_arguments::text_arguments;
pub(crate) use too_long::too_long;
pub(crate) use turn_left_out::turn_left_out;
pub(crate) use unclear_columns::unclear_columns;
pub(crate) use unknown_role::unknown_role;
pub(crate) use unread_list::unread_list;
pub(crate) use unread_mark::{Marked, unread_mark};
pub(crate) use unreadable::unreadable;
pub(crate) use unsupported_file::{UNSUPPORTED, unsupported_file};
pub(crate) use unsure_border::{RuleReading, unsure_border};
pub(crate) use wrong_type::wrong_type;

/// What is the same for all findings of a code.
struct Rule {
    code: &'static str,
    name: &'static str,
    remedy: &'static str,
    skips: bool,
}

macro_rules! codes {
    ($($variant:ident => $module:ident,)*) => {
        /// The kind of a finding. Each has a page: the documentation of its module.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = concat!("See the page in `findings/", stringify!($module), ".rs`.")] $variant,)*
        }

        impl Code {
            /// All codes, in the order of their numbers.
            pub const ALL: &[Code] = &[$(Code::$variant,)*];

            const fn rule(self) -> &'static Rule {
                match self { $(Code::$variant => &$module::RULE,)* }
            }

            /// The source of the module, whose head is the page.
            #[cfg(test)]
            const fn source(self) -> &'static str {
                match self { $(Code::$variant => include_str!(concat!(stringify!($module), ".rs")),)* }
            }
        }
    };
}

codes! {
    Empty => empty,
    Duplicate => duplicate,
    InvalidJson => invalid_json,
    MissingField => missing_field,
    NotUtf8 => not_utf8,
    TooLong => too_long,
    RecordTooLarge => record_too_large,
    Unreadable => unreadable,
    UnsupportedFile => unsupported_file,
    WrongType => wrong_type,
    UnknownRole => unknown_role,
    NoAnswer => no_answer,
    BadRecipe => bad_recipe,
    PreferenceData => preference_data,
    InvalidTable => invalid_table,
    UnreadList => unread_list,
    InvalidParquet => invalid_parquet,
    NothingLearnt => nothing_learnt,
    TemplateRefuses => template_refuses,
    TemplateLeakage => template_leakage,
    NullCharacters => null_characters,
    UnreadMark => unread_mark,
    TextArguments => text_arguments,
    OtherEncoding => other_encoding,
    UnclearColumns => unclear_columns,
    MissingColumn => missing_column,
    FrontMatter => front_matter,
    Draft => draft,
    DatasetCard => dataset_card,
    UnsureBorder => unsure_border,
    ConflictCopy => conflict_copy,
    TurnLeftOut => turn_left_out,
}

impl Code {
    /// `HP001` and so on; stable.
    pub const fn code(self) -> &'static str {
        self.rule().code
    }

    /// `empty`, `duplicate`, ...
    pub const fn name(self) -> &'static str {
        self.rule().name
    }

    /// What to do about it, one line.
    pub const fn remedy(self) -> &'static str {
        self.rule().remedy
    }

    /// Whether the place is left out of training because of it.
    pub const fn skips(self) -> bool {
        self.rule().skips
    }
}

/// One thing that is wrong with one place of the dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub code: Code,
    /// Relative to the dataset's folder.
    pub file: PathBuf,
    /// First and last line, from 1.
    pub lines: (usize, usize),
    /// In characters, from 1, where it is known.
    pub column: Option<usize>,
    /// What is wrong, without the place and the remedy.
    pub message: String,
}

impl Finding {
    fn new(code: Code, file: &Path, lines: (usize, usize), message: impl Into<String>) -> Self {
        Self { code, file: file.to_owned(), lines, column: None, message: message.into() }
    }

    fn at_column(mut self, column: usize) -> Self {
        self.column = Some(column);
        self
    }
}

/// `"a", "b"`, or `nothing`.
pub(crate) fn shown_list(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    names.iter().map(|name| shown(name)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_number_name_and_page() {
        for (index, code) in Code::ALL.iter().enumerate() {
            assert!(code.code().len() == 5 && code.code().starts_with("HP"), "{}", code.code());
            let others = &Code::ALL[index + 1..];
            assert!(others.iter().all(|other| other.name() != code.name() && other.code() != code.code()));
            let head = format!("//! # {} `{}`\n//!\n", code.code(), code.name());
            assert!(code.source().starts_with(&head), "the page of {} starts otherwise", code.name());
            assert!(!code.remedy().contains('\n') && code.remedy().len() < 120);
            let verdict = if code.skips() { "left out" } else { "still learnt" };
            assert!(code.source().contains(verdict), "the page of {} does not say {verdict:?}", code.name());
        }
    }

    #[test]
    fn long_and_odd_names_are_shown_short() {
        assert_eq!(shown("a\u{1b}[2Jb"), "\"a [2Jb\"");
        assert_eq!(shown(&"面".repeat(50)).chars().count(), 43);
        assert_eq!(shown_list(&[]), "nothing");
    }
}
