//! The main file's sections, except `[kafka]` and the accounts.
//!
//! Each function reads one section, with the defaults that `config.toml` documents, and reports what is wrong in it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::Regex;

use super::problem::Place;
use super::reader::{Table, Value};
use super::reference::{Scope, normal, reference};
use super::secret::Form;
use super::{Control, DeadLetters, Delivery, Memory, TenantRules, TenantSource, url};

/// No event waits longer than this to be sent with others.
pub(super) const MAX_LINGER: Duration = Duration::from_secs(10);

/// `[tenant]`, and the tenants that stand in it, with their places.
pub(super) fn tenant(root: &mut Table<'_>) -> (TenantRules, Vec<(Place, String)>) {
    let mut fixed = Vec::new();
    let mut rules = TenantRules {
        from: vec![TenantSource::Header("tenant".to_owned())],
        conflict_is_refused: false,
        unknown_is_skipped: false,
    };
    let Some(mut table) = root.table("tenant") else { return (rules, fixed) };
    if let Some(from) = table.take("from") {
        let items = from.items().unwrap_or_default();
        if items.is_empty() {
            from.refuse("no place is named", "write [{ header = \"tenant\" }], or leave the setting out");
        }
        rules.from.clear();
        for item in &items {
            let Some(source) = tenant_source(item) else { continue };
            if let TenantSource::Value(tenant) = &source {
                fixed.push((item.place(), tenant.clone()));
            }
            rules.from.push(source);
        }
    }
    rules.conflict_is_refused = table.pick("conflict", false, &[("first", false), ("dead-letter", true)]);
    rules.unknown_is_skipped = table.pick("unknown", false, &[("dead-letter", false), ("skip", true)]);
    table.finish();
    (rules, fixed)
}

fn tenant_source(value: &Value<'_>) -> Option<TenantSource> {
    let mut table = value.table()?;
    let places = ["header", "field", "key", "topic", "value"].map(|place| table.take(place));
    table.finish();
    if places.iter().flatten().count() != 1 {
        value.refuse("a place is exactly one of header, field, key, topic and value", "write { header = \"tenant\" }");
        return None;
    }
    let [header, field, key, topic, fixed] = places;
    let header = header.and_then(|header| header.filled().map(|name| TenantSource::Header(name.to_owned())));
    let field = field.and_then(|field| pointer(&field).map(TenantSource::Field));
    let key = key.and_then(|key| tenant_regex(&key).map(TenantSource::Key));
    let topic = topic.and_then(|topic| tenant_regex(&topic).map(TenantSource::Topic));
    let fixed = fixed.and_then(|fixed| fixed.filled().map(|tenant| TenantSource::Value(tenant.to_owned())));
    header.or(field).or(key).or(topic).or(fixed)
}

fn tenant_regex(value: &Value<'_>) -> Option<Regex> {
    let regex = regex(value)?;
    if regex.capture_names().flatten().any(|name| name == "tenant") {
        return Some(regex);
    }
    value.refuse("this expression has no group named tenant", "write (?<tenant>...) around the tenant's name");
    None
}

/// A regular expression that compiles.
pub(super) fn regex(value: &Value<'_>) -> Option<Regex> {
    match Regex::new(value.filled()?) {
        Ok(regex) => Some(regex),
        Err(error) => {
            // The crate's message shows the expression over several lines; its last line says what is wrong.
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            value.refuse(
                format!("this is not a regular expression: {reason}"),
                "backslashes are doubled in \"..\", not in '..'",
            );
            None
        }
    }
}

/// The unescaped parts of a JSON pointer.
pub(super) fn pointer(value: &Value<'_>) -> Option<Vec<String>> {
    let text = value.filled()?;
    let part = |part: &str| {
        let mut rest = part.split('~').skip(1);
        rest.all(|tail| tail.starts_with(['0', '1'])).then(|| part.replace("~1", "/").replace("~0", "~"))
    };
    let parts = text.strip_prefix('/').and_then(|rest| rest.split('/').map(part).collect());
    if parts.is_none() {
        value.refuse(
            format!("\"{text}\" is not a JSON pointer"),
            "write it like \"/context/tenant\" (~1 is a slash, ~0 a tilde)",
        );
    }
    parts
}

/// `[delivery]`
pub(super) fn delivery(root: &mut Table<'_>, directory: &Path) -> Delivery {
    let mut delivery = Delivery {
        linger: Duration::from_millis(100),
        timeout: Duration::from_secs(30),
        ca_file: None,
        proxy: None,
        allow_hosts: Vec::new(),
    };
    let Some(mut table) = root.table("delivery") else { return delivery };
    let set = |place: &mut Duration, value: Option<Duration>| *place = value.unwrap_or(*place);
    set(&mut delivery.linger, table.duration("linger", &(Duration::ZERO..=MAX_LINGER)));
    set(&mut delivery.timeout, table.duration("timeout", &(Duration::from_millis(100)..=Duration::from_mins(10))));
    delivery.ca_file = table.take("ca_file").and_then(|file| file.filled().map(|file| normal(&directory.join(file))));
    if let Some(value) = table.take("proxy")
        && let Some(text) = value.filled()
    {
        match url::check_proxy(text) {
            Ok(()) => delivery.proxy = Some(text.to_owned()),
            Err(reason) => {
                value.refuse(format!("this is no proxy: {reason}"), "write \"http://proxy.example.com:3128\"");
            }
        }
    }
    delivery.allow_hosts = table.take("allow_hosts").map(|hosts| allow_hosts(&hosts)).unwrap_or_default();
    table.finish();
    delivery
}

