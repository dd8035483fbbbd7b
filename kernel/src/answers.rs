//! Replies that need no state: who the kernel is, and that something was not understood.

use jupyter_protocol::{JupyterMessageContent, KernelInfoReply, LanguageInfo, ReplyStatus, UnknownMessage};
use serde_json::{Value, json};

use crate::wire::{PROTOCOL_VERSION, Request};

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(crate) fn kernel_info() -> JupyterMessageContent {
    let info = KernelInfoReply {
        status: ReplyStatus::Ok,
        protocol_version: PROTOCOL_VERSION.to_owned(),
        implementation: "hotplate-kernel".to_owned(),
        implementation_version: VERSION.to_owned(),
        language_info: LanguageInfo {
            name: "hotplate".to_owned(),
            version: VERSION.to_owned(),
            mimetype: Some("text/x-hotplate".to_owned()),
            file_extension: Some(".hotplate".to_owned()),
            pygments_lexer: Some("text".to_owned()),
            // Commands and prompts are best left uncoloured.
            codemirror_mode: None,
            nbconvert_exporter: None,
        },
        banner: format!(
            "Hotplate {VERSION}. %help lists the commands; %check FOLDER looks at your texts, %train FOLDER learns them."
        ),
        help_links: Vec::new(),
        debugger: false,
        error: None,
    };
    // jupyter-protocol 2.0.3 has no `supported_features` (JEP 92).
    match serde_json::to_value(&info) {
        Ok(Value::Object(mut members)) => {
            members.insert("supported_features".to_owned(), json!([]));
            untyped("kernel_info_reply", Value::Object(members))
        }
        _ => info.into(),
    }
}

/// The reply to a request that failed before it was understood. `None`: it was no request, and nobody waits.
pub(crate) fn failure(request: &Request, name: &str, why: &str) -> Option<JupyterMessageContent> {
    let reply = format!("{}_reply", request.message_type().strip_suffix("_request")?);
    let content = json!({
        "status": "error",
        "ename": name,
        "evalue": why,
        "traceback": [format!("{name}: {why}")],
    });
    Some(untyped(&reply, content))
}

pub(crate) fn not_understood(request: &Request, why: &str) -> Option<JupyterMessageContent> {
    tracing::warn!(kind = request.message_type(), "a message that cannot be read: {why}");
    failure(request, "MalformedMessage", &format!("this {} cannot be read: {why}", request.message_type()))
}

pub(crate) fn not_known(request: &Request) -> Option<JupyterMessageContent> {
    let kind = request.message_type();
    tracing::debug!(kind, "a message of a kind that this kernel does not answer");
    failure(request, "UnknownMessage", &format!("this kernel has no answer to a {kind} on this channel"))
}

fn untyped(message_type: &str, content: Value) -> JupyterMessageContent {
    UnknownMessage { msg_type: message_type.to_owned(), content }.into()
}
