//! Whom a raw element is about.
//!
//! | element | has `customer_id` | has none |
//! | --- | --- | --- |
//! | `event` | that user | whoever `user_identifiers` names |
//! | `customer` | that user | whoever `attributes` names by id, e-mail address or mobile number |
//! | `device` | that user | nobody: a device is of a user who has an id |
//!
//! A workspace that resolves identities needs no `customer_id`; which attributes identify its users is a setting there, so of
//! a customer's those count that it is about (page `unified-identity-identity-resolution`, 2026-11). A workspace that does
//! not answers 400, and the element is found and refused alone.

use crate::destination::UserHash;
use crate::destination::raw::invalid;
use crate::json::{Raw, copy};
use crate::outcome::{Reason, Refusal};

use super::super::limits::check_id;

/// Of up to five identifiers a call has room for so many.
const MOST: usize = 3;

/// The first of its users, and the others, as hashes: an identifier is one whichever element has it.
pub(super) fn users(users: &UserHash, element: Raw<'_>, kind: &str) -> Result<(u64, Vec<u64>), Refusal> {
    if let Some(id) = element.field("customer_id").filter(|id| !id.is_null()) {
        let id = id.string().ok_or_else(|| invalid("`customer_id` of the raw element is not a text"))?;
        check_id(&id)?;
        return Ok((users.of(&id), Vec::new()));
    }
    let place = match kind {
        "event" => element.field("user_identifiers"),
        "customer" => element.field("attributes"),
        _ => None,
    };
    let mut identifiers = Vec::new();
    for field in place.into_iter().flat_map(|place| copy::of(place, true)) {
        let Some(value) = field.value.id().filter(|value| !value.trim().is_empty()) else { continue };
        match &*field.name() {
            "id" | "ID" | "uid" => {
                check_id(&value)?;
                identifiers.push(value.into_owned());
            }
            "email" | "u_em" => identifiers.push(format!("email={value}")),
            "mobile" | "moe_mobile" | "u_mb" => identifiers.push(format!("mobile={value}")),
            other if kind == "event" => identifiers.push(format!("{other}={value}")),
            _ => {}
        }
    }
    // Of more than there is room for, the same ones each time.
    identifiers.sort();
    let mut hashes = identifiers.iter().take(MOST).map(|identifier| users.of(identifier));
    let no_user = || Refusal::new(Reason::NoUser, "a raw element with neither `customer_id` nor identifiers");
    Ok((hashes.next().ok_or_else(no_user)?, hashes.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Tape;

    fn found(element: &str, kind: &str) -> Result<Vec<u64>, Reason> {
        let users = users(&UserHash::new(1), Tape::parse(element).expect(element).value(), kind);
        users.map(|(first, others)| [vec![first], others].concat()).map_err(|refusal| refusal.reason)
    }

    fn hashes(identifiers: &[&str]) -> Vec<u64> {
        identifiers.iter().map(|identifier| UserHash::new(1).of(identifier)).collect()
    }

    #[test]
    fn an_identifier_is_one_whichever_element_has_it() {
        let event = r#"{"user_identifiers":{"moe_mobile":"+49","email":"a@b.co"}}"#;
        let customer = r#"{"attributes":{"u_em":"a@b.co","mobile":"+49","plan":"pro"}}"#;
        for (element, kind) in [(event, "event"), (customer, "customer")] {
            assert_eq!(found(element, kind), Ok(hashes(&["email=a@b.co", "mobile=+49"])), "{kind}");
        }
        let id = r#"{"user_identifiers":{"id":"u-1"},"attributes":{"uid":"u-1"}}"#;
        for kind in ["event", "customer"] {
            assert_eq!(found(id, kind), found(r#"{"customer_id":"u-1"}"#, kind), "{kind}");
        }
        assert_eq!(found(r#"{"user_identifiers":{"loyalty":7}}"#, "event"), Ok(hashes(&["loyalty=7"])));
        let five = r#"{"user_identifiers":{"e":1,"d":1,"c":1,"b":1,"a":1}}"#;
        assert_eq!(found(five, "event"), Ok(hashes(&["a=1", "b=1", "c=1"])));
        assert_eq!(
            found(r#"{"customer_id":"u-1","user_identifiers":{"email":"a@b.co"}}"#, "event"),
            Ok(hashes(&["u-1"]))
        );
    }

    #[test]
    fn nobody_is_nobody() {
        for (element, kind) in [
            (r#"{"user_identifiers":{"email":"a@b.co"}}"#, "device"),
            (r#"{"user_identifiers":{"email":"a@b.co"}}"#, "customer"),
            (r#"{"attributes":{"email":"a@b.co"}}"#, "event"),
            (r#"{"attributes":{"plan":"pro"}}"#, "customer"),
            (r#"{"customer_id":null,"user_identifiers":{"email":" ","moe_mobile":null,"x":{}}}"#, "event"),
            (r#"{"user_identifiers":[1]}"#, "event"),
        ] {
            assert_eq!(found(element, kind), Err(Reason::NoUser), "{element}");
        }
        assert_eq!(found(r#"{"user_identifiers":{"id":"guest"}}"#, "event"), Err(Reason::InvalidUserId));
    }
}
