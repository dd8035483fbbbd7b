//! One file per method. Clients start with [`initialize`]; every other request before it is refused.

pub mod adapters;
pub mod check;
pub mod delete;
pub mod export;
pub mod generate;
pub mod import;
pub mod initialize;
pub mod look_at_base;
pub mod models;
pub mod prune;
pub mod rename;
pub mod rollback;
pub mod run_attach;
pub mod run_cancel;
pub mod run_finish;
pub mod score;
pub mod status;
pub mod stop;
pub mod train;
pub mod unwatch;
pub mod verify;
pub mod watch;

macro_rules! method {
    ($(#[$doc:meta])* $kind:ident, $method:literal, $params:ty, $result:ty) => {
        $(#[$doc])*
        pub enum $kind {}

        impl $crate::message::RequestKind for $kind {
            const METHOD: &'static str = $method;
            type Params = $params;
            type Result = $result;
        }
    };
}
use method;

/// Params or a result without anything in it: `{}` on the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Nothing {}
