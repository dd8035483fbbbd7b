//! Cuts a stream of JSON into the records in it, without holding more than one of them, or more than a limit of it.
//!
//! Finds where records begin and end by brackets and quotes alone; whether what is between them is JSON is for others to judge.
//! Knows nothing of what a record means.

/// Names under which an object holds its list of records.
const LISTS: &[&str] = &[
    "data",
    "dataset",
    "documents",
    "entries",
    "examples",
    "instances",
    "items",
    "records",
    "rows",
    "samples",
    "train",
    "training",
];

/// A name longer than this is none of those.
const LONGEST_NAME: usize = 64;

/// A value that was cut out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Record {
        lines: (usize, usize),
        /// Of its first byte, from the start of the file.
        offset: u64,
        bytes: &'a [u8],
    },
    TooLarge {
        lines: (usize, usize),
        bytes: u64,
    },
    /// A list of objects beside the ones that are read.
    OtherList {
        name: String,
        lines: (usize, usize),
    },
    /// Something began and did not end.
    Open {
        lines: (usize, usize),
        offset: u64,
        bytes: &'a [u8],
    },
}

pub(super) struct JsonCutter {
    limit: usize,
    line: usize,
    offset: u64,
    /// Lists and objects that are open around the place.
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The depth inside the list whose elements are records: 1 for a list at the top, 2 for one in an object.
    list_depth: Option<usize>,
    /// The line where the list or object at the top began.
    top_line: usize,
    record: Capture,
    /// An object at the top: a record itself, until a list of records is found in it.
    object: Option<TopObject>,
}

