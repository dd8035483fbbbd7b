//! Writes what waits for one client. The only thread that may wait for a slow one.

use std::sync::Arc;

use hotplate_protocol::write_frame;

use super::Outbox;

pub(super) fn write_until_end(outbox: &Arc<Outbox>) {
    let mut stream = &outbox.stream;
    'connection: while let Some(messages) = outbox.lanes.next() {
        for message in messages {
            if write_frame(&mut stream, &message.to_bytes()).is_err() {
                break 'connection;
            }
            outbox.lanes.note_written();
        }
    }
    outbox.hang_up();
}
