//! Ends of lines: a carriage return that no line feed follows becomes one, so that whoever reads behind this knows two kinds of line
//! ends, and no place in the file moves.

#[derive(Default)]
pub(crate) struct LineEnds {
    /// The last byte was a carriage return, which waits for what follows.
    held: bool,
    text: Vec<u8>,
}

impl LineEnds {
    pub(crate) fn push(&mut self, bytes: &[u8], on_text: &mut dyn FnMut(&[u8])) {
        let Some(first) = bytes.first() else { return };
        if !self.held && !bytes.contains(&b'\r') {
            return on_text(bytes);
        }
        self.text.clear();
        if std::mem::take(&mut self.held) {
            self.text.push(if *first == b'\n' { b'\r' } else { b'\n' });
        }
        let mut following = bytes.iter().skip(1);
        for byte in bytes {
            let next = following.next();
            match (byte, next) {
                (b'\r', None) => self.held = true,
                (b'\r', Some(next)) if *next != b'\n' => self.text.push(b'\n'),
                (byte, _) => self.text.push(*byte),
            }
        }
        if !self.text.is_empty() {
            on_text(&self.text);
        }
    }

    pub(crate) fn finish(&mut self, on_text: &mut dyn FnMut(&[u8])) {
        if std::mem::take(&mut self.held) {
            on_text(b"\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ends_of_lines_are_known_however_the_bytes_come() {
        let bytes = b"a\rb\r\nc\n\r\rd\r\n\r";
        for chunk in 1..=bytes.len() {
            let mut ends = LineEnds::default();
            let mut out = Vec::new();
            bytes.chunks(chunk).for_each(|chunk| ends.push(chunk, &mut |text| out.extend_from_slice(text)));
            ends.finish(&mut |text| out.extend_from_slice(text));
            assert_eq!(out, b"a\nb\r\nc\n\n\nd\r\n\n", "in chunks of {chunk}");
        }
    }
}
