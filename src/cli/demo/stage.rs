//! The play: starts everybody, lets the moments happen, drains, and closes the books.
//!
//! One loop asks the proxy for its report ten times a second; all that is shown, and how far the producer may go, comes
//! from there. Never waits without a bound: what does not come in time is said, and the books show what it means.

use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::time::{Interval, MissedTickBehavior, interval};

use super::Demo;
use super::books::{Books, Sources};
use super::cast::Cast;
use super::events::{POISON, Plan};
use super::kafka::{Kafka, Letters, PARTITIONS, Producer};
use super::screen::{self, Count, Screen, grouped, line};
use super::script::{self, Moment};
use super::vendors::Vendors;
use super::watch::{Look, Watch};
use crate::cli::run::Signals;
use crate::config::Config;
use crate::metrics::report::Report;
use crate::proxy::Proxy;
use crate::sandbox::{Effect, Fault, Options};
use crate::source::consumer::Message;

const UNACCOUNTED: u8 = 1;
const UNAVAILABLE: u8 = 69;
const BROKEN: u8 = 70;

/// The proxy is looked at this often.
const TICK: Duration = Duration::from_millis(100);
/// A first join takes about 3 s.
const JOIN: Duration = Duration::from_secs(30);
/// What waits at the end has this long.
const DRAIN: Duration = Duration::from_mins(1);
/// For the proxy's drain, when nothing is left to do.
const END: Duration = Duration::from_secs(5);
/// For its threads' end. The one that looks after topics asks the mock what it never answers, and would take longer.
const THREADS: Duration = Duration::from_millis(500);
/// Of the throttled account's requests. The others are taken, so that it does not come to a halt.
const THROTTLED_SHARE: f64 = 0.75;
/// What a call of an event takes in a lane, about: its element and the record, 1.6 KB on average each.
const CALL_BYTES: f64 = 3_400.0;

const NEXT: &str = "\
Where to look next
  README.md                what Forebay is for, what it promises and what it does not
  config.toml              every setting, explained; `forebay check` names every mistake in it
  forebay run, sandbox     the proxy on your Kafka, and the simulated vendors for it to send to
  ARCHITECTURE.md, docs/   how it works, and the formats of what it writes";

/// Everybody, while the play runs.
pub(super) struct Stage {
    screen: Screen,
    cast: Cast,
    plan: Plan,
    rate: u32,
    vendors: Vendors,
    kafka: Kafka,
    letters: Letters,
    proxy: Proxy,
    signals: Signals,
    ticks: Interval,
    watch: Watch,
    /// When the events began.
    began: Instant,
}

/// What the next turn of the loop brings.
enum Turn {
    Look(Box<Report>),
    /// Ctrl-C, or nobody reads on.
    Enough,
    /// A part of the proxy ended.
    Broken,
}

/// Between two lines.
struct Shown {
    at: Duration,
    count: Count,
}

