//! Cuts a table of separated values into rows, as RFC 4180 has it: cells in quotes may hold separators, line breaks and doubled
//! quotes. Knows nothing of what a column means; never holds more than one row, or more than a limit of it.

/// A row that was cut out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row<'a> {
    /// First and last line.
    pub(super) lines: (usize, usize),
    /// Of its first byte, from the start of the file.
    pub(super) offset: u64,
    pub(super) body: RowBody<'a>,
    /// The file ended inside quotes.
    pub(super) open_quote: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum RowBody<'a> {
    Cells(Cells<'a>),
    TooLong { bytes: u64 },
}

/// The cells of a row, one after the other.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) struct Cells<'a> {
    bytes: &'a [u8],
    ends: &'a [usize],
}

impl<'a> Cells<'a> {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let Cells { bytes, ends } = *self;
        let starts = std::iter::once(0).chain(ends.iter().copied());
        starts.zip(ends).map(move |(start, end)| bytes.get(start..*end).unwrap_or_default())
    }

    /// Nothing but separators and white space: a blank line of a spreadsheet.
    pub(super) fn is_blank(&self) -> bool {
        self.bytes.trim_ascii().is_empty()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the start of a cell.
    Start,
    Bare,
    Quoted,
    /// Behind a quote inside quotes: doubled, or the end.
    Closing,
}

pub(super) struct TableCutter {
    separator: u8,
    limit: usize,
    state: State,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Bytes of the row in the file.
    length: u64,
    line: usize,
    offset: u64,
    row_line: usize,
    row_offset: u64,
}

impl TableCutter {
    /// `offset`: bytes of the file that were passed before.
    pub(super) fn new(separator: u8, limit: usize, line: usize, offset: u64) -> Self {
        Self {
            separator,
            limit,
            state: State::Start,
            bytes: Vec::new(),
            ends: Vec::new(),
            length: 0,
            line,
            offset,
            row_line: line,
            row_offset: offset,
        }
    }

    pub(super) fn line(&self) -> usize {
        self.line
    }

    pub(super) fn push(&mut self, bytes: &[u8], on_row: &mut dyn FnMut(&Row<'_>)) {
        for byte in bytes {
            self.byte(*byte, on_row);
            self.offset += 1;
            if *byte == b'\n' {
                self.line += 1;
                if self.length == 0 {
                    self.row_line = self.line;
                    self.row_offset = self.offset;
                }
            }
        }
    }

    pub(super) fn finish(mut self, on_row: &mut dyn FnMut(&Row<'_>)) {
        if self.length > 0 {
            let open_quote = self.state == State::Quoted;
            self.end_row(open_quote, on_row);
        }
    }

    fn byte(&mut self, byte: u8, on_row: &mut dyn FnMut(&Row<'_>)) {
        self.length += 1;
        match (self.state, byte) {
            (State::Start | State::Bare | State::Closing, b'\n') => {
                if self.state != State::Closing && self.bytes.last() == Some(&b'\r') && self.cell_length() > 0
                {
                    self.bytes.pop();
                }
                self.end_row(false, on_row);
            }
            (State::Start | State::Bare | State::Closing, byte) if byte == self.separator => {
                self.ends.push(self.bytes.len());
                self.state = State::Start;
            }
            (State::Start, b'"') => self.state = State::Quoted,
            (State::Quoted, b'"') => self.state = State::Closing,
            (State::Closing, b'"') => {
                self.state = State::Quoted;
                self.keep(byte);
            }
            (State::Closing, b'\r') => {}
            // Letters behind a closing quote belong to the cell: nobody else could own them.
            (State::Start | State::Closing | State::Bare, _) => {
                self.state = State::Bare;
                self.keep(byte);
            }
            (State::Quoted, _) => self.keep(byte),
        }
    }

    fn cell_length(&self) -> usize {
        self.bytes.len() - self.ends.last().copied().unwrap_or(0).min(self.bytes.len())
    }

    fn keep(&mut self, byte: u8) {
        if self.length <= self.limit as u64 + 2 {
            self.bytes.push(byte);
        }
    }

    fn end_row(&mut self, open_quote: bool, on_row: &mut dyn FnMut(&Row<'_>)) {
        self.ends.push(self.bytes.len());
        let body = if self.length > self.limit as u64 + 2 {
            RowBody::TooLong { bytes: self.length }
        } else {
            RowBody::Cells(Cells { bytes: &self.bytes, ends: &self.ends })
        };
        on_row(&Row { lines: (self.row_line, self.line), offset: self.row_offset, body, open_quote });
        self.bytes.clear();
        self.ends.clear();
        self.length = 0;
        self.state = State::Start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, chunk: usize) -> Vec<String> {
        let mut rows = Vec::new();
        let mut show = |row: &Row<'_>| {
            let cells = match row.body {
                RowBody::Cells(cells) => cells
                    .iter()
                    .map(|cell| String::from_utf8_lossy(cell).into_owned())
                    .collect::<Vec<_>>()
                    .join("|"),
                RowBody::TooLong { bytes } => format!("<{bytes} bytes>"),
            };
            let open = if row.open_quote { " open" } else { "" };
            rows.push(format!("{}-{}@{} {cells}{open}", row.lines.0, row.lines.1, row.offset));
        };
        let mut cutter = TableCutter::new(b',', 30, 1, 0);
        text.as_bytes().chunks(chunk).for_each(|chunk| cutter.push(chunk, &mut show));
        cutter.finish(&mut show);
        rows
    }

    #[test]
    fn quotes_hold_everything() {
        let text = "a,\"b, \"\"c\"\"\nd\"\r\n,x\"y,\"z\"w\r\n\n\"\",\n\"open\n";
        let expected =
            ["1-2@0 a|b, \"c\"\nd", "3-3@16 |x\"y|zw", "4-4@27 ", "5-5@28 |", "6-7@32 open\n open"];
        for chunk in 1..text.len() {
            assert_eq!(cut(text, chunk), expected, "in chunks of {chunk}");
        }
    }

    #[test]
    fn a_long_row_is_not_held() {
        let text = format!("a,b\n\"{}\nx\",1\nc,d", "x".repeat(60));
        assert_eq!(cut(&text, 1000), ["1-1@0 a|b", "2-3@4 <67 bytes>", "4-4@71 c|d"]);
    }
}