fn allow_hosts(value: &Value<'_>) -> Vec<String> {
    let host = |item: &Value<'_>| {
        let host = url::host(item.filled()?);
        if host.is_none() {
            item.refuse(
                "this is not the name of a host",
                "write the name alone, without scheme, port, path or wildcard",
            );
        }
        host
    };
    value.items().unwrap_or_default().iter().filter_map(host).collect()
}

/// `[memory]`
pub(super) fn memory(root: &mut Table<'_>) -> Memory {
    let mut memory = Memory { total: 256 << 20, lane: 16 << 20 };
    let Some(mut table) = root.table("memory") else { return memory };
    if let Some(total) = table.take("total").and_then(|total| total.size(&(8 << 20..=1 << 40))) {
        memory.total = total;
        memory.lane = memory.lane.min(total);
    }
    if let Some(value) = table.take("lane")
        && let Some(lane) = value.size(&(64 << 10..=1 << 40))
    {
        memory.lane = lane;
        if lane > memory.total {
            value.refuse("a lane may hold more than all of them together", "make it smaller than memory.total");
        }
    }
    table.finish();
    memory
}

/// `[shutdown] drain`
pub(super) fn drain(root: &mut Table<'_>) -> Duration {
    let default = Duration::from_secs(30);
    let Some(mut table) = root.table("shutdown") else { return default };
    let drain = table.duration("drain", &(Duration::ZERO..=Duration::from_hours(1)));
    table.finish();
    drain.unwrap_or(default)
}

/// `[dead_letters]`
pub(super) fn dead_letters(root: &mut Table<'_>) -> DeadLetters {
    let topic = "forebay.dead-letters".to_owned();
    let mut letters = DeadLetters { topic, partitions: 3, replication_factor: -1, retention: None, hold_percent: 95 };
    let Some(mut table) = root.table("dead_letters") else { return letters };
    if let Some(topic) = table.take("topic").and_then(|topic| topic_name(&topic)) {
        letters.topic = topic;
    }
    let number = |value: Option<Value<'_>>, low: i64, high: i64| {
        value.and_then(|value| value.integer(&(low..=high))).and_then(|number| i32::try_from(number).ok())
    };
    letters.partitions = number(table.take("partitions"), 1, 10_000).unwrap_or(letters.partitions);
    if let Some(value) = table.take("replication_factor")
        && let Some(factor) = number(Some(value.clone()), -1, 100)
    {
        letters.replication_factor = factor;
        if factor == 0 {
            value.refuse("0 copies keep nothing", "write -1 for the broker's default, or the number of copies");
        }
    }
    if let Some(percent) = number(table.take("hold_percent"), 1, 100).and_then(|percent| u32::try_from(percent).ok()) {
        letters.hold_percent = percent;
    }
    letters.retention = table.duration("retention", &(Duration::from_mins(1)..=Duration::from_hours(24 * 36_500)));
    table.finish();
    letters
}

/// The name of one topic.
pub(super) fn topic_name(value: &Value<'_>) -> Option<String> {
    let text = value.filled()?;
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.len() <= 249 && !matches!(text, "." | "..") && text.chars().all(legal) {
        return Some(text.to_owned());
    }
    value.refuse(
        format!("\"{text}\" is not the name of a topic"),
        "topics have up to 249 letters, digits, dots, underscores and hyphens",
    );
    None
}

/// `[control] topic`
pub(super) fn control_topic(root: &mut Table<'_>) -> String {
    let table = root.table("control");
    let topic = table.and_then(|mut table| {
        let topic = table.take("topic").and_then(|topic| topic_name(&topic));
        table.finish();
        topic
    });
    topic.unwrap_or_else(|| "forebay.control".to_owned())
}

/// `[admin]`: where it listens, and the listener of what changes anything.
pub(super) fn admin(root: &mut Table<'_>, scope: Scope<'_>) -> (SocketAddr, Option<Control>) {
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 9464));
    let Some(mut table) = root.table("admin") else { return (default, None) };
    let listen = table.take("listen").and_then(|value| address(&value)).unwrap_or(default);
    let place = table.take("control");
    let token = table.take("control_token");
    table.finish();
    let control = place.and_then(|value| {
        let listen = address(&value)?;
        if !listen.ip().is_loopback() {
            value
                .refuse("this can be reached from other machines", "write a loopback address, like \"127.0.0.1:9465\"");
        }
        let Some(token) = &token else {
            value.refuse("control needs a token", "add control_token = { file = \"secrets/control\" }");
            return None;
        };
        Some(Control { listen, token: reference(token, scope, Form::Key)? })
    });
    (listen, control)
}

fn address(value: &Value<'_>) -> Option<SocketAddr> {
    let text = value.filled()?;
    let address = text.parse().ok();
    if address.is_none() {
        value.refuse(
            format!("\"{text}\" is not an address and a port"),
            "write it like \"127.0.0.1:9464\", \"0.0.0.0:9464\" or \"[::]:9464\"",
        );
    }
    address
}

/// `[secrets] root`
pub(super) fn secrets_root(root: &mut Table<'_>, directory: &Path) -> Option<PathBuf> {
    let mut table = root.table("secrets")?;
    let path = table.take("root").and_then(|path| path.filled().map(|path| normal(&directory.join(path))));
    table.finish();
    path
}
