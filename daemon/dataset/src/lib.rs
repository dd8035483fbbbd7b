//! A folder of a person's own texts in, examples and findings out.
//!
//! This crate owns what a dataset is: which files count, how a file becomes [`Example`]s that know their file
//! and lines, what can be wrong with them ([`findings`], one file per code), which of them are held out
//! ([`split`]), and what changed since last time ([`changes`]). It must not know tensors, tokenizers (a caller
//! may lend it a counter), sockets, watching or the store.
//!
//! Only the modules `folder`, `read`, `recipe` and `regular_file` touch the disk; everything else is a function of its arguments.
//!
//! # What is read
//!
//! - `.txt`, `.md`: one file is one example, or several, separated by lines of three hyphens. A separator at the
//!   very start or end of a file is only a border. In Markdown, such a line in code or under a heading's text separates nothing,
//!   and a front matter block at the start (the kinds that blog engines write) is no example and no part of one.
//! - A text with more tokens than a training item may have is divided at headings or paragraphs.
//! - `.jsonl`, `.ndjson`: a record a line. `.json`: a list of records, an object with such a list under `data`, `train` or a like
//!   name, or one record. `.csv`, `.tsv`: a record a row, the first row names the fields. `.parquet`: a record a row.
//! - A record's shape is told by its fields ([`Shape`]): `text`, `prompt` with `completion`, `messages` (with `tools`),
//!   `instruction` with `output` (alpaca), `conversations` (sharegpt); fields may be called otherwise (`columns`).
//! - UTF-8, with or without a byte order mark; UTF-16, GB18030 and windows-1252 where they can be told surely (`encoding`). Lines end
//!   with LF, CRLF or CR. Blank lines around a text are not part of it.
//! - Folders are walked to the bottom in sorted order. Hidden files and folders, editors' temporary files and
//!   `node_modules` are left alone.

mod asked;
mod changes;
mod chat;
mod collect;
mod columns;
mod content;
mod divide;
mod encoding;
pub mod findings;
mod folder;
mod formats;
#[cfg(test)]
mod fuzz;
mod language;
mod left_out;
mod line_ends;
mod lines;
mod loose_json;
mod mark;
mod nearest;
mod read;
pub mod recipe;
pub mod regular_file;
mod shapes;
mod sketch;
mod split;
mod style;
#[cfg(test)]
mod testing;
mod title;
mod train_on;

pub use asked::answers_itself;
pub use changes::{Changes, changes};
pub use chat::{Chat, Role, Turn};
pub use columns::Columns;
pub use content::{Content, ContentHash, Example, ExampleId};
pub use findings::{Code, Finding};
pub use folder::{DatasetFiles, dataset_files, is_dataset_file};
pub use formats::Format;
pub use left_out::{LeftOut, LeftOutPart};
pub use loose_json::whole_number;
pub use nearest::Nearest;
pub use read::{Dataset, DatasetError, FileStamp, Limits, Measure, Measured, read, read_one};
pub use shapes::Shape;
pub use sketch::Sketch;
pub use split::{Side, split};
pub use style::{Style, UnknownStyle};
pub use train_on::{TrainOn, UnknownTrainOn};
