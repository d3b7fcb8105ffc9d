//! Settings, keys and signatures of webhooks.

use std::path::Path;
use std::sync::Arc;

use http::HeaderMap;
use secrecy::SecretString;

use super::{EVENTS, sign};
use crate::config::{self, Loaded, Problems};
use crate::destination::{self, Destination, Sign, UserHash};

const HOOK: &str = "[accounts.hook.webhook]\nurl = \"https://Hooks.example.com/a/?b=c\"\nkeys = [{ env = \"K\" }]\n";

fn load(accounts: &str) -> Result<Loaded, Problems> {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("config.toml");
    let main = "[kafka]\nbrokers = \"127.0.0.1:9092\"\ntopics = [\"events\"]\n";
    std::fs::write(&file, format!("{main}{accounts}")).expect("a file");
    config::load(&file)
}

/// The only mistake.
fn error(accounts: &str) -> String {
    let problems = load(accounts).expect_err(accounts);
    assert_eq!(problems.errors.len(), 1, "{problems}");
    problems.errors[0].to_string()
}

#[test]
fn a_webhook_has_a_url_and_no_setting_that_would_change_its_events() {
    let account = load(HOOK).expect("a webhook").config.accounts.remove(0);
    assert_eq!((account.destination(), account.keys().len()), ("webhook", 1));
    let hook: Arc<dyn Destination> = destination::of(&account, &UserHash::new(1));
    let target = hook.target(EVENTS, &SecretString::from("k"));
    assert_eq!((hook.origin().as_str(), target.path.as_str()), ("https://hooks.example.com:443", "/a/?b=c"));
    let settings = [
        "nested = \"keep\"",
        "anonymous = \"use\"",
        "base_url = \"https://api.iterable.com\"",
        "raw = []",
        "raw_unfiltered = true",
    ];
    for setting in settings {
        let name = setting.split(' ').next().unwrap_or_default();
        let found = error(&format!("[accounts.hook]\n{setting}\n{HOOK}"));
        assert!(found.contains(&format!("accounts.hook.{name}: this key is not known")), "{found}");
    }
    for (url, expected) in [
        ("http://hooks.example.com/", "plain http would carry the events in the clear"),
        ("https://127.0.0.1/", "127.0.0.1 is not a public host"),
        ("https://[::ffff:10.0.0.1]/", "is not a public host"),
        ("https://localhost:8443/", "localhost is not a public host"),
        ("https://example.com/#x", "no fragment"),
        ("https://example.com/?a b", "its query must be percent-encoded"),
        ("https://u:p@example.com/", "it must have no user name and no password"),
    ] {
        let found = error(&HOOK.replace("https://Hooks.example.com/a/?b=c", url));
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn each_key_that_is_one_signs_id_time_and_body() {
    let signer = sign::Signer::new(&["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".into(), "not base64".into()]);
    let mut headers = HeaderMap::new();
    signer.sign(7, 1_674_087_231_999, b"{}", &mut headers);
    assert_eq!(headers["webhook-id"], "msg_00000000000000000000000000000007");
    assert_eq!(headers["webhook-timestamp"], "1674087231");
    assert_eq!(headers["webhook-signature"], "v1,JGgtVH78lqTi/FITVzeu41YMSV6Ye03X91yR8AE3OcQ=");
    assert!(!format!("{signer:?}").contains("C2FV"));
}

#[test]
fn a_key_is_base64_of_24_to_64_bytes() {
    use base64::Engine as _;
    let key = |bytes: usize| base64::engine::general_purpose::STANDARD.encode(vec![7; bytes]);
    for bytes in [24, 32, 64] {
        for text in [key(bytes), format!("whsec_{}", key(bytes))] {
            assert_eq!(sign::bytes(&text.into()).map(|key| key.len()), Ok(bytes));
        }
    }
    for (bad, why) in [
        (String::from("hunter2!"), "not base64"),
        (format!("secret_{}", key(24)), "not base64"),
        (key(23), "24 to 64"),
        (key(65), "24 to 64"),
        (String::from("whsec_"), "24 to 64"),
    ] {
        let unfit = sign::bytes(&bad.as_str().into()).expect_err(&bad);
        assert!(unfit.why.contains(why) && unfit.fix.contains("openssl rand -base64 32"), "{bad}: {unfit:?}");
    }
}

/// Lines of this vendor's folder, tests apart, and other lines of code that name it. Iterable has an endpoint of that name.
fn lines(folder: &Path, own: bool) -> (usize, Vec<String>) {
    let (mut count, mut elsewhere) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if !path.ends_with("sandbox/iterable") {
                let (inner, others) = lines(&path, own || path.ends_with("destination/webhook"));
                count += inner;
                elsewhere.extend(others);
            }
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a source");
        match own {
            true if path.ends_with("tests.rs") => {}
            true => count += text.lines().count(),
            false => {
                let names = |line: &&str| !line.trim().starts_with("//") && line.to_lowercase().contains("webhook");
                elsewhere.extend(text.lines().filter(names).map(str::to_owned));
            }
        }
    }
    (count, elsewhere)
}

#[test]
fn a_vendor_is_a_folder_of_250_lines_and_two_lines_elsewhere() {
    let (count, elsewhere) = lines(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), false);
    assert!((1..=250).contains(&count), "{count} lines");
    assert_eq!(elsewhere.len(), 2, "{elsewhere:#?}");
}
