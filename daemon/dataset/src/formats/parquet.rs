//! `.parquet`: each row is a record. Only the columns that make examples are read; lists and groups become what they would be in
//! JSON. A place in such a file is a row, counted from 1.
//!
//! Of all formats this one alone has gaps (fields that a row lacks), taken out where each group is read.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde_json::{Map, Value};

use super::{Found, Source, tell};
use crate::findings::{EmptyPlace, Finding, empty, invalid_parquet, record_too_large, wrong_type};
use crate::shapes::{self, Parsed, Record, RecordLocation, Shaped};

/// Reads the file to its end, or to where it is broken; that is a finding.
pub(crate) fn read(source: Source<'_>, opened: File, on_found: &mut dyn FnMut(Found)) {
    let mut row = 0;
    // The library takes a file with a good table of contents on trust: some contradictory ones make it panic.
    let outcome = catch_unwind(AssertUnwindSafe(|| rows(source, opened, &mut row, on_found)));
    let why = match outcome {
        Ok(Ok(())) => return,
        Ok(Err(Trouble::Said(finding))) => return on_found(Found::Finding(*finding)),
        Ok(Err(Trouble::Library(error))) => error.to_string(),
        Err(_) => "it contradicts itself".to_owned(),
    };
    let place = RecordLocation { file: source.file, lines: (row + 1, row + 1) };
    on_found(Found::Finding(invalid_parquet(place, &why)));
}

enum Trouble {
    Library(parquet::errors::ParquetError),
    Said(Box<Finding>),
}

impl From<parquet::errors::ParquetError> for Trouble {
    fn from(error: parquet::errors::ParquetError) -> Self {
        Trouble::Library(error)
    }
}

/// `row`: rows that are done.
fn rows(
    source: Source<'_>,
    opened: File,
    row: &mut usize,
    on_found: &mut dyn FnMut(Found),
) -> Result<(), Trouble> {
    let Source { file, columns, .. } = source;
    let reader = SerializedFileReader::new(opened)?;
    let schema = reader.metadata().file_metadata().schema();
    let names: Vec<String> = schema.get_fields().iter().map(|field| field.name().to_owned()).collect();
    let first = RecordLocation { file, lines: (1, 1) };
    shapes::header(&names, columns, first).map_err(|finding| Trouble::Said(Box::new(finding)))?;
    let is_read = |field: &&Arc<Type>| Record::is_read(field.name(), columns.columns);
    let read: Vec<Arc<Type>> = schema.get_fields().iter().filter(is_read).cloned().collect();
    let projection = Type::group_type_builder(schema.name()).with_fields(read).build()?;
    for each in reader.get_row_iter(Some(projection))? {
        let each = each?;
        let place = RecordLocation { file, lines: (*row + 1, *row + 1) };
        tell(record(each, &names, source, place), place.lines, on_found);
        *row += 1;
    }
    if *row == 0 {
        on_found(Found::Finding(empty(file, (1, 1), EmptyPlace::File)));
    }
    Ok(())
}

fn record(
    row: Row,
    names: &[String],
    source: Source<'_>,
    place: RecordLocation<'_>,
) -> Result<Shaped, Finding> {
    let Source { max_record_bytes: limit, columns, .. } = source;
    let mut record = Record::default();
    let mut bytes = 0;
    for (name, field) in row.into_columns() {
        let value = value(field).map_err(|()| {
            wrong_type(place, &format!("\"{name}\""), "text in UTF-8", "bytes that are none")
        })?;
        bytes += size(&value);
        record.insert(name, unpacked(value), columns.columns);
    }
    if bytes > limit {
        return Err(record_too_large(place.file, place.lines, bytes as u64, limit));
    }
    names.iter().for_each(|name| record.note(name.clone()));
    shapes::read(Parsed::Record(record), columns, place)
}

/// # Errors
/// Bytes that are no text.
fn value(field: Field) -> Result<Value, ()> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(flag) => Value::Bool(flag),
        Field::Byte(number) => number.into(),
        Field::Short(number) => number.into(),
        Field::Int(number) => number.into(),
        Field::Long(number) => number.into(),
        Field::UByte(number) => number.into(),
        Field::UShort(number) => number.into(),
        Field::UInt(number) => number.into(),
        Field::ULong(number) => number.into(),
        Field::Float(number) => number.into(),
        Field::Double(number) => number.into(),
        Field::Str(text) => Value::String(text),
        Field::Bytes(bytes) => Value::String(String::from_utf8(bytes.data().to_vec()).map_err(|_| ())?),
        Field::Group(row) => {
            let columns = row.into_columns().into_iter();
            let object: Map<String, Value> =
                columns.map(|(name, field)| Ok((name, value(field)?))).collect::<Result<_, ()>>()?;
            Value::Object(without_gaps(object))
        }
        Field::ListInternal(list) => {
            let items = list.elements().iter().cloned().map(value);
            Value::Array(items.collect::<Result<_, ()>>()?)
        }
        Field::MapInternal(map) => {
            let entries = map.entries().iter().map(|(name, field)| {
                let name = match name {
                    Field::Str(name) => name.clone(),
                    other => other.to_string(),
                };
                Ok((name, value(field.clone())?))
            });
            Value::Object(entries.collect::<Result<_, ()>>()?)
        }
        // Dates, times and decimals: as they are written.
        other => Value::String(other.to_string()),
    })
}

/// A column has every key that some row needs, and null where a row has it not. What a message lacks altogether (calls of a tool) may
/// also be a group of nothing. A message's own text stays null, as JSON has it.
fn without_gaps(mut group: Map<String, Value>) -> Map<String, Value> {
    let is_message = group.contains_key("role") || group.contains_key("from");
    group.retain(|name, value| match value {
        Value::Null => is_message && name == "content",
        Value::Object(inside) => !(is_message && inside.is_empty()),
        _ => true,
    });
    group
}

/// A group of nothing is how tables write "not there".
fn unpacked(value: Value) -> Value {
    match value {
        Value::Object(object) if object.is_empty() => Value::Null,
        value => value,
    }
}

/// Bytes of all texts inside.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(object) => object.values().map(size).sum(),
        _ => 0,
    }
}
