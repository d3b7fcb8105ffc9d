//! What an operator sees: exit codes, all mistakes at once, probes.

use std::time::Duration;

use crate::support::config::{Account, ConfigText};
use crate::support::kafka::Kafka;
use crate::support::process::{Forebay, Setup};
use crate::support::stage::{JOIN, Stage};

const SOON: Duration = Duration::from_secs(20);

fn config() -> ConfigText {
    ConfigText::new(Kafka::shared(), "cli", "http://127.0.0.1:1", &[Account::iterable("t00"), Account::moengage("t01")])
}

fn ended(mut forebay: Forebay) -> (Option<i32>, String) {
    let code = forebay.wait(SOON);
    (code, forebay.log())
}

#[test]
fn a_right_configuration_is_found_right_without_a_broker() {
    let text = config().text().replace(Kafka::shared().bootstrap(), "127.0.0.1:1");
    let setup = Setup::new(&text).args(&["check"]);
    for account in config().accounts() {
        setup.write(&account.key_file(), &account.key);
    }
    let (code, said) = ended(setup.start());
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_missing_secret_is_a_warning_and_a_mistake_when_strict() {
    let setup = config().setup().args(&["check"]);
    let gone = setup.path(&config().accounts()[0].key_file());
    std::fs::remove_file(gone).unwrap();
    let (code, said) = ended(setup.start());
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("warning"), "{said}");
    let (code, said) = ended(setup.args(&["check", "--strict"]).start());
    assert_eq!(code, Some(78), "{said}");
}

#[test]
fn all_mistakes_are_told_at_once_by_check_and_by_run() {
    let wrong = config()
        .section("[delivery]\nlingr = \"10ms\"\ntimeout = \"soon\"\n[tenat]\nunknown = \"skip\"")
        .property("enable.auto.commit", "true");
    for command in ["check", "run"] {
        let (code, said) = ended(wrong.setup().args(&[command]).start());
        assert_eq!(code, Some(78), "{command}: {said}");
        for part in ["lingr", "linger", "soon", "tenat", "enable.auto.commit", "config.toml:"] {
            assert!(said.contains(part), "{command} says {part:?}: {said}");
        }
    }
    let (code, said) = ended(Forebay::start("[kafka\nbrokers = "));
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("config.toml:1"), "{said}");
}

#[test]
fn the_probes_say_what_is_and_the_listener_changes_nothing() {
    let stage = Stage::of("probes", &[Account::iterable("t00")]);
    let mut forebay = stage.config.setup().start();
    forebay.wait_ready(JOIN);
    for path in ["/livez", "/readyz", "/startupz"] {
        assert_eq!(forebay.get(path), (200, "ok\n".to_owned()), "{path}");
        let (status, checks) = forebay.get(&format!("{path}?verbose"));
        assert!(status == 200 && checks.starts_with("[+]"), "{path}: {checks}");
    }
    assert_eq!(forebay.get("/nothing").0, 404);
    let lines = forebay.log_lines();
    assert_eq!(lines.len(), forebay.log().lines().count(), "every line of the log is JSON");
    assert!(lines.iter().any(|line| line["level"] == "INFO" && line["message"] == "started"), "{lines:?}");
    let metrics = forebay.get("/metrics").1;
    assert!(metrics.contains("# TYPE forebay_calls_owed_total counter"), "{metrics}");
    stage.vendors.set_faults("[[fault]]\nkind = \"hang\"");
    stage.produce(&[crate::support::events::Event::track("t00", "u", "one", "plain")]);
    forebay.eventually(JOIN, "a request on the wire", |_| match stage.vendors.report().account("t00-iterable") {
        Some(account) if account.requests > 0 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    forebay.sigterm();
    forebay.eventually(SOON, "not ready while it drains", |forebay| match forebay.try_get("/readyz?verbose") {
        Ok((503, checks)) if checks.contains("[-]not_draining") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(forebay.get("/livez").0, 200, "and alive");
    stage.vendors.set_faults("");
    forebay.sigkill();
}

#[test]
fn a_port_that_is_taken_is_something_missing_at_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let setup = config().setup();
    setup.write("config.toml", config().text().replace("127.0.0.1:0", &address));
    let (code, said) = ended(setup.start());
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains(&address), "{said}");
}
