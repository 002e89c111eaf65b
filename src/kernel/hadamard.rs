//! The Walsh-Hadamard transform: additions and subtractions alone, of the same values in the same order everywhere.

/// The transform of `values` in place, without its factor. The length is a power of two.
pub(crate) fn hadamard(values: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(kernel) = x86::Avx2::new() {
        return kernel.run(values);
    }
    portable(values);
}

/// Any processor. Eight values at a time, which compilers make vector code of.
#[inline(always)]
fn portable(values: &mut [f32]) {
    let mut half = values.len() / 2;
    while half >= 8 {
        for pair in values.chunks_exact_mut(2 * half) {
            let (a, b) = pair.split_at_mut(half);
            for (a, b) in a.as_chunks_mut::<8>().0.iter_mut().zip(b.as_chunks_mut::<8>().0) {
                for i in 0..8 {
                    (a[i], b[i]) = (a[i] + b[i], a[i] - b[i]);
                }
            }
        }
        half /= 2;
    }
    let (eights, rest) = values.as_chunks_mut::<8>();
    for eight in eights {
        *eight = step::<1>(step::<2>(step::<4>(*eight)));
    }
    // Fewer than eight values in all.
    half = rest.len() / 2;
    while half > 0 {
        for pair in rest.chunks_exact_mut(2 * half) {
            let (a, b) = pair.split_at_mut(half);
            for (a, b) in a.iter_mut().zip(b) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half /= 2;
    }
}

/// Values `HALF` apart: their sum in the place of the first, their difference in that of the second.
#[inline(always)]
fn step<const HALF: usize>(v: [f32; 8]) -> [f32; 8] {
    std::array::from_fn(|i| if i & HALF == 0 { v[i] + v[i + HALF] } else { v[i - HALF] - v[i] })
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "code compiled for processors with wider registers")]
mod x86 {
    /// Proof that the processor has AVX2.
    #[derive(Debug, Clone, Copy)]
    pub(super) struct Avx2(());

    impl Avx2 {
        pub(super) fn new() -> Option<Self> {
            is_x86_feature_detected!("avx2").then_some(Self(()))
        }

        #[inline]
        pub(super) fn run(self, values: &mut [f32]) {
            // SAFETY: `self` exists, so `new` saw AVX2; tested against the portable form.
            unsafe { run(values) }
        }
    }

    #[target_feature(enable = "avx2")]
    fn run(values: &mut [f32]) {
        super::portable(values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the definition: entry (i, j) of the matrix is -1 to the number of ones that i and j share.
    fn plain(values: &[f32]) -> Vec<f32> {
        let entry = |i: usize, j: usize| if (i & j).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
        (0..values.len()).map(|i| values.iter().enumerate().map(|(j, v)| entry(i, j) * v).sum()).collect()
    }

    #[test]
    fn is_the_transform_and_the_same_in_every_form() {
        for bits in 0..10 {
            // Whole numbers, so that sums are exact in any order; then others.
            let whole: Vec<f32> = (0..1 << bits).map(|i| ((i * 37 + 11) % 101) as f32 - 50.0).collect();
            let mut turned = whole.clone();
            hadamard(&mut turned);
            assert_eq!(turned, plain(&whole), "{bits}");
            let mut one: Vec<f32> = whole.iter().map(|v| v / 7.0).collect();
            let mut other = one.clone();
            hadamard(&mut one);
            portable(&mut other);
            assert_eq!(one, other, "{bits}");
        }
    }
}
