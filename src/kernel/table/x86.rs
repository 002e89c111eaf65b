//! The kernels for x86-64: AVX-512 with VNNI, and AVX2.

use std::arch::x86_64::*;
use std::ops::Range;

use super::{CHUNK, LANES, Precision, Sink, TILE, Table, TableRow};

/// Proof that the processor has AVX-512 F, BW and VNNI.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    pub(super) fn new() -> Option<Self> {
        let there = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni");
        there.then_some(Self(()))
    }

    #[inline]
    pub(super) fn run<const R: usize>(
        self,
        table: &Table,
        groups: Range<usize>,
        rows: &[TableRow<'_>; R],
        factors: &[f32],
        each: &mut impl Sink<R>,
    ) {
        // SAFETY: `self` exists, so `new` saw the features; tested against the portable form.
        unsafe { run512(table, groups, rows, factors, each) }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn run512<const R: usize>(
    table: &Table,
    groups: Range<usize>,
    rows: &[TableRow<'_>; R],
    factors: &[f32],
    each: &mut impl Sink<R>,
) {
    super::run(table, groups, rows, factors, each, |table, rows, starts| {
        dots512(table, rows.codes(), starts)
    });
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn dots512<const R: usize>(
    table: &[[u8; CHUNK]],
    rows: [&[[i8; 4]]; R],
    starts: [i32; R],
) -> [[i32; LANES]; R] {
    let mut acc = starts.map(|start| _mm512_set1_epi32(start));
    for (i, chunk) in table.iter().enumerate() {
        // SAFETY: 64 bytes, unaligned load.
        let centres = unsafe { _mm512_loadu_si512(chunk.as_ptr().cast()) };
        for (acc, row) in acc.iter_mut().zip(rows) {
            let four = i32::from_le_bytes(row[i].map(i8::cast_unsigned));
            *acc = _mm512_dpbusd_epi32(*acc, centres, _mm512_set1_epi32(four));
        }
    }
    let mut sums = [[0; LANES]; R];
    for (sum, acc) in sums.iter_mut().zip(acc) {
        // SAFETY: 64 bytes, unaligned store.
        unsafe { _mm512_storeu_si512(sum.as_mut_ptr().cast(), acc) };
    }
    sums
}

/// Proof that the processor has AVX2.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    pub(super) fn new() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    #[inline]
    pub(super) fn run<const R: usize>(
        self,
        table: &Table,
        groups: Range<usize>,
        rows: &[TableRow<'_>; R],
        factors: &[f32],
        each: &mut impl Sink<R>,
    ) {
        // SAFETY: `self` exists, so `new` saw AVX2; tested against the portable form.
        unsafe { run256(table, groups, rows, factors, each) }
    }
}

#[target_feature(enable = "avx2")]
fn run256<const R: usize>(
    table: &Table,
    groups: Range<usize>,
    rows: &[TableRow<'_>; R],
    factors: &[f32],
    each: &mut impl Sink<R>,
) {
    match table.precision {
        Precision::Full => super::run(table, groups, rows, factors, each, |table, rows, starts| {
            dots256(table, rows.wide(), starts)
        }),
        Precision::Coarse => super::run(table, groups, rows, factors, each, |table, rows, starts| {
            coarse256(table, rows.codes(), starts)
        }),
    }
}

/// A half of a chunk.
#[target_feature(enable = "avx2")]
#[inline]
fn load(half: &[u8; 32]) -> __m256i {
    // SAFETY: 32 bytes, unaligned load.
    unsafe { _mm256_loadu_si256(half.as_ptr().cast()) }
}

/// Adds to half of the lanes' sums.
#[target_feature(enable = "avx2")]
#[inline]
fn add(sums: &mut [i32; 8], acc: __m256i) {
    // SAFETY: 32 bytes, unaligned load and store.
    unsafe {
        let before = _mm256_loadu_si256(sums.as_ptr().cast());
        _mm256_storeu_si256(sums.as_mut_ptr().cast(), _mm256_add_epi32(before, acc));
    }
}

#[target_feature(enable = "avx2")]
#[inline]
fn coarse256<const R: usize>(
    table: &[[u8; CHUNK]],
    rows: [&[[i8; 4]]; R],
    starts: [i32; R],
) -> [[i32; LANES]; R] {
    let mut sums = starts.map(|start| [start; LANES]);
    let ((rows, rows_rest), (out, out_rest)) = (rows.as_chunks::<TILE>(), sums.as_chunks_mut::<TILE>());
    for (rows, out) in rows.iter().zip(out) {
        add_coarse256(table, rows, out);
    }
    for (row, out) in rows_rest.iter().zip(out_rest) {
        add_coarse256(table, std::array::from_ref(row), std::array::from_mut(out));
    }
    sums
}

/// Chunks whose products of coarse values fit 16 bits: `4 * 2 * 127 * 32 < 2^15`.
const FIT: usize = 4;

/// Half of the lanes after the other: the sums of eight rows and four chunks fit the registers.
#[target_feature(enable = "avx2")]
#[inline]
fn add_coarse256<const P: usize>(
    table: &[[u8; CHUNK]],
    rows: &[&[[i8; 4]]; P],
    sums: &mut [[i32; LANES]; P],
) {
    let ones = _mm256_set1_epi16(1);
    let (fours, rest) = table.as_chunks::<FIT>();
    // A loop and not `map`: a closure with these instructions is not inlined into it.
    let (mut rows_of_fours, mut rows_of_rest) = ([&[] as &[[[i8; 4]; FIT]]; P], [&[] as &[[i8; 4]]; P]);
    for ((of_fours, of_rest), row) in rows_of_fours.iter_mut().zip(&mut rows_of_rest).zip(rows) {
        let (its_fours, its_rest) = row[..table.len()].as_chunks::<FIT>();
        (*of_fours, *of_rest) = (&its_fours[..fours.len()], &its_rest[..rest.len()]);
    }
    for half in 0..2 {
        let load = |chunk: &[u8; CHUNK]| load(&chunk.as_chunks().0[half]);
        let all = |four: &[i8; 4]| _mm256_set1_epi32(bytemuck::cast(*four));
        let mut acc = [_mm256_setzero_si256(); P];
        for (i, chunks) in fours.iter().enumerate() {
            let [c0, c1, c2, c3] = [load(&chunks[0]), load(&chunks[1]), load(&chunks[2]), load(&chunks[3])];
            for (acc, row) in acc.iter_mut().zip(rows_of_fours) {
                let [r0, r1, r2, r3] = &row[i];
                let a =
                    _mm256_add_epi16(_mm256_maddubs_epi16(c0, all(r0)), _mm256_maddubs_epi16(c1, all(r1)));
                let b =
                    _mm256_add_epi16(_mm256_maddubs_epi16(c2, all(r2)), _mm256_maddubs_epi16(c3, all(r3)));
                *acc = _mm256_add_epi32(*acc, _mm256_madd_epi16(_mm256_add_epi16(a, b), ones));
            }
        }
        for (i, chunk) in rest.iter().enumerate() {
            let centres = load(chunk);
            for (acc, row) in acc.iter_mut().zip(rows_of_rest) {
                let products = _mm256_maddubs_epi16(centres, all(&row[i]));
                *acc = _mm256_add_epi32(*acc, _mm256_madd_epi16(products, ones));
            }
        }
        for (sums, acc) in sums.iter_mut().zip(acc) {
            add(&mut sums.as_chunks_mut().0[half], acc);
        }
    }
}

/// Rows that meet a chunk together: their sums and the chunk, widened, fit the registers.
const TOGETHER: usize = 4;

#[target_feature(enable = "avx2")]
#[inline]
fn dots256<const R: usize>(
    table: &[[u8; CHUNK]],
    rows: [&[[i32; 2]]; R],
    starts: [i32; R],
) -> [[i32; LANES]; R] {
    let mut sums = starts.map(|start| [start; LANES]);
    let ((rows, rows_rest), (out, out_rest)) =
        (rows.as_chunks::<TOGETHER>(), sums.as_chunks_mut::<TOGETHER>());
    for (rows, out) in rows.iter().zip(out) {
        add256(table, rows, out);
    }
    for (row, out) in rows_rest.iter().zip(out_rest) {
        add256(table, std::array::from_ref(row), std::array::from_mut(out));
    }
    sums
}

/// Values at even and at odd places of 8 centres, widened to 16 bits, so that no sum of two products can saturate.
#[target_feature(enable = "avx2")]
#[inline]
fn add256<const P: usize>(table: &[[u8; CHUNK]], rows: &[&[[i32; 2]]; P], sums: &mut [[i32; LANES]; P]) {
    let low = _mm256_set1_epi16(0xff);
    let rows = rows.map(|row| &row[..table.len()]);
    let mut acc = [[_mm256_setzero_si256(); 2]; P];
    for (i, chunk) in table.iter().enumerate() {
        let halves = chunk.as_chunks().0;
        let centres = [load(&halves[0]), load(&halves[1])];
        let even = centres.map(|centres| _mm256_and_si256(centres, low));
        let odd = centres.map(|centres| _mm256_srli_epi16::<8>(centres));
        for (acc, row) in acc.iter_mut().zip(rows) {
            for (centres, pair) in [even, odd].into_iter().zip(&row[i]) {
                // As a float, so that it is read from memory into all lanes, and not with its neighbour into one register.
                let pair = _mm256_castps_si256(_mm256_broadcast_ss(bytemuck::cast_ref(pair)));
                for (acc, centres) in acc.iter_mut().zip(centres) {
                    *acc = _mm256_add_epi32(*acc, _mm256_madd_epi16(centres, pair));
                }
            }
        }
    }
    for (sums, acc) in sums.iter_mut().zip(acc) {
        sums.as_chunks_mut().0.iter_mut().zip(acc).for_each(|(sums, acc)| add(sums, acc));
    }
}
