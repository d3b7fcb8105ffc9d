//! How an event or a call can end, and the name of each end.
//!
//! The names are public: they are the `reason` label of the metrics, the `forebay-reason` header of
//! a dead letter and the words in the documentation. A call ends in exactly one of them.

use std::borrow::Cow;

/// Declares an enum whose variants have a public name and a sentence of documentation.
macro_rules! named {
    ($(#[$outer:meta])* $vis:vis enum $name:ident { $( $(#[doc = $doc:literal])+ $variant:ident = $text:literal, )+ }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        $vis enum $name { $( $(#[doc = $doc])+ $variant, )+ }

        impl $name {
            /// Every variant, in the order of declaration.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )+ ];

            /// The public name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $text, )+ }
            }

            /// What it means, in one sentence.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $( Self::$variant => concat!($($doc),+).trim_start(), )+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

named! {
    /// Why a record or a call stands on the dead-letter topic.
    pub enum Reason {
        /// The value is not a JSON object in UTF-8, or a field that decides has the wrong form.
        Malformed = "malformed",
        /// The value is Avro, Protobuf or another encoding that is not JSON.
        Encoding = "encoding",
        /// The record names no tenant in any of the configured places.
        NoTenant = "no_tenant",
        /// The tenant that the record names has no account.
        UnknownTenant = "unknown_tenant",
        /// Two of the configured places name different tenants.
        TenantConflict = "tenant_conflict",
        /// The message has no type, or one that the Segment spec does not know.
        UnknownType = "unknown_type",
        /// The message names no user that the vendor could take.
        NoUser = "no_user",
        /// The message has an anonymous id alone, and the account refuses those.
        Anonymous = "anonymous",
        /// The vendor refuses this user id by its rules.
        InvalidUserId = "invalid_user_id",
        /// The e-mail address is not one.
        InvalidEmail = "invalid_email",
        /// A track message without a name.
        NoEventName = "no_event_name",
        /// A name that the vendor keeps for itself.
        ReservedName = "reserved_name",
        /// The name of an event or a field is longer than the vendor takes.
        NameTooLong = "name_too_long",
        /// The value of a field is longer than the vendor takes, and it would leave the whole value out, or refuse it.
        ValueTooLong = "value_too_long",
        /// More fields than the vendor takes of one event, user, object or item.
        TooManyFields = "too_many_fields",
        /// A list has more items than the vendor takes.
        ListTooLong = "list_too_long",
        /// The event lies in the future, beyond what clocks differ by.
        FutureTime = "future_time",
        /// A field is missing, or has a form that the vendor would not take or fail the whole batch for.
        InvalidField = "invalid_field",
        /// An alert without a recipient: none stands where the account's `alerts` say, or in the raw element's payloads.
        NoRecipient = "no_recipient",
        /// The call alone is larger than the vendor's limit for a request.
        TooLarge = "too_large",
        /// The header `forebay-shape` names no shape, or one that the account does not allow.
        RawNotAllowed = "raw_not_allowed",
        /// A raw item of a catalogue, and the header `forebay-catalog` names none.
        NoCatalog = "no_catalog",
        /// The record is raw, and the account's `fields` or `consent` could not be kept; see `raw_unfiltered`.
        RawWithRules = "raw_with_rules",
        /// The vendor refused the call; the detail has its words.
        Rejected = "rejected",
        /// The vendor failed on this call alone, again and again, while others succeeded.
        VendorError = "vendor_error",
        /// The vendor says that the identity is malformed.
        InvalidIdentity = "invalid_identity",
        /// The vendor says that the user does not exist, also a minute later.
        UserNotFound = "user_not_found",
        /// The vendor says that another identity is in the way.
        IdentityConflict = "identity_conflict",
        /// The vendor says that the call's data fields are bad.
        InvalidData = "invalid_data",
        /// The vendor does not allow events of this name.
        DisallowedEvent = "disallowed_event",
    }
}

named! {
    /// Why an event or a call was left out on purpose.
    pub enum Skip {
        /// A record without a value.
        Tombstone = "tombstone",
        /// The tenant is not configured, and `unknown = "skip"` says to leave it.
        UnknownTenant = "unknown_tenant",
        /// The account does not accept messages of this type.
        NotAccepted = "not_accepted",
        /// The message's `integrations` object switches the destination or the account off.
        Integrations = "integrations",
        /// The account is switched off by `enabled = false`.
        Disabled = "disabled",
        /// The message has an anonymous id alone, and the account skips those.
        Anonymous = "anonymous",
        /// The account's `where`, `only_events`, `skip_events`, `pages` or `alias` leaves the message out.
        NotSelected = "not_selected",
        /// The user has not given the consent that the account asks for.
        Consent = "consent",
        /// The event is older than the account's `max_age`.
        TooOld = "too_old",
        /// The vendor has forgotten this user on request.
        Forgotten = "forgotten",
    }
}

named! {
    /// Why a call was given back unsettled, to be owed again when its record is read again.
    pub enum Release {
        /// The partition went to another member of the group, or the process ended.
        Revoked = "revoked",
        /// The account could not keep up and is read again later.
        Deferred = "deferred",
    }
}

/// What is wrong with an event or a call, for its dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The named end.
    pub reason: Reason,
    /// What exactly, in words that help; never a secret.
    pub detail: Cow<'static, str>,
}

impl Refusal {
    /// A refusal with words that say what exactly is wrong.
    pub fn new(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// Why an event makes no call for an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum No {
    /// It is wrong: a dead letter.
    Refused(Refusal),
    /// It is not wanted: counted, nothing else. The account's setting that says so, as it stands in the account's table.
    Skipped(Skip, Option<&'static str>),
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The table of all outcomes, as `docs/outcomes.md` has it.
#[must_use]
pub fn table() -> String {
    let rows = |heading: &str, rows: Vec<(&str, &str)>| {
        let rows: Vec<_> = rows.iter().map(|(name, meaning)| format!("| `{name}` | {meaning} |\n")).collect();
        let rows = rows.concat();
        format!("\n## {heading}\n\n| reason | what it means |\n| --- | --- |\n{rows}")
    };
    let dead_lettered = Reason::ALL.iter().map(|reason| (reason.name(), reason.meaning())).collect();
    let skipped = Skip::ALL.iter().map(|skip| (skip.name(), skip.meaning())).collect();
    let released = Release::ALL.iter().map(|release| (release.name(), release.meaning())).collect();
    format!(
        "# How an event or a call can end\n\nMade from `src/outcome.rs`. The names are public: they are the label `reason` of the \
         metrics and the header `forebay-reason` of a dead letter. Whatever is not here was delivered.\n{}{}{}",
        rows("Dead-lettered", dead_lettered),
        rows("Skipped", skipped),
        rows("Released, to be owed again", released)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_outcomes_is_what_the_code_says() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/outcomes.md");
        if std::env::var_os("FOREBAY_WRITE_DOCS").is_some() {
            std::fs::write(&path, table()).unwrap();
        }
        let page = std::fs::read_to_string(&path).unwrap();
        assert!(page == table(), "docs/outcomes.md is old: run this test with FOREBAY_WRITE_DOCS=1");
    }

    #[test]
    fn no_two_reasons_share_a_name() {
        let mut names: Vec<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reason::ALL.len());
    }
}
