//! Track events that are no user's data: they start a campaign, or send an alert.
//!
//! | event | becomes |
//! | --- | --- |
//! | named in `business_events` | a business event of that name, with the properties as its attributes |
//! | named in `alerts` | an alert of Inform, to the recipient of each of its channels that the message has |
//!
//! Such an event becomes nothing else: a one-time password must not stand in a profile. Who wants it there, too, has a
//! second account. An alert's transaction is the message's id, so the vendor knows a repetition.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::encode::{Encoder, named};
use super::limits::{Of, check_id, check_written};
use crate::config::{self, Alert};
use crate::event::Event;
use crate::json::{copy, write};
use crate::outcome::{Reason, Refusal};

/// The vendor's longest id of a transaction, in characters.
pub(super) const LONGEST_TRANSACTION: usize = 50;

/// Which track events start campaigns or send alerts.
#[derive(Debug)]
pub(super) struct Campaign {
    business: Vec<String>,
    alerts: HashMap<String, Alert>,
}

impl Campaign {
    pub(super) fn new(settings: &config::Moengage) -> Self {
        let alerts = settings.alerts.iter().map(|alert| (alert.event.clone(), alert.clone()));
        Self { business: settings.business_events.clone(), alerts: alerts.collect() }
    }

    /// Whether the settings name an event that becomes a call of this shape.
    pub(super) fn makes(&self, shape: crate::destination::Shape) -> bool {
        shape == super::BUSINESS && !self.business.is_empty() || shape == super::ALERTS && !self.alerts.is_empty()
    }

    pub(super) fn is_business(&self, name: &str) -> bool {
        self.business.iter().any(|event| event == name)
    }

    pub(super) fn alert(&self, name: &str) -> Option<&Alert> {
        // Most accounts have none, and need no hash of the name.
        if self.alerts.is_empty() { None } else { self.alerts.get(name) }
    }
}

impl Encoder {
    /// A business event.
    pub(super) fn business(&self, event: &Event<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let name = named(event)?;
        out.extend_from_slice(b"{\"event_name\":");
        write::string(out, &name);
        write::key(out, "event_attributes");
        let start = out.len();
        match event.properties {
            Some(properties) => copy::object(out, properties, self.style),
            None => out.extend_from_slice(b"{}"),
        }
        check_written(out, start, Of::Event)?;
        out.push(b'}');
        Ok(())
    }

    /// An alert; `whole` is the event before the account's rules, for the recipients.
    pub(super) fn alert(
        &self,
        campaign: &Campaign,
        event: &Event<'_>,
        whole: &Event<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let name = event.event.as_deref().unwrap_or_default();
        let none = || Refusal::new(Reason::NoRecipient, "no recipient stands where the account's `alerts` say");
        let alert = campaign.alert(name).ok_or_else(none)?;
        let attributes = if alert.of_traits { event.context.traits } else { event.properties };
        out.extend_from_slice(b"{\"alert_id\":");
        write::string(out, &alert.id);
        write::key(out, "transaction_id");
        transaction(out, &event.id());
        // An alert of nobody goes to its recipients all the same.
        if let Some(user) = event.user().filter(|user| check_id(user).is_ok()) {
            write::key(out, "user_id");
            write::string(out, &user);
        }
        write::key(out, "payloads");
        out.push(b'{');
        for (channel, recipient) in &alert.channels {
            let Some(recipient) = whole.text_at(recipient).filter(|text| !text.trim().is_empty()) else { continue };
            write::key(out, channel);
            out.extend_from_slice(b"{\"recipient\":");
            write::string(out, &recipient);
            if let Some(attributes) = attributes {
                write::key(out, "personalized_attributes");
                copy::object(out, attributes, self.style);
            }
            out.push(b'}');
        }
        if out.last() == Some(&b'{') {
            return Err(none());
        }
        out.extend_from_slice(b"}}");
        Ok(())
    }
}

/// The message's id, or as much of its hash as fits.
fn transaction(out: &mut Vec<u8>, id: &str) {
    if id.chars().nth(LONGEST_TRANSACTION).is_none() {
        return write::string(out, id);
    }
    let mut digits = Vec::with_capacity(2 * Sha256::output_size());
    write::hex(&mut digits, &Sha256::digest(id.as_bytes()));
    out.push(b'"');
    out.extend_from_slice(digits.get(..LONGEST_TRANSACTION).unwrap_or_default());
    out.push(b'"');
}
