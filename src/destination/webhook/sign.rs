//! The headers of Standard Webhooks: `webhook-id`, `webhook-timestamp`, `webhook-signature`.
//!
//! The signature (<https://www.standardwebhooks.com>, 2026-11) is the HMAC-SHA256 of id, timestamp and body, joined by dots;
//! one for each key. The id is the same when a request is sent again, the timestamp is that of the attempt.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::config::secret::Unfit;
use crate::destination::Sign;

/// A key's bytes: 24 to 64 of them, in base64, with or without `whsec_` before it.
pub(super) fn bytes(key: &SecretString) -> Result<Zeroizing<Vec<u8>>, Unfit> {
    let unfit = |why| Unfit { why, fix: "make one: echo whsec_$(openssl rand -base64 32)" };
    let text = key.expose_secret();
    let bytes = STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(text)).map(Zeroizing::new);
    let bytes =
        bytes.map_err(|_| unfit("is not base64, with or without whsec_ before it, so it could sign nothing"))?;
    match bytes.len() {
        24..=64 => Ok(bytes),
        _ => Err(unfit("has not the 24 to 64 bytes that Standard Webhooks wants of a key")),
    }
}

/// The account's keys, ready to sign. Printing it shows none.
pub(super) struct Signer(Vec<Hmac<Sha256>>);

impl Signer {
    /// A key that cannot sign counts as one that cannot be read, so none comes here.
    pub(super) fn new(keys: &[SecretString]) -> Self {
        let signing = |key: &SecretString| Hmac::new_from_slice(&bytes(key).ok()?).ok();
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
