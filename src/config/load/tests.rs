//! One rule of the configuration a test, each with the place that is reported.

use std::path::Path;

use super::super::{Anonymous, BaseUrl, Identity, Property, SecretRef, Start, TenantSource, Vendor};
use super::*;

/// A main file that is right, to which tests add accounts and sections.
const MAIN: &str = "[kafka]\nbrokers = \"127.0.0.1:9092\"\ntopics = [\"events\"]\n";

/// An account that is right.
const ACME: &str =
    "[accounts.acme.moengage]\nworkspace = \"W\"\ndata_center = \"02\"\nkeys = [{ file = \"secrets/acme\" }]\n";

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        std::fs::write(path, text).expect("a file");
    }
    directory
}

fn load_in(directory: &Path) -> Result<Loaded, Problems> {
    load(&directory.join("config.toml"))
}

fn good(text: &str) -> Loaded {
    let directory = directory(&[("config.toml", text)]);
    load_in(directory.path()).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The errors, without the directory before each file's name.
fn errors_of(directory: &Path) -> Vec<String> {
    let problems = load_in(directory).err().unwrap_or_default();
    let prefix = format!("{}/", directory.display());
    problems.errors.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect()
}

fn errors(text: &str) -> Vec<String> {
    errors_of(directory(&[("config.toml", text)]).path())
}

/// The only error of the right main file with this after it.
fn error(after: &str) -> String {
    let found = errors(&format!("{MAIN}{after}"));
    assert_eq!(found.len(), 1, "{found:#?}");
    found.into_iter().next().unwrap_or_default()
}

/// The only error of an account at `MoEngage` with this before its vendor's table.
fn account_error(settings: &str) -> String {
    error(&format!("[accounts.acme]\n{settings}\n{ACME}"))
}

/// The only error of an account at Iterable with these settings in its vendor's table.
fn iterable_error(settings: &str) -> String {
    error(&format!("[accounts.a.iterable]\nregion = \"us\"\nkeys = [{{ env = \"K\" }}]\n{settings}\n"))
}

fn starts(text: &str, expected: &str) {
    assert!(text.starts_with(expected), "\n{text}\nshould begin with\n{expected}");
}

fn contains(text: &str, expected: &str) {
    assert!(text.contains(expected), "\n{text}\nshould contain\n{expected}");
}

// === the whole ===

#[test]
fn the_file_in_the_repository_is_right_and_has_the_documented_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml");
    let loaded = load(&path).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.warnings, []);
    let config = loaded.config;
    let names: Vec<&str> = config.accounts.iter().map(|account| account.name.as_str()).collect();
    assert_eq!(names, ["acme-engage", "acme-mail", "globex"]);
    assert_eq!(config.accounts[1].limits, [("events".to_owned(), 10), ("users".to_owned(), 5)].into());
    assert_eq!(config.files, [path]);

    let bare = good(MAIN).config;
    assert_eq!(format!("{:?}", bare.delivery), format!("{:?}", config.delivery));
    assert_eq!(format!("{:?}", bare.memory), format!("{:?}", config.memory));
    assert_eq!(format!("{:?}", bare.dead_letters), format!("{:?}", config.dead_letters));
    assert_eq!(format!("{:?}", bare.tenant), format!("{:?}", config.tenant));
    assert_eq!((bare.drain, bare.admin, bare.control_topic), (config.drain, config.admin, config.control_topic));
}

