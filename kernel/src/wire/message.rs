//! What a message says: requests read from frames, outgoing messages written to frames.
//!
//! Owns the places where `jupyter-protocol`'s types are stricter than front ends are, or say something else than this
//! kernel must say (user name, session, parent header).

use std::sync::Arc;
use std::time::Instant;

use chrono::Utc;
use jupyter_protocol::{Header, JupyterMessageContent};
use serde_json::{Map, Value, json};

use super::frames::{FrameError, Frames};
use super::sign::Signer;

/// The message protocol's version in every header. `supported_features` in the kernel's info says the rest.
pub(crate) const PROTOCOL_VERSION: &str = "5.3";

/// Who a message answers: the request's header, byte for byte, so that fields unknown here come back too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parent(Arc<[u8]>);

/// A message from a front end, its signature checked.
#[derive(Debug)]
pub(crate) struct Request {
    pub identities: Vec<Vec<u8>>,
    pub parent: Parent,
    pub header: Header,
    /// The content, or why it cannot be read.
    pub content: Result<JupyterMessageContent, String>,
    /// Binary data of widgets.
    pub buffers: Vec<Vec<u8>>,
    pub arrived: Instant,
}

/// Why there is nobody to answer: such a message is dropped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswerable {
    #[error(transparent)]
    Frames(#[from] FrameError),
    #[error("the signature is wrong")]
    BadSignature,
    #[error("the header cannot be read: {0}")]
    BadHeader(serde_json::Error),
}

impl Request {
    pub(crate) fn read(parts: Vec<Vec<u8>>, signer: &Signer) -> Result<Request, Unanswerable> {
        let frames = Frames::split(parts)?;
        if !signer.verify(frames.signed(), &frames.signature) {
            return Err(Unanswerable::BadSignature);
        }
        let mut header: Value = serde_json::from_slice(&frames.header).map_err(Unanswerable::BadHeader)?;
        set_defaults(
            &mut header,
            [("username", json!("")), ("session", json!("")), ("version", json!(PROTOCOL_VERSION))],
        );
        let header: Header = serde_json::from_value(header).map_err(Unanswerable::BadHeader)?;
        let content = read_content(&header.msg_type, &frames.content);
        Ok(Request {
            identities: frames.identities,
            parent: Parent(frames.header.into()),
            header,
            content,
            buffers: frames.buffers,
            arrived: Instant::now(),
        })
    }

    pub(crate) fn message_type(&self) -> &str {
        &self.header.msg_type
    }
}

fn read_content(message_type: &str, frame: &[u8]) -> Result<JupyterMessageContent, String> {
    let mut content: Value =
        serde_json::from_slice(frame).map_err(|error| format!("it is not JSON: {error}"))?;
    if !content.is_object() {
        return Err("its content is not a JSON object".to_owned());
    }
    fill_in(message_type, &mut content);
    JupyterMessageContent::from_type_and_content(message_type, content).map_err(|error| error.to_string())
}

/// Front ends leave out what the message specification gives a default; `jupyter-protocol` 2.0.3 insists on it.
fn fill_in(message_type: &str, content: &mut Value) {
    match message_type {
        "execute_request" => set_defaults(
            content,
            [
                ("silent", json!(false)),
                ("store_history", json!(true)),
                ("user_expressions", json!({})),
                ("allow_stdin", json!(false)),
                ("stop_on_error", json!(true)),
            ],
        ),
        "complete_request" | "inspect_request" => {
            let end = content.get("code").and_then(Value::as_str).map_or(0, |code| code.chars().count());
            set_defaults(content, [("cursor_pos", json!(end))]);
        }
        "history_request" => {
            set_defaults(content, [("output", json!(false)), ("raw", json!(true))]);
            match content.get("hist_access_type").and_then(Value::as_str) {
                Some("range") => {
                    set_defaults(content, [("start", json!(0)), ("stop", json!(i32::MAX))]);
                }
                Some("tail") => set_defaults(content, [("n", json!(10))]),
                _ => set_defaults(
                    content,
                    [("pattern", json!("*")), ("unique", json!(false)), ("n", json!(i32::MAX))],
                ),
            }
        }
        "comm_open" => set_defaults(content, [("data", json!({})), ("target_name", json!(""))]),
        "comm_msg" | "comm_close" => set_defaults(content, [("data", json!({}))]),
        "shutdown_request" => set_defaults(content, [("restart", json!(false))]),
        _ => {}
    }
}

