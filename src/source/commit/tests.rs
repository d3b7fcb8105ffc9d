//! What is written is read; what has no room, is damaged or lies elsewhere costs duplicates and loses nothing.

use super::*;

const HERE: Place<'_> = Place { cluster: "c", topic: "events", partition: 3 };

fn written(base: i64, settled: &[Range<i64>]) -> String {
    encode(HERE, Contents { window: base, settled: settled.to_vec(), entries: Vec::new() }).text
}

#[test]
fn what_is_written_is_read() {
    let entries = vec![Entry { account: 7, next: 1_500, holes: vec![1_001, 1_400] }];
    let settled = vec![1_003..1_004, 1_010..2_000, i64::from(u32::MAX)..i64::from(u32::MAX) + 1];
    let contents = Contents { window: 1_002, settled, entries };
    let Written { base, text, lost } = encode(HERE, contents.clone());
    assert_eq!((base, lost), (1_001, 0));
    assert_eq!(decode(text.as_bytes(), HERE, base), Ok(contents));
}

#[test]
fn a_copy_beside_another_offset_topic_partition_or_cluster_is_ignored() {
    let text = written(1_000, &[1_001..1_002, 1_003..1_005]);
    for place in [Place { cluster: "d", ..HERE }, Place { topic: "other", ..HERE }, Place { partition: 4, ..HERE }] {
        assert_eq!(decode(text.as_bytes(), place, 1_000), Err(Unusable::Elsewhere));
    }
    assert_eq!(decode(text.as_bytes(), HERE, 999), Err(Unusable::Elsewhere));
}

#[test]
fn any_damage_is_noticed() {
    let text = written(1_000, &[1_001..1_002, 1_005..1_009]);
    for index in 0..text.len() {
        let mut damaged = text.clone().into_bytes();
        damaged[index] = if damaged[index] == b'A' { b'B' } else { b'A' };
        assert!(decode(&damaged, HERE, 1_000).is_err(), "character {index}");
        assert!(decode(&text.as_bytes()[..index], HERE, 1_000).is_err(), "cut at {index}");
    }
    for foreign in [&b""[..], b"hello, group", &[0xff, 0xfe, 0x00], b"AgAAAA"] {
        assert!(decode(foreign, HERE, 1_000).is_err());
    }
}

#[test]
fn settled_ranges_that_do_not_fit_are_cut_at_the_upper_end() {
    for (apart, fit) in [(3, 5_900), (100, 700)] {
        let settled: Vec<_> = (0..9_000).map(|n| 1_000 + apart * n + 1..1_000 + apart * n + 2).collect();
        let written = encode(HERE, Contents { window: 1_000, settled: settled.clone(), entries: Vec::new() });
        assert!(written.text.len() <= MAX_TEXT);
        let read = decode(written.text.as_bytes(), HERE, 1_000).map(|contents| contents.settled);
        let read = read.unwrap_or_default();
        assert!(read.len() > fit, "{}", read.len());
        assert_eq!(read[..], settled[..read.len()]);
        assert_eq!(written.lost, 9_000 - read.len() as u64);
    }
}

#[test]
fn runs_and_bits_say_the_same() {
    use rand::{Rng, SeedableRng, rngs::SmallRng};
    for seed in 0..300 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let (mut settled, mut end) = (Vec::new(), 1_000);
        for _ in 0..rng.random_range(0..300) {
            let widest = if rng.random_bool(0.9) { 8 } else { 3_000 };
            let start = end + rng.random_range(1..=widest);
            end = start + rng.random_range(1..=widest);
            settled.push(start..end);
        }
        let contents = Contents { window: 1_000, settled, entries: Vec::new() };
        let Written { text, lost, .. } = encode(HERE, contents.clone());
        assert_eq!((decode(text.as_bytes(), HERE, 1_000), lost), (Ok(contents), 0), "seed {seed}");
    }
}

