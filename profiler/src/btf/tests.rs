//! Over a small BTF made by hand.

use proptest::prelude::*;

use super::{
    Btf, BtfError, Member, Type,
    walk::{Goal, WalkError, compile, fetch_argument},
};

const INT: u32 = 1 << 24;
const POINTER: u32 = 2 << 24;
const ARRAY: u32 = 3 << 24;
const STRUCT: u32 = 4 << 24;
const CONST: u32 = 10 << 24;

/// Those that are known at once; the others are found by another pass.
const NAMES: [&str; 2] = ["outer", "restore"];

/// ```c
/// struct inner { char *label; u32 count; };                 // 16 bytes
/// struct outer { char name[8]; union { struct inner in; }; struct outer *next; u64 phys; };
/// ```
fn sample() -> Vec<u8> {
    let mut strings = vec![0];
    let mut name = |text: &str| {
        let at = strings.len() as u32;
        strings.extend(text.bytes().chain([0]));
        at
    };
    let types: Vec<u32> = [
        // 1 char, 2 u32, 3 u64
        vec![name("char"), INT, 1, 8],
        vec![name("u32"), INT, 4, 32],
        vec![name("u64"), INT, 8, 64],
        // 4 const char, 5 pointer to it, 6 char[8]
        vec![0, CONST, 1],
        vec![0, POINTER, 4],
        vec![0, ARRAY, 0, 1, 2, 8],
        // 7 inner
        vec![name("inner"), STRUCT | 2, 16, name("label"), 5, 0, name("count"), 2, 64],
        // 8 anonymous union
        vec![0, 5 << 24 | 1, 16, name("in"), 7, 0],
        // 9 outer, 10 pointer to it
        vec![
            name("outer"),
            STRUCT | 4,
            40,
            name("name"),
            6,
            0,
            0,
            8,
            64,
            name("next"),
            10,
            192,
            name("phys"),
            3,
            256,
        ],
        vec![0, POINTER, 9],
        // 11 a function; of what type is of no matter
        vec![name("restore"), 12 << 24, 9],
    ]
    .concat();
    let types: Vec<u8> = types.iter().flat_map(|word| word.to_le_bytes()).collect();
    let header = [0x0001_eb9f, 24, 0, types.len() as u32, types.len() as u32, strings.len() as u32];
    header.iter().flat_map(|word| word.to_le_bytes()).chain(types).chain(strings).collect()
}

fn walk_of(path: &str, goal: Goal) -> Result<(Vec<i64>, i64, u8), WalkError> {
    let bytes = sample();
    let btf = Btf::parse(&bytes, NAMES).unwrap();
    let walk = compile(&path.parse().unwrap(), goal, Some(&btf), Some(0xffff_8880_0000_0000))?;
    Ok((walk.followed().to_vec(), walk.last, walk.bytes))
}

#[test]
fn members_are_found_also_in_anonymous_unions() {
    let bytes = sample();
    let btf = Btf::parse(&bytes, NAMES).unwrap();
    let outer = btf.structure("outer").unwrap();
    assert_eq!(btf.member(outer, "in"), Some(Member { offset: 8, of_type: 7 }));
    assert_eq!(btf.member(outer, "next"), Some(Member { offset: 24, of_type: 10 }));
    assert_eq!(btf.member(outer, "label"), None);
    assert_eq!(btf.structure("nothing"), None);
    assert_eq!(btf.resolve(4), Type::Number { bytes: 1 });
    assert_eq!(btf.resolve(99), Type::Other);
}

#[test]
fn functions_are_found_by_name() {
    let bytes = sample();
    let btf = Btf::parse(&bytes, NAMES).unwrap();
    // A structure of that name is none.
    let function = |name| btf.function(name);
    assert_eq!(["outer", "inner", "restore", "nothing"].map(function), [None, None, Some(11), None]);
    let nothing_wanted = Btf::parse(&bytes, []).unwrap();
    assert_eq!(nothing_wanted.function("restore"), Some(11));
    assert_eq!(nothing_wanted.structure("outer"), btf.structure("outer"));
    assert_eq!(btf.structure("restore"), None);
}

