//! Fields on one line: divided by blanks, with everything but plain characters written as `%` and two hexadecimal digits.
//!
//! Shared by the kernel and the crate that cells see, so it needs nothing but the standard library.

/// evcxr divides some lines at colons, and finds its own words anywhere in a line: neither is left as it is.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'/' | b',' | b'<' | b'>' | b'=')
}

pub fn encode(field: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(field.len());
    for &byte in field {
        if is_plain(byte) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    text
}

pub fn join(fields: &[&[u8]]) -> String {
    fields.iter().map(|field| encode(field)).collect::<Vec<_>>().join(" ")
}

/// `None`: nobody wrote this with [`encode`].
pub fn decode(field: &str) -> Option<Vec<u8>> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    let mut bytes = field.bytes();
    let mut decoded = Vec::with_capacity(field.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => u8::try_from(digit(bytes.next())? * 16 + digit(bytes.next())?).ok()?,
            byte => byte,
        });
    }
    Some(decoded)
}

pub fn split(line: &str) -> Option<Vec<Vec<u8>>> {
    line.split(' ').map(decode).collect()
}

/// Where every field is text.
pub fn split_text(line: &str) -> Option<Vec<String>> {
    split(line)?.into_iter().map(|field| String::from_utf8(field).ok()).collect()
}
