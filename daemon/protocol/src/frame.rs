//! LSP framing: `Content-Length: N`, an empty line, N bytes of UTF-8 JSON.
//! <https://microsoft.github.io/language-server-protocol/specifications/lsp/3.17/specification/#baseProtocol>
//!
//! Owns the limits that protect a daemon from what strangers send. Knows nothing of the messages inside.

use std::io::{self, BufRead, Read, Write};

/// The largest body that is read, in bytes. A larger `Content-Length` ends the connection before anything
/// is allocated for it.
pub const MAX_FRAME_BYTES: usize = 64 << 20;

/// Header lines are short; one that does not end within this many bytes is garbage.
const MAX_HEADER_LINE_BYTES: u64 = 1024;
const MAX_HEADER_LINES: usize = 16;

/// Why no frame could be read. After any of these the stream has lost its place and must be closed.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("the connection ended inside a message")]
    Truncated,
    #[error("a message of {length} bytes was announced; the limit is {MAX_FRAME_BYTES}")]
    TooLarge { length: u64 },
    #[error("no Content-Length header came before the body; this socket speaks JSON-RPC with LSP framing")]
    MissingLength,
    #[error("this is not a header line: {line:?}")]
    BadHeader { line: String },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads one frame's body. `Ok(None)` is a clean end of the stream between two frames.
pub fn read_frame(reader: &mut impl BufRead) -> Result<Option<Vec<u8>>, FrameError> {
    let mut length = None;
    for line_number in 0..=MAX_HEADER_LINES {
        let mut line = Vec::new();
        reader.by_ref().take(MAX_HEADER_LINE_BYTES).read_until(b'\n', &mut line)?;
        if line.is_empty() && line_number == 0 {
            return Ok(None);
        }
        if line.last() != Some(&b'\n') {
            return if (line.len() as u64) < MAX_HEADER_LINE_BYTES {
                Err(FrameError::Truncated)
            } else {
                Err(bad_header(&line))
            };
        }
        let Ok(text) = str::from_utf8(&line) else { return Err(bad_header(&line)) };
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            let length: u64 = length.ok_or(FrameError::MissingLength)?;
            if length > MAX_FRAME_BYTES as u64 {
                return Err(FrameError::TooLarge { length });
            }
            // `take` grows the buffer with what really arrives: an announced length alone costs nothing.
            let mut body = Vec::new();
            reader.by_ref().take(length).read_to_end(&mut body)?;
            return if body.len() as u64 == length { Ok(Some(body)) } else { Err(FrameError::Truncated) };
        }
        let Some((name, value)) = text.split_once(':') else { return Err(bad_header(&line)) };
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse().map_err(|_| bad_header(&line))?);
        }
    }
    Err(FrameError::MissingLength)
}

fn bad_header(line: &[u8]) -> FrameError {
    let shown = &line[..line.len().min(60)];
    FrameError::BadHeader { line: String::from_utf8_lossy(shown).trim_end().to_owned() }
}

/// Writes one frame and flushes it.
pub fn write_frame(writer: &mut impl Write, body: &[u8]) -> io::Result<()> {
    // One buffer, one write: a reader never sees half a header.
    let mut frame = format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    frame.extend_from_slice(body);
    writer.write_all(&frame)?;
    writer.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<Vec<u8>>, FrameError> {
        read_frame(&mut io::BufReader::new(bytes))
    }

    #[test]
    fn what_is_written_is_read() {
        let mut wire = Vec::new();
        write_frame(&mut wire, "{\"面\":1}".as_bytes()).unwrap();
        write_frame(&mut wire, b"").unwrap();
        let mut reader = wire.as_slice();
        assert_eq!(read_frame(&mut reader).unwrap().unwrap(), "{\"面\":1}".as_bytes());
        assert_eq!(read_frame(&mut reader).unwrap().unwrap(), b"");
        assert!(read_frame(&mut reader).unwrap().is_none());
    }

    #[test]
    fn header_names_ignore_case_and_other_headers_pass() {
        let wire = b"Content-Type: application/vscode-jsonrpc\r\ncontent-LENGTH: 2\r\n\r\n{}";
        assert_eq!(read(wire).unwrap().unwrap(), b"{}");
    }

    #[test]
    fn a_gigabyte_is_refused_before_it_is_allocated() {
        assert!(matches!(
            read(b"Content-Length: 1073741824\r\n\r\n"),
            Err(FrameError::TooLarge { length: 1_073_741_824 })
        ));
    }

    #[test]
    fn broken_streams_are_named() {
        assert!(matches!(read(b"Content-Length: 10\r\n\r\n{}"), Err(FrameError::Truncated)));
        assert!(matches!(read(b"Content-Len"), Err(FrameError::Truncated)));
        assert!(matches!(read(b"GET / HTTP/1.1\r\n"), Err(FrameError::BadHeader { .. })));
        assert!(matches!(read(b"\r\n"), Err(FrameError::MissingLength)));
        assert!(matches!(read(b"Content-Length: -1\r\n\r\n"), Err(FrameError::BadHeader { .. })));
        assert!(matches!(read(&[0xff; 4096]), Err(FrameError::BadHeader { .. })));
    }
}
