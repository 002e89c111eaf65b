use super::*;

/// Numbers that are the same in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        // Every third at an end, where saturating arithmetic would show.
        (0..len)
            .map(|i| if i % 3 == 0 { [0, 255][self.next() as usize % 2] } else { self.next() as u8 })
            .collect()
    }

    fn codes(&mut self, len: usize) -> Vec<i8> {
        let mut code =
            |i: usize| if i % 3 == 0 { [-127, 127][self.next() as usize % 2] } else { self.next() as i8 };
        (0..len).map(|i| code(i).max(-127)).collect()
    }

    fn rounding(&mut self, outs: usize) -> Rounding {
        Rounding {
            bias: (0..outs).map(|_| self.next() as i32 % 40_000 - 20_000).collect(),
            mult: (0..outs).map(|_| (self.next() % 32_767) as i16 + 1).collect(),
            shift: (0..outs).map(|_| (self.next() % 12) as u8).collect(),
        }
    }
}

/// The definition, sum by sum.
fn direct_pointwise(input: &[u8], inputs: usize, codes: &[i8], r: &Rounding) -> Vec<i16> {
    let dot = |x: &[u8], w: &[i8]| x.iter().zip(w).map(|(&x, &w)| i32::from(x) * i32::from(w)).sum::<i32>();
    let outs = r.bias.len();
    let row =
        |x| (0..outs).map(move |c| r.round(c, r.bias[c] + dot(x, &codes[c * inputs..(c + 1) * inputs])));
    input.chunks_exact(inputs).flat_map(row).collect()
}

fn direct_depthwise(input: &[u8], w: &Window, codes: &[i8], r: &Rounding) -> Vec<u8> {
    let channels = r.bias.len();
    let mut out = Vec::new();
    for (y, x) in (0..w.out_side).flat_map(|y| (0..w.out_side).map(move |x| (y, x))) {
        for c in 0..channels {
            let mut sum = r.bias[c];
            for (ky, kx) in (0..w.kernel).flat_map(|y| (0..w.kernel).map(move |x| (y, x))) {
                let row = (y * w.stride + ky).wrapping_sub(w.pad);
                let column = (x * w.stride + kx).wrapping_sub(w.pad);
                if row < w.in_side && column < w.in_side {
                    let value = input[(row * w.in_side + column) * channels + c];
                    sum += i32::from(value) * i32::from(codes[(ky * w.kernel + kx) * channels + c]);
                }
            }
            out.push(r.round(c, sum).clamp(0, 255) as u8);
        }
    }
    out
}

#[test]
fn pointwise_is_the_definition_on_every_kernel() {
    let mut noise = Noise(1);
    for (positions, inputs, outs) in [
        (1, 8, 8),
        (7, 16, 24),
        (8, 32, 96),
        (13, 24, 40),
        (64, 40, 16),
        (71, 112, 72),
        (49, 1152, 56),
        (6, 320, 128),
    ] {
        let input = noise.bytes(positions * inputs);
        let codes = noise.codes(inputs * outs);
        let rounding = noise.rounding(outs);
        let want = direct_pointwise(&input, inputs, &codes, &rounding);
        let added: Vec<i16> = want.iter().map(|_| noise.next() as i16).collect();
        let mult = (0..outs).map(|_| (noise.next() % 2_000) as i16 + 1).collect();
        let entry = Entry { mult, zero: (0..outs).map(|_| noise.next() as i16 / 128).collect() };
        for kernel in Kernel::all() {
            let conv = Pointwise::new(kernel, inputs, &codes, rounding.clone());
            let mut wide = Vec::new();
            let mut bytes = vec![0; want.len()];
            conv.run(&input, Output::Bytes(&mut bytes), &mut wide);
            assert!(
                bytes.iter().zip(&want).all(|(b, v)| i16::from(*b) == *v.max(&0).min(&255)),
                "{kernel:?} {inputs} {outs}"
            );
            let mut words = vec![0; want.len()];
            conv.run(&input, Output::Words(&mut words, 16383), &mut wide);
            assert!(
                words.iter().zip(&want).all(|(w, v)| *w == *v.max(&0).min(&16383)),
                "{kernel:?} {inputs} {outs}"
            );
            for added in [&[][..], &added] {
                let stream = Stream { words: &mut words, added, bytes: &mut bytes, entry: &entry };
                conv.run(&input, Output::Stream(stream), &mut wide);
                for (at, &v) in want.iter().enumerate() {
                    let y = v.saturating_add(added.get(at).copied().unwrap_or(0));
                    let byte = (i32::from(y) * i32::from(entry.mult[at % outs]) + 16384 >> 15)
                        + i32::from(entry.zero[at % outs]);
                    assert_eq!(
                        (words[at], i32::from(bytes[at])),
                        (y, byte.clamp(0, 255)),
                        "{kernel:?} {inputs} {outs}"
                    );
                }
            }
        }
    }
}

#[test]
fn depthwise_is_the_definition_on_every_kernel() {
    let mut noise = Noise(2);
    for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2)] {
        for (in_side, channels) in [(1, 16), (2, 48), (3, 32), (5, 64), (7, 80), (8, 96), (9, 144), (14, 240)]
        {
            let out_side = usize::div_ceil(in_side, stride);
            let pad = ((out_side - 1) * stride + kernel).saturating_sub(in_side) / 2;
            let window = Window { kernel, stride, in_side, out_side, pad };
            let input = noise.bytes(in_side * in_side * channels);
            let codes = noise.codes(kernel * kernel * channels);
            let rounding = noise.rounding(channels);
            let want = direct_depthwise(&input, &window, &codes, &rounding);
            for isa in Kernel::all() {
                let conv = Depthwise::new(isa, window, &codes, rounding.clone());
                let (mut out, mut lines) = (vec![9; want.len()], Vec::new());
                conv.run(&input, &mut out, &mut lines);
                assert_eq!(out, want, "{isa:?} {window:?} {channels}");
            }
        }
    }
}

#[test]
fn sums_are_the_same_on_every_kernel() {
    let mut noise = Noise(3);
    for (positions, channels) in [(1, 5), (196, 672), (49, 1280), (3, 77)] {
        let bytes = noise.bytes(positions * channels);
        let words: Vec<i16> = bytes.iter().map(|&b| i16::from(b) * 128).collect();
        let values: Vec<f32> = (0..positions).map(|_| noise.next() as f32 * 1.1e-7 - 3.0).collect();
        let codes: Vec<i16> = (0..positions * channels).map(|_| noise.next() as i16).collect();
        let cube =
            |c: usize| bytes.iter().skip(c).step_by(channels).map(|&b| u64::from(b).pow(3)).sum::<u64>();
        let mut rows = vec![0.5; channels];
        Kernel(Isa::Scalar).add_rows(&values, &codes, &mut rows);
        for kernel in Kernel::all() {
            let sums = kernel.cubes_of_bytes(&bytes, channels);
            assert!(sums.iter().enumerate().all(|(c, s)| *s == cube(c)), "{kernel:?}");
            let wide = kernel.cubes_of_words(&words, channels);
            assert!(wide.iter().zip(&sums).all(|(w, s)| *w == s << 21), "{kernel:?}");
            let mut same = vec![0.5; channels];
            kernel.add_rows(&values, &codes, &mut same);
            assert!(same.iter().zip(&rows).all(|(a, b)| a.to_bits() == b.to_bits()), "{kernel:?}");
        }
    }
}
