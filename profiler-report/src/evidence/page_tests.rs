use super::*;
use crate::evidence::testing::{LAYOUT, PageWriter};
use proptest::prelude::*;

fn read(page: &[u8]) -> (Vec<(u64, Vec<u8>)>, Option<Damage>) {
    let page = Page::parse(page, &LAYOUT).unwrap();
    let (mut records, mut damage) = (Vec::new(), None);
    for record in page.records() {
        assert_eq!(damage, None, "nothing follows damage");
        match record {
            Ok(record) => records.push((record.ts, record.data.to_vec())),
            Err(what) => damage = Some(what),
        }
    }
    (records, damage)
}

#[test]
fn adds_up_time() {
    let mut page = PageWriter::new(1000);
    page.data(5, b"abcd").extend(1 << 30).data(0, b"wxyz").stamp(1 << 40).data(7, &[9; 200]).rest();
    let (records, damage) = read(&page.page(0, None));
    assert_eq!(damage, None);
    assert_eq!(
        records,
        [(1005, b"abcd".to_vec()), (1005 + (1 << 30), b"wxyz".to_vec()), ((1 << 40) + 7, vec![9; 200]),]
    );
}

#[test]
fn absolute_stamps_keep_the_top_bits() {
    let before = (3 << 59) | ((1 << 59) - 10);
    let (records, _) = read(PageWriter::new(before).stamp(5).data(0, b"abcd").page(0, None).as_slice());
    assert_eq!(records[0].0, (4 << 59) | 5, "the 59 bits wrapped");
    let (records, _) =
        read(PageWriter::new(before).stamp(before + 3).data(0, b"abcd").page(0, None).as_slice());
    assert_eq!(records[0].0, before + 3);
}

#[test]
fn tells_how_much_was_missed() {
    let mut page = PageWriter::new(0);
    page.data(1, b"abcd");
    let missed = |flags, count| Page::parse(&page.page(flags, count), &LAYOUT).unwrap().missed;
    assert_eq!(missed(0, None), Missed::None);
    assert_eq!(missed(MISSED_EVENTS, None), Missed::Unknown);
    assert_eq!(missed(MISSED_EVENTS | MISSED_STORED, Some(77)), Missed::Known(77));
    // `local_add` of a negative int fills the upper half.
    assert_eq!(missed(0xffff_ffff_8000_0000 | MISSED_STORED, Some(77)), Missed::Known(77));
    assert_eq!(read(&page.page(0xffff_ffff_8000_0000, None)).0.len(), 1);
}

#[test]
fn damage_costs_only_what_follows_it() {
    let mut page = PageWriter::new(0);
    page.data(1, b"abcd").data(1, &[0; 400]);
    let whole = page.page(0, None);
    let (records, damage) = read(&whole[..200]);
    assert_eq!((records.len(), damage), (1, Some(Damage::Commit { commit: 416, room: 184 })));

    let mut broken = whole.clone();
    broken[16 + 12..][..4].copy_from_slice(&5000u32.to_le_bytes());
    let (records, damage) = read(&broken);
    assert_eq!((records.len(), damage), (1, Some(Damage::Length { at: 8, len: 5004 })));

    assert_eq!(Page::parse(&whole[..12], &LAYOUT).unwrap_err(), Damage::ShortPage { len: 12 });
}

/// What a writer may put into a page.
#[derive(Debug, Clone)]
enum Op {
    Data(u32, Vec<u8>),
    Discarded(u32, u32),
    Extend(u64),
    Stamp(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let delta = 0u32..1 << 27;
    prop_oneof![
        4 => (delta.clone(), proptest::collection::vec(any::<u8>(), 0..300)).prop_map(|(d, b)| Op::Data(d, b)),
        1 => (1u32..1 << 27, 0u32..100).prop_map(|(d, n)| Op::Discarded(d, n)),
        1 => (0u64..1 << 58).prop_map(Op::Extend),
        1 => (0u64..1 << 40).prop_map(Op::Stamp),
    ]
}

proptest! {
    #[test]
    fn round_trip(start in 0u64..1 << 62, ops in proptest::collection::vec(op(), 0..60)) {
        let mut page = PageWriter::new(start);
        let (mut now, mut expected) = (start, Vec::new());
        for op in ops {
            if page.len() > 3700 {
                break;
            }
            match op {
                Op::Data(delta, bytes) => {
                    page.data(delta, &bytes);
                    now += u64::from(delta);
                    let mut padded = bytes;
                    padded.resize(padded.len().next_multiple_of(4), 0);
                    expected.push((now, padded));
                }
                Op::Discarded(delta, bytes) => {
                    page.discarded(delta, bytes);
                    now += if delta == 1 { 0 } else { u64::from(delta) };
                }
                Op::Extend(delta) => {
                    page.extend(delta);
                    now += delta;
                }
                Op::Stamp(ahead) => {
                    now += ahead;
                    // Below 2^59 the kernel takes a stamp as it is and cannot see a carry.
                    if now & STAMP_MSB == 0 || (now - ahead) & STAMP_MSB != 0 {
                        page.stamp(now);
                    } else {
                        now -= ahead;
                    }
                }
            }
        }
        prop_assert_eq!(read(&page.page(0, None)), (expected, None));
    }

    #[test]
    fn any_bytes_are_records_or_damage(bytes in proptest::collection::vec(any::<u8>(), 0..600), commit in 0u64..700) {
        if let Ok(page) = Page::parse(&bytes, &LAYOUT) {
            prop_assert!(page.records().count() <= bytes.len());
        }
        let mut sane = 0u64.to_le_bytes().to_vec();
        sane.extend(commit.to_le_bytes());
        sane.extend(&bytes);
        let results: Vec<_> = Page::parse(&sane, &LAYOUT).unwrap().records().collect();
        prop_assert!(results.iter().rev().skip(1).all(Result::is_ok), "damage comes last");
        prop_assert!(commit as usize <= bytes.len() || results.last().is_some_and(Result::is_err));
    }
}
