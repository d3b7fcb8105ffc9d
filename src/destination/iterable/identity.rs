//! Who an event is about, as each kind of project wants to be told: the ids, the address, and their forms.
//!
//! What could make somebody else of a user never goes out among the data fields. Rules: the vendor's API description and
//! the help centre's page on identity (2026-11).

use std::borrow::Cow;

use super::encode::Encoder;
use crate::config::Identity;
use crate::destination::user_hash;
use crate::event::{Event, Kind};
use crate::json::{Raw, write};
use crate::outcome::{No, Reason, Refusal};

/// The vendor's longest user id, in characters.
const LONGEST_USER_ID: usize = 52;
pub(super) const USER_ID_RULE: &str =
    "Iterable's user ids have 1 to 52 printable ASCII characters and no space at the end";

const NO_ADDRESS: &str = "the e-mail address is not one";

/// By what the vendor is told whom a call is about.
#[derive(Debug)]
pub(super) struct Ids<'a> {
    email: Option<Cow<'a, str>>,
    user: Option<Cow<'a, str>>,
}

impl Encoder {
    /// Hash of whom the event is about: the user id, else the address, without case.
    pub(super) fn user_hash(&self, event: &Event<'_>) -> Result<u64, No> {
        if let Some(user) = event.user() {
            return Ok(self.hash_of(&user));
        }
        if self.identity != Identity::UserId
            && let Some(email) = email(event)
        {
            return Ok(user_hash(&email.to_lowercase()));
        }
        event.anonymous(self.anonymous).map(|id| self.hash_of(&id))
    }

    /// Hash of a user id; one that is an address is the same user as that address, where addresses are ids.
    pub(super) fn hash_of(&self, user: &str) -> u64 {
        let is_address = self.identity != Identity::UserId && user.contains('@');
        if is_address { user_hash(&user.to_lowercase()) } else { user_hash(user) }
    }

    /// What is sent of the ids, in the way of the project; `email` is the event's address.
    pub(super) fn ids<'a>(&self, event: &Event<'a>, email: Option<Cow<'a, str>>) -> Result<Ids<'a>, Refusal> {
        let user = event.user();
        let mut ids = match self.identity {
            Identity::Hybrid => Ids { email, user },
            Identity::Email if email.is_some() => Ids { email, user: None },
            Identity::Email | Identity::UserId => Ids { email: None, user },
        };
        if ids.email.is_none() && ids.user.is_none() {
            ids.user = Some(event.anonymous(self.anonymous).map_err(|no| match no {
                No::Refused(refusal) => refusal,
                No::Skipped(..) => Refusal::new(Reason::Anonymous, "the message has an anonymous id alone"),
            })?);
        }
        if ids.email.as_deref().is_some_and(|email| !is_email(email)) {
            return Err(Refusal::new(Reason::InvalidEmail, NO_ADDRESS));
        }
        if ids.user.as_deref().is_some_and(|user| !is_user_id(user)) {
            return Err(Refusal::new(Reason::InvalidUserId, USER_ID_RULE));
        }
        Ok(ids)
    }

    /// The data field `email`. Where users are known by an address it would change theirs, so it is the one that the
    /// element names already, or none; a project that knows users by their id alone gets the address here.
    pub(super) fn address_field<'a>(
        &self,
        traits: Raw<'a>,
        ids: &Ids<'_>,
        email: Option<Cow<'a, str>>,
    ) -> Result<Option<Cow<'a, str>>, Refusal> {
        let own = traits.field("email").filter(|own| !own.is_null());
        if own.is_some_and(|own| !own.is_string()) {
            return Err(Refusal::new(Reason::InvalidEmail, "the trait `email` is no text"));
        }
        if self.identity != Identity::UserId {
            return Ok(own.and_then(Raw::string).filter(|own| ids.email.as_ref() == Some(own)));
        }
        if email.as_deref().is_some_and(|email| !is_email(email)) {
            return Err(Refusal::new(Reason::InvalidEmail, NO_ADDRESS));
        }
        Ok(email)
    }
}

impl Ids<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for (name, id) in [("email", &self.email), ("userId", &self.user)] {
            if let Some(id) = id {
                write::key(out, name);
                write::string(out, id);
            }
        }
    }
}

/// The address that a message of this type names.
fn email<'a>(event: &Event<'a>) -> Option<Cow<'a, str>> {
    let of_properties = event.properties.filter(|_| event.kind != Kind::Identify);
    Event::email_in(&[of_properties]).or_else(|| email_of_traits(event))
}

pub(super) fn email_of_traits<'a>(event: &Event<'a>) -> Option<Cow<'a, str>> {
    Event::email_in(&[event.user_traits(), event.context.traits])
}

pub(super) fn is_user_id(id: &str) -> bool {
    let printable = id.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    printable && (1..=LONGEST_USER_ID).contains(&id.len()) && !id.ends_with(' ')
}

/// Whether this could be an address: one `@`, something before it, a dotted name behind it, nothing that an address
/// cannot hold. What slips through, the vendor names in its answer.
pub(super) fn is_email(text: &str) -> bool {
    let odd = |character: char| {
        character.is_whitespace()
            || character.is_control()
            || matches!(character, ',' | ';' | '<' | '>' | '(' | ')' | '"')
    };
    let Some((local, domain)) = text.split_once('@') else { return false };
    let dotted = domain.contains('.') && domain.split('.').all(|label| !label.is_empty());
    !local.is_empty() && dotted && !domain.contains('@') && text.len() <= 254 && !text.contains(odd)
}

#[cfg(test)]
mod tests {
    use super::{is_email, is_user_id};

    #[test]
    fn addresses() {
        for good in ["a@b.co", "a.b+c@d-e.example.com", "ü@müller.de", "o'neil@x.ie"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["", "a", "@b.co", "a@b", "a@b.", "a@.co", "a@b..co", "a b@c.de", "a@b@c.de", "<a@b.co>", "a@b.co\n"]
        {
            assert!(!is_email(bad), "{bad}");
        }
    }

    #[test]
    fn user_ids() {
        assert!(is_user_id(&"x".repeat(52)));
        assert!(is_user_id(" a b"));
        for bad in ["", " ", "a ", "ü", "a\tb"] {
            assert!(!is_user_id(bad), "{bad:?}");
        }
        assert!(!is_user_id(&"x".repeat(53)));
    }
}
