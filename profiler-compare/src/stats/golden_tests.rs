//! Agreement with scipy (`golden/make.py`) to 1e-9.

use serde::Deserialize;

use super::{Method, Tests, ratio, shift};

#[derive(Deserialize)]
struct Vector {
    kind: String,
    a: Vec<f64>,
    b: Vec<f64>,
    u: f64,
    p: f64,
    shift: f64,
    ratio: f64,
    shift_interval: Option<[Option<f64>; 2]>,
    ratio_interval: Option<[Option<f64>; 2]>,
}

fn agree(ours: Option<f64>, theirs: Option<f64>, what: &str) {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => {
            assert!((ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0), "{what}: {ours} and {theirs}");
        }
        _ => assert_eq!(ours, theirs, "{what}"),
    }
}

#[test]
fn agrees_with_scipy() {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("golden/vectors.json")).unwrap();
    let mut tests = Tests::default();
    for (index, vector) in vectors.iter().enumerate() {
        let Vector { kind, a, b, .. } = vector;
        let what = |figure: &str| format!("{figure} of vector {index} ({kind})");
        let test = tests.mann_whitney(a, b).unwrap();
        assert_eq!(test.method, if kind == "normal" { Method::Normal } else { Method::Exact }, "{index}");
        agree(Some(test.u), Some(vector.u), &what("U"));
        agree(Some(test.p), Some(vector.p), &what("p"));
        let rank = tests.interval_rank(a.len(), b.len(), 0.05);
        let (shift, ratio) = (shift(a, b, rank).unwrap(), ratio(a, b, rank).unwrap());
        agree(Some(shift.value), Some(vector.shift), &what("shift"));
        agree(Some(ratio.value), Some(vector.ratio), &what("ratio"));
        for (ours, theirs) in [(shift, &vector.shift_interval), (ratio, &vector.ratio_interval)] {
            if let Some([low, high]) = theirs {
                agree(ours.low, *low, &what("lower end"));
                agree(ours.high, *high, &what("upper end"));
            }
        }
    }
    assert_eq!(vectors.len(), 31);
}
