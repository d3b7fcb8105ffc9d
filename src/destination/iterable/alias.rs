//! A user's change of address: the one thing that two ids of a user can mean here, because the vendor has no aliases.
//!
//! | project | becomes |
//! | --- | --- |
//! | `identity = "email"` | `users/updateEmail`, from `previousId` to `userId` |
//! | hybrid, `user_id` | a user's element: the id that the traits name, and the new address as its data field |
//!
//! Both ids must be addresses. Where users are known by their id, the address alone names nobody whom the vendor would
//! find again, so an alias whose traits name no user is refused.

use std::borrow::Cow;

use super::encode::Encoder;
use super::identity::{USER_ID_RULE, address_hash, is_email, is_user_id};
use crate::config::Identity;
use crate::destination::Call;
use crate::event::Event;
use crate::json::write;
use crate::outcome::{Reason, Refusal};

/// Who becomes who.
struct Change<'a> {
    old: Cow<'a, str>,
    new: Cow<'a, str>,
    /// The user whose address it is, where users are known by their id.
    user: Option<Cow<'a, str>>,
}

impl Encoder {
    /// The call of an alias: it names the old address and the new one, and the user whose they are.
    pub(super) fn plan_alias(&self, event: &Event<'_>) -> Result<Call, Refusal> {
        let change = self.change(event)?;
        let addresses = [&change.old, &change.new].map(|address| address_hash(&self.users, address));
        Ok(match &change.user {
            Some(user) if self.identity != Identity::Email => {
                Call::new(super::USERS, self.hash_of(user), true).with(addresses)
            }
            user => {
                let [old, new] = addresses;
                let known = user.as_ref().map(|user| self.hash_of(user));
                Call::new(super::EMAILS, old, true).with([new].into_iter().chain(known))
            }
        })
    }

    /// Its element.
    pub(super) fn alias(&self, event: &Event<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let Change { old, new, user } = self.change(event)?;
        out.push(b'{');
        match user.filter(|_| self.identity != Identity::Email) {
            None => {
                write::key(out, "currentEmail");
                write::string(out, &old);
                write::key(out, "newEmail");
                write::string(out, &new);
                out.push(b'}');
            }
            Some(user) => {
                write::key(out, "userId");
                write::string(out, &user);
                write::key(out, "dataFields");
                out.extend_from_slice(b"{\"email\":");
                write::string(out, &new);
                out.push(b'}');
                self.close_user(self.create_in_element(), out);
            }
        }
        Ok(())
    }

    fn change<'a>(&self, event: &Event<'a>) -> Result<Change<'a>, Refusal> {
        let no_ids = || Refusal::new(Reason::NoUser, "an alias has `previousId` and `userId`");
        let (old, new) = event.previous_id.clone().zip(event.user_id.clone()).ok_or_else(no_ids)?;
        if !is_email(&old) || !is_email(&new) {
            return Err(Refusal::new(
                Reason::InvalidEmail,
                "Iterable knows changes of address alone: `previousId` and `userId` must both be addresses",
            ));
        }
        if old.to_lowercase() == new.to_lowercase() {
            return Err(Refusal::new(Reason::InvalidEmail, "both addresses are the same"));
        }
        let user = event.user_of_traits();
        if self.identity != Identity::Email {
            let Some(user) = &user else {
                let detail = "in this project an address belongs to a user id, and the traits have none";
                return Err(Refusal::new(Reason::NoUser, detail));
            };
            if !is_user_id(user) {
                return Err(Refusal::new(Reason::InvalidUserId, USER_ID_RULE));
            }
        }
        Ok(Change { old, new, user })
    }
}
