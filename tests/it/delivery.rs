//! How requests leave: over TLS that is trusted by a CA file only, and through a CONNECT proxy where one is set.

use std::collections::BTreeSet;

use forebay::sandbox::Tls;

use crate::support::config::{Account, ConfigText, tenants};
use crate::support::events::{Event, Events};
use crate::support::kafka::Kafka;
use crate::support::proxy::ConnectProxy;
use crate::support::stage::{Stage, WORK, assert_books, wait_health};
use crate::support::tls::Certificates;
use crate::support::unique;
use crate::support::vendors::Vendors;

/// Vendors over TLS, and the certificates that they have.
fn stage(name: &str) -> (Stage<'static>, Certificates, tempfile::TempDir) {
    let kafka = Kafka::shared();
    let topic = unique(name);
    kafka.create_topic(&topic, 1, &[]);
    let accounts = [Account::iterable("t00"), Account::moengage("t00")];
    let directory = tempfile::tempdir().unwrap();
    let certificates = Certificates::write(directory.path());
    let tls = Tls::from_files(&certificates.certificate, &certificates.key).unwrap();
    let vendors = Vendors::start_with(&accounts, "", Some(tls));
    let config = ConfigText::new(kafka, &topic, &vendors.url(), &accounts);
    (Stage { kafka, topic, vendors, config, patience: WORK }, certificates, directory)
}

fn events() -> Vec<Event> {
    Events::new(1, &tenants(1)).sizes(350..=700).take(60).collect()
}

#[test]
fn through_the_proxy_of_the_configuration_and_no_other() {
    let (stage, certificates, _directory) = stage("proxy");
    let (proxy, other) = (ConnectProxy::start(), ConnectProxy::start());
    let section = format!("[delivery]\nca_file = \"{}\"\nproxy = \"{}\"", certificates.ca.display(), proxy.url());
    let stage = stage.configured(|config| config.section(&section));
    stage.produce(&events());
    let mut forebay = stage.config.setup().env("HTTPS_PROXY", &other.url()).start();
    stage.wait_settled();
    stage.assert_each_once(&events());
    let authority = stage.vendors.address().to_string();
    let tunnels = proxy.tunnels();
    assert!(!tunnels.is_empty() && tunnels.iter().all(|asked| *asked == authority), "{tunnels:?}");
    assert!(other.tunnels().is_empty(), "the configuration goes before the environment");

    proxy.cut();
    let more = [Event::track("t00", "user-1", "after-the-cut", "plain")];
    stage.produce(&more);
    stage.wait_for_all(&more);
    assert!(proxy.tunnels().len() > tunnels.len(), "a new tunnel, and no way around");
    assert_books(&mut forebay);
}

#[test]
fn the_vendors_own_hosts_are_reached_through_the_proxy_of_the_environment() {
    let (stage, certificates, _directory) = stage("proxy-env");
    let section = format!("[delivery]\nca_file = \"{}\"", certificates.ca.display());
    let stage = stage.configured(|config| config.toward("").section(&section));
    // Wherever a tunnel is asked for, it leads to the simulated vendors: no vendor is called.
    let proxy = ConnectProxy::start_toward(Some(stage.vendors.address()));
    stage.produce(&events());
    let mut forebay = stage.config.setup().env("HTTPS_PROXY", &proxy.url()).start();
    stage.wait_settled();
    stage.assert_each_once(&events());
    let tunnels: BTreeSet<String> = proxy.tunnels().into_iter().collect();
    let expected = ["api-02.moengage.com:443", "api.iterable.com:443"].map(str::to_owned);
    assert_eq!(tunnels, expected.into());
    assert_books(&mut forebay);
}

#[test]
fn a_vendor_that_nobody_vouches_for_gets_nothing() {
    let (stage, certificates, directory) = stage("untrusted");
    let others = Certificates::write(&directory.path().join("others"));
    stage.produce(&events());
    for ca in [String::new(), format!("[delivery]\nca_file = \"{}\"", others.ca.display())] {
        let config = stage.config.clone().section(&ca);
        let mut forebay = config.setup().start();
        let failing = wait_health(&mut forebay, "t00-iterable", "failing");
        let reason = failing["binds"]["reason"].as_str().unwrap_or_default().to_lowercase();
        assert!(reason.contains("certificate"), "{failing}");
        forebay.sigkill();
    }
    assert!(stage.vendors.accepted().is_empty());
    let section = format!("[delivery]\nca_file = \"{}\"", certificates.ca.display());
    let _forebay = stage.config.clone().section(&section).setup().start();
    stage.wait_for_all(&events());
    stage.assert_each_once(&events());
}
