//! What writing commits and looking after deferred accounts costs: counted, not timed.

use std::fmt::Write as _;
use std::time::Duration;

use super::super::tests::{at, of, sent};
use crate::clock::Now;
use crate::keys::Keys;
use crate::pipeline::{Action, Pipeline};
use crate::source::commit::{Contents, Entry};
use crate::source::record::{Headers, Record, kept};
use crate::work::{self, Work};

const DEAD: usize = 400;
const PARTITIONS: u32 = 32;
/// Where each partition is read on.
const FRONT: i64 = 100_000;

/// So many accounts without a key are deferred in each partition, with a hole in twenty; one more is well.
fn pipeline() -> Pipeline {
    let mut text = "[kafka]\nbrokers = \"nobody:1\"\ntopics = [\"events\"]\n".to_owned();
    for tenant in 0..=DEAD {
        writeln!(text, "[accounts.t{tenant}]\niterable = {{ region = \"us\", keys = [{{ file = \"k\" }}] }}")
            .expect("a string");
    }
    let mut pipeline = of(&text);
    let key = Keys::from(vec![secrecy::SecretString::from("key")]);
    pipeline.set_keys(at(0), u32::try_from(DEAD).expect("small"), &key);
    let entry = |lane: usize| Entry {
        account: pipeline.accounts()[lane].hash,
        next: 20_000,
        holes: (0..20).map(|hole| 10_000 + 400 * hole + i64::try_from(lane).expect("small")).collect(),
    };
    let contents = Contents { window: FRONT, settled: Vec::new(), entries: (0..DEAD).map(entry).collect() };
    for number in 0..PARTITIONS {
        let slot = pipeline.slot("events", i32::try_from(number).expect("small"));
        pipeline.assign(slot, contents.clone());
        for entry in pipeline.partitions[slot as usize].entries.values_mut() {
            entry.waits_since(20_000, 0);
        }
    }
    pipeline
}

