//! # HP024 `other-encoding`
//!
//! The file is not UTF-8, and its bytes tell another encoding: UTF-16 (with or without a mark at its start), GB18030, which spreadsheets in
//! China save, or windows-1252, which those in western Europe and America do. It is read so. Where the bytes could be several encodings,
//! none is guessed, and what is not UTF-8 has the finding `not-utf8`.
//!
//! The texts are still learnt.

use std::path::Path;

use super::{Code, Finding, Rule};
use crate::encoding::Encoding;

pub(super) const RULE: Rule = Rule {
    code: "HP024",
    name: "other-encoding",
    remedy: "Nothing, if its letters look right in hotplate score; else save the file again as UTF-8.",
    skips: false,
};

/// `None`: there is nothing to say of UTF-8.
pub(crate) fn other_encoding(file: &Path, encoding: Encoding) -> Option<Finding> {
    let message = format!("the file is not UTF-8; it is read as {}", encoding.words());
    (encoding != Encoding::Utf8).then(|| Finding::new(Code::OtherEncoding, file, (1, 1), message))
}
