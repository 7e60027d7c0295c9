//! A delay planted into one side: parameters of the lab's own driver (`kernel-driver/lab_luo.c`).

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

/// One parameter, such as `retrieve_delay_us=40000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plant {
    name: String,
    value: u32,
}

/// Text that plants nothing.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is no delay such as retrieve_delay_us=40000; steps: preserve, unpreserve, freeze, unfreeze, retrieve, \
     can_finish, finish"
)]
pub struct NoPlant(String);

const STEPS: [&str; 7] = ["preserve", "unpreserve", "freeze", "unfreeze", "retrieve", "can_finish", "finish"];

impl FromStr for Plant {
    type Err = NoPlant;

    fn from_str(text: &str) -> Result<Self, NoPlant> {
        let parse = || {
            let (name, value) = text.split_once('=')?;
            let step = name.strip_suffix("_delay_us")?;
            let value = value.parse().ok()?;
            STEPS.contains(&step).then(|| Self { name: name.into(), value })
        };
        parse().ok_or_else(|| NoPlant(text.into()))
    }
}

/// Parameters of the driver with their values, microseconds, as hexadecimal numbers of one length.
pub type Delays = Vec<(String, String)>;

/// The delays of both sides: the same parameters in the same order, so that to read and to set them takes both the
/// same instructions. A delay that only one side has is 0 on the other.
pub fn of_both(a: &[Plant], b: &[Plant]) -> [Delays; 2] {
    let values = |plants: &[Plant]| -> BTreeMap<String, u32> {
        plants.iter().map(|plant| (plant.name.clone(), plant.value)).collect()
    };
    let (a, b) = (values(a), values(b));
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    [&a, &b].map(|own| {
        let value = |name: &String| format!("{:#010x}", own.get(name).copied().unwrap_or(0));
        names.iter().map(|name| ((*name).clone(), value(name))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plant(text: &str) -> Plant {
        text.parse().unwrap()
    }

    #[test]
    fn only_the_drivers_delays_can_be_planted() {
        assert_eq!(plant("freeze_delay_us=5"), Plant { name: "freeze_delay_us".into(), value: 5 });
        for wrong in ["freeze_delay_us", "freeze_delay_us=-1", "freeze_errno=5", "boot_delay_us=5", "", "a=b"]
        {
            assert!(wrong.parse::<Plant>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn both_sides_have_the_same_parameters() {
        let a = [plant("finish_delay_us=3")];
        let b = [plant("freeze_delay_us=7"), plant("finish_delay_us=4")];
        let of = |finish: &str, freeze: &str| -> Delays {
            vec![("finish_delay_us".into(), finish.into()), ("freeze_delay_us".into(), freeze.into())]
        };
        assert_eq!(of_both(&a, &b), [of("0x00000003", "0x00000000"), of("0x00000004", "0x00000007")]);
        assert_eq!(of_both(&[], &[]), [vec![], vec![]]);
    }
}