/// Comments show defaults and examples: all of them must be settings that exist and values that fit.
#[test]
fn every_setting_in_a_comment_of_the_file_is_right_too() {
    let text = include_str!("../../../config.toml");
    let mut open = String::new();
    for line in text.lines() {
        // A commented setting is `# name = ..`, `# "name" = ..` or `# [table]`; the alternative `from` is left out.
        let setting = line.strip_prefix("# ").filter(|rest| {
            let word = rest.split([' ', '.']).next().unwrap_or_default();
            let named = rest.contains(" = ") && word.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_' | '"'));
            (named && *rest != "from = [" && !rest.starts_with("underscores")) || rest.starts_with("[accounts.")
        });
        open.push_str(setting.unwrap_or(line));
        open.push('\n');
    }
    // What loopback and vendors do not cover must be allowed.
    let open = open.replace("allow_hosts = []", "allow_hosts = [\"gateway.example.com\"]");
    let directory = directory(&[("config.toml", &open)]);
    let loaded = load_in(directory.path()).unwrap_or_else(|problems| panic!("{problems}\n{open}"));
    let account = &loaded.config.accounts[0];
    assert_eq!(account.limits.len(), 7);
    assert_eq!(account.fields.rename, [("traits.plan".to_owned(), "tier".to_owned())]);
    assert_eq!(loaded.config.kafka.properties.len(), 6);
    assert!(loaded.config.control.is_some() && loaded.config.secrets_root.is_some());
}

#[test]
fn all_problems_are_reported_at_once_across_files_in_their_order() {
    let main =
        format!("include = [\"a.d/*.toml\"]\n{MAIN}start = \"soon\"\n[memory]\ntotl = \"1GiB\"\n{ACME}colour = 1\n");
    let directory = directory(&[
        ("config.toml", &main),
        ("a.d/1.toml", "[accounts.b]\nhold = 1\n"),
        ("a.d/2.toml", "[accounts.c\n"),
        ("a.d/3.toml", "[accounts.d.iterable]\nregion = \"uk\"\nkeys = []\n"),
    ]);
    let found = errors_of(directory.path());
    let places: Vec<&str> = found.iter().filter_map(|text| text.split(": ").next()).collect();
    let expected = [
        "config.toml:5:9",
        "config.toml:7:1",
        "config.toml:12:1",
        "a.d/1.toml:1:1",
        "a.d/1.toml:2:8",
        "a.d/2.toml:1:12",
        "a.d/3.toml:2:10",
        "a.d/3.toml:3:8",
    ];
    assert_eq!(places, expected, "{found:#?}");
}

#[test]
fn a_syntax_error_in_the_main_file_does_not_hide_the_mistakes_of_included_files() {
    let directory = directory(&[
        ("config.toml", "include = [\"b.toml\"]\n[kafka\n"),
        (
            "b.toml",
            "[accounts.b]\nbase_url = \"https://gateway.example.com\"\nhold = 1\n[accounts.b.iterable]\nregion = \"us\"\nkeys = [{ env = \"K\" }]\n",
        ),
    ]);
    let found = errors_of(directory.path());
    assert_eq!(found.len(), 2, "{found:#?}");
    starts(&found[0], "config.toml:2:7: this is not TOML");
    starts(&found[1], "b.toml:3:8: accounts.b.hold: an integer does not fit here; write true or false");
}

#[test]
fn a_missing_file_says_what_to_do() {
    let directory = directory(&[]);
    starts(&errors_of(directory.path())[0], "config.toml: this file does not exist; name the file with --config");
}

#[test]
fn a_file_that_is_not_utf8_is_told_where() {
    let directory = directory(&[]);
    std::fs::write(directory.path().join("config.toml"), b"a = 1\nb = \"\xff\"\n").expect("a file");
    assert_eq!(errors_of(directory.path()), ["config.toml:2:6: this is not UTF-8; save the file as UTF-8"]);
}

#[test]
fn an_unknown_key_proposes_the_nearest() {
    assert_eq!(
        error("[delivery]\nlingr = \"1s\"\n"),
        "config.toml:5:1: delivery.lingr: this key is not known; did you mean \"linger\"?"
    );
    starts(&error("[acounts.x]\n"), "config.toml:4:2: acounts: this key is not known; did you mean \"accounts\"?");
    contains(&error("[admin]\nxyzzy = 1\n"), "known here: listen, control");
    contains(&error("[delivery]\ninclude = []\n"), "it stands in the main file, before the first table");
}