/// Sets what is missing or null.
fn set_defaults<const N: usize>(object: &mut Value, defaults: [(&str, Value); N]) {
    let Value::Object(members) = object else { return };
    for (name, default) in defaults {
        let member = members.entry(name).or_insert(Value::Null);
        if member.is_null() {
            *member = default;
        }
    }
}

/// A message on its way to front ends; it gets its header when it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    /// Of the front end that is answered; a topic on the XPUB socket.
    pub identities: Vec<Vec<u8>>,
    pub parent: Option<Parent>,
    pub content: JupyterMessageContent,
    pub buffers: Vec<Vec<u8>>,
}

impl Outgoing {
    pub(crate) fn reply(request: &Request, content: impl Into<JupyterMessageContent>) -> Outgoing {
        Outgoing {
            identities: request.identities.clone(),
            parent: Some(request.parent.clone()),
            content: content.into(),
            buffers: Vec::new(),
        }
    }

    /// To everybody who listens. The topic is the message's type.
    pub(crate) fn broadcast(parent: Option<Parent>, content: impl Into<JupyterMessageContent>) -> Outgoing {
        let content = content.into();
        let topic = content.message_type().as_bytes().to_vec();
        Outgoing { identities: vec![topic], parent, content, buffers: Vec::new() }
    }
}

/// Writes messages under this kernel's name.
pub(crate) struct Encoder {
    session: String,
    signer: Signer,
}

impl Encoder {
    pub(crate) fn new(signer: Signer) -> Encoder {
        Encoder { session: uuid::Uuid::new_v4().to_string(), signer }
    }

    pub(crate) fn signer(&self) -> &Signer {
        &self.signer
    }

    pub(crate) fn encode(&self, message: Outgoing) -> serde_json::Result<Vec<Vec<u8>>> {
        let header = Header {
            msg_id: uuid::Uuid::new_v4().to_string(),
            username: "hotplate".to_owned(),
            session: self.session.clone(),
            date: Utc::now(),
            msg_type: message.content.message_type().to_owned(),
            version: PROTOCOL_VERSION.to_owned(),
        };
        let empty = || serde_json::to_vec(&Map::new());
        let mut frames = Frames {
            identities: message.identities,
            signature: Vec::new(),
            header: serde_json::to_vec(&header)?,
            parent_header: match message.parent {
                Some(Parent(bytes)) => bytes.to_vec(),
                None => empty()?,
            },
            metadata: empty()?,
            content: serde_json::to_vec(&message.content)?,
            buffers: message.buffers,
        };
        frames.signature = self.signer.sign(frames.signed());
        Ok(frames.join())
    }
}

#[cfg(test)]
mod tests {
    use jupyter_protocol::{HistoryRequest, Status};

    use super::*;

    fn signer() -> Signer {
        Signer::new("key", "hmac-sha256").unwrap()
    }

