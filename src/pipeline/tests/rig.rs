//! A topic of one partition with both of its readers, and vendors, around a pipeline, on a virtual clock.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use http::HeaderMap;
use secrecy::SecretString;

use crate::clock::Now;
use crate::config::{self, Memory};
use crate::destination::Answer;
use crate::lane::Flight;
use crate::metrics::report::Report;
use crate::pipeline::{Action, Parts, Pipeline};
use crate::source::commit::Contents;
use crate::source::consumer::State;
use crate::source::record::{Headers, Record, kept};

/// One step of the clock, and how many records each reader gets through in it.
const STEP: Duration = Duration::from_millis(10);
const TURN: i64 = 200;

/// What an account's vendor does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vendor {
    /// Takes it.
    Well,
    /// Answers that it has trouble.
    Down,
    /// Does not answer.
    Hangs,
}

pub(crate) struct Rig {
    pub(crate) pipeline: Pipeline,
    pub(crate) now: Now,
    /// The tenant of the record at an offset.
    log: fn(i64) -> Option<usize>,
    /// What pads each record.
    pub(crate) pad: usize,
    /// Where the log ends.
    pub(crate) end: i64,
    pub(crate) position: i64,
    pub(crate) sweep: Option<i64>,
    pub(crate) paused: bool,
    pub(crate) pauses: usize,
    /// How many calls each tenant's vendor took.
    pub(crate) taken: BTreeMap<usize, u64>,
    #[expect(clippy::vec_box, reason = "flights come and go boxed")]
    pub(crate) wire: Vec<Box<Flight>>,
    vendor: fn(usize, Now) -> Vendor,
}

impl Rig {
    /// A pipeline of this many tenants, each with an account at Iterable; `host` says where.
    pub(crate) fn new(tenants: usize, memory: Memory, host: fn(usize) -> String) -> Self {
        let mut text = "[kafka]\nbrokers = \"nobody:1\"\ntopics = [\"events\"]\n".to_owned();
        for tenant in 0..tenants {
            writeln!(
                text,
                "[accounts.t{tenant}]\nbase_url = \"{}\"\niterable = {{ region = \"us\", keys = [{{ file = \"k\" }}] }}\n\
                 limits = {{ requests_per_second = {{ events = 1000 }} }}\nlinger = \"100ms\"",
                host(tenant)
            )
            .expect("a string");
        }
        Self::of(&text, memory)
    }

