//! What was executed with nobody looking and with blackout, side by side.

use super::groups::{Group, group_of};
use super::window::Executed;
use serde::Serialize;
use std::collections::BTreeMap;

/// A function is named if it has so many instructions more or less.
const NAMED: u64 = 100_000;
/// And at most so many in a stretch.
const NAMED_MAX: usize = 25;
/// What no group has.
const OTHERWISE: &str = "the kernel otherwise";

/// A stretch of the window in both rows.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Pair<'a> {
    /// Nobody looked.
    pub nobody: &'a Executed,
    /// blackout looked.
    pub blackout: &'a Executed,
}

impl Pair<'_> {
    /// Functions with what they executed more with blackout.
    fn more(&self) -> BTreeMap<&str, i64> {
        let names = self.nobody.functions.keys().chain(self.blackout.functions.keys());
        let of = |side: &Executed, name: &str| side.functions.get(name).copied().unwrap_or_default();
        names
            .map(|name| (name.as_str(), difference(of(self.blackout, name), of(self.nobody, name))))
            .collect()
    }
}

/// The tables in Markdown: by stretch, by group and stretch, and the functions that make most of the difference.
pub fn tables(pairs: &[Pair<'_>], groups: &[Group]) -> String {
    let chance = |function: &str| group_of(groups, function).is_some_and(|group| group.chance);
    format!(
        "{}\n{}\n{}",
        by_stretch(pairs, &chance),
        by_group(pairs, groups),
        by_function(pairs, groups, &chance)
    )
}

fn by_stretch(pairs: &[Pair<'_>], chance: &dyn Fn(&str) -> bool) -> String {
    let mut text = String::from(
        "| stretch | nobody | blackout | more | of it by chance | without |\n|---|---:|---:|---:|---:|---:|\n",
    );
    let mut line = |name: &str, [nobody, blackout]: [u64; 2], by_chance: i64| {
        let more = difference(blackout, nobody);
        text += &format!(
            "| {name} | {} | {} | {} | {} | {} |\n",
            millions(nobody),
            millions(blackout),
            signed(more),
            signed(by_chance),
            signed(more - by_chance),
        );
    };
    let (mut all, mut all_by_chance) = ([0, 0], 0);
    for pair in pairs {
        let totals = [pair.nobody.total, pair.blackout.total];
        let by_chance: i64 = pair.more().iter().filter(|(name, _)| chance(name)).map(|(_, more)| more).sum();
        line(pair.nobody.stretch, totals, by_chance);
        all = [all[0] + totals[0], all[1] + totals[1]];
        all_by_chance += by_chance;
    }
    line("all", all, all_by_chance);
    let more = difference(all[1], all[0]) - all_by_chance;
    let share = more as f64 / all[0].max(1) as f64 * 100.0;
    text +=
        &format!("\nWithout what is by chance that is {share:+.2} % of the window with nobody looking.\n");
    text
}

fn by_group(pairs: &[Pair<'_>], groups: &[Group]) -> String {
    // What each group has more, by stretch.
    let mut rows: BTreeMap<(bool, &str), Vec<i64>> = BTreeMap::new();
    for (at, pair) in pairs.iter().enumerate() {
        for (function, more) in pair.more() {
            let group = group_of(groups, function);
            let key = group.map_or((false, OTHERWISE), |group| (group.chance, group.name.as_str()));
            let row = rows.entry(key).or_insert_with(|| vec![0; pairs.len()]);
            if let Some(sum) = row.get_mut(at) {
                *sum += more;
            }
        }
    }
    let seen = |row: &[i64]| row.iter().any(|more| !signed(*more).is_empty());
    let mut rows: Vec<_> = rows.into_iter().filter(|(_, row)| seen(row)).collect();
    // What is by chance stands last.
    rows.sort_by_key(|((by_chance, _), row)| (*by_chance, -row.iter().sum::<i64>()));
    let names = pairs.iter().map(|pair| pair.nobody.stretch).chain(["all"]);
    let mut text = names
        .fold(String::from("| more with blackout, by what |"), |text, name| text + &format!(" {name} |"));
    text += &format!("\n|---|{}\n", "---:|".repeat(pairs.len() + 1));
    for ((by_chance, name), row) in rows {
        text += &format!("| {name}{} |", if by_chance { " (chance)" } else { "" });
        text.extend(row.iter().chain([&row.iter().sum()]).map(|more| format!(" {} |", signed(*more))));
        text.push('\n');
    }
    text
}

fn by_function(pairs: &[Pair<'_>], groups: &[Group], chance: &dyn Fn(&str) -> bool) -> String {
    let mut text = String::from(
        "| stretch | function | of | nobody | blackout | more |\n|---|---|---|---:|---:|---:|\n",
    );
    for pair in pairs {
        let more = pair.more();
        let named = more.into_iter().filter(|(name, more)| more.unsigned_abs() >= NAMED && !chance(name));
        let mut named: Vec<_> = named.collect();
        named.sort_by_key(|(_, more)| std::cmp::Reverse(more.unsigned_abs()));
        for (function, more) in named.into_iter().take(NAMED_MAX) {
            let of = |side: &Executed| millions(side.functions.get(function).copied().unwrap_or_default());
            text += &format!(
                "| {} | `{function}` | {} | {} | {} | {} |\n",
                pair.nobody.stretch,
                group_of(groups, function).map_or("", |group| &group.name),
                of(pair.nobody),
                of(pair.blackout),
                signed(more),
            );
        }
    }
    text
}

fn difference(with: u64, without: u64) -> i64 {
    // Counts are below 2^63 (counts.rs).
    with.cast_signed() - without.cast_signed()
}

/// In millions; nothing for what is nothing then.
fn signed(more: i64) -> String {
    match millions(more.unsigned_abs()) {
        nothing if nothing == "0.00" => String::new(),
        millions => format!("{}{millions}", if more < 0 { '-' } else { '+' }),
    }
}

fn millions(count: u64) -> String {
    let hundredths = (count + 5_000) / 10_000;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instructions::groups::groups;

    fn executed(stretch: &'static str, functions: &[(&str, u64)]) -> Executed {
        Executed {
            stretch,
            total: functions.iter().map(|(_, count)| count).sum(),
            functions: functions.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
        }
    }

    #[test]
    fn a_difference_is_by_stretch_by_group_and_by_function() {
        let nobody = [
            executed("boot", &[("memblock_add", 9_000_000), ("vfs_read", 1_000_000)]),
            executed("process", &[("user space", 2_000_000)]),
        ];
        let blackout = [
            executed(
                "boot",
                &[("memblock_add", 7_000_000), ("vfs_read", 1_050_000), ("ftrace_x", 1_500_000)],
            ),
            executed(
                "process",
                &[("user space", 2_000_000), ("arg_track_eq", 2_500_000), ("do_check", 99_999)],
            ),
        ];
        let pairs: Vec<_> =
            nobody.iter().zip(&blackout).map(|(nobody, blackout)| Pair { nobody, blackout }).collect();
        let expected = "\
| stretch | nobody | blackout | more | of it by chance | without |
|---|---:|---:|---:|---:|---:|
| boot | 10.00 | 9.55 | -0.45 | -2.00 | +1.55 |
| process | 2.00 | 4.60 | +2.60 |  | +2.60 |
| all | 12.00 | 14.15 | +2.15 | -2.00 | +4.15 |

Without what is by chance that is +34.58 % of the window with nobody looking.

| more with blackout, by what | boot | process | all |
|---|---:|---:|---:|
| verifier |  | +2.60 | +2.60 |
| function tracing | +1.50 |  | +1.50 |
| the kernel otherwise | +0.05 |  | +0.05 |
| memblock (chance) | -2.00 |  | -2.00 |

| stretch | function | of | nobody | blackout | more |
|---|---|---|---:|---:|---:|
| boot | `ftrace_x` | function tracing | 0.00 | 1.50 | +1.50 |
| process | `arg_track_eq` | verifier | 0.00 | 2.50 | +2.50 |
";
        assert_eq!(tables(&pairs, &groups().unwrap()), expected);
    }
}
