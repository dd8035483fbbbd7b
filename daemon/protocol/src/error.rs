//! The closed list of errors that cross the socket, and their JSON-RPC codes.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// Why a request failed. The codes below -32000 are JSON-RPC's and LSP's own; the rest are Hotplate's.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
        }

        impl ErrorCode {
            /// Every code, for documentation and tests.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$name,)*];

            /// The number on the wire.
            pub const fn code(self) -> i32 {
                match self { $(ErrorCode::$name => $code,)* }
            }
        }
    };
}

error_codes! {
    /// The frame did not hold JSON.
    ParseError = -32700,
    /// JSON, but no JSON-RPC message; or a request before `initialize`.
    InvalidRequest = -32600,
    /// No such method in this version.
    MethodNotFound = -32601,
    /// The params do not fit the method.
    InvalidParams = -32602,
    /// A fault of the daemon's own (a caught panic, a broken store).
    Internal = -32603,
    /// The client cancelled the request.
    RequestCancelled = -32800,
    /// The daemon and the client share no protocol version.
    ProtocolMismatch = -32099,
    /// A folder or file that was named does not exist or cannot be read.
    NotFound = -32098,
    /// The dataset cannot be trained on (no examples, one example).
    UnusableDataset = -32097,
    /// The base model cannot be loaded (missing shard, wrong shape, unknown architecture, no tokenizer).
    UnusableBase = -32096,
    /// The adapter cannot be used (unknown name, other base, corrupt file).
    UnusableAdapter = -32095,
    /// The disk is full or the store cannot be written; nothing saved before is lost.
    StorageFailed = -32094,
    /// Too many requests in flight on this connection, or in the daemon.
    Busy = -32093,
    /// The run ended with an error of its own (loss became NaN, out of memory).
    RunFailed = -32092,
    /// The folder's recipe (`hotplate.toml`) has a mistake in it.
    UnusableRecipe = -32090,
    /// The daemon is stopping.
    ShuttingDown = -32091,
}

impl ErrorCode {
    fn from_code(code: i64) -> ErrorCode {
        Self::ALL.iter().copied().find(|known| i64::from(known.code()) == code).unwrap_or(ErrorCode::Internal)
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i32(self.code())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i64::deserialize(deserializer).map(ErrorCode::from_code)
    }
}

/// The `error` member of a response. `message` is written for a person: what, where, what next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct RpcError {
    pub code: ErrorCode,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl RpcError {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_survive_the_wire_and_differ() {
        for (index, code) in ErrorCode::ALL.iter().enumerate() {
            let text = serde_json::to_string(code).unwrap();
            assert_eq!(serde_json::from_str::<ErrorCode>(&text).unwrap(), *code);
            assert!(ErrorCode::ALL[index + 1..].iter().all(|other| other.code() != code.code()));
        }
    }

    #[test]
    fn a_code_of_a_newer_daemon_reads_as_internal() {
        assert_eq!(serde_json::from_str::<ErrorCode>("-1").unwrap(), ErrorCode::Internal);
    }
}
