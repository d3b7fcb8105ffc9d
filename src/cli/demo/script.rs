//! What happens when: the moments of a demo, scaled to its length, and the sentence that tells each.
//!
//! Pure: who plays is a parameter, and what a moment does to the vendors is the stage's.

use std::time::Duration;

use super::screen::grouped;

/// The longest script; what comes after it is quiet.
const LONGEST: Duration = Duration::from_mins(1);
/// The script of a demo without an end.
const USUAL: Duration = Duration::from_secs(30);

/// Something that happens to the vendors, or is worth a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// Tells of the poison events.
    Poison,
    /// A key is no longer good.
    Revoke,
    /// A vendor refuses most requests of an account with 429.
    Throttle,
    /// The key is good again.
    Restore,
    /// The vendor takes what it is sent again.
    Ease,
}

/// In the order of time, each with its share of the script in percent.
const MOMENTS: [(u32, Moment); 5] =
    [(7, Moment::Poison), (20, Moment::Revoke), (35, Moment::Throttle), (50, Moment::Restore), (70, Moment::Ease)];

/// How long the script takes in a demo of this length.
pub(super) fn length(wanted: Option<Duration>) -> Duration {
    wanted.unwrap_or(USUAL).min(LONGEST)
}

/// What becomes due between two times.
pub(super) fn due(length: Duration, after: Duration, until: Duration) -> impl Iterator<Item = Moment> {
    let at = move |percent: u32| length * percent / 100;
    MOMENTS.into_iter().filter(move |(percent, _)| (after..until).contains(&at(*percent))).map(|(_, moment)| moment)
}

/// The longest that the revoked account can be held: until the canary after the key is good again.
pub(super) fn longest_hold(length: Duration) -> Duration {
    // Canaries go out after 5 s and then at twice the time, so one is at most as far away as the hold is old.
    length * 60 / 100 + Duration::from_secs(10)
}

/// The sentence of a moment.
pub(super) fn sentence(moment: Moment, revoked: &str, throttled: &str, poison_every: u32) -> String {
    match moment {
        Moment::Poison => format!(
            "About one event in {} is poison: the vendor answers 400 to the whole batch. Forebay finds it and \
             dead-letters it alone.",
            grouped(poison_every.into())
        ),
        Moment::Revoke => format!(
            "The key of {revoked} is revoked (401). Forebay keeps its events and holds that account; all others go on."
        ),
        Moment::Throttle => format!(
            "The vendor answers 429 to most requests of {throttled}. Forebay slows down, for that account alone."
        ),
        Moment::Restore => format!(
            "The key of {revoked} is good again. Forebay's next try will find that out, and what waited goes out."
        ),
        Moment::Ease => format!("The vendor takes all requests of {throttled} again. Its rate rises step by step."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(length: Duration) -> Vec<Moment> {
        let ticks = 0..=length.as_millis() / 100;
        let tick = |n: u128| Duration::from_millis(u64::try_from(n).expect("small") * 100);
        ticks.flat_map(|n| due(length, tick(n), tick(n + 1)).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn every_moment_comes_once_however_short_the_demo_is() {
        let all: Vec<Moment> = MOMENTS.iter().map(|(_, moment)| *moment).collect();
        for seconds in [1, 8, 10, 30, 60] {
            assert_eq!(played(Duration::from_secs(seconds)), all, "{seconds} s");
        }
    }

    #[test]
    fn a_long_demo_has_its_moments_in_the_first_minute() {
        assert_eq!(length(None), USUAL);
        assert_eq!(length(Some(Duration::from_secs(10))), Duration::from_secs(10));
        assert_eq!(length(Some(Duration::from_hours(1))), LONGEST);
    }

    #[test]
    fn a_hold_ends_within_the_time_that_is_reckoned_with() {
        for length in [8, 30, 60].map(Duration::from_secs) {
            let lasts = length * 30 / 100;
            let (mut canary, mut pause) = (Duration::from_secs(5), Duration::from_secs(10));
            while canary < lasts {
                (canary, pause) = (canary + pause, pause * 2);
            }
            assert!(canary <= longest_hold(length), "{length:?}: {canary:?}");
        }
    }
}
