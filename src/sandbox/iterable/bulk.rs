//! The bulk calls: 200 with lists of what failed, told by identity or by name, never by position.
//!
//! What fails the whole batch (types, ids, fields) is looked for first; then each element has its own fate.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::fields::{Findings, Of};
use super::identity::{self, Failed, Purpose, Who};
use super::{Endpoint, State, envelope};
use crate::sandbox::accounts::Project;
use crate::sandbox::faults::Listed;
use crate::sandbox::reply::Reply;
use crate::sandbox::value::{Object, Value};
use crate::sandbox::world::Desk;

const EVENT_LISTS: [&str; 3] = ["invalid", "notFound", "forgotten"];
const USER_LISTS: [&str; 5] = ["invalid", "notFound", "forgotten", "conflict", "invalidData"];

/// What failed, by list.
#[derive(Debug, Default)]
struct Lists {
    /// All of them; elements without an identity are in no list.
    failed: usize,
    /// Those with a name in `disallowed`.
    barred: usize,
    by_identity: BTreeMap<&'static str, Vec<String>>,
    disallowed: Vec<String>,
}

/// `events/trackBulk`
pub(super) fn track(project: &Project, state: &mut State, desk: &mut Desk<'_>, root: &Object<'_>) -> Reply {
    let events = objects(root, "events");
    if events.iter().any(|event| event.text("id").is_some_and(|id| !identity::is_event_id(id))) {
        return envelope(400, "BadParams", "Event id must be letters, digits and hyphens", &Json::Null);
    }
    let mut lists = Lists::default();
    let mut findings = Findings::default();
    let mut good = Vec::with_capacity(events.len());
    for event in &events {
        let name = event.text("eventName").unwrap_or_default();
        let who = identity::of(event, project, state, Purpose::Event);
        let fate = match (who, desk.struck()) {
            (who, Some(list)) => Err(Failed { list, who: who.map_or_else(|failed| failed.who, Some) }),
            (Ok(who), None) if project.disallowed_events.iter().any(|it| it == name) => {
                Err(Failed { list: Listed::Disallowed, who: Some(who) })
            }
            (who, None) => who,
        };
        match fate {
            Ok(_) => {
                let create = event.get("createNewFields").and_then(Value::boolean);
                let data = event.get("dataFields").and_then(Value::object);
                let create = create.unwrap_or(project.create_new_fields);
                state.fields.check(Of::Event(name), data, create, &mut findings);
                good.push(*event);
            }
            Err(failed) => lists.add(&failed, name),
        }
    }
    if let Some(reply) = refused(project, state, &findings) {
        return reply;
    }
    state.fields.learn(&findings);
    for event in &good {
        desk.book.accepted("event", event.text("id"), desk.recorder.keep());
        desk.recorder.element(desk.name, Endpoint::TrackBulk.name(), event, desk.now.wall_ms);
    }
    lists.count(desk);
    let mut answer = lists.answer(good.len(), &findings, &EVENT_LISTS);
    answer["disallowedEventNames"] = json!(lists.disallowed);
    // Here, and only here, the top-level list of user ids has those that were not found as well.
    let ids = lists.all(&["invalidUserIds", "notFoundUserIds"]);
    answer["invalidUserIds"] = ids;
    answer["invalidEmails"] = lists.all(&["invalidEmails"]);
    Reply::json(200, &answer)
}

/// `users/bulkUpdate`
pub(super) fn update(project: &Project, state: &mut State, desk: &mut Desk<'_>, root: &Object<'_>) -> Reply {
    let users = objects(root, "users");
    let create = root.get("createNewFields").and_then(Value::boolean).unwrap_or(project.create_new_fields);
    let mut lists = Lists::default();
    let mut findings = Findings::default();
    let mut good = Vec::with_capacity(users.len());
    for user in &users {
        let who = identity::of(user, project, state, Purpose::Profile);
        let fate = match desk.struck() {
            Some(list) => Err(Failed { list, who: who.map_or_else(|failed| failed.who, Some) }),
            None => who,
        };
        match fate {
            Ok(_) => {
                let data = user.get("dataFields").and_then(Value::object);
                state.fields.check(Of::Profile, data, create, &mut findings);
                good.push(*user);
            }
            Err(failed) => lists.add(&failed, ""),
        }
    }
    if let Some(reply) = refused(project, state, &findings) {
        return reply;
    }
    state.fields.learn(&findings);
    for user in &good {
        desk.book.accepted("user", profile_id(user), desk.recorder.keep());
        desk.recorder.element(desk.name, Endpoint::BulkUpdate.name(), user, desk.now.wall_ms);
        state.remember(project, desk, user);
    }
    lists.count(desk);
    let mut answer = lists.answer(good.len(), &findings, &USER_LISTS);
    let named =
        |suffix: &str| lists.by_identity.keys().copied().filter(|name| name.ends_with(suffix)).collect::<Vec<_>>();
    answer["invalidEmails"] = lists.all(&named("Emails"));
    answer["invalidUserIds"] = lists.all(&named("UserIds"));
    Reply::json(200, &answer)
}

