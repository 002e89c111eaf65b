//! Dot products with the upper planes of rows: half a byte a value, so a row of 256 values is two cache lines.
//!
//! What a plane stands for are steps, the odd numbers -15 to 15 ([`crate::vector::RowCode`]). Sums are exact integers, so
//! every implementation gives the same result.

use std::sync::OnceLock;

/// Rows whose sums are made at once: as many as one register of sums holds.
pub(crate) const TOGETHER: usize = 4;

/// Bytes of a plane that are multiplied at a time.
const BYTES: usize = 32;

/// The step of each half byte, squared.
const SQUARES: [u8; 16] = [225, 169, 121, 81, 49, 25, 9, 1, 1, 9, 25, 49, 81, 121, 169, 225];

/// What meets 32 bytes of a plane, 64 values: two cache lines of query, and one that says which values are the block's.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Chunk {
    /// The query's values: number `n` of those at the places `4 i + n` is met by the bits from `4 n` on of the 16-bit word
    /// `i`. Zero where another block is.
    values: [[i16; 16]; 4],
    /// All ones where the lower and the upper half of each byte are the block's.
    own: [[u8; BYTES]; 2],
}

const EMPTY: Chunk = Chunk { values: [[0; 16]; 4], own: [[0; BYTES]; 2] };

/// One block of a query, to be multiplied with that block of the upper planes of many rows.
#[derive(Debug, Clone)]
pub(crate) struct UpperQuery {
    halves: Halves,
    /// The first byte of the plane that a chunk meets: a multiple of 32, so that a load of a plane that lies at such a
    /// multiple does not go over the end of a cache line.
    from: usize,
    /// Bytes of a plane up to the end of the block.
    bytes: usize,
    chunks: Vec<Chunk>,
    /// The sum of the values.
    sum: i32,
}

impl UpperQuery {
    /// `values` of magnitude 2^11 at most begin at place `start` of a row; no more than 4096 places.
    pub(crate) fn new(values: &[i16], start: usize) -> Self {
        Self::on(Halves::get(), values, start)
    }

    fn on(halves: Halves, values: &[i16], start: usize) -> Self {
        let end = start + values.len();
        let first = start / (2 * BYTES);
        let mut chunks = vec![EMPTY; end.div_ceil(2 * BYTES).saturating_sub(first)];
        for (place, &value) in (start..).zip(values) {
            let chunk = &mut chunks[place / (2 * BYTES) - first];
            let at = place % (2 * BYTES);
            chunk.values[at % 4][at / 4] = value;
            chunk.own[at % 2][at / 2] = u8::MAX;
        }
        let sum = values.iter().map(|&value| i32::from(value)).sum();
        Self { halves, from: first * BYTES, bytes: end.div_ceil(2), chunks, sum }
    }

    /// `sum(query[i] * step[i])` over the block of a row whose upper plane is given.
    ///
    /// Exact: 4096 products of magnitude 2^15 (2048 by 15) stay below 2^31.
    #[inline]
    pub(crate) fn dot(&self, plane: &[u8]) -> i32 {
        let plane = &plane[self.from..self.bytes.max(self.from)];
        let products = match self.halves {
            #[cfg(target_arch = "x86_64")]
            Halves::Avx2(halves) => halves.dot(&self.chunks, plane),
            Halves::Portable => portable(&self.chunks, plane),
        };
        // A step is twice the half less 15.
        2 * products - 15 * self.sum
    }

    /// [`dot`](Self::dot) of each of some rows.
    #[inline]
    pub(crate) fn dots(&self, planes: [&[u8]; TOGETHER]) -> [i32; TOGETHER] {
        let planes = planes.map(|plane| &plane[self.from..self.bytes.max(self.from)]);
        let products = match self.halves {
            #[cfg(target_arch = "x86_64")]
            Halves::Avx2(halves) => halves.dots(&self.chunks, planes),
            Halves::Portable => planes.map(|plane| portable(&self.chunks, plane)),
        };
        products.map(|products| 2 * products - 15 * self.sum)
    }

