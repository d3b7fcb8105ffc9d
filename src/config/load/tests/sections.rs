//! The sections of the main file.

use super::super::super::{Start, TenantSource};
use super::*;

#[test]
fn kafka_is_needed() {
    let found = errors("");
    starts(&found[0], "config.toml:1:1: kafka is missing; add [kafka]");
    let found = errors("[kafka]\n");
    starts(&found[0], "config.toml:1:1: kafka: brokers is missing");
    starts(&found[1], "config.toml:1:1: kafka: topics is missing");
}

#[test]
fn kafka_starts_at_a_word_or_a_time() {
    let start = |text: &str| good(&format!("{MAIN}start = {text}\n")).config.kafka.start;
    assert_eq!(good(MAIN).config.kafka.start, Start::Earliest);
    assert_eq!(start("\"latest\""), Start::Latest);
    assert_eq!(start("\"1970-01-01T00:00:01Z\""), Start::Time(1_000));
    assert_eq!(start("1970-01-01T01:00:00.5+01:00"), Start::Time(500));
    starts(&error("start = \"2026-01-01\"\n"), "config.toml:4:9: kafka.start: \"2026-01-01\" is not a place to start");
}

#[test]
fn topics_are_names_or_expressions_that_compile() {
    let topics = |topics: &str| errors(&format!("[kafka]\nbrokers = \"b:1\"\ntopics = {topics}\n"));
    assert_eq!(topics("[\"a.b_c-d\", '^events\\..+$']"), [""; 0]);
    starts(&topics("[\"a b\"]")[0], "config.toml:3:11: kafka.topics[0]: \"a b\" is not the name of a topic");
    starts(
        &topics("[\"^(\"]")[0],
        "config.toml:3:11: kafka.topics[0]: this is not a regular expression: unclosed group",
    );
    starts(&topics("[\"a\", \"a\"]")[0], "config.toml:3:16: kafka.topics[1]: \"a\" stands here twice");
    starts(&topics("[]")[0], "config.toml:3:10: kafka.topics: no topic is named");
}

#[test]
fn brokers_are_hosts_and_ports() {
    let brokers = |brokers: &str| errors(&format!("[kafka]\nbrokers = \"{brokers}\"\ntopics = [\"e\"]\n"));
    assert_eq!(brokers("a:9092, SSL://b.example.com:9093,[::1]:9092,c"), [""; 0]);
    starts(&brokers("a:9092,")[0], "config.toml:2:11: kafka.brokers: \"\" is not a broker: it has no host");
    starts(&brokers("a:port")[0], "config.toml:2:11: kafka.brokers: \"a:port\" is not a broker: its port");
}

#[test]
fn forebay_does_not_read_what_it_writes() {
    contains(
        &error("[control]\ntopic = \"events\"\n"),
        "control.topic: kafka.topics reads \"events\", which Forebay writes",
    );
    let found = errors("[kafka]\nbrokers = \"b:1\"\ntopics = [\"^.*letters$\"]\n");
    contains(&found[0], "dead_letters.topic: kafka.topics reads \"forebay.dead-letters\"");
    contains(&error("[control]\ntopic = \"x\"\n[dead_letters]\ntopic = \"x\"\n"), "control.topic: this is the topic");
}

#[test]
fn properties_are_read_nested_and_quoted_and_become_text() {
    let text = format!(
        "{MAIN}[kafka.properties]\nclient.rack = \"a\"\n\"fetch.min.bytes\" = 1_000\nssl.ca.location = \"ca.pem\"\n\
         enable.ssl.certificate.verification = false\nsasl = {{ username = \"u\", password = {{ env = \"P\" }}, mechanism = \"PLAIN\" }}\n"
    );
    let directory = directory(&[("config.toml", &text)]);
    let loaded = load_in(directory.path()).unwrap_or_else(|problems| panic!("{problems}"));
    let shown: Vec<String> =
        loaded.config.kafka.properties.iter().map(|(name, value)| format!("{name} = {value:?}")).collect();
    let ca = format!("ssl.ca.location = Plain({:?})", directory.path().join("ca.pem").display().to_string());
    let expected = [
        "client.rack = Plain(\"a\")",
        "fetch.min.bytes = Plain(\"1000\")",
        &ca,
        "enable.ssl.certificate.verification = Plain(\"false\")",
        "sasl.username = Plain(\"u\")",
        "sasl.password = Secret(env P)",
        "sasl.mechanism = Plain(\"PLAIN\")",
    ];
    assert_eq!(shown, expected);
}