/// The bytes of a value that has not ended.
#[derive(Default)]
struct Capture {
    active: bool,
    bytes: Vec<u8>,
    length: u64,
    line: usize,
    offset: u64,
    /// The depth outside it.
    depth: usize,
    /// A number or a word: it ends before the next separator.
    bare: bool,
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each remembers one thing that was seen on the way")]
struct TopObject {
    holds_records: bool,
    /// The last string at the object's own level: a key, if a colon follows.
    name: Vec<u8>,
    in_name: bool,
    /// A list has begun behind the key and its first element is awaited.
    awaits_first: bool,
    list_line: usize,
    others: Vec<(String, (usize, usize))>,
    /// The list at hand is one of `others`.
    in_other: bool,
}

impl JsonCutter {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            line: 1,
            offset: 0,
            depth: 0,
            in_string: false,
            escaped: false,
            list_depth: None,
            top_line: 1,
            record: Capture::default(),
            object: None,
        }
    }

    /// The line where the stream stands.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    pub(super) fn push(&mut self, mut bytes: &[u8], on_piece: &mut dyn FnMut(Piece<'_>)) {
        if self.offset == 0
            && let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf")
        {
            self.offset = 3;
            bytes = rest;
        }
        for byte in bytes {
            self.byte(*byte, on_piece);
            self.offset += 1;
            if *byte == b'\n' {
                self.line += 1;
            }
        }
    }

    /// What is still open is incomplete.
    pub(super) fn finish(mut self, on_piece: &mut dyn FnMut(Piece<'_>)) {
        if self.record.active && self.record.bare {
            self.end_record(on_piece);
        } else if self.record.active {
            let lines = (self.record.line, self.line);
            let record = std::mem::take(&mut self.record);
            if record.length > self.limit as u64 {
                on_piece(Piece::TooLarge { lines, bytes: record.length });
            } else {
                on_piece(Piece::Open { lines, offset: record.offset, bytes: &record.bytes });
            }
        } else if self.depth > 0 {
            on_piece(Piece::Open { lines: (self.top_line, self.line), offset: self.offset, bytes: b"" });
        }
    }

    fn byte(&mut self, byte: u8, on_piece: &mut dyn FnMut(Piece<'_>)) {
        if self.in_string {
            self.keep(byte);
            self.name_byte(byte);
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                // JSON has no line break inside a text: a quote is missing. Going on outside of the text keeps the records after
                // this one.
                b'"' | b'\n' => {
                    self.in_string = false;
                    self.end_string(on_piece);
                    if byte == b'\n' && self.ends_unquoted() {
                        self.depth = self.record.depth;
                        self.record.bytes.pop();
                        self.end_record(on_piece);
                        self.object = self.object.take().filter(|_| self.depth > 0);
                    }
                }
                _ => {}
            }
            return;
        }
        let blank = byte.is_ascii_whitespace();
        if self.record.bare && (blank || matches!(byte, b',' | b']' | b'}' | b'[' | b'{' | b'"')) {
            self.end_record(on_piece);
        }
        if !blank {
            self.first_element(byte);
            if !self.record.active && self.starts_record(byte) {
                let bare = !matches!(byte, b'{' | b'[' | b'"');
                self.record = Capture {
                    active: true,
                    line: self.line,
                    offset: self.offset,
                    depth: self.depth,
                    bare,
                    ..Capture::default()
                };
                if self.depth == 0 {
                    self.top_line = self.line;
                    if byte == b'{' {
                        self.object = Some(TopObject::default());
                    }
                }
            }
        }
        self.keep(byte);
        match byte {
            b'"' => {
                self.in_string = true;
                self.escaped = false;
                if self.depth == 1
                    && let Some(object) = &mut self.object
                {
                    object.in_name = true;
                    object.name.clear();
                }
            }
            b'{' => self.depth += 1,
            b'[' => {
                self.depth += 1;
                if self.depth == 1 && !self.record.active {
                    self.top_line = self.line;
                    self.list_depth = Some(1);
                } else if self.depth == 2
                    && let Some(object) = &mut self.object
                {
                    object.awaits_first = true;
                    object.list_line = self.line;
                }
            }
            b'}' | b']' => self.close(on_piece),
            _ => {}
        }
    }

    /// Whether a record begins with this byte, which is not blank and in no other record.
    fn starts_record(&self, byte: u8) -> bool {
        if matches!(byte, b',' | b']' | b'}' | b':') {
            return false;
        }
        match self.list_depth {
            Some(depth) => self.depth == depth,
            // A list at the top holds records; anything else there is one.
            None => self.depth == 0 && byte != b'[',
        }
    }

    /// The first thing in a list inside the object at the top says whether it is a list of records.
    fn first_element(&mut self, byte: u8) {
        let Some(object) = self.object.as_mut().filter(|object| object.awaits_first) else { return };
        object.awaits_first = false;
        if byte != b'{' {
            return;
        }
        let name = String::from_utf8_lossy(&object.name).into_owned();
        if LISTS.contains(&name.as_str()) {
            // Not a record itself, then.
            object.holds_records = true;
            self.record = Capture::default();
            self.list_depth = Some(2);
        } else {
            object.in_other = true;
            object.others.push((name, (object.list_line, object.list_line)));
        }
    }

    fn close(&mut self, on_piece: &mut dyn FnMut(Piece<'_>)) {
        self.depth = self.depth.saturating_sub(1);
        if self.record.active && self.depth <= self.record.depth {
            let holds = self.object.as_ref().is_some_and(|object| object.holds_records);
            self.end_record(on_piece);
            if self.depth == 0 && !holds {
                self.object = None;
            }
        } else if self.list_depth.is_some_and(|depth| self.depth < depth) {
            self.list_depth = None;
        }
        let line = self.line;
        if let Some(object) = &mut self.object {
            object.awaits_first = false;
            if self.depth == 1 && object.in_other {
                object.in_other = false;
                if let Some((_, lines)) = object.others.last_mut() {
                    lines.1 = line;
                }
            }
            if self.depth == 0 {
                let others = std::mem::take(&mut object.others);
                if object.holds_records {
                    others.into_iter().for_each(|(name, lines)| on_piece(Piece::OtherList { name, lines }));
                }
                self.object = None;
            }
        }
    }

    fn end_string(&mut self, on_piece: &mut dyn FnMut(Piece<'_>)) {
        if let Some(object) = &mut self.object {
            object.in_name = false;
        }
        // A bare text is a value of its own.
        if self.record.active && self.depth == self.record.depth {
            self.end_record(on_piece);
        }
    }

    /// Whether the line whose quote is missing closes its record all the same: `{"text": "no end},`.
    fn ends_unquoted(&self) -> bool {
        let line = self.record.bytes.trim_ascii_end();
        let line = line.strip_suffix(b",").unwrap_or(line);
        self.record.active && self.depth == self.record.depth + 1 && line.ends_with(b"}")
    }

    fn name_byte(&mut self, byte: u8) {
        if let Some(object) = self.object.as_mut().filter(|object| object.in_name)
            && byte != b'"'
            && object.name.len() < LONGEST_NAME
        {
            object.name.push(byte);
        }
    }

    fn keep(&mut self, byte: u8) {
        if !self.record.active {
            return;
        }
        self.record.length += 1;
        if self.record.length <= self.limit as u64 {
            self.record.bytes.push(byte);
        } else {
            self.record.bytes = Vec::new();
        }
    }

    fn end_record(&mut self, on_piece: &mut dyn FnMut(Piece<'_>)) {
        let record = std::mem::take(&mut self.record);
        let lines = (record.line, self.line);
        if record.length > self.limit as u64 {
            on_piece(Piece::TooLarge { lines, bytes: record.length });
        } else {
            on_piece(Piece::Record { lines, offset: record.offset, bytes: &record.bytes });
        }
        // Most records are about as long as the last one.
        self.record.bytes = record.bytes;
        self.record.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, limit: usize, chunk: usize) -> Vec<String> {
        let mut pieces = Vec::new();
        let mut show = |piece: Piece<'_>| {
            pieces.push(match piece {
                Piece::Record { lines, offset, bytes } => {
                    format!("{}-{}@{offset} {}", lines.0, lines.1, String::from_utf8_lossy(bytes))
                }
                Piece::TooLarge { lines, bytes } => format!("{}-{} <{bytes} bytes>", lines.0, lines.1),
                Piece::OtherList { name, lines } => format!("{}-{} other {name}", lines.0, lines.1),
                Piece::Open { lines, bytes, .. } => {
                    format!("{}-{} open {}", lines.0, lines.1, String::from_utf8_lossy(bytes))
                }
            });
        };
        let mut cutter = JsonCutter::new(limit);
        text.as_bytes().chunks(chunk).for_each(|chunk| cutter.push(chunk, &mut show));
        cutter.finish(&mut show);
        pieces
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        for chunk in [3, 7, 1000] {
            assert_eq!(cut(text, 40, chunk), expected, "in chunks of {chunk}");
        }
    }

    #[test]
    fn lists_objects_and_streams() {
        check(
            "[{\"a\": 1},\n {\"b\": [1, \"]\\\"\"]}]\n",
            &["1-1@1 {\"a\": 1}", "2-2@12 {\"b\": [1, \"]\\\"\"]}"],
        );
        check("{\"text\":\n\"a\"}", &["1-2@0 {\"text\":\n\"a\"}"]);
        check("{\"a\": 1}\n\n{\"b\": [{}]}", &["1-1@0 {\"a\": 1}", "3-3@10 {\"b\": [{}]}"]);
        check("[1, \"x, y\", null]", &["1-1@1 1", "1-1@4 \"x, y\"", "1-1@12 null"]);
        check("[]", &[]);
        check("", &[]);
        check("\u{feff}{}", &["1-1@3 {}"]);
        check("nonsense", &["1-1@0 nonsense"]);
        check("[[1], [2]]", &["1-1@1 [1]", "1-1@6 [2]"]);
    }

    #[test]
    fn a_list_inside_an_object() {
        let text =
            "{\"v\": [1], \"data\": [{\"a\": 1},\n{\"b\": {}}], \"test\": [{}\n], \"n\": {\"data\": [{}]}}";
        check(text, &["1-1@20 {\"a\": 1}", "2-2@30 {\"b\": {}}", "2-3 other test"]);
        check("{\"data\": [], \"text\": \"a\"}", &["1-1@0 {\"data\": [], \"text\": \"a\"}"]);
        check("{\"messages\": [{\"a\": 1}]}", &["1-1@0 {\"messages\": [{\"a\": 1}]}"]);
    }

    #[test]
    fn what_is_broken_costs_little() {
        check("[{\"a\": \"x\n},\n{\"b\": 1}]", &["1-2@1 {\"a\": \"x\n}", "3-3@13 {\"b\": 1}"]);
        check("[{\"a\": \"x},\n{\"b\": 1}]", &["1-1@1 {\"a\": \"x},", "2-2@12 {\"b\": 1}"]);
        check("[{\"a\": 1},\n{\"b\": ", &["1-1@1 {\"a\": 1}", "2-2 open {\"b\": "]);
        check("[{\"a\": 1},\n", &["1-1@1 {\"a\": 1}", "1-2 open "]);
        check(&format!("[\"{}\", 2]", "x".repeat(100)), &["1-1 <102 bytes>", "1-1@105 2"]);
        check("]]}}[{}]", &["1-1@5 {}"]);
    }
}
