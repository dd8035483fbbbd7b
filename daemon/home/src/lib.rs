//! Where things lie on a person's machine, and figures as people read them: what client and daemon must agree on.
//!
//! Owns the folders of Hotplate, how files in them are opened, and the layout of the hub's cache. It must not know what is said between client and
//! daemon, what is inside the files, nor how a model is fetched.

pub mod figures;
mod gguf;
mod home;
pub mod hub;
pub mod own_file;

pub use gguf::is_gguf_file;
pub use home::{HOME_VARIABLE, Home, HomeError, free_bytes};
