//! The name under which the daemon of a home listens.

use std::io;

use interprocess::local_socket::Name;

use hotplate_home::Home;

/// A Unix socket's path; on Windows, a named pipe. The daemon binds it and clients connect to it.
#[cfg(unix)]
pub fn address(home: &Home) -> io::Result<Name<'static>> {
    use interprocess::local_socket::{GenericFilePath, ToFsName};

    home.socket().to_fs_name::<GenericFilePath>()
}

#[cfg(not(unix))]
pub fn address(home: &Home) -> io::Result<Name<'static>> {
    use interprocess::local_socket::{GenericNamespaced, ToNsName};

    let flat: String = home
        .socket()
        .to_string_lossy()
        .chars()
        .map(|character| if character.is_alphanumeric() { character } else { '-' })
        .collect();
    format!("hotplate{flat}").to_ns_name::<GenericNamespaced>()
}