    fn request(message_type: &str, content: &str) -> Request {
        let header = format!(r#"{{"msg_id":"m","msg_type":"{message_type}","subshell_id":"s"}}"#);
        let mut frames = Frames {
            identities: vec![b"front".to_vec()],
            header: header.into_bytes(),
            parent_header: b"{}".to_vec(),
            metadata: b"{}".to_vec(),
            content: content.as_bytes().to_vec(),
            ..Frames::default()
        };
        frames.signature = signer().sign(frames.signed());
        frames.buffers = vec![vec![0, 255]];
        Request::read(frames.join(), &signer()).unwrap()
    }

    #[test]
    fn what_front_ends_leave_out_is_filled_in() {
        for (message_type, content) in [
            ("execute_request", r#"{"code":"1","user_expressions":null}"#),
            ("history_request", r#"{"hist_access_type":"search","output":false,"raw":true,"pattern":"a*"}"#),
            ("history_request", r#"{"hist_access_type":"range","session":0,"start":1,"stop":null}"#),
            ("history_request", r#"{"hist_access_type":"tail"}"#),
            ("complete_request", r#"{"code":"abc","cursor_pos":null}"#),
            ("comm_open", r#"{"comm_id":"c","target_name":"t"}"#),
            ("comm_close", r#"{"comm_id":"c"}"#),
            ("shutdown_request", "{}"),
        ] {
            let read = request(message_type, content);
            let known = read.content.unwrap_or_else(|error| panic!("{message_type}: {error}"));
            assert_eq!(known.message_type(), message_type);
        }
        let Ok(JupyterMessageContent::HistoryRequest(HistoryRequest::Search { n, unique, .. })) =
            request("history_request", r#"{"hist_access_type":"search","pattern":"x"}"#).content
        else {
            panic!("no search");
        };
        assert_eq!((n, unique), (i32::MAX, false));
        let Ok(JupyterMessageContent::CompleteRequest(complete)) =
            request("complete_request", r#"{"code":"日本語"}"#).content
        else {
            panic!("no completion");
        };
        assert_eq!(complete.cursor_pos, 3);
    }

    #[test]
    fn bad_contents_can_still_be_answered() {
        for content in ["", "[]", "{", r#"{"code":7}"#, "\"text\"", "null"] {
            let read = request("execute_request", content);
            assert!(read.content.is_err(), "{content}");
            assert_eq!(read.header.msg_id, "m");
        }
        assert!(request("never_heard_request", "{}").content.is_ok());
    }

    #[test]
    fn a_message_without_a_header_is_dropped() {
        for header in ["", "[]", "{}", r#"{"msg_id":1,"msg_type":"x"}"#] {
            let mut frames = Frames { header: header.as_bytes().to_vec(), ..Frames::default() };
            frames.signature = signer().sign(frames.signed());
            let error = Request::read(frames.join(), &signer()).unwrap_err();
            assert!(matches!(error, Unanswerable::BadHeader(_)), "{header}: {error}");
        }
    }

    #[test]
    fn the_parent_is_the_requests_header_to_the_byte() {
        let request = request("kernel_info_request", "{}");
        assert_eq!(request.buffers, vec![vec![0, 255]]);
        let mut reply = Outgoing::reply(&request, Status::idle());
        reply.buffers.push(vec![7]);
        let frames = Frames::split(Encoder::new(signer()).encode(reply).unwrap()).unwrap();
        assert_eq!(frames.identities, vec![b"front".to_vec()]);
        assert_eq!(
            frames.parent_header,
            br#"{"msg_id":"m","msg_type":"kernel_info_request","subshell_id":"s"}"#
        );
        assert!(signer().verify(frames.signed(), &frames.signature));
        assert_eq!(frames.buffers, vec![vec![7]]);
        let header: Header = serde_json::from_slice(&frames.header).unwrap();
        assert_eq!((header.username.as_str(), header.version.as_str()), ("hotplate", "5.3"));
    }

    #[test]
    fn broadcasts_carry_a_topic_instead_of_identities() {
        let message = Outgoing::broadcast(None, Status::busy());
        let frames = Frames::split(Encoder::new(signer()).encode(message).unwrap()).unwrap();
        assert_eq!(frames.identities, vec![b"status".to_vec()]);
        assert_eq!(frames.parent_header, b"{}");
    }
}
