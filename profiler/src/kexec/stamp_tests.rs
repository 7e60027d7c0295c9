use proptest::prelude::*;

use super::*;

const KERNEL: usize = 5 * 512;
const CODE: usize = KERNEL + 0x400;
const LEN: usize = KERNEL + 0x600;

/// The smallest image that has all a bzImage must have; "compressed data" repeats the exit's bytes.
fn image() -> Vec<u8> {
    let mut image = vec![0x55; LEN];
    image[0x1f1] = 0;
    image[0x1f4..0x1f8].copy_from_slice(&(0x600u32 / 16).to_le_bytes());
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x020fu16.to_le_bytes());
    image[0x236] = 0x3f;
    image[0x248..0x24c].copy_from_slice(&0x300u32.to_le_bytes());
    image[0x24c..0x250].copy_from_slice(&0x100u32.to_le_bytes());
    image[KERNEL + 0x1c0..KERNEL + 0x200].fill(0);
    image[KERNEL + 0x200..][..ENTRY_CODE.len()].copy_from_slice(&ENTRY_CODE);
    image[KERNEL + 0x340..][..EXIT_CODE.len()].copy_from_slice(&EXIT_CODE);
    image[CODE + 0x32..][..EXIT_CODE.len()].copy_from_slice(&EXIT_CODE);
    image[CODE + 0x3a..CODE + 0x40].copy_from_slice(&[0x66, 0x0f, 0x1f, 0x44, 0, 0]);
    image
}

#[test]
fn both_places_are_edited_and_nothing_else() {
    let before = image();
    let mut after = before.clone();
    let stamped = stamp(&mut after).unwrap();
    assert_eq!(stamped, Stamped { entry: KERNEL + 0x200, exit: CODE + 0x32 });
    assert_eq!(after[KERNEL + 0x1ee..KERNEL + 0x200], ENTRY_STUB);
    assert_eq!(after[CODE + 0x32..CODE + 0x3f], EXIT_STUB);
    let edited = [KERNEL + 0x1ee..KERNEL + 0x202, CODE + 0x32..CODE + 0x3f];
    for at in 0..LEN {
        assert!(before[at] == after[at] || edited.iter().any(|range| range.contains(&at)), "byte {at:#x}");
    }
    assert_eq!(stamp(&mut after), Err(StampError::AlreadyStamped));
}

#[test]
fn the_short_jumps_meet() {
    let target = |from: usize, jump: &[u8]| {
        assert_eq!(jump[0], 0xeb);
        (from + 2).checked_add_signed(isize::from(jump[1] as i8)).unwrap()
    };
    let begin = ENTRY_64 - ENTRY_STUB.len();
    assert_eq!(target(ENTRY_64, &ENTRY_JUMP), begin);
    assert_eq!(target(ENTRY_64 - 2, &ENTRY_STUB[16..]), ENTRY_64 + 2);
    assert_eq!(ENTRY_STUB[..2], ENTRY_CODE[..2]);
}

#[test]
fn what_is_not_recognised_is_named_and_left_alone() {
    let refused = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut image = image();
        edit(&mut image);
        let before = image.clone();
        let error = stamp(&mut image).unwrap_err();
        assert_eq!(image, before);
        error
    };
    assert_eq!(refused(&|image| image[0x203] = 0), StampError::NotABzImage);
    assert!(matches!(refused(&|image| image[0x236] = 0x3e), StampError::No64BitEntry { .. }));
    assert!(matches!(refused(&|image| image[0x206] = 0x0b), StampError::No64BitEntry { .. }));
    assert!(matches!(refused(&|image| image[0x24f] = 0xff), StampError::Truncated { len: LEN }));
    assert!(matches!(refused(&|image| image.truncate(LEN - 1)), StampError::Truncated { .. }));
    let error = refused(&|image| image[KERNEL + 0x201] = 0x90);
    assert!(error.to_string().contains("found fc 90 31 c0"), "{error}");
    let error = refused(&|image| image[KERNEL + 0x1f0] = 0xcb);
    assert!(error.to_string().contains("gap"), "{error}");
    assert_eq!(refused(&|image| image[CODE + 0x33] = 0), StampError::Exits { count: 0 });
    let twice = |image: &mut Vec<u8>| image[CODE + 0x80..][..8].copy_from_slice(&EXIT_CODE);
    assert_eq!(refused(&twice), StampError::Exits { count: 2 });
    let error = refused(&|image| image[CODE + 0x3b] = 0x9c);
    assert!(error.to_string().contains("padding"), "{error}");
}

/// The image of a real build: `BLACKOUT_BZIMAGE=arch/x86/boot/bzImage cargo test stamp`.
#[test]
fn a_real_image_is_recognised() {
    let Some(path) = std::env::var_os("BLACKOUT_BZIMAGE") else {
        eprintln!("BLACKOUT_BZIMAGE is not set: only the synthetic image was tested");
        return;
    };
    let mut image = std::fs::read(&path).unwrap();
    let stamped = stamp(&mut image).unwrap();
    eprintln!("{path:?}: {stamped:x?}");
    assert_eq!(image[stamped.entry..][..2], ENTRY_JUMP);
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_stamped_without_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        header in prop::collection::vec((0x1f1..0x250usize, any::<u8>()), 0..8),
        len in 0..=LEN,
    ) {
        let mut image = image();
        for (at, byte) in edits {
            let at = at.index(LEN);
            image[at] = byte;
        }
        for (at, byte) in header {
            image[at] = byte;
        }
        image.truncate(len);
        let before = image.clone();
        if stamp(&mut image).is_err() {
            prop_assert_eq!(image, before);
        }
    }
}
