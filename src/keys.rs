//! Keys change without a restart: a thread that reads every account's keys, and tells its lane when they differ.
//!
//! Guarantees that a lane hears of a new key within seconds, and that a key that is missing holds its account and
//! nothing else. Values leave this file only towards the lanes; what may be shown is a fingerprint.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use secrecy::SecretString;

use crate::config::{self, Key, SecretRef, secret};

/// Files are looked at this often.
const EVERY: Duration = Duration::from_secs(2);
/// Commands are run this often: they may ask somebody who counts.
const EVERY_COMMAND: Duration = Duration::from_mins(1);

/// An account's readable keys, by the families that it has; in each the current one first.
#[derive(Clone, Debug, Default)]
pub struct Keys(Vec<(&'static str, Vec<SecretString>)>);

impl Keys {
    /// The keys of the first of these families that the account has, readable or not.
    #[must_use]
    pub fn of(&self, families: &[&str]) -> &[SecretString] {
        let found = families.iter().find_map(|family| self.0.iter().find(|(name, _)| name == family));
        found.map_or(&[], |(_, keys)| keys)
    }

    /// Takes note of a family, and of its next key if that could be read.
    pub fn add(&mut self, family: &'static str, key: Option<SecretString>) {
        let known = self.0.iter().position(|(name, _)| *name == family);
        let index = known.unwrap_or_else(|| {
            self.0.push((family, Vec::new()));
            self.0.len() - 1
        });
        self.0[index].1.extend(key);
    }

    /// Whether there is no key at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|(_, keys)| keys.is_empty())
    }
}

impl From<Vec<SecretString>> for Keys {
    /// Of an account that has the usual family alone.
    fn from(keys: Vec<SecretString>) -> Self {
        Self(vec![("keys", keys)])
    }
}

/// What may be shown of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The family that it belongs to: the setting's name.
    pub family: &'static str,
    /// Its name, or its position.
    pub name: String,
    /// The first digits of its hash; `None` while it cannot be read.
    pub fingerprint: Option<String>,
    /// Why it cannot be read.
    pub problem: Option<String>,
}

/// What may be shown of all keys, by lane.
pub type Board = Arc<RwLock<Vec<Vec<Shown>>>>;

/// The thread.
pub struct Keeper {
    accounts: Vec<(String, Vec<(&'static str, Key)>)>,
    board: Board,
    tell: Box<dyn Fn(u32, Keys) + Send>,
    commands_at: Instant,
}

impl Keeper {
    /// Reads the keys of these accounts; `tell` takes a lane's readable keys, current first.
    #[must_use]
    pub fn new(accounts: &[config::Account], board: Board, tell: Box<dyn Fn(u32, Keys) + Send>) -> Self {
        // An account that is switched off needs no key, and nobody should hear that it has none.
        let keys = |account: &config::Account| if account.enabled { account.keys() } else { Vec::new() };
        let accounts: Vec<_> = accounts.iter().map(|account| (account.name.clone(), keys(account))).collect();
        if let Ok(mut board) = board.write() {
            *board = vec![Vec::new(); accounts.len()];
        }
        Self { accounts, board, tell, commands_at: Instant::now() }
    }

    /// Runs until told to stop.
    pub fn run(mut self, stop: &AtomicBool) {
        let mut first = true;
        while !stop.load(Ordering::Relaxed) {
            let commands = first || self.commands_at.elapsed() >= EVERY_COMMAND;
            if commands {
                self.commands_at = Instant::now();
            }
            for lane in 0..self.accounts.len() {
                self.look(lane, first, commands);
            }
            first = false;
            let until = Instant::now() + EVERY;
            while Instant::now() < until && !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }

    fn look(&self, lane: usize, first: bool, commands: bool) {
        let (account, keys) = &self.accounts[lane];
        let changes = |(_, key): &(&str, Key)| match key.secret {
            SecretRef::Command(_) => commands,
            // An environment does not change, and neither does a value in the configuration.
            SecretRef::Env(_) | SecretRef::Value(_) => first,
            _ => true,
        };
        if !keys.iter().any(changes) {
            return;
        }
        let (mut shown, mut read) = (Vec::new(), Keys::default());
        for (family, key) in keys {
            let value = secret::read_as(&key.secret, key.form);
            let position = 1 + shown.iter().filter(|known: &&Shown| known.family == *family).count();
            let kind = family.trim_end_matches('s').replace('_', " ");
            shown.push(Shown {
                family,
                name: key.name.clone().unwrap_or_else(|| format!("{kind} {position}")),
                fingerprint: value.as_ref().ok().map(secret::fingerprint),
                problem: value.as_ref().err().map(ToString::to_string),
            });
            read.add(family, value.ok());
        }
        let Ok(mut board) = self.board.write() else { return };
        if !first && board[lane] == shown {
            return;
        }
        for problem in shown.iter().filter_map(|key| key.problem.as_ref()) {
            tracing::warn!(account, problem, "a key cannot be read");
        }
        board[lane] = shown;
        drop(board);
        (self.tell)(u32::try_from(lane).unwrap_or(u32::MAX), read);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use secrecy::ExposeSecret;

    use super::*;

    const CONFIG: &str = r#"
[kafka]
brokers = "nobody:1"
topics = ["events"]
[accounts.acme.moengage]
workspace = "W"
data_center = "01"
keys = [{ value = "current" }, { value = "next", name = "next one" }]
inform_keys = [{ file = "not-there" }]
"#;

    #[test]
    fn a_shape_gets_the_keys_of_the_first_family_that_the_account_has() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("config.toml");
        std::fs::write(&path, CONFIG).expect("a file");
        let config = config::load(&path).unwrap_or_else(|problems| panic!("{problems}")).config;
        let (board, told) = (Board::default(), Arc::new(Mutex::new(None)));
        let tell = Arc::clone(&told);
        let keeper = Keeper::new(
            &config.accounts,
            Arc::clone(&board),
            Box::new(move |lane, keys| *tell.lock().expect("no panic") = Some((lane, keys))),
        );
        keeper.look(0, true, true);
        let (lane, keys) = told.lock().expect("no panic").take().expect("the lane is told");
        let of =
            |families: &[&str]| keys.of(families).iter().map(|key| key.expose_secret().to_owned()).collect::<Vec<_>>();
        assert_eq!(lane, 0);
        assert_eq!(of(&["keys"]), ["current", "next"]);
        assert_eq!(of(&["campaign_keys", "keys"]), ["current", "next"], "there is no such family");
        assert_eq!(of(&["inform_keys", "campaign_keys", "keys"]), [""; 0], "there is, and its key is not");
        let shown = board.read().expect("no panic")[0].clone();
        let names: Vec<_> = shown.iter().map(|key| (key.family, key.name.as_str(), key.problem.is_some())).collect();
        assert_eq!(
            names,
            [("keys", "key 1", false), ("keys", "next one", false), ("inform_keys", "inform key 1", true)]
        );
    }
}
