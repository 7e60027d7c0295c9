//! "150 ms" and "5 %".

use serde::Deserialize;

/// A time as people write it: a number and `ns`, `us`, `ms` or `s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Nanoseconds(pub u64);

/// An increase: a number and `%`; kept as a ratio less 1.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Increase(pub f64);

impl TryFrom<String> for Nanoseconds {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::str::FromStr for Nanoseconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no time: a number and ns, us, ms or s, such as \"150 ms\"");
        let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
        let scale = match unit {
            "ns" => 1.0,
            "us" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            _ => return Err(wrong()),
        };
        Ok(Self((number * scale).round() as u64))
    }
}

impl TryFrom<String> for Increase {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::str::FromStr for Increase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match number_and_unit(text) {
            Some((percent, "%")) => Ok(Self(percent / 100.0)),
            _ => Err(format!("{text:?} is no share: a number and %, such as \"5 %\"")),
        }
    }
}

/// A number that is not negative, and what follows it.
fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_shares() {
        let ns = |text: &str| text.parse::<Nanoseconds>().map(|ns| ns.0).ok();
        assert_eq!(ns("150 ms"), Some(150_000_000));
        assert_eq!(ns(" 1.5s "), Some(1_500_000_000));
        assert_eq!(ns("0 ns"), Some(0));
        assert_eq!(ns("20us"), Some(20_000));
        for wrong in ["", "150", "ms", "-1 s", "1..2 s", "1 h", "1e3 s"] {
            assert_eq!(ns(wrong), None, "{wrong}");
        }
        assert_eq!("5 %".parse(), Ok(Increase(0.05)));
        assert_eq!("0.5%".parse(), Ok(Increase(0.005)));
        assert!("5".parse::<Increase>().is_err() && "5 ms".parse::<Increase>().is_err());
    }
}
