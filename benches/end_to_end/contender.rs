//! Forebay: the release binary as users run it, over a full topic until the sink has accepted everything.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::sink::{Seen, Sink, Watch};
use super::support::kafka::Kafka;
use super::support::process::{Forebay, Setup};
use super::support::tls::Certificates;
use super::support::unique;
use super::topic::{Count, Load, Topic, tenant};
use super::{Measured, usage};

/// Nobody waits longer for one run.
const PATIENCE: Duration = Duration::from_mins(2);
/// For a clean end.
const END: Duration = Duration::from_secs(30);

/// Which vendors the tenants have accounts at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vendors {
    /// Half of the tenants here, half of them there.
    Half,
    MoEngage,
    Iterable,
    /// Every tenant at both: two calls an event.
    Both,
}

/// What becomes of the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Sent,
    /// All accounts are held: their events are deferred.
    Deferred,
    /// No account takes events of this name.
    Unaccepted,
}

/// One way to run it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arm {
    pub(crate) load: Load,
    pub(crate) vendors: Vendors,
    /// Events a request, if there are as many.
    pub(crate) max_calls: u32,
    pub(crate) tls: bool,
    pub(crate) linger_ms: u64,
    pub(crate) fate: Fate,
}

/// The sinks, and what a client needs to trust the one with TLS.
pub(crate) struct Sinks {
    pub(crate) plain: Sink,
    pub(crate) tls: Sink,
    pub(crate) certificates: Certificates,
}

impl Arm {
    /// Runs it over the topic.
    pub(crate) fn measure(&self, topic: &Topic, sinks: &mut Sinks) -> Measured {
        let expected = self.expected(topic);
        let setup = self.setup(&topic.name, sinks);
        let sink = if self.tls { &mut sinks.tls } else { &mut sinks.plain };
        let mut forebay = setup.start();
        let watch = Watch { pid: forebay.pid(), linger_ms: self.linger_ms, elements: expected.elements, timed: false };
        sink.watch(&watch);
        let seen = wait(&mut forebay, sink, PATIENCE);
        assert_eq!(seen.count(), expected, "elements at the sink, and the sum of their numbers");
        let measured = Measured {
            events: topic.all.elements,
            cpu_ns: seen.cpu_ns,
            wall_ns: seen.wall_ns,
            calls: seen.elements,
            requests: seen.requests,
            bytes: seen.bytes,
            peak_kib: usage::peak_kib(forebay.pid()),
        };
        end(&mut forebay, expected.elements);
        measured
    }

    fn expected(&self, topic: &Topic) -> Count {
        let times = if self.vendors == Vendors::Both { 2 } else { 1 };
        let times = |sum: u64, mark: u64| (sum - mark).wrapping_mul(times).wrapping_add(mark);
        match self.fate {
            Fate::Sent => Count {
                elements: times(topic.all.elements, topic.marks.elements),
                sum: times(topic.all.sum, topic.marks.sum),
            },
            Fate::Deferred | Fate::Unaccepted => topic.marks,
        }
    }

    /// A group of its own, and all that users configure; the limits are far above what is sent.
    pub(crate) fn setup(&self, topic: &str, sinks: &Sinks) -> Setup {
        let sink = if self.tls { &sinks.tls } else { &sinks.plain };
        let (brokers, group) = (Kafka::shared().bootstrap(), unique("bench"));
        let mut text = format!(
            "[kafka]\nbrokers = \"{brokers}\"\ngroup = \"{group}\"\ntopics = [\"{topic}\"]\n\n\
             [dead_letters]\ntopic = \"{topic}-dead-letters\"\n\n[control]\ntopic = \"{topic}-control\"\n\n\
             [admin]\nlisten = \"127.0.0.1:0\"\n\n[delivery]\nlinger = \"{}ms\"\n",
            self.linger_ms
        );
        if self.tls {
            let _written = writeln!(text, "ca_file = \"{}\"", sinks.certificates.ca.display());
        }
        for number in 0..self.load.tenants {
            let index = usize::try_from(number).unwrap();
            let (name, url) = (tenant(number), sink.url(index));
            let (moengage, iterable) = match self.vendors {
                Vendors::Half => (number % 2 == 0, number % 2 == 1),
                Vendors::MoEngage => (true, false),
                Vendors::Iterable => (false, true),
                Vendors::Both => (true, true),
            };
            if moengage {
                text.push_str(&self.account(&name, true, &url));
            }
            if iterable {
                text.push_str(&self.account(&name, false, &url));
            }
        }
        let mark = Self { fate: Fate::Sent, load: Load { raw: false, ..self.load }, ..*self };
        text.push_str(&mark.account("mark", false, &sink.url(0)));
        let setup = Setup::new(&text);
        setup.write("secrets/key", "key-of-all-0123456789abcdef\n");
        setup
    }

    fn account(&self, tenant: &str, moengage: bool, url: &str) -> String {
        let keys = "keys = [{ file = \"secrets/key\" }]";
        let fate = match self.fate {
            Fate::Sent => "",
            Fate::Deferred => "hold = true\n",
            Fate::Unaccepted => "only_events = [\"Order Completed\"]\n",
        };
        let (vendor, shape, rest) = if moengage {
            let limits = "limits.users_per_minute = 100000000\nlimits.events_per_minute = 100000000";
            let settings = format!("workspace = \"WS{tenant}\"\ndata_center = \"02\"\n{keys}");
            ("moengage", "transition", [limits.to_owned(), settings])
        } else {
            let limits = "limits.requests_per_second = { events = 100000, users = 100000 }";
            ("iterable", "events/trackBulk", [limits.to_owned(), format!("region = \"us\"\n{keys}")])
        };
        let raw = if self.load.raw { format!("raw = [\"{shape}\"]\n") } else { String::new() };
        let [limits, settings] = rest;
        format!(
            "\n[accounts.{tenant}-{vendor}]\ntenant = \"{tenant}\"\nbase_url = \"{url}\"\nmax_calls = {}\n{fate}{raw}{limits}\n\
             [accounts.{tenant}-{vendor}.{vendor}]\n{settings}\n",
            self.max_calls
        )
    }
}

/// Waits until the sink has counted all of it.
pub(crate) fn wait(forebay: &mut Forebay, sink: &mut Sink, patience: Duration) -> Seen {
    let begun = Instant::now();
    loop {
        if let Some(seen) = sink.seen(Duration::from_millis(200)) {
            return seen;
        }
        let ended = forebay.try_wait();
        if ended.is_some() || begun.elapsed() > patience {
            let count = sink.give_up();
            panic!("not within {patience:?}: {count:?}; Forebay: {ended:?}\n{}", forebay.log());
        }
    }
}

/// The books, and a clean end.
pub(crate) fn end(forebay: &mut Forebay, calls: u64) {
    let begun = Instant::now();
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    while forebay.metric("forebay_calls_delivered_total", &[]) != Some(calls as f64) {
        assert!(begun.elapsed() < END, "{calls} calls were accepted, and the books do not say so");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(forebay.metric("forebay_calls_dead_lettered_total", &[]).is_none_or(|count| count < 1.0), "dead letters");
    forebay.sigterm();
    assert_eq!(forebay.wait(END), Some(0), "a clean end");
}