fn track(pipeline: &mut Pipeline, now: Now, slot: u32, offset: i64, tenant: usize) {
    let tenant = format!("t{tenant}");
    let value = format!(r#"{{"type":"track","event":"E","userId":"u{offset}","messageId":"m{offset}"}}"#);
    let headers = kept([("tenant", tenant.as_bytes())]);
    let (headers, value) = (Headers::of(&headers), Some(value.as_bytes()));
    pipeline.record(now, &Record { slot, offset, timestamp_ms: Some(now.wall_ms), key: None, value, headers });
}

/// Entries entered and holes looked at since the last call.
fn written() -> (usize, usize) {
    (work::take(Work::Entry), work::take(Work::Hole))
}

#[test]
fn a_commit_is_written_anew_only_where_something_changed_and_says_the_same_as_if_all_were() {
    let mut pipeline = pipeline();
    let first = pipeline.commits(at(1_000), "c", None);
    assert_eq!((first.len(), written().0), (PARTITIONS as usize, PARTITIONS as usize * DEAD));
    assert!(first.iter().all(|commit| commit.cut), "all of them have no room");
    assert_eq!(pipeline.commits(at(2_000), "c", None), first);
    assert_eq!(written(), (0, 0), "nothing happened");

    // A record of one that is well, and one of a deferred account, in two of the partitions.
    track(&mut pipeline, at(2_500), 3, FRONT, DEAD);
    track(&mut pipeline, at(2_500), 5, FRONT, 7);
    let second = pipeline.commits(at(3_000), "c", None);
    // While something is on its way, another way to write it is tried, too.
    assert_eq!(written(), (3 * DEAD, 0), "no entry's holes are others");
    let others = |commit: &&super::Commit| ![3, 5].contains(&commit.partition);
    assert!(second.iter().filter(others).eq(first.iter().filter(others)));

    // One account owes something less.
    pipeline.partitions[4].entries.get_mut(&9).expect("deferred").read_to(20_100);
    assert!(pipeline.commits(at(4_000), "c", None)[4] != second[4]);
    let (entries, holes) = written();
    assert!(entries <= 3 * DEAD && holes <= 20, "{entries} entries, {holes} holes");
    let kept = pipeline.commits(at(4_100), "c", None);
    pipeline.partitions.iter_mut().for_each(|partition| partition.told = None);
    assert_eq!(pipeline.commits(at(4_100), "c", None), kept);
    assert_ne!(pipeline.commits(at(4_100), "another", None), kept);
    end(pipeline);
}

/// Gives back what is open: a batch that is dropped with calls in it is a bug.
fn end(mut pipeline: Pipeline) {
    for flight in sent(&mut pipeline) {
        pipeline.answered(at(90_000), flight, Err("the end".into()));
    }
    pipeline.abandon(at(90_000));
    pipeline.unassign(&(0..PARTITIONS).collect::<Vec<_>>(), at(90_000));
}

#[test]
fn what_a_slow_account_holds_becomes_an_entry_where_it_holds_it_and_no_other_partition_is_written_for_that() {
    let mut pipeline = pipeline();
    track(&mut pipeline, at(1_000), 3, FRONT, DEAD);
    track(&mut pipeline, at(1_000), 3, FRONT + 1, DEAD - 1);
    pipeline.partitions[3].entries.retain(|_, _| false);
    let mut commit = |millis| (pipeline.commits(at(millis), "c", None)[3].clone(), written());
    let ((young, _), (still, nothing), (old, entered)) = (commit(2_000), commit(5_900), commit(6_100));
    assert_eq!((&young, nothing), (&still, (0, 0)));
    assert!(entered.0 == 0 && entered.1 > 0, "{entered:?}");
    assert_ne!(young, old, "it has held the record for more than five seconds");
    end(pipeline);
}

#[test]
fn accounts_that_can_take_nothing_are_not_looked_after_in_each_partition() {
    let mut pipeline = pipeline();
    pipeline.tick(at(1_000));
    work::take(Work::Look);
    (0..50).for_each(|round| pipeline.tick(at(1_100 + 100 * round)));
    assert_eq!(work::take(Work::Look), 0);
    let mut actions = Vec::new();
    pipeline.take_actions(&mut actions);
    assert!(actions.is_empty(), "{actions:?}");
    // A key comes: a sweep begins for its account wherever it is deferred.
    let key = Keys::from(vec![secrecy::SecretString::from("key")]);
    pipeline.set_keys(at(7_000), 7, &key);
    pipeline.tick(at(7_100));
    pipeline.take_actions(&mut actions);
    let begun = actions.iter().filter(|action| matches!(action, Action::Sweep { from: Some(10_007), .. })).count();
    assert_eq!((begun, work::take(Work::Look)), (PARTITIONS as usize, PARTITIONS as usize));
    assert!(pipeline.next_tick() <= Some(Duration::from_millis(7_200)));
    end(pipeline);
}

#[test]
fn the_letters_that_wait_are_found_by_their_account() {
    let mut pipeline = pipeline();
    pipeline.partitions[0].entries.clear();
    // No type: refused as it comes.
    let bad = |pipeline: &mut Pipeline, offset, tenant: &str| {
        let headers = kept([("tenant", tenant.as_bytes())]);
        let value =
            br#"{"type":"track","event":"Order Completed","userId":"u","messageId":"m","properties":{"total":"much"}}"#;
        let (headers, value) = (Headers::of(&headers), Some(&value[..]));
        pipeline.record(at(0), &Record { slot: 0, offset, timestamp_ms: Some(0), key: None, value, headers });
    };
    (0..30).for_each(|n| bad(&mut pipeline, FRONT + n, if n % 3 == 0 { "t400" } else { "t1" }));
    let mut owed = Vec::new();
    pipeline.owed_by(400, &mut owed);
    let mut offsets: Vec<i64> = owed.iter().map(|receipt| receipt.offset - FRONT).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, (0..30).step_by(3).collect::<Vec<_>>());
    let mut actions = Vec::new();
    pipeline.take_actions(&mut actions);
    for action in actions {
        let Action::Write(letter) = action else { continue };
        pipeline.letter_written(letter.id);
    }
    owed.clear();
    pipeline.owed_by(400, &mut owed);
    assert!(owed.is_empty() && pipeline.accounts().iter().all(|account| account.letters.is_empty()));
    end(pipeline);
}
