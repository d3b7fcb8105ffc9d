//! Registrations of push tokens, behind the identify that brings them; accounts without a `registration_key` ignore tokens.
//!
//! | identify has | becomes |
//! | --- | --- |
//! | `context.device.token` | `users/registerDeviceToken`; `context.device.type` decides between APNS and GCM |
//! | else `context.os.token` | `users/registerBrowserToken` |
//!
//! The application is `context.app.namespace`, else `context.device.name`; the identify's properties are the device's data
//! fields. A device of another type has no push service that the vendor knows, and is refused rather than guessed.

use std::borrow::Cow;

use super::encode::Encoder;
use super::identity::email_of_traits;
use crate::destination::Shape;
use crate::event::Event;
use crate::json::{Raw, copy, write};
use crate::outcome::{Reason, Refusal};

/// Which registration an identify brings, if any.
pub(super) fn of(event: &Event<'_>) -> Option<Shape> {
    let token = |part: Option<Raw<'_>>| part.and_then(|part| part.field("token")?.id()).is_some();
    if token(event.context.device) {
        return Some(super::DEVICES);
    }
    token(event.context.os).then_some(super::BROWSERS)
}

impl Encoder {
    /// The registration of a device.
    pub(super) fn device(&self, event: &Event<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let ids = self.ids(event, email_of_traits(event))?;
        let device = |name| text(event.context.device, name);
        let missing = |detail| Refusal::new(Reason::InvalidField, detail);
        let token = device("token").ok_or_else(|| missing("`context.device.token` is no text"))?;
        let platform = device("type").and_then(|kind| platform(&kind));
        let platform = platform.ok_or_else(|| missing("`context.device.type` is neither Apple's nor android"))?;
        let application = text(event.context.app, "namespace").or_else(|| device("name"));
        let application = application.ok_or_else(|| {
            missing("neither `context.app.namespace` nor `context.device.name` names the application")
        })?;
        out.push(b'{');
        ids.write(out);
        self.write_preference(out);
        write::key(out, "device");
        out.push(b'{');
        for (name, value) in [("token", &*token), ("platform", platform), ("applicationName", &*application)] {
            write::key(out, name);
            write::string(out, value);
        }
        if let Some(properties) = event.properties {
            write::key(out, "dataFields");
            copy::object(out, properties, self.style);
        }
        out.extend_from_slice(b"}}");
        Ok(())
    }

    /// The registration of a browser.
    pub(super) fn browser(&self, event: &Event<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let ids = self.ids(event, email_of_traits(event))?;
        let token = text(event.context.os, "token");
        let token = token.ok_or_else(|| Refusal::new(Reason::InvalidField, "`context.os.token` is no text"))?;
        out.push(b'{');
        ids.write(out);
        write::key(out, "browserToken");
        write::string(out, &token);
        out.push(b'}');
        Ok(())
    }
}

fn text<'a>(part: Option<Raw<'a>>, name: &str) -> Option<Cow<'a, str>> {
    part?.field(name)?.id()
}

fn platform(kind: &str) -> Option<&'static str> {
    let is = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(kind));
    if is(&["ios", "ipados", "tvos", "watchos", "macos", "visionos"]) {
        return Some("APNS");
    }
    is(&["android"]).then_some("GCM")
}