    /// [`dot`](Self::dot) of each of some rows, and the sum of the squares of the block's steps.
    #[inline]
    pub(crate) fn dots_and_squares(&self, planes: [&[u8]; TOGETHER]) -> ([i32; TOGETHER], [i32; TOGETHER]) {
        let planes = planes.map(|plane| &plane[self.from..self.bytes.max(self.from)]);
        let (products, squares) = match self.halves {
            #[cfg(target_arch = "x86_64")]
            Halves::Avx2(halves) => halves.dots_and_squares(&self.chunks, planes),
            Halves::Portable => (
                planes.map(|plane| portable(&self.chunks, plane)),
                planes.map(|plane| portable_squares(&self.chunks, plane)),
            ),
        };
        (products.map(|products| 2 * products - 15 * self.sum), squares)
    }
}

/// The last bytes of a plane, fewer than 32, and zeros.
#[inline]
fn padded(rest: &[u8]) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes.iter_mut().zip(rest).for_each(|(byte, &own)| *byte = own);
    bytes
}

/// What this processor can run.
#[derive(Debug, Clone, Copy)]
enum Halves {
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2),
    Portable,
}

impl Halves {
    /// The fastest that this processor has.
    #[inline]
    fn get() -> Self {
        static BEST: OnceLock<Halves> = OnceLock::new();
        *BEST.get_or_init(Self::best)
    }

    fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(halves) = x86::Avx2::new() {
            return Self::Avx2(halves);
        }
        Self::Portable
    }
}

/// The sum of the products of a query with the halves of a plane; compilers turn the inner loop into vector code.
fn portable(chunks: &[Chunk], plane: &[u8]) -> i32 {
    let one = |chunk: &Chunk, bytes: &[u8; BYTES]| -> i32 {
        let words = bytes.as_chunks::<2>().0.iter().map(|word| i32::from(u16::from_le_bytes(*word)));
        let products = |(word, at): (i32, usize)| -> i32 {
            (0..4).map(|n| (word >> (4 * n) & 15) * i32::from(chunk.values[n][at])).sum()
        };
        words.zip(0..).map(products).sum()
    };
    each(chunks, plane, one)
}

/// The sum of the squares of the steps that are the block's.
fn portable_squares(chunks: &[Chunk], plane: &[u8]) -> i32 {
    let one = |chunk: &Chunk, bytes: &[u8; BYTES]| -> i32 {
        let [lower, upper] = &chunk.own;
        let square = |half: u8, own: u8| i32::from(SQUARES[usize::from(half)] & own);
        let both = |((&byte, &a), &b): ((&u8, &u8), &u8)| square(byte & 15, a) + square(byte >> 4, b);
        bytes.iter().zip(lower).zip(upper).map(both).sum()
    };
    each(chunks, plane, one)
}

