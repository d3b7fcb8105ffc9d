//! How long a batch must wait for its limit: the vendor's figure in the vendor's unit, kept before the vendor has to
//! say so.
//!
//! Guarantees that no window of the vendor sees more than the limit, however the window lies: burst plus a window's
//! rate never exceed it. Never reads a clock and never sleeps; it answers "go" or "not before".
//!
//! The limiter is governor's GCRA. Its traps, met here: a new limiter starts with a full burst, so it is emptied at
//! once; a rebuilt one would start full again, so a slower rate is not a new limiter but a higher price; a cost above
//! the burst can never be paid at once, so it is paid in pieces that stay with the batch.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::destination::{Budget, Charge, Per, Shape};

/// The share of a window's limit that may go out at once.
const BURST_SHARE: u32 = 20;
/// What a 429 does to the rate, and what a second of success adds to it, as shares of the configured rate. Choices.
const DECREASE: f64 = 0.7;
const INCREASE: f64 = 0.02;
/// The rate never falls below this share of the configured one. A choice.
const FLOOR: f64 = 1.0 / 64.0;

/// A lane that is not the first of those that wait asks again after this, if nobody tells it before.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A clock that shows what it was last told.
#[derive(Clone, Debug, Default)]
struct TimeGiven(Arc<AtomicU64>);

impl TimeGiven {
    fn set(&self, now: Duration) {
        self.0.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Clock for TimeGiven {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// One limit of the vendor, shared by all lanes whose requests draw on it.
#[derive(Debug)]
pub struct Pacer {
    name: &'static str,
    limit: u32,
    charge: Charge,
    /// The shapes that draw on it, a bit each.
    shapes: u32,
    limiter: RateLimiter<NotKeyed, InMemoryState, TimeGiven, NoOpMiddleware<Duration>>,
    clock: TimeGiven,
    burst: NonZeroU32,
    /// The share of the configured rate that is in force; a 429 lowers it.
    share: f64,
    changed: Duration,
    /// Lanes that wait for it, whoever asked first in front.
    line: VecDeque<u32>,
}

impl Pacer {
    /// An empty limiter for the budget: the first unit is granted one interval from `now`.
    #[must_use]
    pub fn new(budget: &Budget, now: Duration) -> Self {
        let clock = TimeGiven::default();
        clock.set(now);
        let (burst, interval) = quota(budget);
        let quota = Quota::with_period(interval).unwrap_or_else(|| Quota::per_second(NonZeroU32::MIN));
        let limiter = RateLimiter::direct_with_clock(quota.allow_burst(burst), clock.clone());
        // A new limiter holds a full burst; whoever restarts often would send it every time.
        let _emptied = limiter.check_n(burst);
        // No more is kept than is asked for: there are several of these for each account.
        let &Budget { name, limit, charge, ref shapes, .. } = budget;
        let shapes = shapes.iter().fold(0, |all, shape| all | 1 << shape.0);
        Self { name, limit, charge, shapes, limiter, clock, burst, share: 1.0, changed: now, line: VecDeque::new() }
    }

    /// The budget's name among the account's limits.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The configured limit.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// The largest number of units that one batch may hold.
    #[must_use]
    pub fn burst(&self) -> u32 {
        self.burst.get()
    }

    /// Whether requests of this shape draw on it.
    #[must_use]
    pub fn serves(&self, shape: Shape) -> bool {
        self.shapes & (1 << shape.0) != 0
    }

    /// What a request with these units costs at full rate.
    #[must_use]
    pub fn units(&self, units: [u32; 2]) -> u32 {
        self.counts().map_or(1, |index| units.get(index).copied().unwrap_or(0))
    }

    /// Which of a batch's units it counts, if it counts any.
    #[must_use]
    pub fn counts(&self) -> Option<usize> {
        match self.charge {
            Charge::Request => None,
            Charge::Units(index) => Some(usize::from(index)),
        }
    }

    /// Pays for `units`, of which `granted` cells are paid already. `Err` is the earliest time to try again; what was
    /// paid until then stays in `granted`.
    pub fn pay(&mut self, now: Duration, units: u32, granted: &mut u32) -> Result<(), Duration> {
        self.clock.set(now);
        let price = self.price(units);
        while *granted < price {
            let piece = (price - *granted).min(self.burst.get());
            let Some(cells) = NonZeroU32::new(piece) else { break };
            match self.limiter.check_n(cells) {
                Ok(Ok(())) => *granted += piece,
                Ok(Err(not_until)) => return Err(not_until.earliest_possible().max(now + Duration::from_micros(1))),
                // Pieces are never larger than the burst.
                Err(_too_large) => break,
            }
        }
        Ok(())
    }

    /// Pays as [`Pacer::pay`] does, when it is the lane's turn: accounts that share a limit are served in the order in
    /// which they asked. A batch that has begun to pay goes on. `in_line` is whether the lane waits. The result is who
    /// is next after a lane that waited.
    pub fn pay_in_turn(
        &mut self,
        now: Duration,
        lane: u32,
        units: u32,
        granted: &mut u32,
        in_line: &mut bool,
    ) -> Result<Option<u32>, Duration> {
        let is_first = self.line.front().is_none_or(|first| *first == lane);
        let paid = if is_first || *granted > 0 || self.price(units) == 0 {
            self.pay(now, units, granted)
        } else {
            Err(now + ASK_AGAIN)
        };
        match paid {
            Ok(()) if std::mem::take(in_line) => Ok(self.leave(lane)),
            Ok(()) => Ok(None),
            Err(at) => {
                if !std::mem::replace(in_line, true) {
                    self.line.push_back(lane);
                }
                Err(at)
            }
        }
    }

    /// The lane waits no longer; the result is whose turn it is by that.
    pub fn leave(&mut self, lane: u32) -> Option<u32> {
        let place = self.line.iter().position(|waiting| *waiting == lane)?;
        self.line.remove(place);
        self.line.front().copied().filter(|_| place == 0)
    }

    /// Each unit costs more cells while the rate is below the configured one.
    fn price(&self, units: u32) -> u32 {
        let price = (f64::from(units) / self.share).ceil();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bounded by units * 64, saturating"
        )]
        let price = price as u32;
        price
    }

    /// The vendor said that we are too fast.
    pub fn slower(&mut self, now: Duration) {
        if now.saturating_sub(self.changed) >= Duration::from_secs(1) || self.share >= 1.0 {
            self.share = (self.share * DECREASE).max(FLOOR);
            self.changed = now;
        }
    }

    /// A request was taken.
    pub fn faster(&mut self, now: Duration) {
        if self.share < 1.0 && now.saturating_sub(self.changed) >= Duration::from_secs(1) {
            self.share = (self.share + INCREASE).min(1.0);
            self.changed = now;
        }
    }

    /// The share of the configured rate that is in force, 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.share
    }
}

