//! From raw scores to `sim`: what a score of a built-in model means.
//!
//! At .2 and below lie 95 % of unrelated pairs, around .5 pictures of the same category, at .9 and above copies (or
//! the same object in the same view) with a precision of .99. docs/model.md says how each table was measured.

use super::embedder::Mode;

/// Points `(raw, sim)` of the piecewise linear map of each mode.
pub(super) fn points(mode: Mode) -> &'static [(f32, f32)] {
    match mode {
        Mode::Default => &[(0.0, 0.0), (0.19, 0.2), (0.42, 0.5), (0.83, 0.9), (1.0, 1.0)],
        Mode::Semantic => &[(0.0, 0.0), (0.21, 0.2), (0.46, 0.5), (0.9, 0.9), (1.0, 1.0)],
        Mode::Balanced => &[(0.0, 0.0), (0.18, 0.2), (0.35, 0.5), (0.72, 0.9), (1.0, 1.0)],
        Mode::Copy => &[(0.0, 0.0), (0.19, 0.2), (0.28, 0.5), (0.66, 0.9), (1.0, 1.0)],
    }
}

/// The same of `common-search-512`.
pub(super) fn points_512(mode: Mode) -> &'static [(f32, f32)] {
    match mode {
        Mode::Default => &[(0.0, 0.0), (0.14, 0.2), (0.34, 0.5), (0.78, 0.9), (1.0, 1.0)],
        Mode::Semantic => &[(0.0, 0.0), (0.16, 0.2), (0.39, 0.5), (0.88, 0.9), (1.0, 1.0)],
        Mode::Balanced => &[(0.0, 0.0), (0.13, 0.2), (0.26, 0.5), (0.73, 0.9), (1.0, 1.0)],
        Mode::Copy => &[(0.0, 0.0), (0.13, 0.2), (0.26, 0.4), (0.7, 0.9), (1.0, 1.0)],
    }
}

/// Weights of the semantic and the copy block for a mode.
pub(super) fn weights(mode: Mode) -> [f32; 2] {
    match mode {
        Mode::Default => [1.0, 0.25],
        Mode::Semantic => [1.0, 0.0],
        Mode::Balanced => [1.0, 1.0],
        Mode::Copy => [1.0, 4.0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_rise_to_one() {
        for mode in Mode::ALL {
            for points in [points(mode), points_512(mode)] {
                assert!(points.windows(2).all(|p| p[0].0 < p[1].0 && p[0].1 < p[1].1), "{mode:?}");
                assert_eq!(points.last(), Some(&(1.0, 1.0)));
            }
        }
    }
}