impl Stage {
    /// Plays; the result is the process's exit code.
    pub(super) fn perform(demo: &Demo, config: Option<&Config>) -> u8 {
        let failed = |error: &dyn std::fmt::Display| {
            eprintln!("forebay demo: failed to start: {error}");
            UNAVAILABLE
        };
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return failed(&error),
        };
        runtime.block_on(async {
            match Self::start(demo, config) {
                Ok(stage) => stage.play(demo.length).await,
                Err(error) => failed(&error),
            }
        })
    }

    fn start(demo: &Demo, config: Option<&Config>) -> Result<Self, Box<dyn std::error::Error>> {
        // Before anything else, so that no signal finds the default action.
        let signals = Signals::new()?;
        let mut cast = Cast::new(config, usize::from(demo.tenants));
        let plan = plan(demo, &cast);
        let vendors = Vendors::start(Options { faults: faults(None), ..Options::new(cast.vendors.clone()) })?;
        let topic = cast.config.kafka.topics.first().cloned().unwrap_or_default();
        let kafka = Kafka::start(&topic, &cast.config.dead_letters.topic, &cast.config.control_topic)?;
        cast.connect(&kafka.brokers(), &vendors);
        let letters = Letters::start(&kafka)?;
        let proxy = Proxy::start(&cast.config)?;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Ok(Self {
            screen: Screen::stdout(),
            cast,
            plan,
            rate: demo.rate,
            vendors,
            kafka,
            letters,
            proxy,
            signals,
            ticks,
            watch: Watch::default(),
            began: Instant::now(),
        })
    }

    async fn play(mut self, length: Option<Duration>) -> u8 {
        self.introduce(length);
        match self.join().await {
            Turn::Look(_) => {}
            Turn::Enough => return self.close(0).await,
            Turn::Broken => return self.close(BROKEN).await,
        }
        let tenants = self.cast.tenants.iter().map(|tenant| tenant.name.clone()).collect();
        let mut producer = match Producer::start(&self.kafka, self.plan, tenants, self.rate) {
            Ok(producer) => producer,
            Err(error) => {
                eprintln!("forebay demo: failed to start the producer: {error}");
                return self.close(UNAVAILABLE).await;
            }
        };
        self.began = Instant::now();
        let mut shown = Shown { at: Duration::ZERO, count: Count::default() };
        if !self.act(length, &producer, &mut shown).await {
            return self.close(BROKEN).await;
        }
        self.ease_everything();
        producer.stop();
        match self.drain(&producer, &mut shown).await {
            Some(report) => {
                let code = self.account(&producer, &report);
                self.close(code).await
            }
            None => self.close(BROKEN).await,
        }
    }

    fn introduce(&mut self, length: Option<Duration>) {
        let accounts = self.cast.config.accounts.len();
        let generated = accounts - self.cast.configured;
        let whose = match self.cast.configured {
            0 => format!("{generated} of {} generated tenants", generated / 2),
            own => format!("{own} of the configuration (with generated keys), {generated} of generated tenants"),
        };
        let (brokers, vendors, admin) = (self.kafka.brokers(), self.vendors.addr(), self.proxy.admin);
        let until = length.map_or("until Ctrl-C".to_owned(), |length| format!("for {} s", length.as_secs()));
        let rate = grouped(self.rate.into());
        self.screen.say(&format!(
            "Forebay demo: events from Kafka to MoEngage and Iterable, all inside this process. No vendor is called.\n\n  \
             kafka     librdkafka's mock cluster at {brokers}, {PARTITIONS} partitions\n  \
             vendors   simulated at http://{vendors}: MoEngage in 7 data centres, Iterable in the US and the EU\n  \
             accounts  {whose}\n  \
             events    {rate} a second {until}, 300 B to 3 KB, identify and track\n  \
             look in   curl -s http://{admin}/accounts    curl -s http://{admin}/metrics\n\n\
             Joining the consumer group; with the mock cluster that takes about 3 s."
        ));
    }

    /// Waits for the next turn. Every look tells the watch.
    async fn turn(&mut self) -> Turn {
        if self.screen.is_gone() {
            return Turn::Enough;
        }
        tokio::select! {
            _ = self.signals.next() => return Turn::Enough,
            _ = self.proxy.ended() => return Turn::Broken,
            _ = self.ticks.tick() => {}
        }
        let (to, from) = mpsc::channel();
        let asked = self.proxy.inbox().send(Message::Report(to)).is_ok();
        match from.recv_timeout(JOIN) {
            Ok(report) if asked => Turn::Look(Box::new(report)),
            _ => Turn::Broken,
        }
    }

    /// Until all partitions are assigned.
    async fn join(&mut self) -> Turn {
        let begin = Instant::now();
        loop {
            match self.turn().await {
                Turn::Look(report) if report.partitions.iter().filter(|it| it.assigned).count() == PARTITIONS => {
                    let took = begin.elapsed().as_secs_f64();
                    self.screen.say(&format!("Joined after {took:.1} s.\n\n{}", screen::TITLE));
                    return Turn::Look(report);
                }
                Turn::Look(_) if begin.elapsed() > JOIN => {
                    eprintln!("forebay demo: the mock cluster let nobody into the group for {} s", JOIN.as_secs());
                    return Turn::Broken;
                }
                Turn::Look(_) => {}
                end => return end,
            }
        }
    }

    /// The moments, until the time is over or somebody has seen enough. False if the proxy broke.
    async fn act(&mut self, length: Option<Duration>, producer: &Producer, shown: &mut Shown) -> bool {
        let script = script::length(length);
        let mut last = Duration::ZERO;
        loop {
            let report = match self.turn().await {
                Turn::Look(report) => report,
                Turn::Enough => return true,
                Turn::Broken => return false,
            };
            let elapsed = self.began.elapsed();
            self.look(elapsed, &report, producer, shown);
            if length.is_some_and(|length| elapsed >= length) {
                return true;
            }
            for moment in script::due(script, last, elapsed) {
                self.happen(moment, elapsed);
            }
            if length.is_none() && last < script && elapsed >= script {
                self.screen.tell(elapsed, "That was all; it goes on quietly. Ctrl-C ends it and closes the books.");
            }
            last = elapsed;
        }
    }

    /// Lets the producer go on, remembers, and prints what is due.
    fn look(&mut self, elapsed: Duration, report: &Report, producer: &Producer, shown: &mut Shown) {
        for partition in &report.partitions {
            let front = usize::try_from(partition.partition).ok().and_then(|at| producer.tally.fronts.get(at));
            if let Some(front) = front.filter(|_| partition.front >= 0) {
                front.store(partition.front, Ordering::Relaxed);
            }
        }
        if self.watch.look(elapsed, self.looked_at(report)) {
            let (name, most) = (self.cast.name(self.cast.revoked.1), grouped(self.watch.most));
            let sentence = format!("{name} is back: the {most} events that waited for it are delivered.");
            self.screen.tell(elapsed, &sentence);
        }
        if elapsed.as_secs() > shown.at.as_secs() {
            let count = Count::of(report);
            let names = self.cast.config.accounts.iter().map(|account| account.name.as_str());
            let bound = screen::bound(report, names);
            let text = line(elapsed, count, shown.count, elapsed.saturating_sub(shown.at), &bound);
            self.screen.say(&text);
            *shown = Shown { at: elapsed, count };
        }
    }

    fn looked_at(&self, report: &Report) -> Look {
        let (_, revoked) = self.cast.revoked;
        let others =
            report.accounts.iter().enumerate().filter(|(lane, _)| ![revoked, self.cast.throttled].contains(lane));
        let oldest = others.filter_map(|(_, account)| account.oldest_ms).min();
        let others = oldest.and_then(|oldest| u64::try_from(report.at.wall_ms - oldest).ok()).unwrap_or_default();
        let own = report.accounts.get(revoked);
        Look {
            held: own.is_some_and(|account| account.binds.what == "held"),
            waiting: own.map_or(0, |account| account.held_calls),
            others: Duration::from_millis(others),
        }
    }

    fn happen(&mut self, moment: Moment, elapsed: Duration) {
        let (revoked, throttled) = (self.cast.name(self.cast.revoked.1), self.cast.name(self.cast.throttled));
        // Both accounts are the sandbox's own, so it knows them.
        let _known = match moment {
            Moment::Poison => true,
            Moment::Revoke => self.vendors.revoke(revoked),
            Moment::Restore => self.vendors.set_keys(revoked, vec![self.cast.vendors_key(self.cast.revoked.1)]),
            Moment::Throttle => {
                self.vendors.set_faults(faults(Some(throttled)));
                true
            }
            Moment::Ease => {
                self.vendors.set_faults(faults(None));
                true
            }
        };
        let sentence = script::sentence(moment, revoked, throttled, self.plan.poison_every);
        self.screen.tell(elapsed, &sentence);
    }

    /// Poison stays: it is the events' own fault.
    fn ease_everything(&mut self) {
        self.vendors.set_faults(faults(None));
        let (_, lane) = self.cast.revoked;
        let _known = self.vendors.set_keys(self.cast.name(lane), vec![self.cast.vendors_key(lane)]);
        let sentence = "No more events, and no more faults. What still waits arrives now; Ctrl-C skips that.";
        self.screen.tell(self.began.elapsed(), sentence);
    }

    /// Until nothing waits any more. The last report; none if the proxy broke.
    async fn drain(&mut self, producer: &Producer, shown: &mut Shown) -> Option<Box<Report>> {
        let begin = Instant::now();
        let mut last = None;
        loop {
            let report = match self.turn().await {
                Turn::Look(report) => report,
                Turn::Enough if last.is_some() => return last,
                Turn::Enough => continue,
                Turn::Broken => return None,
            };
            self.look(self.began.elapsed(), &report, producer, shown);
            let count = Count::of(&report);
            let all = count.received >= producer.produced() && count.waiting == 0 && report.letters == 0;
            if all && self.letters.count() >= count.letters {
                return Some(report);
            }
            if begin.elapsed() > DRAIN {
                self.screen.say(&format!("Not everything arrived within {} s.", DRAIN.as_secs()));
                return Some(report);
            }
            last = Some(report);
        }
    }

    /// Prints the books; 0 if they say that nothing is missing.
    fn account(&mut self, producer: &Producer, report: &Report) -> u8 {
        let sources = Sources {
            cast: &self.cast,
            plan: self.plan,
            produced: producer.produced(),
            report,
            vendors: &self.vendors.report(),
            letters: &self.letters.read(),
            watch: self.watch,
        };
        let books = Books::new(&sources, |account, id| self.vendors.has_id(account, id));
        self.screen.say(&format!("\n{books}\n{NEXT}"));
        let refused = producer.tally.refused.load(Ordering::Relaxed);
        if refused > 0 {
            eprintln!("forebay demo: the mock cluster did not take {refused} events");
        }
        if books.balance() { 0 } else { UNACCOUNTED }
    }

    /// Ends the proxy, then the rest.
    async fn close(mut self, code: u8) -> u8 {
        self.proxy.drain();
        let ended = tokio::time::timeout(END, self.proxy.ended()).await.is_ok();
        if !ended {
            self.proxy.abandon();
        }
        self.proxy.finish(THREADS);
        code
    }
}

/// Poison always; and the account whose vendor throttles it.
fn faults(throttled: Option<&str>) -> Vec<Fault> {
    let throttle = throttled.map(|account| Fault::new(Effect::Throttle).account(account).share(THROTTLED_SHARE));
    let poison = Fault::new(Effect::Poison { marker: POISON.to_owned(), status: 400 });
    throttle.into_iter().chain([poison]).collect()
}

/// The events. The tenant whose key is revoked gets fewer if a full share would overfill its lane meanwhile: then Forebay
/// would pause partitions, which all tenants share.
fn plan(demo: &Demo, cast: &Cast) -> Plan {
    let hold = script::longest_hold(script::length(demo.length)).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a share, not a sum")]
    let (room, tenants) = (cast.config.memory.lane as f64 / 2.0, cast.tenants.len() as f64);
    let full_share = f64::from(demo.rate) / tenants * hold * CALL_BYTES;
    Plan {
        seed: demo.seed,
        tenants: cast.tenants.len(),
        quiet: (cast.revoked.0, (room / full_share).min(1.0)),
        // About one a second.
        poison_every: demo.rate.clamp(20, 2_000),
    }
}
