//! Everything that a front end of Hotplate needs: a connection to the daemon (which is started
//! if need be), the command grammar, what each command does, and its result in plain words.
//!
//! The command line and the notebook kernel are both thin layers over this crate. It must not know how a result
//! is painted, what a tensor is, or how the daemon does its work.

mod canceller;
mod chosen_base;
pub mod command;
mod connection;
#[cfg(test)]
mod fuzz;
pub mod hub;
pub mod run_command;
mod shown;
mod weighed;
pub mod words;

pub use canceller::{Canceller, Thrown};
pub use chosen_base::{BASE_VARIABLE, ChoiceError, ChosenBase, ChosenBy, TOY, chosen_base};
pub use connection::{CallError, ConnectError, Connection, Spawn, address};
pub use hotplate_home::{HOME_VARIABLE, Home, HomeError};
pub use hotplate_protocol as protocol;
pub use hotplate_protocol::methods::initialize::PeerInfo;
pub use run_command::{CommandError, run_command};
pub use shown::{Answers, ScoredLine, Shown};
pub use weighed::{AdapterSide, Difference, FewShotVsTuned, FewShotVsTunedRow};
