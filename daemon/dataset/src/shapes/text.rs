//! `{"text": "..."}`: learnt as it is.

use super::{Record, RecordLocation, text_field};
use crate::content::Content;
use crate::findings::Finding;

pub(super) fn content(mut record: Record, place: RecordLocation<'_>) -> Result<Content, Finding> {
    text_field(&mut record, "text", place).map(Content::Text)
}