fn each(chunks: &[Chunk], plane: &[u8], one: impl Fn(&Chunk, &[u8; BYTES]) -> i32) -> i32 {
    let (whole, rest) = plane.as_chunks::<BYTES>();
    let last = chunks.get(whole.len()).map_or(0, |chunk| one(chunk, &padded(rest)));
    chunks.iter().zip(whole).map(|(chunk, bytes)| one(chunk, bytes)).sum::<i32>() + last
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "the vector instructions of the processor")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{BYTES, Chunk, SQUARES, TOGETHER};

    /// Exists only where AVX2 is.
    #[derive(Debug, Clone, Copy)]
    pub(super) struct Avx2(());

    impl Avx2 {
        pub(super) fn new() -> Option<Self> {
            is_x86_feature_detected!("avx2").then_some(Self(()))
        }

        #[inline]
        pub(super) fn dot(self, chunks: &[Chunk], plane: &[u8]) -> i32 {
            // SAFETY: `self` exists, so `new` saw AVX2; tested against the portable sum in `every_kernel_agrees`.
            unsafe { one(chunks, plane) }
        }

        #[inline]
        pub(super) fn dots(self, chunks: &[Chunk], planes: [&[u8]; TOGETHER]) -> [i32; TOGETHER] {
            // SAFETY: as in `dot`.
            unsafe { four::<false>(chunks, planes) }.0
        }

        #[inline]
        pub(super) fn dots_and_squares(
            self,
            chunks: &[Chunk],
            planes: [&[u8]; TOGETHER],
        ) -> ([i32; TOGETHER], [i32; TOGETHER]) {
            // SAFETY: as in `dot`.
            unsafe { four::<true>(chunks, planes) }
        }
    }

    /// 32 bytes, which `bytes` are.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn load<T>(bytes: &[T]) -> __m256i {
        assert!(size_of_val(bytes) == BYTES);
        // SAFETY: 32 bytes, and the load is an unaligned one.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    /// The products of 64 values, in 16-bit words of four, added up in 32-bit words.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn products(values: [__m256i; 4], bytes: __m256i) -> __m256i {
        let four = _mm256_set1_epi16(15);
        let a = _mm256_madd_epi16(_mm256_and_si256(bytes, four), values[0]);
        let b = _mm256_madd_epi16(_mm256_and_si256(_mm256_srli_epi16::<4>(bytes), four), values[1]);
        let c = _mm256_madd_epi16(_mm256_and_si256(_mm256_srli_epi16::<8>(bytes), four), values[2]);
        let d = _mm256_madd_epi16(_mm256_srli_epi16::<12>(bytes), values[3]);
        _mm256_add_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d))
    }

    /// The squares of the steps of the 64 values that are the block's, added up in 64-bit words.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn squares(own: [__m256i; 2], bytes: __m256i) -> __m256i {
        // SAFETY: 16 bytes, and the load is an unaligned one.
        let table = _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(SQUARES.as_ptr().cast()) });
        let (half, zero) = (_mm256_set1_epi8(15), _mm256_setzero_si256());
        let low = _mm256_shuffle_epi8(table, _mm256_and_si256(bytes, half));
        let high = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), half));
        // Sums of eight bytes, each below 2^11.
        let low = _mm256_sad_epu8(_mm256_and_si256(low, own[0]), zero);
        _mm256_add_epi64(low, _mm256_sad_epu8(_mm256_and_si256(high, own[1]), zero))
    }

    #[target_feature(enable = "avx2")]
    fn one(chunks: &[Chunk], plane: &[u8]) -> i32 {
        let (whole, rest) = plane.as_chunks::<BYTES>();
        let mut sum = _mm256_setzero_si256();
        let mut step = |chunk: &Chunk, bytes: &[u8; BYTES]| {
            let values = chunk.values.each_ref().map(|values| load(values));
            sum = _mm256_add_epi32(sum, products(values, load(bytes)));
        };
        chunks.iter().zip(whole).for_each(|(chunk, bytes)| step(chunk, bytes));
        if let Some(chunk) = chunks.get(whole.len()) {
            step(chunk, &super::padded(rest));
        }
        let [sum, ..] = sums([sum; TOGETHER]);
        sum
    }

    /// The sums of products and, if they are asked for, of squares. Two rows at a time: for four there are too few registers.
    #[target_feature(enable = "avx2")]
    fn four<const SQUARED: bool>(
        chunks: &[Chunk],
        [a, b, c, d]: [&[u8]; TOGETHER],
    ) -> ([i32; TOGETHER], [i32; TOGETHER]) {
        let ([a, b], [c, d]) = (two::<SQUARED>(chunks, [a, b]), two::<SQUARED>(chunks, [c, d]));
        (sums([a.0, b.0, c.0, d.0]), sums([a.1, b.1, c.1, d.1]))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn two<const SQUARED: bool>(chunks: &[Chunk], planes: [&[u8]; 2]) -> [(__m256i, __m256i); 2] {
        let mut both = [(_mm256_setzero_si256(), _mm256_setzero_si256()); 2];
        let mut step = |chunk: &Chunk, bytes: [&[u8; BYTES]; 2]| {
            let values = chunk.values.each_ref().map(|values| load(values));
            let own = chunk.own.each_ref().map(|own| load(own));
            for ((sum, norm), bytes) in both.iter_mut().zip(bytes.map(|bytes| load(bytes))) {
                *sum = _mm256_add_epi32(*sum, products(values, bytes));
                if SQUARED {
                    *norm = _mm256_add_epi64(*norm, squares(own, bytes));
                }
            }
        };
        let [(first, first_rest), (second, second_rest)] = planes.map(|plane| plane.as_chunks::<BYTES>());
        for ((chunk, first), second) in chunks.iter().zip(first).zip(second) {
            step(chunk, [first, second]);
        }
        if let Some(chunk) = chunks.get(first.len()) {
            step(chunk, [&super::padded(first_rest), &super::padded(second_rest)]);
        }
        both
    }

    /// Of each register the sum of its eight words.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn sums([a, b, c, d]: [__m256i; TOGETHER]) -> [i32; TOGETHER] {
        let pairs = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
        let sums = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256::<1>(pairs));
        let mut out = [0; TOGETHER];
        // SAFETY: 16 bytes, and the store is an unaligned one.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), sums) };
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every kernel of this machine; at least the portable one.
    fn kernels() -> Vec<Halves> {
        let mut kernels = vec![Halves::Portable, Halves::get()];
        #[cfg(target_arch = "x86_64")]
        kernels.extend(x86::Avx2::new().map(Halves::Avx2));
        kernels
    }

    /// Checks a query that lies at `start` of a row of these halves, on every kernel.
    fn check(query: &[i16], start: usize, halves: &[u8]) {
        let plane: Vec<u8> =
            halves.chunks(2).map(|pair| pair[0] | pair.get(1).map_or(0, |&odd| odd << 4)).collect();
        let steps: Vec<i64> = halves[start..].iter().map(|&half| 2 * i64::from(half) - 15).collect();
        let dot: i64 = query.iter().zip(&steps).map(|(&q, step)| i64::from(q) * step).sum();
        let squares: i64 = steps[..query.len()].iter().map(|step| step * step).sum();
        for kernel in kernels() {
            let query = UpperQuery::on(kernel, query, start);
            assert_eq!(i64::from(query.dot(&plane)), dot, "{kernel:?}");
            // Among others, in each place.
            let other = vec![0x5a; plane.len()];
            for place in 0..TOGETHER {
                let mut planes = [&other[..]; TOGETHER];
                planes[place] = &plane;
                let (dots, norms) = query.dots_and_squares(planes);
                let found = (i64::from(dots[place]), i64::from(norms[place]));
                assert_eq!(found, (dot, squares), "{kernel:?}");
                assert_eq!(query.dots(planes), dots, "{kernel:?}");
                let next = (place + 1) % TOGETHER;
                assert_eq!(dots[next], query.dot(&other), "{kernel:?}");
            }
        }
    }

    #[test]
    fn extremes_do_not_overflow() {
        for (len, start) in
            [(4096, 0), (4095, 1), (63, 0), (64, 64), (64, 3), (65, 2), (96, 160), (1, 127), (0, 4), (0, 0)]
        {
            for value in [2032, -2032, 2048, -2048, 0] {
                for half in [0, 7, 8, 15] {
                    for after in [0, 1, 7, 64] {
                        check(&vec![value; len], start, &vec![half; start + len + after]);
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn every_kernel_agrees(
            values in proptest::collection::vec((-2048i16..=2048, 0u8..16), 0..400),
            start in prop_oneof![0usize..5, 0usize..200],
            after in prop_oneof![0usize..3, 0usize..100],
        ) {
            let (query, halves): (Vec<i16>, Vec<u8>) = values.into_iter().unzip();
            let start = start.min(halves.len());
            let end = query.len().saturating_sub(after).max(start);
            check(&query[start..end], start, &halves);
        }
    }
}