/// Burst and interval so that no window, wherever it begins, holds more than the limit.
fn quota(budget: &Budget) -> (NonZeroU32, Duration) {
    let limit = budget.limit.max(1);
    let window = match budget.per {
        Per::Second => Duration::from_secs(1),
        Per::Minute => Duration::from_mins(1),
        Per::Hour => Duration::from_hours(1),
        Per::Day => Duration::from_hours(24),
    };
    let burst = match budget.per {
        Per::Second => 1,
        Per::Minute | Per::Hour | Per::Day => (limit / BURST_SHARE).max(1),
    };
    // A window of GCRA holds at most burst + ceil(window / interval) - 1 cells. Rounded up, so that the sum stays below.
    let rest = if burst == 1 { limit } else { limit - burst };
    let nanos = window.as_nanos().div_ceil(u128::from(rest));
    let interval = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
    (NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN), interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pacer(limit: u32, per: Per, charge: Charge) -> Pacer {
        let budget = Budget { key: "k".into(), name: "n", limit, per, charge, shapes: vec![Shape(0)] };
        Pacer::new(&budget, Duration::from_secs(5))
    }

    /// Sends `piece` units whenever allowed for `length`; returns when how many went out.
    fn saturate(pacer: &mut Pacer, piece: u32, length: Duration) -> Vec<(Duration, u32)> {
        let (mut now, mut sent) = (Duration::from_secs(5), Vec::new());
        let end = now + length;
        while now < end {
            let mut granted = 0;
            while let Err(at) = pacer.pay(now, piece, &mut granted) {
                now = at;
            }
            sent.push((now, piece));
        }
        sent
    }

    fn fullest_window(sent: &[(Duration, u32)], window: Duration) -> u32 {
        sent.iter()
            .map(|&(start, _)| sent.iter().filter(|(at, _)| *at >= start && *at < start + window).map(|s| s.1).sum())
            .max()
            .unwrap_or(0)
    }

    #[test]
    fn no_window_of_a_minute_holds_more_than_the_limit_wherever_it_begins() {
        for limit in [1, 2, 7, 19, 20, 21, 100, 3_000] {
            let mut pacer = pacer(limit, Per::Minute, Charge::Units(0));
            let sent = saturate(&mut pacer, 1, Duration::from_secs(200));
            let most = fullest_window(&sent, Duration::from_mins(1));
            assert!(most <= limit, "limit {limit}: {most}");
            assert!(most * 10 >= limit * 9, "limit {limit} is used: {most}");
        }
    }

    #[test]
    fn requests_a_second_have_no_burst() {
        let mut pacer = pacer(10, Per::Second, Charge::Request);
        let sent = saturate(&mut pacer, 1, Duration::from_secs(5));
        assert_eq!(fullest_window(&sent, Duration::from_secs(1)), 10);
        assert!(sent.windows(2).all(|pair| pair[1].0 > pair[0].0));
    }

    #[test]
    fn a_new_limiter_is_empty() {
        let mut pacer = pacer(60_000, Per::Minute, Charge::Units(0));
        assert!(pacer.pay(Duration::from_secs(5), 1_000, &mut 0).is_err());
    }

    #[test]
    fn a_price_above_the_burst_is_paid_in_pieces_that_stay() {
        let mut pacer = pacer(10, Per::Second, Charge::Request);
        for _ in 0..20 {
            pacer.slower(Duration::from_secs(5));
        }
        pacer.share = 0.25;
        let (mut granted, mut now, mut waits) = (0, Duration::from_secs(5), 0);
        while let Err(at) = pacer.pay(now, 1, &mut granted) {
            (now, waits) = (at, waits + 1);
        }
        assert_eq!((granted, waits), (4, 4));
        assert_eq!(now, Duration::from_millis(5_400));
    }

    #[test]
    fn what_is_added_while_waiting_is_charged_as_a_difference() {
        let mut pacer = pacer(60_000, Per::Minute, Charge::Units(0));
        let later = Duration::from_secs(65);
        let mut granted = 0;
        assert!(pacer.pay(later, 2_000, &mut granted).is_ok());
        assert!(pacer.pay(later, 3_000, &mut granted).is_ok(), "1,000 more, not 3,000");
        assert_eq!(granted, 3_000);
    }

    #[test]
    fn lanes_that_share_a_limit_are_served_in_the_order_in_which_they_asked() {
        let mut pacer = pacer(10, Per::Second, Charge::Request);
        let (mut waits, mut served, mut now) = ([false; 3], Vec::new(), Duration::from_secs(5));
        // The third is the first to ask; the first asks the most.
        for lane in [2, 0, 1] {
            assert!(pacer.pay_in_turn(now, lane, 1, &mut 0, &mut waits[lane as usize]).is_err());
        }
        for _ in 0..100 {
            now += Duration::from_millis(20);
            for lane in [0, 0, 1, 2] {
                if pacer.pay_in_turn(now, lane, 1, &mut 0, &mut waits[lane as usize]).is_ok() {
                    served.push(lane);
                }
            }
        }
        assert_eq!(served[..6], [2, 0, 1, 2, 0, 1], "{served:?}");
    }

    #[test]
    fn whoever_stops_waiting_makes_way_for_the_next() {
        let mut pacer = pacer(10, Per::Second, Charge::Request);
        let (now, mut waits) = (Duration::from_secs(5), [false; 3]);
        for lane in 0..3 {
            assert!(pacer.pay_in_turn(now, lane, 1, &mut 0, &mut waits[lane as usize]).is_err());
        }
        assert_eq!((pacer.leave(1), pacer.leave(0), pacer.leave(7)), (None, Some(2), None));
        assert_eq!(pacer.pay_in_turn(now + Duration::from_secs(1), 2, 1, &mut 0, &mut waits[2]), Ok(None));
    }

    #[test]
    fn a_429_lowers_the_rate_and_success_raises_it_back_to_the_configured_one() {
        let mut pacer = pacer(10, Per::Second, Charge::Request);
        pacer.slower(Duration::from_secs(5));
        assert!(pacer.share() < 0.71);
        for second in 6..60 {
            pacer.faster(Duration::from_secs(second));
        }
        assert!((pacer.share() - 1.0).abs() < f64::EPSILON);
    }
}