#[test]
fn columns_count_characters() {
    starts(&error("[accounts]\n\"ä\" = 1 # x\n"), "config.toml:5:1: accounts.\"ä\": \"ä\" is not a name");
    starts(
        &errors(&format!("{MAIN}[tenant]\nfrom = [{{ header = \"ä\" }}, {{ hedder = \"x\" }}]\n"))[0],
        "config.toml:5:27: ",
    );
}

// === files ===

#[test]
fn includes_are_sorted_files_without_dots_each_once() {
    let account = |name: &str| ACME.replace("acme", name);
    let main = format!("include = [\"a.d/*.toml\", \"./a.d/b.toml\", \"*.toml\", \"none.d/*\"]\n{MAIN}");
    let directory = directory(&[
        ("config.toml", &main),
        ("a.d/b.toml", &account("b")),
        ("a.d/a.toml", &account("a")),
        ("a.d/.hidden.toml", "wrong"),
        ("a.d/notes.txt", "wrong"),
        ("a.d/c.toml/deep.toml", "wrong"),
        ("z.toml", &account("z")),
    ]);
    let loaded = load_in(directory.path()).unwrap_or_else(|problems| panic!("{problems}"));
    let names: Vec<&str> = loaded.config.accounts.iter().map(|account| account.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "z"]);
    let files: Vec<_> =
        ["config.toml", "a.d/a.toml", "a.d/b.toml", "z.toml"].map(|name| directory.path().join(name)).into();
    assert_eq!(loaded.config.files, files);
}

#[test]
fn two_stars_read_directories_below() {
    let main = format!("include = [\"t/**/*.toml\"]\n{MAIN}");
    let directory = directory(&[("config.toml", &main), ("t/x/y/a.toml", ACME), ("t/.git/b.toml", "wrong")]);
    let loaded = load_in(directory.path()).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.config.accounts.len(), 1);
}

#[cfg(unix)]
#[test]
fn an_include_must_not_lead_out_of_the_directory() {
    use std::os::unix::fs::symlink;
    let outside = directory(&[("acme.toml", ACME)]);
    let main = format!("include = [\"a.d/*.toml\", \"../x.toml\", \"/etc/x.toml\"]\n{MAIN}");
    let directory = directory(&[("config.toml", &main), ("a.d/..data/in.toml", ACME)]);
    symlink("..data/in.toml", directory.path().join("a.d/in.toml")).expect("a link");
    symlink(outside.path().join("acme.toml"), directory.path().join("a.d/out.toml")).expect("a link");
    let found = errors_of(directory.path());
    assert_eq!(found.len(), 3, "{found:#?}");
    starts(&found[0], "config.toml:1:12: include[0]: a.d/out.toml leads out of the main file's directory");
    starts(&found[1], "config.toml:1:26: include[1]: files are included from the main file's directory only");
}

#[test]
fn an_include_without_wildcards_must_exist() {
    let found = errors(&format!("include = [\"accounts.toml\"]\n{MAIN}"));
    starts(&found[0], "config.toml:1:12: include[0]: \"accounts.toml\" does not exist");
}

#[test]
fn an_included_file_holds_accounts_only() {
    let main = format!("include = [\"a.toml\"]\n{MAIN}");
    let directory = directory(&[("config.toml", &main), ("a.toml", "include = []\n[delivery]\nlinger = \"1s\"\n")]);
    let found = errors_of(directory.path());
    starts(&found[0], "a.toml:1:1: include: an included file holds [accounts.*] only");
    starts(&found[1], "a.toml:2:2: delivery: an included file holds [accounts.*] only; move this to the main file");
}

#[test]
fn a_name_twice_names_both_places() {
    let main = format!("include = [\"a.toml\"]\n{MAIN}{ACME}");
    let directory = directory(&[("config.toml", &main), ("a.toml", ACME)]);
    let found = errors_of(directory.path());
    assert_eq!(
        found,
        ["a.toml:1:11: accounts.acme: this account stands in config.toml:5:11 already; give one of them another name"]
    );
}