/// Whatever is left out: nobody owes anything that the metadata calls settled.
#[test]
fn what_has_no_room_is_owed_and_not_settled() {
    for (accounts, holes, ranges) in [(1, 20_000, 0), (10, 1_000, 9_000), (400, 3, 100), (2_000, 0, 9_000)] {
        let entry = |n: i64| Entry {
            account: u32::try_from(n).unwrap(),
            next: 600_000 + n,
            holes: (0..holes).map(|hole| 5_000 + 7 * hole + 300 * n).filter(|hole| *hole < 600_000).collect(),
        };
        let entries: Vec<Entry> = (0..accounts).map(entry).collect();
        let settled: Vec<_> = (0..ranges).map(|n| 610_000 + 3 * n..610_001 + 3 * n).collect();
        let contents = Contents { window: 605_000, settled, entries };
        let written = encode(HERE, contents.clone());
        assert!(written.lost > 0 && written.text.len() <= MAX_TEXT, "{accounts} accounts: {}", written.text.len());
        let read = decode(written.text.as_bytes(), HERE, written.base).unwrap();
        assert!(written.base <= 605_000 && read.window >= written.base);
        let mut kept = 0;
        for entry in &contents.entries {
            let owed = entry.holes.iter().copied().chain([entry.next, entry.next + 10, 700_000]);
            match read.entries.iter().find(|read| read.account == entry.account) {
                Some(read) => {
                    kept += 1;
                    assert!(owed.clone().all(|offset| offset >= read.next || read.holes.contains(&offset)));
                }
                None => assert!(owed.clone().all(|offset| {
                    offset >= read.window && !read.settled.iter().any(|range| range.contains(&offset))
                })),
            }
        }
        assert!(kept >= 100.min(accounts), "{kept} of {accounts} entries found room");
    }
}

/// A later owner that does not know these accounts either: its window has moved on.
fn carried_on(contents: &Contents) -> Contents {
    let entries = contents.entries.iter().filter(|entry| entry.is_orphan()).cloned().collect();
    Contents { window: 20_000, settled: std::iter::once(20_010..20_020).collect(), entries }
}

#[test]
fn accounts_that_nobody_knows_are_named_first_and_outlive_every_owner() {
    for (orphans, named) in [(50, 50), (220, 220), (500, 200), (5_000, 200)] {
        let owes = |n: u32| i64::from(n % 1_000);
        let known = (0..20).map(|n| Entry { account: 1_000_000 + n, next: 3, holes: vec![1, 2] });
        let unknown = (1..=orphans).map(|n| {
            let mut entry = Entry { account: n, next: owes(n), holes: Vec::new() };
            entry.orphan(10_000);
            entry
        });
        let mut contents =
            Contents { window: 15_000, settled: Vec::new(), entries: known.chain(unknown).collect::<Vec<_>>() };
        for _ in 0..4 {
            let written = encode(HERE, contents);
            assert!(written.text.len() <= MAX_TEXT);
            let mut read = decode(written.text.as_bytes(), HERE, written.base).unwrap();
            let found = |n: u32| read.entries.iter().find(|entry| entry.account == n);
            for n in 1..=orphans {
                let is_owed = match found(n) {
                    Some(entry) => entry.lowest() <= owes(n),
                    None => found(UNNAMED).is_some_and(|entry| entry.lowest() <= owes(n)) && read.window <= owes(n),
                };
                assert!(is_owed && written.base <= owes(n), "{n} of {orphans} is forgotten");
                assert!(found(n).is_some() || read.settled.iter().all(|range| range.end <= owes(n)));
                // However low the window: up to where each owes is never forgotten.
                let entry = found(n).or_else(|| found(UNNAMED));
                assert_eq!(entry.and_then(|entry| entry.holes.last()), Some(&10_000), "{n} of {orphans}");
            }
            assert!((1..=orphans).filter(|n| found(*n).is_some()).count() >= named);
            read.entries.retain(|entry| entry.account < 1_000_000);
            read.entries.iter_mut().for_each(|entry| entry.orphan(20_000));
            contents = carried_on(&read);
        }
    }
}

#[test]
fn an_orphan_is_owed_until_the_topic_has_dropped_what_it_was_known_for() {
    let mut entry = Entry { account: 1, next: 50, holes: vec![20, 30] };
    assert!(!entry.is_orphan());
    entry.orphan(100);
    entry.orphan(500);
    assert!(entry.expire(25));
    assert_eq!(entry, Entry { account: 1, next: 50, holes: vec![30, 100] });
    assert!(entry.expire(99));
    assert_eq!((entry.lowest(), entry.is_orphan()), (99, true));
    assert!(!entry.expire(100));
    let mut known = Entry { account: 1, next: 50, holes: vec![20] };
    assert!(known.expire(1_000) && known.lowest() == 1_000, "what comes is still its own");
}
