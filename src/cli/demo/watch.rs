//! What is seen of the revoked account, and of all others meanwhile: the figures that show that no tenant slows another.
//!
//! Pure: takes the time and plain figures.

use std::time::Duration;

/// What one look shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// Whether the revoked account is held.
    pub(super) held: bool,
    /// Calls that wait there.
    pub(super) waiting: u64,
    /// How long the oldest event of any other account has waited, the throttled one's apart.
    pub(super) others: Duration,
}

/// What was seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Watch {
    began: Option<Duration>,
    /// How long the account was held.
    pub(super) held_for: Duration,
    /// The most calls that waited for it.
    pub(super) most: u64,
    /// The longest that anything else waited meanwhile.
    pub(super) others: Duration,
    caught_up: bool,
}

impl Watch {
    /// Takes a look. True once: when the account is no longer held, and nothing that waited is left.
    pub(super) fn look(&mut self, now: Duration, look: Look) -> bool {
        if look.held {
            let began = *self.began.get_or_insert(now);
            self.held_for = now.saturating_sub(began);
            self.most = self.most.max(look.waiting);
            self.others = self.others.max(look.others);
        }
        let back = self.began.is_some() && !look.held && look.waiting * 10 <= self.most && !self.caught_up;
        self.caught_up |= back;
        back
    }

    /// Whether the account was held at all.
    pub(super) const fn was_held(&self) -> bool {
        self.began.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_hold_is_measured_and_its_end_is_seen_once() {
        let mut watch = Watch::default();
        let look = |held, waiting, others| Look { held, waiting, others: at(others) };
        assert!(!watch.look(at(1), look(false, 3, 9)));
        assert!(!watch.was_held());
        assert!(!watch.look(at(2), look(true, 5, 1)));
        assert!(!watch.look(at(7), look(true, 400, 2)));
        assert!(!watch.look(at(8), look(false, 300, 9)), "its backlog is still there");
        assert!(watch.look(at(9), look(false, 4, 9)));
        assert!(!watch.look(at(10), look(false, 0, 9)));
        assert_eq!((watch.held_for, watch.most, watch.others), (at(5), 400, at(2)));
    }
}