#[test]
fn paths_of_included_files_are_relative_to_the_main_file() {
    let main = format!("include = [\"a.d/a.toml\"]\n{MAIN}");
    let directory = directory(&[("config.toml", &main), ("a.d/a.toml", ACME)]);
    let loaded = load_in(directory.path()).unwrap_or_else(|problems| panic!("{problems}"));
    let SecretRef::File(path) = &loaded.config.accounts[0].keys()[0].secret else { panic!("a file") };
    assert_eq!(*path, directory.path().join("secrets/acme"));
    assert_eq!(loaded.secrets[0].place.key, "accounts.acme.moengage.keys[0]");
    assert_eq!((loaded.secrets[0].place.line, loaded.secrets[0].place.column), (4, 9));
}

// === sections ===

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
    contains(&error(&control.replace("127.0.0.1", "0.0.0.0")), "reached from other machines");
    assert!(good(&format!("{MAIN}{control}control_token = {{ env = \"T\" }}\n")).config.control.is_some());
    contains(&error("[admin]\nlisten = \"localhost:9464\"\n"), "is not an address and a port");
}

// === accounts ===

#[test]
fn an_account_has_a_good_name_and_one_vendor() {
    starts(
        &error(&ACME.replace("acme", "Acme")),
        "config.toml:4:11: accounts.Acme: \"Acme\" is not a name for an account",
    );
    contains(&error("[accounts.a]\n"), "config.toml:4:1: accounts.a: this account has no vendor");
    contains(&error(&format!("{ACME}[accounts.acme.iterable]\n")), "this account has two vendors");
    contains(
        &error(&format!("{}{ACME}", ACME.replace("moengage", "moengaged").replace("acme", "b"))),
        "did you mean \"moengage\"",
    );
}

#[test]
fn an_account_has_the_documented_defaults() {
    let account = good(&format!("{MAIN}[delivery]\nlinger = \"1s\"\n{ACME}")).config.accounts.remove(0);
    assert_eq!((account.name.as_str(), account.tenant.as_str()), ("acme", "acme"));
    assert_eq!(account.accept.len(), 3);
    assert_eq!((account.max_in_flight, account.linger), (4, Duration::from_secs(1)));
    assert_eq!(account.anonymous, Anonymous::Refuse);
    assert!(account.enabled && !account.hold && !account.flatten && account.fields.is_empty());
    let iterable = "[accounts.b.iterable]\nregion = \"https://app.eu.iterable.com/x\"\nkeys = [{ env = \"K\" }]\n";
    let account = good(&format!("{MAIN}{iterable}")).config.accounts.remove(0);
    let Vendor::Iterable(settings) = account.vendor else { panic!("an account at Iterable") };
    assert!(settings.eu && settings.prefer_user_id && settings.merge_nested_objects && !settings.single);
    assert_eq!(
        (settings.identity, settings.pages, settings.create_new_fields),
        (Identity::Hybrid, vec!["all".to_owned()], None)
    );
}

#[test]
fn settings_of_an_account_are_checked() {
    for (settings, expected) in [
        (
            "accept = [\"track\", \"identfy\"]",
            "config.toml:5:20: accounts.acme.accept[1]: \"identfy\" is not known; did you mean \"identify\"?",
        ),
        ("accept = []", "config.toml:5:10: accounts.acme.accept: no type of message is listed"),
        (
            "max_in_flight = 65",
            "config.toml:5:17: accounts.acme.max_in_flight: 65 is out of range; write a whole number from 1 to 64",
        ),
        (
            "raw = [\"transitions\"]",
            "config.toml:5:8: accounts.acme.raw[0]: \"transitions\" is not known; did you mean \"transition\"?",
        ),
        ("nested = \"flat\"", "config.toml:5:10: accounts.acme.nested: \"flat\" is not known"),
        ("where = [{ field = \"/a\", in = [] }]", "config.toml:5:31: accounts.acme.where[0].in: nothing is listed"),
        ("where = [{ in = [\"a\"] }]", "config.toml:5:10: accounts.acme.where[0]: field is missing"),
        ("tenant = \"../x\"", "config.toml:5:10: accounts.acme.tenant: this is not a name for a tenant"),
        ("max_age = \"0s\"", "config.toml:5:11: accounts.acme.max_age: \"0s\" is out of range"),
    ] {
        starts(&account_error(settings), expected);
    }
}

