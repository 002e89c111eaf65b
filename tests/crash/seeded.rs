//! Whether the simulator finds the bugs that are planted for it.

use std::time::Duration;

use lookalike::rayon::{ThreadPoolBuildError, ThreadPoolBuilder};
use lookalike::testing::SeededBug;

use super::sweep::{Figures, Plan, run_here};

/// Every bug must be found within so long.
pub const WITHIN: Duration = Duration::from_secs(10);

/// Looks for a planted bug until the first failure; not longer than [`WITHIN`].
///
/// # Errors
/// When no thread can be made.
pub fn look_for(bug: SeededBug, seed: u64) -> Result<Figures, ThreadPoolBuildError> {
    let plan = Plan {
        points: u64::MAX,
        seed,
        chances: 3,
        torn: 3,
        faults: bug == SeededBug::RetriedSync,
        until_failure: true,
        limit: Some(WITHIN),
        ..Plan::default()
    };
    let pool = ThreadPoolBuilder::new().num_threads(1).build()?;
    Ok(pool.install(|| {
        let _planted = bug.plant();
        run_here(&plan)
    }))
}
