//! Who an event is about, as each kind of project wants to be told: the ids, the address, and their forms.
//!
//! What could make somebody else of a user never goes out among the data fields. Rules: the vendor's API description and
//! the help centre's page on identity (2026-11).

use std::borrow::Cow;

use super::encode::Encoder;
use crate::config::Identity;
use crate::destination::UserHash;
use crate::event::Event;
use crate::json::{Raw, write};
use crate::outcome::{No, Reason, Refusal};
use crate::text;

/// The vendor's longest user id, in characters.
const LONGEST_USER_ID: usize = 52;
/// No address is longer, in bytes.
const LONGEST_ADDRESS: usize = 254;
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
    /// The names that [`Encoder::ids`] sends, as order knows them: one, or both of a user whom the vendor knows by either.
    /// `email` finds the event's address.
    pub(super) fn names<'a>(
        &self,
        event: &Event<'a>,
        email: impl FnOnce() -> Option<Cow<'a, str>>,
    ) -> Result<(u64, Option<u64>), No> {
        let email = if self.identity == Identity::UserId { None } else { email() };
        let address = email.as_deref().map(|email| address_hash(&self.users, email));
        let user = match &event.user_id {
            Some(user) => Some(self.hash_of(user)),
            None => event.user_of_traits().map(|user| self.hash_of(&user)),
        };
        match (user, address) {
            (_, Some(address)) if self.identity == Identity::Email => Ok((address, None)),
            (Some(user), address) => Ok((user, address)),
            (None, Some(address)) => Ok((address, None)),
            (None, None) => event.anonymous(self.anonymous).map(|id| (self.hash_of(&id), None)),
        }
    }

    /// Hash of a user id; one that is an address is the same user as that address, where addresses are ids.
    pub(super) fn hash_of(&self, user: &str) -> u64 {
        let is_address = self.identity != Identity::UserId && !text::all(user.as_bytes(), |byte| byte != b'@');
        if is_address { address_hash(&self.users, user) } else { self.users.of(user) }
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
        traits: Option<Raw<'a>>,
        ids: &Ids<'_>,
        email: Option<Cow<'a, str>>,
    ) -> Result<Option<Cow<'a, str>>, Refusal> {
        let own = traits.and_then(|traits| traits.field("email")).filter(|own| !own.is_null());
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
    /// Writes them into the object that has just been opened.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if let Some(email) = &self.email {
            out.extend_from_slice(b"\"email\":");
            write::string(out, email);
        }
        if let Some(user) = &self.user {
            out.extend_from_slice(if self.email.is_some() { b",\"userId\":" } else { b"\"userId\":" });
            write::string(out, user);
        }
    }
}

/// Hash of an address, which is the same in any case. Allocates for none that is ASCII and no longer than addresses are.
pub(super) fn address_hash(users: &UserHash, address: &str) -> u64 {
    let mut buffer = [0; LONGEST_ADDRESS];
    let lower = buffer.get_mut(..address.len()).filter(|_| address.is_ascii()).and_then(|lower| {
        lower.copy_from_slice(address.as_bytes());
        lower.make_ascii_lowercase();
        std::str::from_utf8(lower).ok()
    });
    lower.map_or_else(|| users.of(&address.to_lowercase()), |lower| users.of(lower))
}

/// The address that an event names: its own, else its user's.
pub(super) fn email<'a>(event: &Event<'a>) -> Option<Cow<'a, str>> {
    event.properties.and_then(email_in).or_else(|| email_of_traits(event))
}

pub(super) fn email_of_traits<'a>(event: &Event<'a>) -> Option<Cow<'a, str>> {
    event.user_traits().and_then(email_in).or_else(|| event.context.traits.and_then(email_in))
}

fn email_in(place: Raw<'_>) -> Option<Cow<'_, str>> {
    place.field("email")?.string().filter(|email| !email.is_empty())
}

pub(super) fn is_user_id(id: &str) -> bool {
    let printable = |byte| matches!(byte, b' '..=b'~');
    (1..=LONGEST_USER_ID).contains(&id.len()) && text::all(id.as_bytes(), printable) && !id.ends_with(' ')
}

/// Whether this could be an address: one `@`, something before it, a dotted name behind it, nothing that an address
/// cannot hold. What slips through, the vendor names in its answer.
pub(super) fn is_email(address: &str) -> bool {
    let in_none = |character: char| matches!(character, ',' | ';' | '<' | '>' | '(' | ')' | '"');
    let odd = |character: char| character.is_whitespace() || character.is_control() || in_none(character);
    let plain = |byte: u8| byte.is_ascii_graphic() && !in_none(char::from(byte));
    let is_odd = || !text::all(address.as_bytes(), plain) && address.contains(odd);
    let Some((local, domain)) = address.split_once('@') else { return false };
    let dotted = domain.contains('.') && domain.split('.').all(|label| !label.is_empty());
    !local.is_empty() && dotted && !domain.contains('@') && address.len() <= LONGEST_ADDRESS && !is_odd()
}

#[cfg(test)]
mod tests {
    use super::{address_hash, is_email, is_user_id};
    use crate::destination::UserHash;

    #[test]
    fn an_address_is_the_same_in_any_case() {
        let users = UserHash::new(1);
        let address_hash = |address| address_hash(&users, address);
        for (one, other) in [("Ann@Example.com", "ann@example.COM"), ("MÜLLER@b.de", "müller@B.de")] {
            assert_eq!(address_hash(one), address_hash(other));
        }
        let long = "X".repeat(300);
        assert_eq!(address_hash(&long), users.of(&long.to_lowercase()));
        assert_eq!(address_hash("a@b.co"), users.of("a@b.co"));
    }

    #[test]
    fn addresses() {
        for good in ["a@b.co", "a.b+c@d-e.example.com", "ü@müller.de", "o'neil@x.ie"] {
            assert!(is_email(good), "{good}");
        }
        for bad in [
            "",
            "a",
            "@b.co",
            "a@b",
            "a@b.",
            "a@.co",
            "a@b..co",
            "a b@c.de",
            "a@b@c.de",
            "<a@b.co>",
            "a@b.co\n",
            "some.body;else@example.com",
            "somebody@exämple.com\u{a0}",
        ] {
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
