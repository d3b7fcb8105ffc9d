//! Whom an element is about, by the project's type; and why it is about nobody.
//!
//! E-mails are lowered, as in the vendor's answers; user ids are exact.

use std::borrow::Cow;

use crate::sandbox::accounts::{Identity, Project, UnknownUsers};
use crate::sandbox::faults::Listed;
use crate::sandbox::value::{Object, Value};

use super::State;

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Who<'a> {
    Email(Cow<'a, str>),
    UserId(&'a str),
}

/// Why an element fails, and by which identity that is told; by none if it has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed<'a> {
    pub(super) list: Listed,
    pub(super) who: Option<Who<'a>>,
}

/// What an element wants with its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// An event: the user may have to be there.
    Event,
    /// A profile, token, purchase or cart: makes the user.
    Profile,
}

// === impl Who ===

impl Who<'_> {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Email(email) => email,
            Self::UserId(id) => id,
        }
    }
}

/// Whom the element is about.
pub(super) fn of<'a>(
    element: &'a Object<'a>,
    project: &Project,
    state: &State,
    purpose: Purpose,
) -> Result<Who<'a>, Failed<'a>> {
    let email = element.text("email").map(lowered);
    let id = element.text("userId");
    let failed = |list, who| Failed { list, who: Some(who) };
    if let Some(email) = email.as_ref().filter(|email| !is_email(email)) {
        return Err(failed(Listed::Invalid, Who::Email(email.clone())));
    }
    if let Some(id) = id.filter(|id| !is_user_id(id)) {
        return Err(failed(Listed::Invalid, Who::UserId(id)));
    }
    let by_email = email.filter(|_| project.identity != Identity::UserId).map(Who::Email);
    let Some(who) = by_email.or(id.map(Who::UserId)) else {
        return Err(Failed { list: Listed::Nowhere, who: None });
    };
    let names = [Some(who.text()), id];
    if names.into_iter().flatten().any(|name| project.forgotten.iter().any(|gone| gone.eq_ignore_ascii_case(name))) {
        return Err(failed(Listed::Forgotten, who));
    }
    let known = || state.knows(&who) || id.is_some_and(|id| state.knows(&Who::UserId(id)));
    if purpose == Purpose::Event && project.unknown_users == UnknownUsers::Refuse && !known() {
        return Err(failed(Listed::NotFound, who));
    }
    // An e-mail-based project makes nobody from a user id alone, unless asked to.
    let prefers = element.get("preferUserId").and_then(Value::boolean).unwrap_or(false);
    if project.identity == Identity::Email && matches!(who, Who::UserId(_)) && !prefers && !known() {
        let list = if purpose == Purpose::Event { Listed::NotFound } else { Listed::Invalid };
        return Err(failed(list, who));
    }
    Ok(who)
}

fn lowered(email: &str) -> Cow<'_, str> {
    if email.chars().any(char::is_uppercase) { Cow::Owned(email.to_lowercase()) } else { Cow::Borrowed(email) }
}

pub(super) fn is_email(email: &str) -> bool {
    let Some((local, domain)) = email.split_once('@') else { return false };
    let dotted = domain.split_once('.').is_some_and(|(host, rest)| !host.is_empty() && !rest.is_empty());
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | ',' | ';' | '<' | '>');
    !local.is_empty() && dotted && !domain.ends_with('.') && !local.contains(odd) && !domain.contains(odd)
}

/// At most 52 printable ASCII characters, not blank, without a space at the end.
fn is_user_id(id: &str) -> bool {
    (1..=52).contains(&id.len()) && !id.ends_with(' ') && id.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// At most 512 letters, digits and hyphens. What the vendor does with others is not documented; here they are refused.
pub(super) fn is_event_id(id: &str) -> bool {
    (1..=512).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_email() {
        assert!(["a@b.c", "a+b@mail.example.com", "ä@b.c"].into_iter().all(is_email));
        assert!(!["sayan", "@b.c", "a@b", "a@.c", "a@b.", "a b@c.d", "a@b@c.d", ""].into_iter().any(is_email));
    }

    #[test]
    fn what_is_a_user_id() {
        assert!(is_user_id("u 1") && is_user_id(&"x".repeat(52)));
        assert!(!["", " ", "u ", "ü", "u\t1"].into_iter().any(is_user_id) && !is_user_id(&"x".repeat(53)));
    }

    #[test]
    fn what_is_an_event_id() {
        assert!(is_event_id("0b0f6a8e-5c0c") && is_event_id(&"x".repeat(512)));
        assert!(!["", "a_b", "a:b", "a.b"].into_iter().any(is_event_id) && !is_event_id(&"x".repeat(513)));
    }
}
