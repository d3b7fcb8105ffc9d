//! What `forebay check` prints, and its codes.

use std::path::Path;

use clap::Parser;

use super::*;

const GOOD: &str = "[kafka]\nbrokers = \"127.0.0.1:9092\"\ntopics = [\"events\"]\n\
    [accounts.acme.moengage]\nworkspace = \"W\"\ndata_center = \"02\"\nkeys = [{ file = \"key\" }]\n";

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    check: Check,
}

/// Standard output, standard error without the directory, and the code.
fn run(directory: &Path, arguments: &[&str]) -> (String, String, u8) {
    let file = directory.join("config.toml").display().to_string();
    let arguments = ["check", "--config", &file].into_iter().chain(arguments.iter().copied());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = Cli::parse_from(arguments).check.report(&mut out, &mut err);
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace(&format!("{}/", directory.display()), "");
    (text(out), text(err), code)
}

fn directory(config: &str, key: Option<&str>) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("config.toml"), config).expect("a file");
    if let Some(key) = key {
        std::fs::write(directory.path().join("key"), key).expect("a file");
    }
    directory
}

#[test]
fn a_good_configuration_is_one_line_and_0() {
    let directory = directory(GOOD, Some("k\n"));
    let line = "config.toml: fine: 1 account of 1 tenant, from events at 127.0.0.1:9092; 0 warnings\n";
    assert_eq!(run(directory.path(), &["--strict"]), (line.to_owned(), String::new(), 0));
}

#[test]
fn a_wrong_configuration_is_78_and_every_problem_on_standard_error() {
    let directory = directory(&GOOD.replace("02", "7").replace("brokers", "broker"), Some("k"));
    let (out, err, code) = run(directory.path(), &[]);
    assert_eq!((out.as_str(), code), ("", 78));
    let expected = "error: config.toml:1:1: kafka: brokers is missing; write brokers = \"host:9092,host:9092\"\n\
        error: config.toml:2:1: kafka.broker: this key is not known; did you mean \"brokers\"?\n\
        error: config.toml:6:15: accounts.acme.moengage.data_center: \"7\" is not a data centre; \
        known here: 01, 02, 03, 04, 05, 06, 101; or write the dashboard's URL\nconfig.toml: 3 errors, 0 warnings\n";
    assert_eq!(err, expected);
}

#[test]
fn a_missing_configuration_is_78_and_says_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let (out, err, code) = run(directory.path(), &[]);
    assert_eq!((out.as_str(), code), ("", 78));
    assert!(err.starts_with("error: config.toml: this file does not exist; name the file with --config"), "{err}");
}

#[test]
fn a_missing_secret_is_a_warning_unless_strict() {
    let directory = directory(GOOD, None);
    let (out, err, code) = run(directory.path(), &[]);
    assert_eq!(code, 0);
    assert!(out.ends_with("; 1 warning\n"), "{out}");
    let expected = "warning: config.toml:7:9: accounts.acme.moengage.keys[0]: the secret file key does not exist; ";
    assert!(err.starts_with(expected), "{err}");
    assert_eq!(run(directory.path(), &["--strict"]).2, 78);
}

#[test]
fn json_is_one_object_on_standard_output() {
    let directory = directory(&GOOD.replace("02", "7"), None);
    let (out, err, code) = run(directory.path(), &["--format", "json"]);
    assert_eq!((err.as_str(), code), ("", 78));
    let value: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(value["ok"], false);
    assert_eq!(value["errors"][0]["line"], 6);
    assert_eq!(value["errors"][0]["key"], "accounts.acme.moengage.data_center");
}

#[test]
fn without_the_brokers_password_they_are_not_asked() {
    let text = GOOD.replace("[accounts", "[kafka.properties]\nsasl.password = { file = \"none\" }\n[accounts");
    let directory = directory(&text, Some("k"));
    let (_, err, code) = run(directory.path(), &["--connect"]);
    assert_eq!(code, 69);
    assert!(err.contains("the brokers could not be asked: a secret of kafka.properties could not be read"), "{err}");
}

#[test]
fn a_property_that_librdkafka_refuses_is_78_and_its_value_is_not_shown() {
    let properties = |text: &str| GOOD.replace("[accounts", &format!("[kafka.properties]\n{text}\n[accounts"));
    let directory = directory(&properties("sasl.pasword = \"hunter2\""), Some("k"));
    let (_, err, code) = run(directory.path(), &["--connect"]);
    assert_eq!(code, 78);
    let expected =
        "error: config.toml: kafka.properties.\"sasl.pasword\": No such configuration property: \"sasl.pasword\"; ";
    assert!(err.starts_with(expected) && !err.contains("hunter2"), "{err}");
    let directory =
        self::directory(&properties("security.protocol = \"ssl\"\nssl.key.pem = { file = \"key\" }"), Some("hunter2"));
    let (_, err, code) = run(directory.path(), &["--connect"]);
    assert_eq!(code, 78);
    assert!(!err.contains("hunter2"), "{err}");
}
