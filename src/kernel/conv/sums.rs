//! Sums over the rows of a matrix, one sum a column: columns go side by side through vectors of any length, and each
//! is summed in the order of the rows.
//!
//! Compiled once more for each instruction set, by the functions of the same names there.

/// Columns summed together.
const LANES: usize = 32;

/// Sums of cubes of `map [positions, sums.len()]`.
#[inline(always)]
pub(super) fn cubes_of_bytes(map: &[u8], sums: &mut [u32]) {
    by_columns(map, sums, |sum, _, x| {
        let x = u32::from(x);
        *sum += x * x * x;
    });
}

/// Sums of cubes of `map [positions, sums.len()]`, whose values are not negative.
#[inline(always)]
pub(super) fn cubes_of_words(map: &[i16], sums: &mut [u64]) {
    by_columns(map, sums, |sum, _, x| {
        let x = u32::from(x.cast_unsigned());
        *sum += u64::from(x * x) * u64::from(x);
    });
}

/// Adds `values [rows]` times `codes [rows, sums.len()]`.
#[inline(always)]
pub(super) fn add_rows(values: &[f32], codes: &[i16], sums: &mut [f32]) {
    by_columns(codes, sums, |sum, row, code| *sum += values[row] * f32::from(code));
}

#[inline(always)]
fn by_columns<T: Copy, U: Copy + Default>(matrix: &[T], sums: &mut [U], add: impl Fn(&mut U, usize, T)) {
    let columns = sums.len();
    for (block, sums) in sums.chunks_mut(LANES).enumerate() {
        let first = block * LANES;
        if let Ok(sums) = <&mut [U; LANES]>::try_from(&mut *sums) {
            let mut now = *sums;
            for (row, values) in matrix.chunks_exact(columns).enumerate() {
                let values = &values[first..first + LANES];
                for lane in 0..LANES {
                    add(&mut now[lane], row, values[lane]);
                }
            }
            *sums = now;
        } else {
            for (row, values) in matrix.chunks_exact(columns).enumerate() {
                for (sum, value) in sums.iter_mut().zip(&values[first..]) {
                    add(sum, row, *value);
                }
            }
        }
    }
}
