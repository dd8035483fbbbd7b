//! `initialize`: who is there, and which protocol both speak.

use hotplate_protocol::methods::initialize::{
    Agreed, Initialize, InitializeParams, InitializeResult, Mismatch, PeerInfo,
};
use hotplate_protocol::{ErrorCode, PROTOCOL, RpcError};

use super::{AtOnce, to_value};
use crate::daemon::sessions::RequestRef;
use crate::daemon::state::Daemon;

impl AtOnce for Initialize {
    fn answer(
        daemon: &mut Daemon,
        asker: &RequestRef,
        params: InitializeParams,
    ) -> Result<InitializeResult, RpcError> {
        let theirs = params.initialization_options.hotplate.protocol;
        let version = env!("CARGO_PKG_VERSION");
        let Some(protocol) = PROTOCOL.agree(theirs) else {
            let remedy = if theirs.min > PROTOCOL.max {
                "the running daemon is older than this program: end it with `hotplate stop`, the next command starts the new one"
            } else {
                "this program is older than the running daemon: update it, or end the daemon with the newer `hotplate stop`"
            };
            let message = format!(
                "the daemon (Hotplate {version}) speaks protocol {} to {}, {} speaks {} to {}; {remedy}",
                PROTOCOL.min, PROTOCOL.max, params.client_info.name, theirs.min, theirs.max
            );
            let mismatch = Mismatch {
                daemon: PROTOCOL,
                client: theirs,
                daemon_version: version.to_owned(),
                remedy: remedy.to_owned(),
            };
            let data = Some(to_value(&mismatch)?);
            return Err(RpcError { code: ErrorCode::ProtocolMismatch, message, data });
        };
        if let Some(session) = daemon.sessions.get_mut(&asker.session) {
            if session.protocol.is_some() {
                return Err(RpcError::new(
                    ErrorCode::InvalidRequest,
                    "initialize was answered on this connection already",
                ));
            }
            session.protocol = Some(protocol);
        }
        tracing::debug!(
            client = params.client_info.name,
            version = params.client_info.version,
            protocol,
            "hello"
        );
        Ok(InitializeResult {
            server_info: PeerInfo { name: "hotplate".to_owned(), version: version.to_owned() },
            capabilities: serde_json::json!({}),
            hotplate: Agreed { protocol, pid: std::process::id() },
        })
    }
}
