//! Promises 2 and 3: no tenant slows another; no event is punished for an account's fault, and no batch for one event's.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::config::{Account, tenants};
use crate::support::events::{Event, Events};
use crate::support::eventually;
use crate::support::metrics;
use crate::support::stage::{JOIN, Stage, WORK, account, assert_books, wait_health};

fn events(seed: u64, tenant_count: usize, count: usize) -> Vec<Event> {
    Events::new(seed, &tenants(tenant_count)).sizes(350..=900).take(count).collect()
}

/// Each of its own user, so that what is said of one says nothing of another.
fn strangers(tenant: &str, count: usize) -> Vec<Event> {
    (0..count).map(|n| Event::track(tenant, &format!("user-{n}"), &format!("{tenant}-{n}"), "plain")).collect()
}

#[test]
fn a_wrong_key_holds_its_lane_alone_and_a_new_one_is_taken_without_a_restart() {
    let stage = Stage::new("revoked", 2, 3);
    let (first, second) = (events(1, 3, 300), events(2, 3, 300));
    stage.vendors.revoke("t00-iterable");
    stage.vendors.revoke("t01-moengage");
    stage.produce(&first);
    let setup = stage.config.setup();
    let mut forebay = setup.start();
    stage.wait_for_all_but(&["t00-iterable", "t01-moengage"], &first);
    for name in ["t00-iterable", "t01-moengage"] {
        let held = wait_health(&mut forebay, name, "held");
        assert_eq!(held["binds"]["what"], "held", "{held}");
        let reason = held["binds"]["reason"].as_str().unwrap_or_default();
        assert!(reason.starts_with("unauthorized"), "{held}");
        assert!(held["binds"]["until"].is_string(), "{held}");
        assert!(held["held_events"].as_u64() > Some(0), "{held}");
    }
    assert_eq!(account(&mut forebay, "t00-moengage")["health"], "ok");
    stage.produce(&second);
    stage.wait_for_all_but(&["t00-iterable", "t01-moengage"], &second);

    for name in ["t00-iterable", "t01-moengage"] {
        let of = stage.config.accounts().iter().find(|account| account.name == name).unwrap();
        stage.vendors.set_key(name, "the-new-key-0123456789");
        setup.write(&of.key_file(), "the-new-key-0123456789\n");
    }
    stage.wait_for_all(&first);
    stage.wait_for_all(&second);
    stage.wait_settled();
    stage.assert_each_once(&first);
    stage.assert_each_once(&second);
    assert_eq!(wait_health(&mut forebay, "t00-iterable", "ok")["binds"]["what"], "nothing");
    assert_eq!(stage.letters(), [], "no event is punished for its account's key");
    assert_books(&mut forebay);
}

#[test]
fn after_a_hold_of_many_requests_at_once_the_first_canary_comes_soon() {
    let stage = Stage::of("canary", &[Account::moengage("t00")])
        .configured(|config| config.section("[delivery]\nlinger = \"1ms\""));
    // Four requests on the wire at a time, refused together: one hold, not four.
    stage.vendors.set_faults("[[fault]]\nkind = \"revoke_key\"\ndelay = \"1s\"\ncount = 4");
    stage.produce(&events(3, 1, 1_000));
    let mut forebay = stage.config.setup().start();
    let held = wait_health(&mut forebay, "t00-moengage", "held");
    eventually(WORK, "all four are refused", || match stage.vendors.report().faults[0].hits {
        4 => Ok(()),
        hits => Err(hits.to_string()),
    });
    let mut last = held;
    forebay.eventually(Duration::from_secs(15), "the account flows again", |_| {
        let refused = stage.vendors.report().account("t00-moengage").map_or(0, |it| it.accepted);
        last["accepted"] = refused.into();
        if refused > 0 { Ok(()) } else { Err(last.to_string()) }
    });
    stage.wait_settled();
}

#[test]
fn the_second_key_is_used_when_the_first_is_revoked() {
    let mut iterable = Account::iterable("t00");
    let mut moengage = Account::moengage("t00");
    (iterable.next_key, moengage.next_key) = (Some("next-key-i".to_owned()), Some("next-key-m".to_owned()));
    let stage = Stage::of("second-key", &[iterable, moengage]);
    let (first, second) = (events(4, 1, 60), events(5, 1, 60));
    stage.produce(&first);
    let mut forebay = stage.config.setup().start();
    stage.wait_for_all(&first);
    stage.vendors.set_key("t00-iterable", "next-key-i");
    stage.vendors.set_key("t00-moengage", "next-key-m");
    stage.produce(&second);
    stage.wait_for_all(&second);
    stage.wait_settled();
    stage.assert_each_once(&second);
    for name in ["t00-iterable", "t00-moengage"] {
        let account = wait_health(&mut forebay, name, "ok");
        assert_eq!(account["keys"][1]["state"], "in use", "{account}");
    }
    assert_books(&mut forebay);
}

