//! Deferred accounts that share a partition: each of them gets on, and nothing is read for nobody.

use std::time::Duration;

use crate::config::Memory;
use crate::lane::Health;
use crate::pipeline::tests::rig::{Rig, Vendor};
use crate::source::commit::{Contents, Entry};

const FAR: usize = 0;
const NEAR: usize = 1;
const SECOND: Duration = Duration::from_secs(1);

fn rig(lane: u64) -> Rig {
    let memory = Memory { lane, total: 64 << 20 };
    Rig::new(3, memory, |_| "http://127.0.0.1:9".into())
}

/// The partition begins at its end, with these deferred accounts: the tenant, and where it is read on.
fn deferred(rig: &mut Rig, accounts: &[(usize, i64)]) {
    let hash = |tenant: usize| rig.pipeline.accounts()[tenant].hash;
    let mut entries: Vec<Entry> =
        accounts.iter().map(|&(tenant, next)| Entry { account: hash(tenant), next, holes: Vec::new() }).collect();
    entries.sort_by_key(|entry| entry.account);
    rig.assign(Contents { window: rig.end, settled: Vec::new(), entries });
}

#[test]
fn an_account_near_the_front_does_not_wait_for_one_that_is_far_behind() {
    let log = |offset| match offset {
        199_000.. => Some(NEAR),
        _ if offset % 50 == 0 => Some(FAR),
        _ => None,
    };
    let mut rig = rig(8 << 20).topic(200_000, log).with_keys();
    deferred(&mut rig, &[(FAR, 0), (NEAR, 199_000)]);
    let near = rig.until(30 * SECOND, |rig| rig.taken(NEAR) == 1_000).expect("the near one gets on");
    let share = rig.taken(FAR);
    assert!(near < 4 * SECOND, "{near:?}");
    assert!(share > 0, "it was the other one's turn first");
    let far = rig.until(30 * SECOND, |rig| rig.taken(FAR) == 3_980).expect("the far one gets on");
    assert!(far < 12 * SECOND, "{far:?}");
    rig.finish();
}

#[test]
fn an_account_that_has_more_than_its_share_comes_again_while_another_is_read_for() {
    let log = |offset| match offset {
        0..12_000 => Some(NEAR),
        _ if offset % 50 == 0 => Some(FAR),
        _ => None,
    };
    // The dense one has three shares to take, and a sweep for the other one lasts for fifteen seconds.
    let mut rig = rig(1 << 20).topic(300_000, log).with_keys();
    deferred(&mut rig, &[(FAR, 0), (NEAR, 0)]);
    let dense = rig.until(60 * SECOND, |rig| rig.taken(NEAR) == 12_000).expect("the dense one gets on");
    assert!(dense < 12 * SECOND && rig.taken(FAR) < 5_760, "the other one is not done by then: {dense:?}");
    rig.until(60 * SECOND, |rig| rig.taken(FAR) == 5_760).expect("the far one gets on");
    rig.finish();
}

#[test]
fn nobody_is_passed_over_for_ever_however_many_begin_further_on() {
    // The low one's turn comes, although the others fall behind again whenever they are served.
    let log = |offset| match offset {
        0..1_000 => Some(FAR),
        _ if offset % 2 == 0 => Some(NEAR),
        _ => Some(2),
    };
    let mut rig = rig(64 << 10).topic(100_000, log).with_keys();
    deferred(&mut rig, &[(FAR, 0)]);
    rig.end = 2_000_000;
    rig.until(60 * SECOND, |rig| rig.taken(FAR) == 1_000).expect("the lowest gets on");
    rig.finish();
}

#[test]
fn a_sweep_ends_when_all_that_it_reads_for_have_what_they_owe() {
    let mut rig = rig(64 << 10).topic(60_000, |offset| (offset < 1_000).then_some(FAR));
    // It has no key yet, and so is deferred.
    rig.until(30 * SECOND, |rig| rig.position == rig.end).expect("nobody else is held up");
    assert_eq!(rig.taken(FAR), 0);
    rig.keys(0);
    rig.until(30 * SECOND, |rig| rig.taken(FAR) == 1_000).expect("it catches up");
    rig.until(SECOND, |rig| rig.sweep.is_none()).expect("the sweep ends");
    let reread = rig.pipeline.partitions()[0].reread;
    assert!(reread < 6_000, "{reread} records were read again for one thousand");
    rig.finish();
}

#[test]
fn how_long_an_account_has_waited_is_known_after_a_restart_although_nobody_reads_for_it() {
    let mut rig = rig(64 << 10).topic(100_000, |offset| (offset % 1_000 == 0).then_some(FAR));
    // Its key cannot be read: it is held, and no sweep gives it anything.
    deferred(&mut rig, &[(FAR, 42_000)]);
    rig.until(SECOND, |rig| rig.sweep.is_some()).expect("somebody looks");
    rig.until(SECOND, |rig| rig.sweep.is_none()).expect("and stops");
    let deferred: Vec<_> = rig.pipeline.partitions()[0].deferred().collect();
    assert_eq!(deferred, [(0, 42_000, Some(42_000))], "a record's time is its offset here");
    assert!(rig.pipeline.partitions()[0].reread < 5, "one record is enough");
    rig.finish();
}

