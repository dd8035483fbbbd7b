//! One message as a list of frames: identities, `<IDS|MSG>`, signature, four JSON frames, raw buffers.

const DELIMITER: &[u8] = b"<IDS|MSG>";

/// What stands in the frames after the delimiter.
const AFTER_DELIMITER: usize = 5;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Frames {
    /// Where a ROUTER socket sends the answer; on the XPUB socket, the topic.
    pub identities: Vec<Vec<u8>>,
    pub signature: Vec<u8>,
    pub header: Vec<u8>,
    pub parent_header: Vec<u8>,
    pub metadata: Vec<u8>,
    pub content: Vec<u8>,
    /// Binary data of widgets. Not signed.
    pub buffers: Vec<Vec<u8>>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("{found} frames and no delimiter <IDS|MSG> among them")]
    NoDelimiter { found: usize },
    #[error(
        "{found} frames after the delimiter; a signature, header, parent, metadata and content are needed"
    )]
    TooFew { found: usize },
}

impl Frames {
    pub(crate) fn split(mut parts: Vec<Vec<u8>>) -> Result<Frames, FrameError> {
        let Some(delimiter) = parts.iter().position(|part| part == DELIMITER) else {
            return Err(FrameError::NoDelimiter { found: parts.len() });
        };
        let mut rest = parts.split_off(delimiter).into_iter();
        let found = rest.len() - 1;
        let mut next = || rest.next().ok_or(FrameError::TooFew { found });
        next()?;
        let frames = Frames {
            identities: parts,
            signature: next()?,
            header: next()?,
            parent_header: next()?,
            metadata: next()?,
            content: next()?,
            buffers: Vec::new(),
        };
        Ok(Frames { buffers: rest.collect(), ..frames })
    }

    /// The frames that the signature is made of, in its order.
    pub(crate) fn signed(&self) -> [&[u8]; 4] {
        [&self.header, &self.parent_header, &self.metadata, &self.content]
    }

    pub(crate) fn join(self) -> Vec<Vec<u8>> {
        let mut parts = self.identities;
        parts.reserve(1 + AFTER_DELIMITER + self.buffers.len());
        parts.push(DELIMITER.to_vec());
        parts.extend([self.signature, self.header, self.parent_header, self.metadata, self.content]);
        parts.extend(self.buffers);
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(texts: &[&str]) -> Vec<Vec<u8>> {
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    #[test]
    fn identities_and_buffers_survive_both_ways() {
        let wire = parts(&["one", "two", "<IDS|MSG>", "sig", "h", "p", "m", "c", "buffer", "<IDS|MSG>"]);
        let frames = Frames::split(wire.clone()).unwrap();
        assert_eq!(frames.identities, parts(&["one", "two"]));
        assert_eq!(frames.buffers, parts(&["buffer", "<IDS|MSG>"]));
        assert_eq!(frames.signed(), [b"h", b"p", b"m", b"c"]);
        assert_eq!(frames.join(), wire);
    }

    #[test]
    fn short_messages_are_errors() {
        assert_eq!(Frames::split(vec![]), Err(FrameError::NoDelimiter { found: 0 }));
        assert_eq!(Frames::split(parts(&["a", "b"])), Err(FrameError::NoDelimiter { found: 2 }));
        for length in 0..AFTER_DELIMITER {
            let mut wire = parts(&["id", "<IDS|MSG>"]);
            wire.extend(std::iter::repeat_n(b"{}".to_vec(), length));
            assert_eq!(Frames::split(wire), Err(FrameError::TooFew { found: length }));
        }
    }
}
