//! Cuts a stream of bytes into lines without ever holding more than one line, or more than a limit of it.
//! Knows nothing of files, encodings or what a line means.

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// From 1.
    pub(crate) number: usize,
    /// Where `body` starts, in bytes from the start of the stream (a byte order mark counts).
    pub(crate) offset: u64,
    pub(crate) body: Body<'a>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    Whole(&'a [u8]),
    /// More bytes than the limit; they are gone.
    TooLong {
        bytes: u64,
    },
}

/// Push bytes in, get lines out.
pub(crate) struct LineCutter {
    limit: usize,
    number: usize,
    offset: u64,
    /// The start of a line whose end has not come yet.
    kept: Vec<u8>,
    /// Bytes of the current line, kept or not.
    seen: u64,
}

const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

impl LineCutter {
    /// Lines of more than `limit` bytes come out as [`Body::TooLong`].
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, number: 1, offset: 0, kept: Vec::new(), seen: 0 }
    }

    pub(crate) fn push(&mut self, mut bytes: &[u8], on_line: &mut dyn FnMut(&Line<'_>)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            self.end_line(line, on_line);
            self.offset += 1;
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.keep(bytes);
    }

    /// The last line, if it has no end of its own.
    pub(crate) fn finish(mut self, on_line: &mut dyn FnMut(&Line<'_>)) {
        if self.seen > 0 {
            self.end_line(&[], on_line);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.seen += bytes.len() as u64;
        // Slack for what is cut off again: the byte order mark and a carriage return.
        if self.seen <= self.limit as u64 + BYTE_ORDER_MARK.len() as u64 + 1 {
            self.kept.extend_from_slice(bytes);
        } else {
            self.kept = Vec::new();
        }
    }

    fn end_line(&mut self, tail: &[u8], on_line: &mut dyn FnMut(&Line<'_>)) {
        let joined;
        let whole = if self.seen == 0 {
            self.seen = tail.len() as u64;
            Some(tail)
        } else {
            self.keep(tail);
            joined = std::mem::take(&mut self.kept);
            (joined.len() as u64 == self.seen).then_some(joined.as_slice())
        };
        let mut offset = self.offset;
        let body = match whole {
            Some(mut line) => {
                if self.number == 1
                    && let Some(rest) = line.strip_prefix(BYTE_ORDER_MARK)
                {
                    line = rest;
                    offset += BYTE_ORDER_MARK.len() as u64;
                }
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                if line.len() <= self.limit {
                    Body::Whole(line)
                } else {
                    Body::TooLong { bytes: line.len() as u64 }
                }
            }
            None => Body::TooLong { bytes: self.seen },
        };
        on_line(&Line { number: self.number, offset, body });
        self.number += 1;
        self.offset += self.seen;
        self.seen = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(bytes: &[u8], limit: usize, chunk: usize) -> Vec<String> {
        let mut lines = Vec::new();
        let mut show = |line: &Line<'_>| {
            let body = match line.body {
                Body::Whole(body) => String::from_utf8_lossy(body).into_owned(),
                Body::TooLong { bytes } => format!("<{bytes} bytes>"),
            };
            lines.push(format!("{}@{} {body}", line.number, line.offset));
        };
        let mut cutter = LineCutter::new(limit);
        bytes.chunks(chunk).for_each(|chunk| cutter.push(chunk, &mut show));
        cutter.finish(&mut show);
        lines
    }

    #[test]
    fn lines_are_the_same_however_the_bytes_come() {
        let bytes = "\u{feff}one\r\n\ntoo long a line\nexactly8\r\nlast".as_bytes();
        let expected = ["1@3 one", "2@8 ", "3@9 <15 bytes>", "4@25 exactly8", "5@35 last"];
        for chunk in 1..=bytes.len() {
            assert_eq!(cut(bytes, 8, chunk), expected, "in chunks of {chunk}");
        }
    }

    #[test]
    fn a_final_line_end_starts_no_line() {
        assert_eq!(cut(b"a\n", 8, 99), ["1@0 a"]);
        assert_eq!(cut(b"", 8, 99), [""; 0]);
        assert_eq!(cut(b"\n", 8, 99), ["1@0 "]);
    }

    #[test]
    fn a_long_line_is_not_held() {
        let mut cutter = LineCutter::new(1000);
        for _ in 0..5000 {
            cutter.push(&[b'x'; 1000], &mut |_| panic!("the line has not ended"));
            assert!(cutter.kept.capacity() <= 4000);
        }
        let mut seen = 0;
        cutter.finish(&mut |line| {
            assert_eq!(line.body, Body::TooLong { bytes: 5_000_000 });
            seen += 1;
        });
        assert_eq!(seen, 1);
    }
}