#[test]
fn properties_that_break_a_promise_are_refused_with_the_fix() {
    let property = |text: &str| error(&format!("[kafka.properties]\n{text}\n"));
    assert_eq!(
        property("enable.auto.commit = true"),
        "config.toml:5:22: kafka.properties.\"enable.auto.commit\": enable.auto.commit may not be set; \
         remove it: offsets are committed when their events are settled"
    );
    for (name, fix) in [
        ("enable.auto.offset.store", "remove it"),
        ("group.id", "use [kafka] group"),
        ("bootstrap.servers", "use [kafka] brokers"),
        ("metadata.broker.list", "use [kafka] brokers"),
        ("auto.offset.reset", "use [kafka] start"),
        ("acks", "remove it"),
    ] {
        contains(&property(&format!("\"{name}\" = \"x\"")), fix);
    }
    contains(&property("client.rack = \"a\"\n\"client.rack\" = \"b\""), "client.rack stands here twice");
    contains(&property("client.rack = [1]"), "a property is text, a number, a boolean");
}

#[test]
fn mechanisms_that_the_build_lacks_are_refused_saying_what_works() {
    let property = |text: &str| error(&format!("[kafka.properties]\n{text}\n"));
    for text in [
        "sasl.mechanism = \"OAUTHBEARER\"",
        "\"sasl.mechanisms\" = \"GSSAPI\"",
        "sasl.oauthbearer.method = \"oidc\"",
        "sasl.kerberos.principal = \"x\"",
        "security.protocol = \"SASL_SSL\"",
    ] {
        contains(&property(text), "what works: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, or mutual TLS");
    }
}

#[test]
fn a_tenant_stands_in_places_of_five_kinds() {
    let from = "[{ header = \"t\" }, { field = \"/context/a~1b\" }, { key = \"^(?<tenant>[^:]+):\" }, \
                { topic = '^events\\.(?P<tenant>.+)$' }, { value = \"acme\" }]";
    let loaded =
        good(&format!("{MAIN}[tenant]\nfrom = {from}\nconflict = \"dead-letter\"\nunknown = \"skip\"\n{ACME}"));
    let tenant = loaded.config.tenant;
    assert!(tenant.conflict_is_refused && tenant.unknown_is_skipped);
    assert!(matches!(&tenant.from[1], TenantSource::Field(parts) if parts == &["context", "a/b"]));
    assert!(matches!(&tenant.from[3], TenantSource::Topic(regex) if regex.is_match("events.x")));
    assert_eq!(tenant.from.len(), 5);
    assert_eq!(loaded.warnings, []);
}

#[test]
fn a_place_of_the_tenant_that_could_not_work_is_refused() {
    let from = |from: &str| error(&format!("[tenant]\nfrom = [{from}]\n"));
    starts(
        &from("{ key = \"^([^:]+):\" }"),
        "config.toml:5:17: tenant.from[0].key: this expression has no group named tenant",
    );
    starts(
        &from("{ topic = \"(?<tenant>\" }"),
        "config.toml:5:19: tenant.from[0].topic: this is not a regular expression",
    );
    starts(
        &from("{ field = \"context.tenant\" }"),
        "config.toml:5:19: tenant.from[0].field: \"context.tenant\" is not a JSON",
    );
    starts(&from("{ field = \"/a~2\" }"), "config.toml:5:19: tenant.from[0].field: \"/a~2\" is not a JSON pointer");
    contains(&from("{ header = \"a\", value = \"b\" }"), "exactly one of header, field, key, topic and value");
    contains(&error("[tenant]\nconflict = \"dead-leter\"\n"), "did you mean \"dead-letter\"?");
    let loaded = good(&format!("{MAIN}[tenant]\nfrom = [{{ value = \"nobody\" }}]\n{ACME}"));
    contains(&loaded.warnings[0].to_string(), "config.toml:5:9: tenant.from[0]: no account has the tenant \"nobody\"");
}

#[test]
fn durations_and_sizes_have_units_and_ranges() {
    starts(
        &error("[delivery]\nlinger = \"11s\"\n"),
        "config.toml:5:10: delivery.linger: \"11s\" is out of range; write a duration from 0ms to 10s",
    );
    starts(
        &error("[delivery]\ntimeout = 30\n"),
        "config.toml:5:11: delivery.timeout: an integer does not fit here; write a number and a unit",
    );
    starts(&error("[memory]\ntotal = \"256M\"\n"), "config.toml:5:9: memory.total: \"256M\" is not a size");
    contains(&error("[memory]\ntotal = \"8MiB\"\nlane = \"9MiB\"\n"), "memory.lane: a lane may hold more than all");
    assert_eq!(good(&format!("{MAIN}[memory]\ntotal = \"8MiB\"\n")).config.memory.lane, 8 << 20);
}

#[test]
fn what_changes_anything_listens_on_loopback_with_a_token() {
    let control = "[admin]\ncontrol = \"127.0.0.1:1\"\n";
    contains(&error(control), "control needs a token");
    contains(&errors(&format!("{MAIN}{}", control.replace("127.0.0.1", "0.0.0.0")))[0], "reached from other machines");
    assert!(good(&format!("{MAIN}{control}control_token = {{ env = \"T\" }}\n")).config.control.is_some());
    contains(&error("[admin]\nlisten = \"localhost:9464\"\n"), "is not an address and a port");
}
