//! How much of a stream of bytes is UTF-8.

#[derive(Default)]
pub(super) struct Tally {
    /// Bytes beyond ASCII that are part of a character, and bytes that are of none.
    pub(super) valid: u64,
    pub(super) invalid: u64,
    pub(super) zeros: u64,
    /// A character that has begun.
    open: Vec<u8>,
}

impl Tally {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let joined;
        let mut rest = if self.open.is_empty() {
            bytes
        } else {
            self.open.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.open);
            joined.as_slice()
        };
        loop {
            let (good, bad) = match str::from_utf8(rest) {
                Ok(_) => (rest.len(), None),
                Err(error) => (error.valid_up_to(), Some(error.error_len())),
            };
            let (text, behind) = rest.split_at(good);
            self.valid += text.iter().filter(|byte| !byte.is_ascii()).count() as u64;
            self.zeros += text.iter().filter(|byte| **byte == 0).count() as u64;
            match bad {
                None => return,
                Some(None) => {
                    self.open = behind.to_vec();
                    return;
                }
                Some(Some(length)) => {
                    self.invalid += length as u64;
                    rest = behind.get(length..).unwrap_or_default();
                }
            }
        }
    }

    pub(super) fn finish(&mut self) {
        self.invalid += self.open.len() as u64;
        self.open.clear();
    }
}