    /// The pipeline of a configuration.
    pub(crate) fn of(text: &str, memory: Memory) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("config.toml");
        std::fs::write(&path, text).expect("a file");
        let mut config = config::load(&path).unwrap_or_else(|problems| panic!("{problems}")).config;
        config.memory = memory;
        let now = Now { mono: Duration::from_secs(1), wall_ms: 1_795_207_260_000 };
        let mut pipeline = Pipeline::new(Parts::of(&config, now, 1));
        let slot = pipeline.slot("events", 0);
        pipeline.assign(slot, Contents::default());
        Self {
            pipeline,
            now,
            log: |_| None,
            pad: 0,
            end: 0,
            position: 0,
            sweep: None,
            paused: false,
            pauses: 0,
            taken: BTreeMap::new(),
            wire: Vec::new(),
            vendor: |_, _| Vendor::Well,
        }
    }

    /// The topic has `end` records; `log` says whose they are.
    pub(crate) fn topic(mut self, end: i64, log: fn(i64) -> Option<usize>) -> Self {
        (self.end, self.log) = (end, log);
        self
    }

    pub(crate) fn vendors(mut self, vendor: fn(usize, Now) -> Vendor) -> Self {
        self.vendor = vendor;
        self
    }

    /// Everybody's keys can be read.
    pub(crate) fn with_keys(mut self) -> Self {
        (0..u32::try_from(self.pipeline.accounts().len()).expect("few")).for_each(|lane| self.keys(lane));
        self
    }

    pub(crate) fn keys(&mut self, lane: u32) {
        self.pipeline.set_keys(self.now, lane, &vec![SecretString::from("key")].into());
    }

    /// The partition comes again, as a commit says.
    pub(crate) fn assign(&mut self, contents: Contents) {
        self.position = contents.window;
        self.pipeline.assign(0, contents);
    }

    fn show(&mut self, offset: i64, show: fn(&mut Pipeline, Now, &Record<'_>)) {
        let tenant = (self.log)(offset).map_or_else(|| "nobody".to_owned(), |tenant| format!("t{tenant}"));
        let pad = "x".repeat(self.pad);
        let value = format!(
            r#"{{"type":"track","event":"E","userId":"u{offset}","messageId":"m{offset}","properties":{{"pad":"{pad}"}}}}"#
        );
        let headers = kept([("tenant", tenant.as_bytes())]);
        let record = Record {
            slot: 0,
            offset,
            timestamp_ms: Some(offset),
            key: None,
            value: Some(value.as_bytes()),
            headers: Headers::of(&headers),
        };
        show(&mut self.pipeline, self.now, &record);
        self.act();
    }

    fn act(&mut self) {
        let mut actions = Vec::new();
        self.pipeline.take_actions(&mut actions);
        for action in actions {
            match action {
                Action::Send(flight) => self.wire.push(flight),
                Action::Write(letter) => self.pipeline.letter_written(letter.id),
                Action::Pause { paused, .. } => {
                    self.paused = paused;
                    self.pauses += usize::from(paused);
                }
                Action::Sweep { from, .. } => self.sweep = from,
            }
        }
    }

    /// Lets one step pass.
    pub(crate) fn step(&mut self) {
        for _ in 0..TURN {
            if self.paused || self.position >= self.end {
                break;
            }
            self.position += 1;
            self.show(self.position - 1, Pipeline::record);
        }
        for _ in 0..TURN {
            let Some(offset) = self.sweep.filter(|offset| *offset < self.end) else { break };
            self.sweep = Some(offset + 1);
            self.show(offset, Pipeline::swept);
        }
        self.now = self.now.later(STEP);
        self.pipeline.tick(self.now);
        self.act();
        self.answer();
    }

    fn answer(&mut self) {
        let headers = HeaderMap::new();
        // Any request of either vendor.
        let body = br#"{"status":"success","message":"","code":"Success","msg":"","successCount":0,"failCount":0,"failedUpdates":{}}"#;
        for flight in std::mem::take(&mut self.wire) {
            let tenant = flight.account as usize;
            let status = match (self.vendor)(tenant, self.now) {
                Vendor::Well => {
                    *self.taken.entry(tenant).or_default() += flight.calls() as u64;
                    200
                }
                Vendor::Down => 503,
                Vendor::Hangs => {
                    self.wire.push(flight);
                    continue;
                }
            };
            let body = if status == 200 { &body[..] } else { b"" };
            self.pipeline.answered(self.now, flight, Ok(Answer { status, headers: &headers, body }));
            self.act();
        }
    }

    /// Lets time pass until something holds; how long that took, if it came.
    pub(crate) fn until(&mut self, most: Duration, holds: impl Fn(&Self) -> bool) -> Option<Duration> {
        let begun = self.now.mono;
        while self.now.mono < begun + most {
            if holds(self) {
                return Some(self.now.mono.saturating_sub(begun));
            }
            self.step();
        }
        None
    }

    pub(crate) fn taken(&self, tenant: usize) -> u64 {
        self.taken.get(&tenant).copied().unwrap_or(0)
    }

    /// The books balance; gives back what is open: a batch that is dropped with calls in it is a bug.
    pub(crate) fn finish(mut self) {
        let differences = Report::new(self.now, &self.pipeline, &State::default()).differences();
        assert!(differences.iter().all(|difference| *difference == 0), "{differences:?}");
        for flight in std::mem::take(&mut self.wire) {
            self.pipeline.answered(self.now, flight, Err("the end".into()));
        }
        self.pipeline.abandon(self.now);
        self.pipeline.unassign(&[0], self.now);
    }
}