#[test]
fn a_data_center_is_a_number_or_a_url() {
    let with = |text: &str| format!("{MAIN}{}", ACME.replace("\"02\"", text));
    for (text, expected) in [
        ("\"101\"", "101"),
        ("\"https://dashboard-02.moengage.com/v4/#/x\"", "02"),
        ("\"https://api-05.moengage.com\"", "05"),
    ] {
        let Vendor::Moengage(settings) = good(&with(text)).config.accounts.remove(0).vendor else { panic!("MoEngage") };
        assert_eq!(settings.data_center, expected);
    }
    assert_eq!(
        errors(&with("\"7\""))[0],
        "config.toml:6:15: accounts.acme.moengage.data_center: \"7\" is not a data centre; use 01 to 06, 101, or the dashboard's URL"
    );
    contains(&errors(&with("2"))[0], "an integer does not fit here; write a string, in quotes");
    contains(&errors(&with("\"https://dashboard-02.moengage.com.evil.com\""))[0], "is not a data centre");
}

#[test]
fn settings_of_iterable_are_checked() {
    contains(&iterable_error("pages = [\"all\", \"nammed\"]"), "did you mean \"named\"?");
    contains(&iterable_error("pages = []"), "no kind of page is listed");
    contains(&iterable_error("identity = \"userid\""), "did you mean \"user_id\"?");
    contains(
        &iterable_error("registration_key = \"abc\""),
        "registration_key: a string does not fit here; write { file",
    );
    contains(
        &error("[accounts.a.iterable]\nregion = \"uk\"\nkeys = [{ env = \"K\" }]\n"),
        "use us, eu, or the project's URL",
    );
}

#[test]
fn a_family_has_one_or_two_keys() {
    let keys = |keys: &str| error(&ACME.replace("{ file = \"secrets/acme\" }", keys));
    starts(&keys(""), "config.toml:7:8: accounts.acme.moengage.keys: 0 keys do not fit here; list one key, or two");
    contains(&keys("{ env = \"A\" }, { env = \"B\" }, { env = \"C\" }"), "3 keys do not fit here");
    contains(&keys("{ env = \"A\", file = \"b\" }"), "exactly one of file, env, command and value");
    contains(&keys("{ name = \"x\" }"), "exactly one of file, env, command and value");
    contains(&keys("{ env = \"A\", nam = \"x\" }"), "did you mean \"name\"?");
    contains(
        &error(&ACME.replace("keys = [{ file = \"secrets/acme\" }]", "")),
        "config.toml:4:1: accounts.acme.moengage: keys is missing",
    );
}

#[test]
fn limits_belong_to_the_vendor_and_are_not_zero() {
    let limits = |text: &str| error(&format!("{ACME}[accounts.acme.limits]\n{text}\n"));
    starts(
        &limits("users_per_minute = 0"),
        "config.toml:9:20: accounts.acme.limits.users_per_minute: a limit of 0 would send nothing",
    );
    contains(&limits("users_per_minut = 1"), "did you mean \"users_per_minute\"?");
    contains(&limits("users_per_minute = -5"), "-5 is out of range");
    contains(&limits("users_per_minute = 1.5"), "a float does not fit here; write a whole number");
    contains(&limits("requests_per_second = { events = 1 }"), "this key is not known; known here: users_per_minute");
}

