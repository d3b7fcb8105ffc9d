//! Both vendors, simulated, in this process: what they accept is looked at by message id.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::JoinHandle;

use forebay::sandbox::{self, Accepted, Keep, Options, Recording, Report, Running, Tls};
use tokio::sync::oneshot;

use super::config::{Account, sandbox_accounts};

/// A sandbox on a thread of its own; it ends when dropped.
pub(crate) struct Vendors {
    running: Running,
    tls: bool,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Vendors {
    /// Plain HTTP, no faults, every element kept.
    pub(crate) fn start(accounts: &[Account]) -> Self {
        Self::start_with(accounts, "", None)
    }

    /// With faults (TOML) and TLS.
    pub(crate) fn start_with(accounts: &[Account], faults: &str, tls: Option<Tls>) -> Self {
        Self::start_keeping(accounts, faults, tls, Keep::Elements)
    }

    /// The same, keeping ids only: for so many elements that they would not fit.
    pub(crate) fn start_for_ids(accounts: &[Account], tls: Tls) -> Self {
        Self::start_keeping(accounts, "", Some(tls), Keep::Ids)
    }

    fn start_keeping(accounts: &[Account], faults: &str, tls: Option<Tls>, keep: Keep) -> Self {
        let mut options = Options::new(sandbox::parse_accounts(&sandbox_accounts(accounts)).unwrap());
        options.faults = sandbox::parse_faults(faults).unwrap();
        options.record = Recording { keep, file: None };
        let is_tls = tls.is_some();
        options.tls = tls;
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tell.send(sandbox::start(options).await.unwrap()).unwrap();
                let _dropped = stopped.await;
            });
        });
        let running = told.recv().unwrap();
        Self { running, tls: is_tls, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.running.addr()
    }

    /// The beginning of each `base_url`.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.running.addr())
    }

    /// Replaces the faults (TOML).
    pub(crate) fn set_faults(&self, faults: &str) {
        self.running.set_faults(sandbox::parse_faults(faults).unwrap());
    }

    /// The account's keys are no longer good.
    pub(crate) fn revoke(&self, account: &str) {
        assert!(self.running.revoke(account), "the sandbox knows {account}");
    }

    /// The account's only key is this.
    pub(crate) fn set_key(&self, account: &str, key: &str) {
        assert!(self.running.set_keys(account, vec![sandbox::Key::new(key)]), "the sandbox knows {account}");
    }

    /// What was accepted, in order.
    pub(crate) fn accepted(&self) -> Vec<Accepted> {
        self.running.accepted()
    }

    /// Whether an account accepted a message of this id.
    pub(crate) fn has_id(&self, account: &str, id: &str) -> bool {
        self.running.has_id(account, id)
    }

    /// What happened so far.
    pub(crate) fn report(&self) -> Report {
        self.running.report()
    }

    /// How often each message id was accepted by an account. A device element counts as no message.
    pub(crate) fn ids(&self, account: &str) -> BTreeMap<String, usize> {
        counted(&self.sequence(account))
    }

    /// Message ids accepted by an account, in order.
    pub(crate) fn sequence(&self, account: &str) -> Vec<String> {
        self.sequences().remove(account).unwrap_or_default()
    }

    /// Message ids accepted by each account, in order.
    pub(crate) fn sequences(&self) -> BTreeMap<String, Vec<String>> {
        let mut sequences: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for accepted in self.accepted() {
            if let Some(id) = message_id(&accepted.element) {
                sequences.entry(accepted.account.to_string()).or_default().push(id);
            }
        }
        sequences
    }
}

/// How often each id is there.
pub(crate) fn counted(ids: &[String]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for id in ids {
        *counts.entry(id.clone()).or_default() += 1;
    }
    counts
}

/// The copy of the message id that events carry in their properties or traits.
pub(crate) fn message_id(element: &serde_json::Value) -> Option<String> {
    ["/actions/0/attributes/message_id", "/attributes/message_id", "/dataFields/message_id"]
        .iter()
        .find_map(|pointer| element.pointer(pointer))
        .and_then(|id| id.as_str())
        .map(str::to_owned)
}

impl Drop for Vendors {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}
