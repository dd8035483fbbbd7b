//! The signature of a message: HMAC-SHA256 over exactly four frames, in hexadecimal. Buffers are not signed.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Signs and checks with the connection file's key. An empty key means that nothing is signed.
#[derive(Clone)]
pub(crate) struct Signer {
    keyed: Option<Hmac<Sha256>>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignError {
    #[error("the signature scheme {0:?} is not known; this kernel signs with hmac-sha256")]
    UnknownScheme(String),
    #[error("the key cannot be used")]
    UnusableKey,
}

impl Signer {
    pub(crate) fn new(key: &str, scheme: &str) -> Result<Signer, SignError> {
        if key.is_empty() {
            return Ok(Signer { keyed: None });
        }
        if scheme != "hmac-sha256" {
            return Err(SignError::UnknownScheme(scheme.to_owned()));
        }
        let keyed = Hmac::<Sha256>::new_from_slice(key.as_bytes()).map_err(|_| SignError::UnusableKey)?;
        Ok(Signer { keyed: Some(keyed) })
    }

    pub(crate) fn sign(&self, frames: [&[u8]; 4]) -> Vec<u8> {
        self.mac(frames).map(|mac| hex::encode(mac.finalize().into_bytes()).into_bytes()).unwrap_or_default()
    }

    /// Whether the signature is right. Takes the same time wherever it is wrong.
    pub(crate) fn verify(&self, frames: [&[u8]; 4], signature: &[u8]) -> bool {
        match self.mac(frames) {
            None => true,
            Some(mac) => hex::decode(signature).is_ok_and(|signature| mac.verify_slice(&signature).is_ok()),
        }
    }

    fn mac(&self, frames: [&[u8]; 4]) -> Option<Hmac<Sha256>> {
        let mut mac = self.keyed.clone()?;
        for frame in frames {
            mac.update(frame);
        }
        Some(mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMES: [&[u8]; 4] = [br#"{"msg_id":"1"}"#, b"{}", b"{}", br#"{"code":"x"}"#];

    #[test]
    fn agrees_with_pythons_hmac() {
        // hmac.new(b"secret", b'{"msg_id":"1"}{}{}{"code":"x"}', "sha256").hexdigest()
        let signer = Signer::new("secret", "hmac-sha256").unwrap();
        let signature = signer.sign(FRAMES);
        assert_eq!(
            String::from_utf8(signature.clone()).unwrap(),
            "6d4e96e072a7d545daf167071b1f625b663fcd9227dc75b9859ef0fcf0aef780"
        );
        assert!(signer.verify(FRAMES, &signature));
    }

    #[test]
    fn refuses_what_was_changed() {
        let signer = Signer::new("secret", "hmac-sha256").unwrap();
        let good = signer.sign(FRAMES);
        let mut other = FRAMES;
        other[3] = br#"{"code":"y"}"#;
        assert!(!signer.verify(other, &good));
        assert!(!signer.verify(FRAMES, b""));
        assert!(!signer.verify(FRAMES, b"not hexadecimal"));
        assert!(!signer.verify(FRAMES, &good[..32]));
        assert!(!Signer::new("other", "hmac-sha256").unwrap().verify(FRAMES, &good));
    }

    #[test]
    fn an_empty_key_signs_nothing() {
        let signer = Signer::new("", "").unwrap();
        assert!(signer.sign(FRAMES).is_empty());
        assert!(signer.verify(FRAMES, b"anything"));
        assert!(Signer::new("key", "hmac-md5").is_err());
    }
}