#[test]
fn accounts_that_share_a_limit_agree_on_it() {
    let limits = |name: &str, number: u32| format!("[accounts.{name}.limits]\nevents_per_minute = {number}\n");
    let both = |first: u32, second: u32| {
        format!("{MAIN}{ACME}{}{}{}", limits("acme", first), ACME.replace(".acme.", ".b."), limits("b", second))
    };
    assert_eq!(good(&both(5, 5)).config.accounts.len(), 2);
    starts(
        &errors(&both(5, 6))[0],
        "config.toml:10:11: accounts.b.limits: events_per_minute is 6 here and 5 for account acme (",
    );
    let other_workspace = both(5, 6).replacen("\"W\"", "\"V\"", 1);
    assert_eq!(good(&other_workspace).config.accounts.len(), 2);
    let project = "project = \"p\"\n";
    let iterable = |name: &str, number: u32, project: &str| {
        format!(
            "[accounts.{name}.limits]\nrequests_per_second.events = {number}\n[accounts.{name}.iterable]\n\
             region = \"us\"\nkeys = [{{ env = \"K\" }}]\n{project}"
        )
    };
    contains(
        &error(&format!("{}{}", iterable("a", 1, project), iterable("b", 2, project))),
        "events is 2 here and 1 for account a",
    );
    assert_eq!(errors(&format!("{MAIN}{}{}", iterable("a", 1, ""), iterable("b", 2, ""))), [""; 0]);
}

#[test]
fn a_base_url_leads_to_the_vendor_to_this_machine_or_to_an_allowed_host() {
    let url = |url: &str| account_error(&format!("base_url = \"{url}\""));
    contains(&url("http://api-02.moengage.com"), "plain http would carry the key and the events in the clear");
    contains(&url("https://gateway.example.com"), "add \"gateway.example.com\" to [delivery] allow_hosts");
    contains(&url("https://api.iterable.com"), "api.iterable.com is neither the vendor's nor this machine");
    contains(&url("https://moengage.com.evil.com"), "is neither the vendor's");
    contains(&url("https://api-02.moengage.com/?x"), "no query and no fragment");
    let base =
        |settings: &str| good(&format!("{MAIN}[accounts.acme]\n{settings}\n{ACME}")).config.accounts.remove(0).base_url;
    let expected = BaseUrl { tls: false, host: "127.0.0.1".into(), port: 8080, prefix: "/moengage".into() };
    assert_eq!(base("base_url = \"http://127.0.0.1:8080/moengage/\""), Some(expected));
    let allowed = "[delivery]\nallow_hosts = [\"gateway\"]\n[accounts.acme]\nallow_plaintext = true\nbase_url = \"http://gateway\"";
    assert_eq!(errors(&format!("{MAIN}{allowed}\n{ACME}")), [""; 0]);
    let secret = url("https://user:hunter2@api-02.moengage.com");
    assert!(!secret.contains("hunter2"), "{secret}");
}

#[test]
fn rules_for_fields_never_take_an_id_that_a_call_needs() {
    let rule = |rule: &str| account_error(&format!("fields = {{ {rule} }}"));
    starts(&rule("drop = [\"userId\"]"), "config.toml:5:20: accounts.acme.fields.drop[0]: calls need userId");
    contains(&rule("sha256 = [\"traits.id\"]"), "calls need traits.id");
    contains(&rule("drop = [\"traits.*\"]"), "\"traits.*\" takes traits.userId along");
    contains(&rule("drop = [\"context\"]"), "takes context.traits.userId along");
    contains(&rule("rename = { \"messageId\" = \"id\" }"), "calls need messageId");
    contains(&rule("rename = { \"traits.plan\" = \"id\" }"), "calls need traits.id");
    contains(&rule("rename = { \"traits.plan\" = \"a.b\" }"), "is not the name of a field");
    contains(&rule("drop = [\"a.*.b\"]"), "\"a.*.b\" is not a path");
    contains(&rule("keep = [\"a..b\"]"), "\"a..b\" is not a path");
    let fields = |vendor: &str| {
        errors(&format!(
            "{MAIN}[accounts.acme]\nfields = {{ sha256 = [\"traits.email\"], keep = [\"userId\", \"traits.*\"] }}\n{vendor}"
        ))
    };
    assert_eq!(fields(ACME), [""; 0]);
    contains(
        &fields("[accounts.acme.iterable]\nregion = \"us\"\nkeys = [{ env = \"K\" }]\n")[0],
        "calls need traits.email",
    );
}

