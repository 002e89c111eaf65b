//! Dot products of 8-bit rows.

/// `sum(a[i] * b[i])`, exact: at most 4096 products of magnitude 2^14 stay far below 2^31.
///
/// Lanes of 16-bit products summed in pairs are what compilers turn into `pmaddwd` on any x86-64 and `smlal`
/// on any aarch64.
pub(crate) fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    let (a, b) = (&a[..a.len().min(b.len())], &b[..a.len().min(b.len())]);
    a.iter().zip(b).map(|(&x, &y)| i32::from(i16::from(x)) * i32::from(i16::from(y))).sum()
}

#[cfg(test)]
mod tests {
    use super::dot_i8;

    #[test]
    fn extremes_do_not_overflow() {
        assert_eq!(dot_i8(&[-127; 4096], &[127; 4096]), -127 * 127 * 4096);
        assert_eq!(dot_i8(&[], &[]), 0);
        assert_eq!(dot_i8(&[1, 2, 3], &[4, -5, 6]), 4 - 10 + 18);
    }
}