#[test]
fn a_missing_key_holds_its_account_until_it_is_there() {
    let stage = Stage::new("missing-key", 1, 2);
    let events = events(6, 2, 100);
    stage.produce(&events);
    let setup = stage.config.setup();
    let lacking = &stage.config.accounts()[1];
    std::fs::remove_file(setup.path(&lacking.key_file())).unwrap();
    let mut forebay = setup.start();
    stage.wait_for_all_but(&["t00-iterable"], &events);
    let held = wait_health(&mut forebay, "t00-iterable", "held");
    assert_eq!(held["binds"]["reason"], "credentials_missing", "{held}");
    setup.write(&lacking.key_file(), &lacking.key);
    stage.wait_for_all(&events);
    stage.wait_settled();
    stage.assert_each_once(&events);
    assert_books(&mut forebay);
}

#[test]
fn one_poison_event_is_dead_lettered_alone_with_the_vendors_words() {
    let stage = Stage::of("poison", &[Account::iterable("t00"), Account::moengage("t01")]);
    stage.vendors.set_faults("[[fault]]\nkind = \"poison\"\nmarker = \"POISON\"\nstatus = 400");
    let mut events = [strangers("t00", 120), strangers("t01", 120)].concat();
    let poison: Vec<Event> =
        ["t00", "t01"].map(|tenant| Event::track(tenant, "bad-user", &format!("{tenant}-bad"), "POISON")).into();
    events.insert(60, poison[0].clone());
    events.insert(170, poison[1].clone());
    stage.produce(&events);
    let mut forebay = stage.config.setup().start();
    stage.wait_settled();
    let good: Vec<Event> = events.iter().filter(|event| !event.message_id.ends_with("bad")).cloned().collect();
    stage.assert_each_once(&good);
    assert_eq!(stage.missing(&poison).values().sum::<usize>(), 2);

    let letters = stage.letters();
    assert_eq!(letters.len(), 2, "{letters:?}");
    for bad in &poison {
        let letter = letters.iter().find(|letter| letter.header("forebay-tenant") == Some(&bad.tenant)).unwrap();
        assert_eq!(letter.value.as_deref(), Some(bad.json.as_bytes()));
        assert_eq!(letter.header("forebay-reason"), Some("rejected"));
        assert!(letter.header("forebay-detail").is_some_and(|detail| !detail.is_empty()), "{letter:?}");
    }
    assert_eq!(account(&mut forebay, "t00-iterable")["health"], "ok");
    assert_books(&mut forebay);
}

#[test]
fn retry_after_is_waited_for_and_meanwhile_the_lane_says_so() {
    let stage = Stage::of("retry-after", &[Account::iterable("t00"), Account::moengage("t01")]);
    stage.vendors.set_faults(
        "[[fault]]\nkind = \"status\"\nstatus = 429\nbody = \"slow down\"\nheaders = { retry-after = \"3\" }\naccount = \"t00-iterable\"\ncount = 1",
    );
    let events = [strangers("t00", 20), strangers("t01", 20)].concat();
    let mut forebay = stage.config.setup().start();
    forebay.wait_ready(JOIN);
    let produced = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    stage.produce(&events);
    let gated = wait_health(&mut forebay, "t00-iterable", "throttled");
    assert_eq!(gated["binds"]["what"], "gate", "{gated}");
    assert!(gated["binds"]["until"].is_string(), "{gated}");
    stage.wait_for_all(&events);
    let first = |name: &str| stage.vendors.accepted().iter().find(|it| &*it.account == name).map(|it| it.at_ms);
    assert!(first("t00-iterable") >= Some(produced + 3_000), "the hint is waited for");
    assert!(first("t01-moengage") < first("t00-iterable"), "by nobody else");
    stage.wait_settled();
    stage.assert_each_once(&events);
    assert_eq!(stage.letters(), []);
    assert_books(&mut forebay);
}

#[test]
fn a_tenant_over_its_limit_delays_its_own_events_only() {
    let mut slow = Account::iterable("t00");
    let mut swift = Account::iterable("t01");
    for account in [&mut slow, &mut swift] {
        account.details = "delivery = \"single\"".to_owned();
        account.sandbox = "unknown_users = \"create\"".to_owned();
    }
    slow.settings = "limits.requests_per_second = { events = 2, users = 2 }".to_owned();
    let stage = Stage::of("over-its-limit", &[slow, swift]);
    let events = events(7, 2, 800);
    stage.produce(&events);
    let mut forebay = stage.config.setup().start();
    stage.wait_for_all_but(&["t00-iterable"], &events);
    let missing = stage.missing(&events);
    assert!(missing["t00-iterable"] > 300, "the other one has just begun: {missing:?}");
    let slow = account(&mut forebay, "t00-iterable");
    assert_eq!(slow["binds"]["what"], "limit", "{slow}");
    stage.assert_each_once_at(&["t01-iterable"], &events);
    assert_books(&mut forebay);
}

