//! `[accounts.NAME.webhook]`: where a webhook is, and what signs its requests.

use std::sync::Arc;

use super::{EVENTS, Webhook, sign};
use crate::config::secret::Form;
use crate::config::{Account, Folder, Key, Own, Settings, needed};
use crate::destination::{Budget, Charge, Destination, Per, UserHash};
use crate::event::fields::Fields;

const LIMIT: &str = "requests_per_second";

/// What the configuration knows of webhooks.
pub const FOLDER: Folder = Folder { name: "webhook", limits: &[LIMIT], maps: false, read };

fn read(own: &Own<'_>) -> Option<Arc<dyn Settings>> {
    let mut table = own.value.table()?;
    let url = table.require("url", "write the URL that events are posted to");
    let keys = table.require("keys", Own::KEYS);
    table.finish();
    let (origin, path) = url.and_then(|url| own.endpoint(&url)).unwrap_or_default();
    let keys = keys.map(|keys| own.keys(&keys, Form::Also(|key| sign::bytes(key).map(drop)))).unwrap_or_default();
    Some(Arc::new(Webhook { origin, path, keys, budgets: Vec::new(), fields: None, users: UserHash::new(0) }))
}

impl Settings for Webhook {
    fn folder(&self) -> &'static Folder {
        &FOLDER
    }

    fn keys(&self) -> &[Key] {
        &self.keys
    }

    fn destination(&self, account: &Account, users: &UserHash) -> Arc<dyn Destination> {
        let (key, per, charge) = (account.name.clone(), Per::Second, Charge::Request);
        let limit = account.limits.get(LIMIT).copied();
        let budget = limit.map(|limit| Budget { key, name: LIMIT, limit, per, charge, shapes: vec![EVENTS] });
        let fields = Fields::new(&account.fields, &needed(&account.vendor));
        let (origin, path, keys, users) = (self.origin.clone(), self.path.clone(), self.keys.clone(), users.clone());
        Arc::new(Self { origin, path, keys, budgets: budget.into_iter().collect(), fields, users })
    }
}
