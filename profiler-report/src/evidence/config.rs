//! `/proc/config.gz`: the configuration a kernel was built with.

use std::{collections::BTreeMap, io::Read};

use flate2::read::GzDecoder;

use super::text::scrub;

/// Text that is read of one configuration, bytes; a distribution's is 300 kB.
const MOST_BYTES: u64 = 4 << 20;
/// Longest value that is kept, bytes.
const LONGEST: usize = 256;

/// Options that are set, by name (`CONFIG_SMP`: `y`); those that are "not set" are left out. `None` if the
/// bytes are no configuration, or are torn.
pub fn parse(gz: &[u8]) -> Option<BTreeMap<String, String>> {
    let mut text = Vec::new();
    let read = GzDecoder::new(gz).take(MOST_BYTES).read_to_end(&mut text);
    read.ok().filter(|bytes| (*bytes as u64) < MOST_BYTES)?;
    parse_text(&text)
}

/// The same of a configuration that is plain text, such as `/boot/config-RELEASE`.
pub fn parse_text(text: &[u8]) -> Option<BTreeMap<String, String>> {
    let text = scrub_lines(text);
    let option = |line: &String| {
        let (name, value) = line.split_once('=')?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let named = name.starts_with("CONFIG_") && name.len() <= LONGEST && name.chars().all(is_name);
        named.then(|| (name.to_owned(), value.to_owned()))
    };
    let options: BTreeMap<String, String> = text.iter().filter_map(option).collect();
    (!options.is_empty()).then_some(options)
}

fn scrub_lines(text: &[u8]) -> Vec<String> {
    text.split(|byte| *byte == b'\n').map(|line| scrub(line, 2 * LONGEST)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    fn gz(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn options_that_are_set() {
        let text =
            b"#\n# Automatically generated\n#\nCONFIG_SMP=y\n# CONFIG_KASAN is not set\nCONFIG_HZ=250\n\
                     CONFIG_CMDLINE=\"a=b \x1b[2J\"\nnonsense\nCONFIG_BAD NAME=y\n";
        let options = parse(&gz(text)).unwrap();
        let expected = [("CONFIG_CMDLINE", "\"a=b \u{fffd}[2J\""), ("CONFIG_HZ", "250"), ("CONFIG_SMP", "y")];
        assert!(options.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(expected));
    }

    #[test]
    fn what_is_no_configuration() {
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"CONFIG_SMP=y\n"), None);
        assert_eq!(parse(&gz(b"")), None);
        let whole = gz(b"CONFIG_SMP=y\nCONFIG_HZ=250\n");
        assert_eq!(parse(&whole[..whole.len() - 1]), None);
        // A few bytes that would become gigabytes.
        assert_eq!(parse(&gz(&vec![b'x'; (MOST_BYTES + 1) as usize])), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
            let _ = parse(&gz(&bytes));
        }
    }
}