#[test]
fn of_a_partial_failure_only_the_named_calls_are_dead_lettered() {
    let stage = Stage::of("partial", &[Account::iterable("t00")]);
    stage.vendors.set_faults(
        "[[fault]]\nkind = \"partial_failure\"\nelements = 0.2\nlist = \"invalidData\"\nendpoint = \"events/trackBulk\"\ncount = 1",
    );
    let events = strangers("t00", 200);
    stage.produce(&events);
    let mut forebay = stage.config.setup().start();
    stage.wait_settled();
    let failed = stage.vendors.report().account("t00-iterable").unwrap().failed_count();
    assert!(failed > 0, "some have failed");
    let letters = stage.letters();
    assert_eq!(letters.len() as u64, failed);
    assert!(letters.iter().all(|letter| letter.header("forebay-reason") == Some("invalid_data")), "{letters:?}");
    let ids = stage.vendors.ids("t00-iterable");
    for event in &events {
        let dead = letters.iter().filter(|letter| letter.value.as_deref() == Some(event.json.as_bytes())).count();
        let taken = ids.get(&event.message_id).copied().unwrap_or(0);
        assert_eq!(dead + taken, 1, "{}: {dead} letters, taken {taken} times", event.message_id);
    }
    assert_books(&mut forebay);
}

#[test]
fn a_redirect_is_never_followed_and_holds_the_account() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let location = format!("http://{}/", elsewhere.local_addr().unwrap());
    let visitors = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&visitors);
    std::thread::spawn(move || {
        for _visitor in elsewhere.incoming() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });

    let stage = Stage::of("redirect", &[Account::iterable("t00"), Account::moengage("t01")]);
    stage.vendors.set_faults(&format!("[[fault]]\nkind = \"redirect\"\nlocation = \"{location}\""));
    let events = [strangers("t00", 20), strangers("t01", 20)].concat();
    stage.produce(&events);
    let mut forebay = stage.config.setup().start();
    for name in ["t00-iterable", "t01-moengage"] {
        eventually(WORK, &format!("{name} is held for the redirect"), || {
            let account = account(&mut forebay, name);
            let reason = account["binds"]["reason"].as_str().unwrap_or_default();
            if reason.starts_with("redirected") { Ok(()) } else { Err(account.to_string()) }
        });
    }
    stage.vendors.set_faults("");
    stage.wait_for_all(&events);
    stage.wait_settled();
    stage.assert_each_once(&events);
    assert_eq!(visitors.load(Ordering::Relaxed), 0, "nobody went there");
    assert_eq!(stage.letters(), []);
    assert_books(&mut forebay);
}

/// So many accounts of one host hang, with `each` requests on the wire or as many as the host has room for; and then comes
/// one that is well.
fn one_is_well_beside(name: &str, hanging: usize, each: usize) {
    let mut names = tenants(hanging);
    names.push("well".to_owned());
    let mut accounts: Vec<Account> = names.iter().map(|name| Account::iterable(name)).collect();
    for account in &mut accounts {
        "max_calls = 1".clone_into(&mut account.settings);
    }
    let stage = Stage::of(name, &accounts)
        .configured(|config| config.section("[delivery]\nlinger = \"5ms\"\ntimeout = \"80s\""));
    let (names, well) = names.split_at(hanging);
    let faults: Vec<String> =
        names.iter().map(|name| format!("[[fault]]\nkind = \"hang\"\naccount = \"{name}-iterable\"")).collect();
    stage.vendors.set_faults(&faults.join("\n"));
    let mut forebay = stage.config.setup().start();
    forebay.wait_ready(JOIN);
    for round in 0..each {
        let events: Vec<Event> =
            names.iter().map(|name| Event::track(name, "user", &format!("{name}-{round}"), "plain")).collect();
        stage.produce(&events);
    }
    let wanted = (hanging * each).min(200);
    let hits = || stage.vendors.report().faults.iter().map(|fault| fault.hits).sum::<u64>();
    eventually(WORK, "they hang", || if hits() >= wanted as u64 { Ok(()) } else { Err(hits().to_string()) });

    let events = strangers(&well[0], 60);
    stage.produce(&events);
    stage.wait_accepted("well-iterable", 60);
    let samples = forebay.metrics();
    let of = |name: &str, account: &str| metrics::sum(&samples, name, &[("account", account)]).unwrap_or(0.0);
    for name in names {
        let account = format!("{name}-iterable");
        assert_eq!(of("forebay_http_requests_total", &account), 0.0, "{account}: its first request still hangs");
        assert!(of("forebay_lane_inflight_requests", &account) <= 4.0, "{account}");
    }
    let on_the_wire: f64 =
        names.iter().map(|name| of("forebay_lane_inflight_requests", &format!("{name}-iterable"))).sum();
    println!("60 requests of the one that is well were answered while {on_the_wire} of {hanging} others hung");
    assert!(on_the_wire >= 200.0, "{on_the_wire}");
    assert_books(&mut forebay);
}

#[test]
fn accounts_that_hang_with_many_requests_each_leave_places_at_their_host() {
    one_is_well_beside("hang-64", 64, 6);
}

#[test]
fn hundreds_of_accounts_that_hang_leave_places_at_their_host() {
    one_is_well_beside("hang-400", 400, 1);
}
