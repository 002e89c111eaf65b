//! How far below the best list a search looks: measured on an instance's own rows.

use serde::{Deserialize, Serialize};

/// Numbers of hits that gaps are measured for.
pub(crate) const DEPTHS: [u32; 3] = [10, 100, 1000];

/// How much a search looks at, from little to much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Fast,
    Default,
    High,
}

impl Reach {
    pub(crate) const ALL: [Self; 3] = [Self::Fast, Self::Default, Self::High];
}

/// Measured gaps: the difference between the cosine of the query with the best list's centre and with that of the last
/// list that is searched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Gaps {
    /// Of each mode, of each depth, of each reach.
    pub(crate) of_modes: Vec<[[f32; 3]; 3]>,
}

/// Gaps that hold before anything was measured: on the wide side.
const UNMEASURED: [[f32; 3]; 3] = [[0.20, 0.30, 0.40], [0.30, 0.40, 0.50], [0.40, 0.50, 0.60]];

impl Gaps {
    /// The gap for the best `depth` rows in a mode: between measured depths linear in the logarithm, and beyond the last
    /// as between the last two.
    pub(crate) fn of(gaps: Option<&Self>, mode: usize, reach: Reach, depth: f64) -> f32 {
        let table = gaps.and_then(|gaps| gaps.of_modes.get(mode)).unwrap_or(&UNMEASURED);
        let value = |depth: usize| f64::from(table[depth][reach as usize]);
        // Tenfold steps: the decimal logarithm counts them.
        let at = (depth.max(1.0) / f64::from(DEPTHS[0])).log10().max(0.0);
        let first = if at < 1.0 { 0 } else { 1 };
        let slope = (value(first + 1) - value(first)).max(0.0);
        (value(first) + slope * (at - first as f64)) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_grow_with_the_depth() {
        let gaps = Gaps { of_modes: vec![[[0.1, 0.2, 0.3], [0.2, 0.3, 0.4], [0.25, 0.4, 0.5]]] };
        let of = |depth| Gaps::of(Some(&gaps), 0, Reach::Default, depth);
        for (depth, expected) in [(1.0, 0.2), (10.0, 0.2), (100.0, 0.3), (1000.0, 0.4), (10_000.0, 0.5)] {
            assert!((of(depth) - expected).abs() < 1e-6, "{depth}: {}", of(depth));
        }
        assert!(of(30.0) > 0.2 && of(30.0) < 0.3);
        // A mode that was not measured.
        assert_eq!(Gaps::of(Some(&gaps), 1, Reach::Fast, 10.0), UNMEASURED[0][0]);
    }
}
