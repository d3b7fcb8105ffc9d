//! The rows of the table: what each measures, against what.

use super::contender::{Arm, Fate, Vendors};
use super::core::event::Size;
use super::topic::Load;

/// One row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) arm: Arm,
    /// What it is compared with in the same rounds, beside the floor.
    pub(crate) base: Option<Arm>,
    /// To which of the two there is a goal: that ratio has to be sure.
    pub(crate) goal: Option<Goal>,
}

/// What a ratio with a goal is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    Floor,
    Base,
}

/// Eight tenants, half of them at each vendor, a hundred events a request.
pub(crate) const SMALL: Arm = Arm {
    load: Load { size: Size::Small, tenants: 8, batch: 200, raw: false },
    vendors: Vendors::Half,
    max_calls: 100,
    tls: false,
    linger_ms: 100,
    fate: Fate::Sent,
};
const LARGE: Arm = Arm { load: Load { size: Size::Large, ..SMALL.load }, ..SMALL };

/// The same for so many tenants.
pub(crate) const fn small_of(tenants: u64) -> Arm {
    Arm { load: Load { tenants, ..SMALL.load }, ..SMALL }
}

const fn row(name: &'static str, what: &'static str, arm: Arm) -> Row {
    Row { name, what, arm, base: Some(SMALL), goal: None }
}

impl Row {
    const fn with_goal(self, to: Goal) -> Self {
        Self { goal: Some(to), ..self }
    }

    const fn beside(self, base: Arm) -> Self {
        Self { base: Some(base), ..self }
    }
}

/// What is measured in another way: see `probes`.
pub(crate) const PROBES: [(&str, &str); 2] = [
    ("latency", "small, a tenth of full load, linger 0 ms: from produced to accepted"),
    ("start", "1,000 accounts: from the process's start to its first request, the group join apart"),
];

/// All of them, in the order of the table. The base of the first two is the same again: how far A is from A.
pub(crate) const ROWS: &[Row] = &[
    row("small", "340 B, 8 tenants, half MoEngage, half Iterable, 100 events a request", SMALL).with_goal(Goal::Floor),
    row("large", "1,020 B, else the same", LARGE).beside(LARGE).with_goal(Goal::Floor),
    row("tenants-100", "small, 100 tenants", small_of(100)),
    row("tenants-1000", "small, 1,000 tenants", small_of(1_000)).with_goal(Goal::Base),
    row("tenants-1000-1s", "the same, linger 1 s", Arm { linger_ms: 1_000, ..small_of(1_000) }),
    row("calls-10", "small, 10 events a request", Arm { max_calls: 10, ..SMALL }),
    // MoEngage takes 100 KB and so no more than some 330 of these.
    row(
        "calls-1000",
        "small, 1,000 events a request, Iterable alone",
        Arm { max_calls: 1_000, vendors: Vendors::Iterable, ..SMALL },
    ),
    row("calls-most", "small, as many events a request as the vendors take", Arm { max_calls: 100_000, ..SMALL }),
    row("tls", "small, TLS to the sink", Arm { tls: true, ..SMALL }).with_goal(Goal::Base),
    row("tls-large", "large, TLS to the sink", Arm { tls: true, ..LARGE }).beside(LARGE).with_goal(Goal::Base),
    row("moengage", "small, MoEngage alone", Arm { vendors: Vendors::MoEngage, ..SMALL }),
    row("iterable", "small, Iterable alone", Arm { vendors: Vendors::Iterable, ..SMALL }),
    row("both", "small, every event to both vendors: two calls", Arm { vendors: Vendors::Both, ..SMALL }),
    row("raw", "small, the vendors' own elements", Arm { load: Load { raw: true, ..SMALL.load }, ..SMALL }),
    row("batched-10", "small, 10 records a record batch", Arm { load: Load { batch: 10, ..SMALL.load }, ..SMALL }),
    row("deferred", "small, skipping events of held accounts", Arm { fate: Fate::Deferred, ..SMALL })
        .with_goal(Goal::Floor),
    row("unaccepted", "small, skipping events that no account takes", Arm { fate: Fate::Unaccepted, ..SMALL })
        .with_goal(Goal::Floor),
];
