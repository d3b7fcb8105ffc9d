//! What a group says of its member: `groupId` and the group's traits as data fields of the user.
//!
//! A trait that a person has too gets the group's prefix: a company's name or address must not become its member's, and
//! in hybrid projects a data field `email` even changes who the user is. All other traits keep their names.

use super::encode::Encoder;
use super::identity::email_of_traits;
use crate::event::Event;
use crate::json::{Raw, copy, write};
use crate::outcome::Refusal;

/// The Segment spec's traits that groups and users share, and what a person has by the vendor's own names.
const OF_A_PERSON: &[(&str, &str)] = &[
    ("address", "groupAddress"),
    ("avatar", "groupAvatar"),
    ("createdAt", "groupCreatedAt"),
    ("description", "groupDescription"),
    ("email", "groupEmail"),
    ("name", "groupName"),
    ("phone", "groupPhone"),
    ("phoneNumber", "groupPhoneNumber"),
    ("website", "groupWebsite"),
];

impl Encoder {
    /// The element of a user who belongs to a group.
    pub(super) fn group(&self, event: &Event<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let ids = self.ids(event, email_of_traits(event))?;
        out.push(b'{');
        ids.write(out);
        write::key(out, "dataFields");
        out.push(b'{');
        let start = out.len();
        let group = event.group();
        if let Some(id) = &group {
            write::key(out, "groupId");
            write::string(out, id);
        }
        if let Some(traits) = event.traits {
            self.group_fields(out, traits, group.is_some());
        }
        copy::last_of_each(out, start, self.style);
        out.push(b'}');
        self.close_user(self.create_in_element(), out);
        Ok(())
    }

    fn group_fields(&self, out: &mut Vec<u8>, traits: Raw<'_>, has_id: bool) {
        // Each name once: a look at all other traits for each of many that are alike would take for ever.
        for field in copy::of(traits, true) {
            let name = field.name();
            let own = OF_A_PERSON.iter().find(|(of_person, _)| *of_person == name).map(|(_, own)| *own);
            match (&*name, own) {
                ("id" | "userId", _) => {}
                ("groupId", _) if has_id => {}
                (_, None) => copy::field(out, field.key(), field.value, self.style),
                (_, Some(own)) if traits.field(own).is_none() => copy::field(out, own, field.value, self.style),
                (_, Some(_)) => {}
            }
        }
    }
}
