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
#[allow(unsafe_code, reason = "the vector instructions of the processor")]
mod x86 {
    use std::arch::x86_64::*;

    /// Proof that the processor has AVX2.
    #[derive(Debug, Clone, Copy)]
    pub(super) struct Avx2(());

    impl Avx2 {
        pub(super) fn new() -> Option<Self> {
            is_x86_feature_detected!("avx2").then_some(Self(()))
        }

        #[inline]
        pub(super) fn run(self, values: &mut [f32]) {
            let (eights, rest) = values.as_chunks_mut::<8>();
            if rest.is_empty() {
                // SAFETY: `self` exists, so `new` saw AVX2; tested against the portable form.
                unsafe { run(eights) }
            } else {
                super::portable(values);
            }
        }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn load(values: &[f32; 8]) -> __m256 {
        // SAFETY: 32 bytes, unaligned load.
        unsafe { _mm256_loadu_ps(values.as_ptr()) }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn store(values: &mut [f32; 8], with: __m256) {
        // SAFETY: 32 bytes, unaligned store.
        unsafe { _mm256_storeu_ps(values.as_mut_ptr(), with) }
    }

    /// Two steps at a time where there are two, so that values are read and written half as often.
    #[target_feature(enable = "avx2")]
    fn run(values: &mut [[f32; 8]]) {
        let mut span = values.len();
        while span >= 4 {
            let quarter = span / 4;
            for values in values.chunks_exact_mut(span) {
                let (low, high) = values.split_at_mut(2 * quarter);
                let ((a, b), (c, d)) = (low.split_at_mut(quarter), high.split_at_mut(quarter));
                for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
                    let [va, vb, vc, vd] = [load(a), load(b), load(c), load(d)];
                    let (ac, bd) = (_mm256_add_ps(va, vc), _mm256_add_ps(vb, vd));
                    let (a_c, b_d) = (_mm256_sub_ps(va, vc), _mm256_sub_ps(vb, vd));
                    store(a, _mm256_add_ps(ac, bd));
                    store(b, _mm256_sub_ps(ac, bd));
                    store(c, _mm256_add_ps(a_c, b_d));
                    store(d, _mm256_sub_ps(a_c, b_d));
                }
            }
            span = quarter;
        }
        if span == 2 {
            for [a, b] in values.as_chunks_mut::<2>().0 {
                let (va, vb) = (load(a), load(b));
                store(a, _mm256_add_ps(va, vb));
                store(b, _mm256_sub_ps(va, vb));
            }
        }
        for eight in values {
            // Each value with the one four, two and one places off: the first of two gets their sum, the second their difference.
            let v = load(eight);
            let other = _mm256_permute2f128_ps::<1>(v, v);
            let v = _mm256_blend_ps::<0b1111_0000>(_mm256_add_ps(v, other), _mm256_sub_ps(other, v));
            let other = _mm256_permute_ps::<0b01_00_11_10>(v);
            let v = _mm256_blend_ps::<0b1100_1100>(_mm256_add_ps(v, other), _mm256_sub_ps(other, v));
            let other = _mm256_permute_ps::<0b10_11_00_01>(v);
            store(eight, _mm256_blend_ps::<0b1010_1010>(_mm256_add_ps(v, other), _mm256_sub_ps(other, v)));
        }
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
