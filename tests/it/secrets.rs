//! Promise 7: secrets stay secret, in every encoding, whatever a vendor says and whatever goes wrong.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

use crate::support::config::{Account, ConfigText};
use crate::support::events::Event;
use crate::support::kafka::Kafka;
use crate::support::process::Forebay;
use crate::support::stage::{Stage, WORK, assert_books, wait_health};

/// With what JSON escapes and what URLs encode.
const KEYS: [(&str, &str); 2] =
    [("t00-iterable", r#"sK-1t"er\able/+=&?%-0123"#), ("t01-moengage", r#"sK-m0"en\gage/+=&?%-4567"#)];

const WORKSPACE: &str = "WST01";

fn percent(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn json(text: &str) -> String {
    serde_json::to_string(text).unwrap().trim_matches('"').to_owned()
}

/// Everything that would give a key away.
fn encodings() -> Vec<String> {
    let credentials = format!("{WORKSPACE}:{}", KEYS[1].1);
    let pairs = KEYS.iter().map(|(_, key)| (*key).to_owned()).chain([credentials]);
    let in_base64 =
        |text: &String| [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD].map(|engine| engine.encode(text));
    let plain = KEYS.iter().map(|(_, key)| (*key).to_owned()).chain(pairs.flat_map(|text| in_base64(&text)));
    plain
        .flat_map(|text| [percent(&text), percent(&text).to_lowercase(), json(&text), json(&json(&text)), text])
        .collect()
}

fn assert_no_secret(place: &str, text: &str) {
    for secret in encodings() {
        if let Some(at) = text.find(&secret) {
            let start = text[..at].rfind('\n').map_or(0, |line| line + 1);
            let end = text[at..].find('\n').map_or(text.len(), |line| at + line);
            panic!("{secret} in {place}: {}", &text[start..end]);
        }
    }
}

fn assert_none_shown(stage: &Stage<'_>, forebay: &mut Forebay) {
    assert_no_secret("/accounts", &forebay.get("/accounts").1);
    assert_no_secret("/metrics", &forebay.get("/metrics").1);
    assert_no_secret("/readyz", &forebay.get("/readyz?verbose").1);
    assert_no_secret("the log", &forebay.log());
    for letter in stage.letters() {
        for (name, value) in &letter.headers {
            assert_no_secret(name, &String::from_utf8_lossy(value.as_deref().unwrap_or_default()));
        }
        assert_no_secret("a letter", &String::from_utf8_lossy(letter.value.as_deref().unwrap_or_default()));
    }
}

/// A body in which the vendor says back what it was told.
fn echo(account: &str, key: &str) -> String {
    let pair = if account.ends_with("moengage") { format!("{WORKSPACE}:{key}") } else { key.to_owned() };
    let told =
        [key.to_owned(), percent(key), STANDARD.encode(key), STANDARD.encode(&pair), percent(&STANDARD.encode(&pair))];
    format!(
        r#"{{"status":"fail","code":"Odd","msg":"{0}","error":{{"type":"Odd","message":"{0}"}}}}"#,
        json(&told.join(" "))
    )
}

fn fault(account: &str, key: &str, status: u16, count: usize) -> String {
    let body = toml::Value::String(echo(account, key));
    format!(
        "[[fault]]\nkind = \"status\"\nstatus = {status}\nbody = {body}\naccount = \"{account}\"\ncount = {count}\n"
    )
}

#[test]
fn no_key_is_shown_anywhere_also_when_the_vendor_echoes_it() {
    let stage = Stage::of("secrets", &[Account::iterable("t00"), Account::moengage("t01")]);
    let setup = stage.config.setup().env("FOREBAY_LOG", "trace");
    for ((account, key), of) in KEYS.iter().zip(stage.config.accounts()) {
        assert_eq!(of.name, *account);
        setup.write(&of.key_file(), key);
        stage.vendors.set_key(account, key);
    }
    let faults = |status, count| KEYS.map(|(account, key)| fault(account, key, status, count)).concat();
    // A server's error, then refusals until single events become dead letters, then a hold.
    stage.vendors.set_faults(&[faults(500, 2), faults(400, 8)].concat());
    let events = |turn: usize| -> Vec<Event> {
        let event = |n| ["t00", "t01"].map(|t| Event::track(t, &format!("u{n}"), &format!("{t}-{turn}-{n}"), "plain"));
        (0..8).flat_map(event).collect()
    };
    stage.produce(&events(1));
    let mut forebay = setup.start();
    stage.wait_settled();
    let letters = stage.letters();
    assert!(letters.iter().any(|l| l.header("forebay-account") == Some("t00-iterable")), "{letters:?}");
    assert!(letters.iter().any(|l| l.header("forebay-account") == Some("t01-moengage")), "{letters:?}");
    assert_none_shown(&stage, &mut forebay);

    stage.vendors.set_faults(&[faults(401, 1), faults(403, 1)].concat());
    stage.produce(&events(2));
    for (account, _) in KEYS {
        wait_health(&mut forebay, account, "held");
    }
    assert_none_shown(&stage, &mut forebay);
    stage.wait_for_all(&events(2));
    stage.wait_settled();
    assert_none_shown(&stage, &mut forebay);
    assert!(forebay.log().contains("TRACE") || forebay.log().contains("DEBUG"), "the log has all levels");
    assert_books(&mut forebay);
    forebay.sigterm();
    assert_eq!(forebay.wait(WORK), Some(0));
    assert_no_secret("the log", &forebay.log());
}

#[test]
fn no_mistake_in_the_configuration_shows_a_secret() {
    let (_, key) = KEYS[0];
    let quoted = toml::Value::String(key.to_owned());
    let config = |line: &str| {
        let mut account = Account::iterable("t00");
        account.settings = line.to_owned();
        ConfigText::new(Kafka::shared(), "mistakes", "http://127.0.0.1:1", &[account]).text()
    };
    let file = "{ file = \"secrets/t00/t00-iterable\" }";
    let base = config("");
    let texts = [
        base.replace(file, &quoted.to_string()),
        base.replace(file, &format!("{{ value = {quoted}, nmae = \"x\" }}")),
        base.replace(file, &format!("{{ value = {quoted} }}")),
        base.replace(file, &format!("{{ vlaue = {quoted} }}")),
        base.replace(file, &format!("{{ env = {quoted} }}")),
        base.replace(&format!("[{file}]"), &quoted.to_string()),
        config(&format!("api_key = {quoted}")),
        base.replace("[kafka.properties]", &format!("[kafka.properties]\n\"sasl.passwort\" = {quoted}")),
        base.replace("[kafka.properties]", &format!("[kafka.properties]\n\"sasl.password\" = [{quoted}]")),
        base.replace("http://127.0.0.1:1", "http://user:sK-1t3rable@127.0.0.1:1"),
        format!("{base}\nkeys = {quoted} and more"),
    ];
    for (n, text) in texts.iter().enumerate() {
        for command in [&["check"][..], &["check", "--format", "json"], &["run"]] {
            let setup = crate::support::process::Setup::new(text).args(command).env("FOREBAY_LOG", "trace");
            let mut forebay = setup.start();
            if command == ["run"] && forebay.try_wait().is_none() {
                // What is no mistake goes on; a look at what it says is enough.
                forebay.eventually_or_ended("it has said something");
                forebay.sigkill();
            } else {
                forebay.wait(WORK);
            }
            let said = forebay.log();
            assert!(!said.is_empty() || n == 2, "{command:?} of text {n}");
            assert_no_secret(&format!("{command:?} of text {n}"), &said);
            assert!(!said.contains("sK-1t3rable"), "{command:?} of text {n}: {said}");
        }
    }
}