#[test]
fn an_account_that_gave_back_what_lies_below_does_not_join_where_it_would_have_begun() {
    let log = |offset| match offset {
        100..110 | 5_000..5_100 => Some(NEAR),
        _ if offset % 50 == 0 => Some(FAR),
        _ => None,
    };
    let mut rig = rig(8 << 20).topic(20_000, log).with_keys();
    deferred(&mut rig, &[(FAR, 0), (NEAR, 5_000)]);
    let near = u32::try_from(NEAR).expect("small");
    let mut released = crate::source::deferral::Entry::loaded(5_000, &(100..110).collect::<Vec<_>>(), 20_000);
    released.waits_since(100, 0);
    rig.pipeline.partitions[0].entries.insert(near, released);
    // It takes part, is given the first ten, leaves, and would join again further on.
    rig.until(SECOND, |rig| rig.sweep >= Some(200)).expect("a sweep");
    assert_eq!(rig.pipeline.accounts()[NEAR].lane.held_calls(), 10);
    rig.pipeline.leave_pass(0, near);
    rig.until(SECOND, |rig| rig.sweep >= Some(4_800)).expect("it goes on");
    rig.pipeline.look_at = Duration::ZERO;
    rig.step();
    rig.pipeline.release(rig.now, near);
    rig.until(20 * SECOND, |rig| rig.taken(NEAR) == 110).expect("nothing is passed over");
    rig.finish();
}

#[test]
fn since_when_accounts_wait_that_nobody_knows_is_looked_up_once_and_they_end_with_their_records() {
    let mut rig = rig(64 << 10).topic(100_000, |offset| (offset % 1_000 == 0).then_some(FAR));
    let unknown = |account, next| Entry { account, next, holes: Vec::new() };
    let entries = vec![unknown(7, 42_000), unknown(8, 50_000)];
    rig.assign(Contents { window: rig.end, settled: Vec::new(), entries });
    let waits = |rig: &Rig| rig.pipeline.partitions()[0].unknown();
    assert_eq!(waits(&rig), Some((42_000, None)));
    rig.until(SECOND, |rig| waits(rig) == Some((42_000, Some(42_000)))).expect("a record's time is its offset here");
    rig.until(10 * SECOND, |_| false);
    assert!(rig.sweep.is_none() && rig.pipeline.partitions()[0].reread < 5, "one record is enough");
    rig.pipeline.expire(0, 60_000);
    rig.until(SECOND, |rig| waits(rig) == Some((60_000, Some(60_000)))).expect("it is another one now");
    rig.pipeline.expire(0, 99_999);
    assert_eq!(rig.pipeline.partitions()[0].base(), 99_999);
    rig.pipeline.expire(0, 100_000);
    assert_eq!((waits(&rig), rig.pipeline.partitions()[0].base()), (None, 100_000));
    rig.finish();
}

#[test]
fn a_broker_that_is_slow_with_the_first_record_does_not_make_sweeps_begin_again_and_again() {
    let mut rig = rig(1 << 20).topic(10_000, |offset| Some(usize::try_from(offset % 2).expect("small"))).with_keys();
    deferred(&mut rig, &[(FAR, 0), (NEAR, 0)]);
    rig.until(SECOND, |rig| rig.sweep.is_some()).expect("a sweep");
    let begun = rig.sweep.take();
    rig.until(10 * SECOND, |rig| rig.sweep.is_some());
    assert_eq!(rig.sweep, None, "another sweep began");
    rig.sweep = begun;
    rig.until(20 * SECOND, |rig| rig.taken(NEAR) == 5_000 && rig.taken(FAR) == 5_000).expect("it goes on");
    rig.finish();
}

#[test]
fn accounts_of_which_each_begins_where_the_last_one_has_come_to_share_a_pass() {
    const COUNT: i64 = 6;
    const APART: i64 = 30_000;
    // A slice is 40,000 records long here.
    let memory = Memory { lane: 8 << 20, total: 64 << 20 };
    let mut rig = Rig::new(6, memory, |_| "http://127.0.0.1:9".into());
    rig = rig.topic(200_000, |offset| usize::try_from(offset % 60).ok().filter(|tenant| *tenant < 6)).with_keys();
    deferred(&mut rig, &(0..COUNT).map(|n| (usize::try_from(n).expect("small"), n * APART)).collect::<Vec<_>>());
    let owed = |n: i64| u64::try_from((200_000 - n * APART) / 60).expect("positive");
    let all = |rig: &Rig| (0..COUNT).all(|n| rig.taken(usize::try_from(n).expect("small")) >= owed(n));
    let time = rig.until(120 * SECOND, all).expect("all get on");
    let reread = rig.pipeline.partitions()[0].reread;
    assert!(reread < 300_000, "{reread} records were read again of 200,000, in {time:?}");
    rig.finish();
}

#[test]
fn a_lane_whose_vendor_fails_is_given_no_more_to_ask_with_than_it_has_room_for() {
    const LANE: usize = 64 << 10;
    const RECORD: usize = 16 << 10;
    let mut rig = rig(LANE as u64).topic(200, |_| Some(FAR)).vendors(|_, _| Vendor::Down).with_keys();
    rig.pad = RECORD / 4;
    let held = |rig: &Rig| rig.pipeline.accounts()[FAR].lane.held_bytes();
    let fails = |rig: &Rig| rig.pipeline.accounts()[FAR].lane.health(rig.now.mono) == Health::Failing;
    rig.until(30 * SECOND, fails).expect("it fails");
    rig.pipeline.unassign(&[0], rig.now);
    assert!(fails(&rig) && held(&rig) == 0, "it holds {}", held(&rig));
    deferred(&mut rig, &[(FAR, 0)]);
    rig.until(SECOND, |rig| held(rig) > 0).expect("it is given something");
    let most = rig.until(10 * SECOND, |rig| held(rig) > LANE + RECORD);
    assert_eq!(most, None, "{} of {LANE} bytes are held", held(&rig));
    rig.finish();
}
