//! Reads one client's frames until the connection ends or loses its place.

use std::io::BufReader;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Sender;
use hotplate_protocol::notifications::Cancel;
use hotplate_protocol::{ErrorCode, FrameError, Message, Response, RpcError, read_frame};

use super::{IN_FLIGHT, InFlight, Outbox, SessionId};
use crate::daemon::events::Event;

pub(super) fn read_until_end(
    session: SessionId,
    outbox: &Arc<Outbox>,
    in_flight: &InFlight,
    events: &Sender<Event>,
) {
    let mut reader = BufReader::new(&outbox.stream);
    loop {
        let body = match read_frame(&mut reader) {
            Ok(Some(body)) => body,
            Ok(None) | Err(FrameError::Io(_)) => break,
            Err(error) => {
                // The stream has lost its place: say why, once, and close.
                let message = format!("{error}; the connection is closed");
                let error = RpcError::new(ErrorCode::InvalidRequest, message);
                outbox.send_with_room(Message::Response(Response::failed(None, error)));
                break;
            }
        };
        let event = match Message::parse(&body) {
            Ok(Message::Request(request)) => {
                if !in_flight.enter(&request.method) {
                    let message = format!(
                        "{IN_FLIGHT} requests of this connection wait for their answers; wait for one of them"
                    );
                    let error = RpcError::new(ErrorCode::Busy, message);
                    outbox.send_with_room(Message::Response(Response::failed(Some(request.id), error)));
                    continue;
                }
                Event::Request { session, request, arrived: Instant::now() }
            }
            Ok(Message::Notification(notification)) => match notification.parse::<Cancel>() {
                Some(Ok(params)) => Event::Cancel { session, id: params.id },
                // JSON-RPC leaves notifications unanswered, also those that are not known.
                Some(Err(_)) | None => continue,
            },
            // The daemon asks its clients nothing.
            Ok(Message::Response(_)) => continue,
            Err(complaint) => {
                let garbage = matches!(&complaint.outcome, Err(error) if error.code == ErrorCode::ParseError);
                outbox.send_with_room(Message::Response(complaint));
                if garbage {
                    break;
                }
                continue;
            }
        };
        if events.send(event).is_err() {
            break;
        }
    }
    // Through the main loop, so that replies to what was asked before the end are still written.
    let _ = events.send(Event::Left { session });
}
