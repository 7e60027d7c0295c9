//! What `lab-plugin` wrote: the instructions between one border and the next, by block.

use anyhow::{Context, Result, ensure};

/// What was executed up to a border, from the one before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// The address of the function that the machine then came to.
    pub until: u64,
    /// All instructions.
    pub total: u64,
    /// Instructions by the address of their block.
    pub blocks: Vec<(u64, u64)>,
}

/// Reads the plugin's file. What was being written when the machine ended, behind the last border, is left out.
///
/// # Errors
/// When a line is of another kind, or the blocks of a border are not all there.
pub fn parse(text: &str) -> Result<Vec<Counts>> {
    let (mut all, mut blocks, mut before) = (Vec::new(), Vec::new(), 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        // Of the last line the end may be missing, and of a number in it the last digits.
        let Some(line) = line.strip_suffix('\n') else { break };
        let strange = || format!("line {}, `{line}`, is none of the plugin's", number + 1);
        match line.strip_prefix("border ") {
            None => blocks.push(pair(line).with_context(strange)?),
            Some(line) => {
                let (until, now) = pair(line).with_context(strange)?;
                let total: u64 = blocks.iter().map(|(_, count): &(u64, u64)| *count).sum();
                ensure!(
                    now.checked_sub(before) == Some(total),
                    "line {}: the blocks have {total} instructions, of {before} to {now}",
                    number + 1
                );
                before = now;
                all.push(Counts { until, total, blocks: std::mem::take(&mut blocks) });
            }
        }
    }
    Ok(all)
}

fn pair(line: &str) -> Option<(u64, u64)> {
    let (address, count) = line.split_once(' ')?;
    // Of one machine; more than it could execute in a year would not be added up.
    let count = count.parse().ok().filter(|count| *count < 1 << 56)?;
    Some((u64::from_str_radix(address, 16).ok()?, count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blocks_belong_to_the_border_behind_them() {
        let text = "a0 3\nb0 4\nborder ffffffff81000040 7\nborder c0 7\na0 2\nborder c0 9\na0 1";
        let counts = parse(text).unwrap();
        assert_eq!(counts.iter().map(|part| part.total).collect::<Vec<_>>(), [7, 0, 2]);
        let first = Counts { until: 0xffff_ffff_8100_0040, total: 7, blocks: vec![(0xa0, 3), (0xb0, 4)] };
        assert_eq!(counts.first(), Some(&first));
    }

    #[test]
    fn what_is_missing_is_noticed() {
        assert!(parse("a0 3\nborder c0 7\n").unwrap_err().to_string().contains("line 2"));
        assert!(parse("a0 3\nborder c0 3\nborder c0 2\n").is_err());
        for strange in ["x\n", "a0\n", "a0 -1\n", "border a0\n", "\n", "a0 99999999999999999999\n"] {
            assert!(parse(strange).is_err(), "{strange}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "((border )?[0-9a-f]{0,17} ?[0-9]{0,20}\n?){0,20}") {
            let _ = parse(&text);
        }
    }
}
