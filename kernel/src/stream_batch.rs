//! Gathers stream text for a moment, so that text that comes a token at a time does not flood the front end.
//!
//! Ark's figure, 80 ms, is below what an eye notices. Owns no clock and no socket: the socket thread asks when.

use std::time::{Duration, Instant};

use jupyter_protocol::{Stdio, StreamContent};

use crate::wire::{Outgoing, Parent};

const WAIT: Duration = Duration::from_millis(80);
const MAX_BYTES: usize = 64 << 10;

#[derive(Default)]
pub(crate) struct StreamBatch {
    waiting: Option<Waiting>,
}

struct Waiting {
    parent: Option<Parent>,
    stream: Stdio,
    text: String,
    since: Instant,
}

impl StreamBatch {
    /// Takes text, and gives back what has to be sent before it (another cell's text, or the other stream's).
    pub(crate) fn push(
        &mut self,
        parent: Option<Parent>,
        content: StreamContent,
        now: Instant,
    ) -> Option<Outgoing> {
        match &mut self.waiting {
            Some(waiting)
                if waiting.parent == parent
                    && is_stdout(&waiting.stream) == is_stdout(&content.name)
                    && waiting.text.len() < MAX_BYTES =>
            {
                waiting.text.push_str(&content.text);
                None
            }
            _ => {
                let before = self.take();
                self.waiting = Some(Waiting { parent, stream: content.name, text: content.text, since: now });
                before
            }
        }
    }

    /// What waits, to be sent now.
    pub(crate) fn take(&mut self) -> Option<Outgoing> {
        let Waiting { parent, stream, text, .. } = self.waiting.take()?;
        (!text.is_empty()).then(|| Outgoing::broadcast(parent, StreamContent { name: stream, text }))
    }

    /// How long the text may wait from now on; `None`: there is none.
    pub(crate) fn patience(&self, now: Instant) -> Option<Duration> {
        self.waiting.as_ref().map(|waiting| WAIT.saturating_sub(now.duration_since(waiting.since)))
    }
}

fn is_stdout(stream: &Stdio) -> bool {
    matches!(stream, Stdio::Stdout)
}

#[cfg(test)]
mod tests {
    use jupyter_protocol::JupyterMessageContent;

    use super::*;

    fn text(message: Option<Outgoing>) -> Option<String> {
        match message?.content {
            JupyterMessageContent::StreamContent(stream) => Some(stream.text),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pieces_become_one_message() {
        let mut batch = StreamBatch::default();
        let start = Instant::now();
        assert_eq!(batch.patience(start), None);
        for piece in ["a", "b", "", "c"] {
            assert!(batch.push(None, StreamContent::stdout(piece), start).is_none());
        }
        assert_eq!(batch.patience(start + Duration::from_millis(30)), Some(Duration::from_millis(50)));
        assert_eq!(batch.patience(start + Duration::from_secs(1)), Some(Duration::ZERO));
        assert_eq!(text(batch.take()), Some("abc".to_owned()));
        assert!(batch.take().is_none());
    }

    #[test]
    fn the_other_stream_sends_the_first_one_before_it() {
        let mut batch = StreamBatch::default();
        let now = Instant::now();
        batch.push(None, StreamContent::stdout("out"), now);
        assert_eq!(text(batch.push(None, StreamContent::stderr("err"), now)), Some("out".to_owned()));
        assert_eq!(text(batch.take()), Some("err".to_owned()));
    }

    #[test]
    fn a_batch_does_not_grow_for_ever() {
        let mut batch = StreamBatch::default();
        let now = Instant::now();
        let piece = "x".repeat(MAX_BYTES);
        assert!(batch.push(None, StreamContent::stdout(&piece), now).is_none());
        assert_eq!(text(batch.push(None, StreamContent::stdout("y"), now)), Some(piece));
    }

    #[test]
    fn nothing_is_sent_for_empty_text() {
        let mut batch = StreamBatch::default();
        batch.push(None, StreamContent::stdout(""), Instant::now());
        assert!(batch.take().is_none());
    }
}
