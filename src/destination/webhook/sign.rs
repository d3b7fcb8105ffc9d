//! The headers of Standard Webhooks: `webhook-id`, `webhook-timestamp`, `webhook-signature`.
//!
//! The signature is the HMAC-SHA256 of id, timestamp and body, joined by dots; one for each key, so that a receiver may
//! know either. The id is the same when a request is sent again, the timestamp is that of the attempt.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use sha2::Sha256;

use crate::config::secret::signing_key;
use crate::destination::Sign;

/// The account's keys, ready to sign. Printing it shows none.
pub(super) struct Signer(Vec<Hmac<Sha256>>);

impl Signer {
    /// A key that cannot sign counts as one that cannot be read, so none comes here.
    pub(super) fn new(keys: &[SecretString]) -> Self {
        let signing = |key: &SecretString| Hmac::new_from_slice(&signing_key(key)?).ok();
        Self(keys.iter().filter_map(signing).collect())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({} keys, hidden)", self.0.len())
    }
}

impl Sign for Signer {
    fn sign(&self, batch: u128, wall_ms: i64, body: &[u8], headers: &mut HeaderMap) {
        let (id, timestamp) = (format!("msg_{batch:032x}"), wall_ms.div_euclid(1000).to_string());
        let signature = |key: &Hmac<Sha256>| {
            let mut mac = key.clone();
            for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
                mac.update(part);
            }
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        };
        let signatures: Vec<String> = self.0.iter().map(signature).collect();
        for (name, value) in [
            ("webhook-id", id.as_str()),
            ("webhook-timestamp", &timestamp),
            ("webhook-signature", &signatures.join(" ")),
        ] {
            // All of it is ASCII.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_that_is_one_signs_id_time_and_body() {
        let signer = Signer::new(&["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".into(), "not base64".into()]);
        let mut headers = HeaderMap::new();
        signer.sign(7, 1_674_087_231_999, b"{}", &mut headers);
        assert_eq!(headers["webhook-id"], "msg_00000000000000000000000000000007");
        assert_eq!(headers["webhook-timestamp"], "1674087231");
        assert_eq!(headers["webhook-signature"], "v1,JGgtVH78lqTi/FITVzeu41YMSV6Ye03X91yR8AE3OcQ=");
        assert!(!format!("{signer:?}").contains("C2FV"));
    }
}
