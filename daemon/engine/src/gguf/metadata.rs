//! Metadata values of a GGUF file. Lists stay bytes until they are asked for: their counts come from the file and allocate nothing.

use super::reader::Reader;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Text,
    List,
    U64,
    I64,
    F64,
}

impl Kind {
    fn read(reader: &mut Reader) -> Result<Kind, String> {
        Ok(match reader.u32()? {
            0 => Kind::U8,
            1 => Kind::I8,
            2 => Kind::U16,
            3 => Kind::I16,
            4 => Kind::U32,
            5 => Kind::I32,
            6 => Kind::F32,
            7 => Kind::Bool,
            8 => Kind::Text,
            9 => Kind::List,
            10 => Kind::U64,
            11 => Kind::I64,
            12 => Kind::F64,
            other => return Err(format!("its type {other} is not known")),
        })
    }

    /// Bytes of a value of fixed size.
    const fn size(self) -> Option<u64> {
        Some(match self {
            Kind::U8 | Kind::I8 | Kind::Bool => 1,
            Kind::U16 | Kind::I16 => 2,
            Kind::U32 | Kind::I32 | Kind::F32 => 4,
            Kind::U64 | Kind::I64 | Kind::F64 => 8,
            Kind::Text | Kind::List => return None,
        })
    }
}

/// A value that lies in the file's bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Whole(i128),
    Number(f64),
    Flag(bool),
    Text(&'a str),
    List(List<'a>),
}

/// A list of values of one kind, none of them a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct List<'a> {
    kind: Kind,
    bytes: &'a [u8],
}

impl<'a> Value<'a> {
    pub(super) fn read(reader: &mut Reader<'a>, bytes: &'a [u8]) -> Result<Self, String> {
        let kind = Kind::read(reader)?;
        if kind != Kind::List {
            return Self::of(kind, reader);
        }
        let kind = Kind::read(reader)?;
        let count = reader.u64()?;
        let start = reader.at;
        match kind {
            Kind::List => return Err("it is a list of lists, which no known key is".to_owned()),
            Kind::Text => {
                // Each text takes bytes, so a wrong count ends with them.
                for _ in 0..count {
                    reader.text()?;
                }
            }
            _ => {
                let size = kind.size().unwrap_or(1).checked_mul(count);
                reader.take(size.unwrap_or(u64::MAX))?;
            }
        }
        Ok(Value::List(List { kind, bytes: &bytes[start..reader.at] }))
    }

    fn of(kind: Kind, reader: &mut Reader<'a>) -> Result<Self, String> {
        if kind == Kind::Text {
            return reader.text().map(Value::Text);
        }
        let mut wide = [0; 8];
        let part = reader.take(kind.size().unwrap_or(0))?;
        wide[..part.len()].copy_from_slice(part);
        let bits = u64::from_le_bytes(wide);
        Ok(match kind {
            Kind::U8 | Kind::U16 | Kind::U32 | Kind::U64 => Value::Whole(bits.into()),
            Kind::I8 => Value::Whole((bits as u8 as i8).into()),
            Kind::I16 => Value::Whole((bits as u16 as i16).into()),
            Kind::I32 => Value::Whole((bits as u32 as i32).into()),
            Kind::I64 => Value::Whole((bits as i64).into()),
            Kind::F32 => Value::Number(f32::from_bits(bits as u32).into()),
            Kind::F64 => Value::Number(f64::from_bits(bits)),
            Kind::Bool => Value::Flag(bits != 0),
            Kind::Text | Kind::List => return Err("it is no single value".to_owned()),
        })
    }
}

impl<'a> List<'a> {
    pub(super) fn values(self) -> impl Iterator<Item = Value<'a>> {
        let mut reader = Reader::new(self.bytes);
        std::iter::from_fn(move || {
            (reader.at < self.bytes.len()).then(|| Value::of(self.kind, &mut reader).ok()).flatten()
        })
    }

    /// The texts, or nothing where it holds others.
    pub(super) fn texts(self) -> Option<Vec<&'a str>> {
        let text = |value| if let Value::Text(text) = value { Some(text) } else { None };
        self.values().map(text).collect()
    }

    pub(super) fn wholes(self) -> Option<Vec<i64>> {
        let whole = |value| if let Value::Whole(whole) = value { i64::try_from(whole).ok() } else { None };
        self.values().map(whole).collect()
    }

    pub(super) fn numbers(self) -> Option<Vec<f64>> {
        let number = |value| if let Value::Number(number) = value { Some(number) } else { None };
        self.values().map(number).collect()
    }
}