// === secrets ===

#[test]
fn no_debug_text_shows_a_secret() {
    let text = format!(
        "{MAIN}[kafka.properties]\nsasl.password = \"hunter2\"\n[delivery]\nproxy = \"http://user:hunter2@proxy:3128\"\n{}",
        ACME.replace("file = \"secrets/acme\"", "value = \"hunter2\"")
    );
    let loaded = good(&text);
    let shown = format!("{loaded:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    contains(&shown, "http://(hidden)@proxy:3128");
    let keys: Vec<&str> = loaded.warnings.iter().map(|warning| warning.key.as_str()).collect();
    assert_eq!(keys, ["kafka.properties.\"sasl.password\"", "accounts.acme.moengage.keys[0].value"]);
    assert!(matches!(&loaded.config.kafka.properties[0].1, Property::Secret(SecretRef::Value(_))));
}

#[test]
fn no_message_shows_a_secret_that_stands_in_the_wrong_place() {
    let found = [
        error(&ACME.replace("{ file = \"secrets/acme\" }", "\"hunter2\"")),
        error("[delivery]\nproxy = \"https://user:hunter2@proxy\"\n"),
        error("[kafka.properties]\nsasl.password = [\"hunter2\"]\n"),
    ];
    assert!(!found.concat().contains("hunter2"), "{found:#?}");
    contains(&found[0], "keys[0]: a string does not fit here; write { file = \"path\" } or { env = \"NAME\" }");
}

#[test]
fn a_command_stands_in_the_main_file_only() {
    let command = ACME.replace("file = \"secrets/acme\"", "command = [\"bin/key\", \"acme\"]");
    let loaded = good(&format!("{MAIN}{command}"));
    let SecretRef::Command(argv) = &loaded.config.accounts[0].keys()[0].secret else { panic!("a command") };
    assert!(argv[0].starts_with('/') && argv[0].ends_with("/bin/key"), "{argv:?}");
    let main = format!("include = [\"a.toml\"]\n{MAIN}");
    let directory = directory(&[("config.toml", &main), ("a.toml", &command)]);
    contains(
        &errors_of(directory.path())[0],
        "a.toml:4:21: accounts.acme.moengage.keys[0].command: a command may stand in the main file only",
    );
}

#[test]
fn with_a_root_included_files_refer_to_their_tenants_directory() {
    let main = format!("include = [\"a.toml\"]\n{MAIN}[secrets]\nroot = \"secrets\"\n");
    let found = |reference: &str| {
        let account = ACME.replace("file = \"secrets/acme\"", reference);
        let directory = directory(&[("config.toml", &main), ("a.toml", &account), ("secrets/b/key", "k")]);
        #[cfg(unix)]
        {
            std::fs::create_dir(directory.path().join("secrets/acme")).expect("a directory");
            std::os::unix::fs::symlink("../b/key", directory.path().join("secrets/acme/link")).expect("a link");
        }
        errors_of(directory.path())
    };
    assert_eq!(found("file = \"secrets/acme/not-yet\""), [""; 0]);
    contains(&found("file = \"secrets/b/key\"")[0], "this file is outside of the tenant's directory of secrets");
    contains(&found("file = \"secrets/acme/../b/key\"")[0], "outside of the tenant's directory");
    #[cfg(unix)]
    contains(&found("file = \"secrets/acme/link\"")[0], "outside of the tenant's directory");
    contains(&found("env = \"K\"")[0], "an included file may not read the environment");
    let main = format!("{MAIN}[secrets]\nroot = \"secrets\"\n{}", ACME.replace("secrets/acme", "elsewhere"));
    assert_eq!(errors(&main), [""; 0]);
}
