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

/// What may be shown of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
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
    accounts: Vec<(String, Vec<Key>)>,
    board: Board,
    tell: Box<dyn Fn(u32, Vec<SecretString>) + Send>,
    commands_at: Instant,
}

impl Keeper {
    /// Reads the keys of these accounts; `tell` takes a lane's readable keys, current first.
    #[must_use]
    pub fn new(accounts: &[config::Account], board: Board, tell: Box<dyn Fn(u32, Vec<SecretString>) + Send>) -> Self {
        // An account that is switched off needs no key, and nobody should hear that it has none.
        let keys = |account: &config::Account| if account.enabled { account.keys().to_vec() } else { Vec::new() };
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
        let changes = |key: &Key| match key.secret {
            SecretRef::Command(_) => commands,
            // An environment does not change, and neither does a value in the configuration.
            SecretRef::Env(_) | SecretRef::Value(_) => first,
            _ => true,
        };
        if !keys.iter().any(changes) {
            return;
        }
        let read: Vec<_> = keys.iter().map(|key| secret::read(&key.secret)).collect();
        let shown: Vec<Shown> = (1..)
            .zip(keys)
            .zip(&read)
            .map(|((position, key), value)| Shown {
                name: key.name.clone().unwrap_or_else(|| format!("key {position}")),
                fingerprint: value.as_ref().ok().map(secret::fingerprint),
                problem: value.as_ref().err().map(ToString::to_string),
            })
            .collect();
        let Ok(mut board) = self.board.write() else { return };
        if !first && board[lane] == shown {
            return;
        }
        for problem in shown.iter().filter_map(|key| key.problem.as_ref()) {
            tracing::warn!(account, problem, "a key cannot be read");
        }
        board[lane] = shown;
        drop(board);
        (self.tell)(u32::try_from(lane).unwrap_or(u32::MAX), read.into_iter().flatten().collect());
    }
}