/// A profile has no id at the vendor; who writes one into its fields wants to find it again.
pub(super) fn profile_id<'a>(user: &'a Object<'_>) -> Option<&'a str> {
    user.get("dataFields").and_then(Value::object)?.text("message_id")
}

fn objects<'a>(root: &'a Object<'a>, name: &str) -> Vec<&'a Object<'a>> {
    root.get(name).and_then(Value::array).unwrap_or_default().iter().filter_map(Value::object).collect()
}

/// The refusal of a request whose fields the project cannot take.
pub(super) fn refused(project: &Project, state: &State, findings: &Findings) -> Option<Reply> {
    if !findings.mismatches.is_empty() {
        let msg = format!("Project {}: The request does not have the same data types", project.project);
        let params = json!({ "validationErrors": findings.mismatches });
        return Some(envelope(400, "RequestFieldsTypesMismatched", &msg, &params));
    }
    if !state.fields.has_room(findings) {
        let msg = "The project has reached its limit of unique fields";
        return Some(envelope(400, "UniqueFieldsLimitExceeded", msg, &Json::Null));
    }
    None
}

// === impl Lists ===

impl Lists {
    fn add(&mut self, failed: &Failed<'_>, event: &str) {
        self.failed += 1;
        if failed.list == Listed::Disallowed && !event.is_empty() {
            self.barred += 1;
            if !self.disallowed.iter().any(|name| name == event) {
                self.disallowed.push(event.to_owned());
            }
            return;
        }
        let named = match &failed.who {
            Some(who) => name(failed.list, who).map(|name| (name, who.text())),
            None => None,
        };
        if let Some((name, identity)) = named {
            self.by_identity.entry(name).or_default().push(identity.to_owned());
        }
    }

    fn count(&self, desk: &mut Desk<'_>) {
        let mut unlisted = self.failed - self.barred;
        for (list, identities) in &self.by_identity {
            desk.book.failed(list, identities.len());
            unlisted -= identities.len();
        }
        desk.book.failed("disallowedEventNames", self.barred);
        desk.book.failed("unlisted", unlisted);
    }

    fn all(&self, names: &[&str]) -> Json {
        names.iter().filter_map(|name| self.by_identity.get(name)).flatten().map(String::as_str).collect()
    }

    /// `usual`: the lists that this call has even if they are empty.
    fn answer(&self, good: usize, findings: &Findings, usual: &[&str]) -> Json {
        let mut failed = Map::new();
        for list in usual {
            failed.insert(format!("{list}Emails"), json!([]));
            failed.insert(format!("{list}UserIds"), json!([]));
        }
        for (name, identities) in &self.by_identity {
            failed.insert((*name).to_owned(), json!(identities));
        }
        json!({
            "successCount": good,
            "failCount": self.failed,
            "filteredOutFields": findings.filtered,
            "createdFields": findings.created,
            "failedUpdates": failed,
        })
    }
}

fn name(list: Listed, who: &Who<'_>) -> Option<&'static str> {
    Some(match (list, who) {
        (Listed::Invalid, Who::Email(_)) => "invalidEmails",
        (Listed::Invalid, Who::UserId(_)) => "invalidUserIds",
        (Listed::NotFound, Who::Email(_)) => "notFoundEmails",
        (Listed::NotFound, Who::UserId(_)) => "notFoundUserIds",
        (Listed::Forgotten, Who::Email(_)) => "forgottenEmails",
        (Listed::Forgotten, Who::UserId(_)) => "forgottenUserIds",
        (Listed::Conflict, Who::Email(_)) => "conflictEmails",
        (Listed::Conflict, Who::UserId(_)) => "conflictUserIds",
        (Listed::InvalidData, Who::Email(_)) => "invalidDataEmails",
        (Listed::InvalidData, Who::UserId(_)) => "invalidDataUserIds",
        (Listed::Disallowed | Listed::Nowhere, _) => return None,
    })
}
