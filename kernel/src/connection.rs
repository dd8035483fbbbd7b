//! The connection file: where the five sockets are, and the key that messages are signed with.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jupyter_protocol::{ConnectionInfo, Transport};
use serde_json::{Value, json};

#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionFileError {
    #[error("cannot read the connection file {}: {source}; Jupyter writes it and passes its path: this program is not meant to be started by hand", file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    #[error("the connection file {} is not valid: {why}", file.display())]
    Invalid { file: PathBuf, why: String },
}

pub(crate) fn read(file: &Path) -> Result<ConnectionInfo, ConnectionFileError> {
    let bytes =
        fs::read(file).map_err(|source| ConnectionFileError::Unreadable { file: file.to_owned(), source })?;
    parse(&bytes).map_err(|why| ConnectionFileError::Invalid { file: file.to_owned(), why })
}

/// Fields of newer versions (registration, curve) are passed over.
fn parse(bytes: &[u8]) -> Result<ConnectionInfo, String> {
    let mut value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let members = value.as_object_mut().ok_or("it holds no JSON object")?;
    members.entry("signature_scheme").or_insert_with(|| json!("hmac-sha256"));
    members.entry("transport").or_insert_with(|| json!("tcp"));
    let info: ConnectionInfo = serde_json::from_value(value).map_err(|error| error.to_string())?;
    if info.ip.is_empty() {
        return Err("its \"ip\" is empty".to_owned());
    }
    Ok(info)
}

/// Where the socket with this port (or, for ipc, this suffix) is bound.
pub(crate) fn endpoint(info: &ConnectionInfo, port: u16) -> String {
    match info.transport {
        Transport::IPC => format!("ipc://{}-{port}", info.ip),
        Transport::TCP if is_ipv6(info) => format!("tcp://[{}]:{port}", info.ip),
        Transport::TCP => format!("tcp://{}:{port}", info.ip),
    }
}

pub(crate) fn is_ipv6(info: &ConnectionInfo) -> bool {
    info.transport == Transport::TCP && info.ip.contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(ip: &str, transport: &str) -> String {
        format!(
            r#"{{"ip":"{ip}","transport":"{transport}","shell_port":1,"iopub_port":2,"stdin_port":3,"control_port":4,
                "hb_port":5,"key":"k","kernel_name":"hotplate","curve_publickey":"new"}}"#
        )
    }

    #[test]
    fn endpoints_of_each_transport() {
        let check = |ip: &str, transport: &str, expected: &str| {
            let info = parse(file(ip, transport).as_bytes()).unwrap();
            assert_eq!(endpoint(&info, info.control_port), expected);
        };
        check("127.0.0.1", "tcp", "tcp://127.0.0.1:4");
        check("::1", "tcp", "tcp://[::1]:4");
        check("/run/k", "ipc", "ipc:///run/k-4");
    }

    #[test]
    fn fuzz_connection_file() {
        let words = [
            "\"ip\": ",
            "\"transport\": ",
            "\"ipc\"",
            "\"::1\"",
            "65536",
            "-1",
            "null",
            "{",
            "}",
            "\"key\": ",
        ];
        hotplate_fuzz::fuzz("connection-file", &[file("127.0.0.1", "tcp").as_bytes()], &words, |bytes| {
            if let Ok(info) = parse(bytes) {
                let _ = endpoint(&info, info.shell_port);
            }
        });
    }

    #[test]
    fn what_is_no_connection_file_is_named() {
        for bad in ["", "{}", "[]", r#"{"ip":"x"}"#, &file("", "tcp"), &file("h", "carrier-pigeon")] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let error = read(Path::new("/nowhere/kernel.json")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/kernel.json"));
    }
}
