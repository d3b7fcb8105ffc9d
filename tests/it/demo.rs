//! The newcomer's command: it plays its whole script, every event is accounted for, and no key is shown anywhere.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::process::{Forebay, Setup, http_get};

/// Eight seconds of events, a join, and a drain on a busy machine.
const WHOLE: Duration = Duration::from_secs(100);

/// What every generated key begins with, as it is and inside Basic credentials, wherever it begins there.
fn traces_of_keys() -> Vec<String> {
    let key = "demo-key-";
    let inside = |skipped: usize| {
        let text = STANDARD.encode(format!("{}{key}", &"   "[..skipped]));
        // The first and the last characters may depend on what stands beside the key.
        text[(skipped * 8).div_ceil(6)..(skipped + key.len()) * 8 / 6].to_owned()
    };
    std::iter::once(key.to_owned()).chain((0..3).map(inside)).collect()
}

fn admin(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once("curl -s http://")?;
    rest.split('/').next()?.parse().ok()
}

fn wait_for(demo: &mut Forebay, text: &str) {
    demo.wait_for_log(text, WHOLE);
}

#[test]
fn a_demo_plays_its_script_accounts_for_each_event_and_shows_no_key() {
    let configuration = include_str!("../../config.toml");
    let setup = Setup::new(configuration).args(&["demo", "--for", "8s", "--tenants", "10", "--rate", "1000"]);
    let mut demo = setup.env("FOREBAY_LOG", "info").start();
    wait_for(&mut demo, "held (unauthorized)");
    let address = admin(&demo.log()).expect("the admin address is shown");
    let shown: Vec<String> = ["/accounts", "/metrics"]
        .map(|path| http_get(address, path).unwrap_or_else(|error| panic!("{path}: {error}")))
        .into_iter()
        .inspect(|(status, body)| assert_eq!(*status, 200, "{body}"))
        .map(|(_, body)| body)
        .collect();
    assert!(shown[0].contains("t07-moengage") && shown[0].contains("acme-engage"), "{}", shown[0]);

    assert_eq!(demo.wait(WHOLE), Some(0), "{}", demo.log());
    let log = demo.log();
    assert!(log.contains("each event accounted for: yes"), "{log}");
    for sentence in ["is poison", "is revoked", "answers 429", "is good again", "is back: ", "nothing else became one"]
    {
        assert!(log.contains(sentence), "{sentence:?} is missing in\n{log}");
    }
    for trace in traces_of_keys() {
        let text = [log.as_str(), &shown[0], &shown[1]].into_iter().find(|text| text.contains(&trace));
        assert_eq!(text, None, "a key, as {trace:?}");
    }
}

#[test]
fn ctrl_c_ends_a_demo_and_closes_the_books() {
    let setup = Setup::new(include_str!("../../config.toml")).args(&["demo", "--tenants", "2", "--rate", "200"]);
    let mut demo = setup.start();
    wait_for(&mut demo, "\n  2 s ");
    demo.sigint();
    assert_eq!(demo.wait(WHOLE), Some(0), "{}", demo.log());
    assert!(demo.log().contains("each event accounted for: yes"), "{}", demo.log());
}
