//! Takes an account's secrets out of a vendor's words: an answer may echo the key that it refuses.
//!
//! Knows the key in every form in which it goes out or could come back: as it is, in base64, as the `Authorization`
//! header has it, percent-encoded, and escaped for JSON. Words are cut somewhere, so a beginning of a form at their end
//! goes, too.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};

const HIDDEN: &str = "[hidden]";
/// A shorter beginning of a secret says nothing of it.
const TELLING: usize = 6;

/// One account's secrets. Printing it shows none.
///
/// Their forms are made when there are words to look through: most lanes never need them, and there may be thousands.
#[derive(Debug, Default)]
pub(super) struct Redactor {
    secrets: Vec<SecretString>,
}

impl Redactor {
    /// Learns a key, and the headers that were made of it.
    pub(super) fn learn(&mut self, key: &SecretString, headers: &HeaderMap) {
        self.remember(key.expose_secret());
        for value in headers.values().filter(|value| value.is_sensitive()) {
            if let Ok(text) = value.to_str() {
                self.remember(text.split_once(' ').map_or(text, |(_scheme, rest)| rest));
            }
        }
    }

    fn remember(&mut self, secret: &str) {
        if !self.secrets.iter().any(|known| known.expose_secret() == secret) {
            self.secrets.push(secret.to_owned().into());
        }
    }

    /// Every form of every secret, longest first, so that no part of a longer form stays.
    fn forms(&self) -> Vec<SecretString> {
        let mut forms: Vec<String> = Vec::new();
        for secret in self.secrets.iter().map(ExposeSecret::expose_secret) {
            forms.extend([secret.to_owned(), secret.trim_end_matches('=').to_owned()]);
            forms.extend([STANDARD.encode(secret), STANDARD_NO_PAD.encode(secret), URL_SAFE_NO_PAD.encode(secret)]);
        }
        let encoded: Vec<String> =
            forms.iter().flat_map(|form| [true, false].map(|upper| percent(form, upper))).collect();
        forms.extend(encoded);
        let escaped: Vec<String> = forms.iter().map(|form| form.replace('\\', "\\\\").replace('"', "\\\"")).collect();
        let slashes: Vec<String> = escaped.iter().map(|form| form.replace('/', "\\/")).collect();
        forms.extend(escaped.into_iter().chain(slashes));
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        forms.into_iter().filter(|form| !form.is_empty()).map(SecretString::from).collect()
    }

    /// The text without secrets.
    pub(super) fn scrub(&self, mut text: String) -> String {
        if text.is_empty() {
            return text;
        }
        let forms = self.forms();
        for form in &forms {
            if text.contains(form.expose_secret()) {
                text = text.replace(form.expose_secret(), HIDDEN);
            }
        }
        for form in &forms {
            let form = form.expose_secret();
            let telling = TELLING..form.len().min(text.len() + 1);
            // Secrets are ASCII: every length is a character's end.
            if let Some(length) =
                telling.rev().find(|length| form.get(..*length).is_some_and(|part| text.ends_with(part)))
            {
                text.truncate(text.len() - length);
                text.push_str(HIDDEN);
            }
        }
        text
    }
}

/// Percent-encoding of all that is not unreserved.
fn percent(text: &str, upper: bool) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ if upper => format!("%{byte:02X}"),
        _ => format!("%{byte:02x}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn redactor() -> Redactor {
        let mut headers = HeaderMap::new();
        let mut value = HeaderValue::from_static("Basic V1M6a2V5L3dpdGgrc2lnbnM=");
        value.set_sensitive(true);
        headers.insert("authorization", value);
        let mut redactor = Redactor::default();
        redactor.learn(&SecretString::from("key/with+signs"), &headers);
        redactor
    }

    #[test]
    fn a_key_is_hidden_in_every_form() {
        let forms = [
            "key/with+signs",
            r"key\/with+signs",
            "key%2Fwith%2Bsigns",
            "key%2fwith%2bsigns",
            "a2V5L3dpdGgrc2lnbnM=",
            "V1M6a2V5L3dpdGgrc2lnbnM=",
            "V1M6a2V5L3dpdGgrc2lnbnM",
        ];
        for form in forms {
            assert_eq!(redactor().scrub(format!("bad key {form}!")), "bad key [hidden]!", "{form}");
        }
    }

    #[test]
    fn a_key_that_was_cut_at_the_end_is_hidden_and_other_words_stay() {
        assert_eq!(redactor().scrub("bad key key/with+s".into()), "bad key [hidden]");
        assert_eq!(redactor().scrub("nothing secret: key".into()), "nothing secret: key");
        assert_eq!(redactor().scrub(String::new()), "");
    }

    #[test]
    fn printing_it_shows_no_secret() {
        assert!(!format!("{:?}", redactor()).contains("key/with"));
    }
}
