//! The handshake, in the shape of LSP's `initialize`, so that an editor can be a session too.

use serde::{Deserialize, Serialize};

super::method!(
    /// Must be the first request of a connection.
    Initialize, "initialize", InitializeParams, InitializeResult
);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InitializeParams {
    #[serde(default)]
    pub process_id: Option<u32>,
    pub client_info: PeerInfo,
    #[serde(default)]
    pub capabilities: serde_json::Value,
    pub initialization_options: InitializationOptions,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerInfo {
    pub name: String,
    pub version: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InitializationOptions {
    pub hotplate: Handshake,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Handshake {
    pub protocol: ProtocolRange,
}

/// Oldest and newest protocol version that a side speaks, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtocolRange {
    pub min: u32,
    pub max: u32,
}

impl ProtocolRange {
    /// The newest version that both sides speak.
    pub fn agree(self, other: ProtocolRange) -> Option<u32> {
        let newest = self.max.min(other.max);
        (newest >= self.min.max(other.min)).then_some(newest)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InitializeResult {
    pub server_info: PeerInfo,
    pub capabilities: serde_json::Value,
    pub hotplate: Agreed,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agreed {
    pub protocol: u32,
    pub pid: u32,
}

/// The `data` of a [`ProtocolMismatch`](crate::ErrorCode::ProtocolMismatch) error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mismatch {
    pub daemon: ProtocolRange,
    pub client: ProtocolRange,
    pub daemon_version: String,
    pub remedy: String,
}

#[cfg(test)]
mod tests {
    use super::ProtocolRange;

    #[test]
    fn the_newest_common_version_wins() {
        let range = |min, max| ProtocolRange { min, max };
        assert_eq!(range(1, 3).agree(range(2, 5)), Some(3));
        assert_eq!(range(2, 2).agree(range(1, 2)), Some(2));
        assert_eq!(range(1, 2).agree(range(3, 4)), None);
    }
}