#[test]
fn paths_become_offsets() {
    // 112, 104 and 88 are where the registers hold the first, second and fourth argument.
    assert_eq!(walk_of("arg0:outer.name", Goal::Text), Ok((vec![112], 0, 0)));
    assert_eq!(walk_of("arg1:outer.in.label", Goal::Text), Ok((vec![104, 8], 0, 0)));
    assert_eq!(walk_of("arg0:outer.next->next->in.count", Goal::Number), Ok((vec![112, 24, 24], 16, 4)));
    assert_eq!(walk_of("arg0:inner^outer.in.name", Goal::Text), Ok((vec![112], -8, 0)));
    let direct_map = 0xffff_8880_0000_0000_u64.cast_signed();
    assert_eq!(walk_of("arg0:outer.phys=>inner.count", Goal::Number), Ok((vec![112, 32], direct_map + 8, 4)));
    assert_eq!(walk_of("arg3", Goal::Number), Ok((vec![], 88, 8)));
    assert_eq!(walk_of("arg3", Goal::Text), Ok((vec![88], 0, 0)));
}

#[test]
fn what_a_kernel_lacks_is_named() {
    let error = |path, goal| walk_of(path, goal).unwrap_err().to_string();
    assert_eq!(error("arg0:nil.x", Goal::Text), "arg0:nil.x: no structure nil");
    assert_eq!(error("arg0:outer.x", Goal::Text), "arg0:outer.x: no member x");
    assert_eq!(
        error("arg0:outer.phys", Goal::Text),
        "arg0:outer.phys: its end is not of the type that the path wants"
    );
    assert!(error("arg0:outer.name->x", Goal::Text).contains("not of the type"));
    let long = format!("arg0:outer{}->in.count", ".next->next".repeat(7).replacen(".next", "", 1));
    assert!(walk_of(&long, Goal::Number).is_err());
}

#[test]
fn kprobe_events_take_the_same_walk() {
    let bytes = sample();
    let btf = Btf::parse(&bytes, NAMES).unwrap();
    let fetch = |path: &str, goal| {
        let path = path.parse().unwrap();
        fetch_argument(&path, &compile(&path, goal, Some(&btf), None).unwrap(), goal)
    };
    assert_eq!(fetch("arg0", Goal::Text), "+0($arg1):string");
    assert_eq!(fetch("arg0:inner^outer.in.name", Goal::Text), "-8($arg1):string");
    assert_eq!(fetch("arg0:outer.next->in.label", Goal::Text), "+0(+8(+24($arg1))):string");
    assert_eq!(fetch("arg1:outer.next->in.count", Goal::Number), "+16(+24($arg2)):x32");
    assert_eq!(fetch("arg3", Goal::Number), "$arg4:x64");
}

#[test]
fn torn_btf_is_an_error() {
    let whole = sample();
    for length in 0..whole.len() {
        // What is cut off in the strings is missing from names only; the sections no longer fit in any case.
        assert_eq!(Btf::parse(&whole[..length], NAMES).unwrap_err(), BtfError::Header);
    }
    let mut kind = whole;
    kind[24 + 7] = 31;
    assert_eq!(Btf::parse(&kind, NAMES).unwrap_err(), BtfError::Type(1));
}

proptest! {
    #[test]
    fn any_bytes_are_btf_or_an_error(at in 0usize..400, value: u8, name in "[a-z]{0,6}") {
        let mut bytes = sample();
        let at = at % bytes.len();
        bytes[at] = value;
        if let Ok(btf) = Btf::parse(&bytes, NAMES) {
            for id in 0..13 {
                let _ = (btf.resolve(id), btf.member(id, &name), btf.member(id, "count"), btf.structure(&name));
            }
            let _ = compile(&"arg0:outer.next->in.label".parse().unwrap(), Goal::Text, Some(&btf), None);
        }
    }
}
