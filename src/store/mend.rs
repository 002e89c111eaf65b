//! Finding one changed byte by the checksum.
//!
//! CRC-32 is linear: a byte that is off by `d` changes the checksum by a value that depends on `d` and on how many bytes
//! follow, and on nothing else. So the difference between the checksum and what it should be tells place and `d`, if one
//! byte is all that was changed.

/// The polynomial of CRC-32 (IEEE 802.3), reflected.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// What a checksum becomes by one zero byte more, the start value aside.
fn shift(mut crc: u32) -> u32 {
    for _ in 0..8 {
        crc = (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg());
    }
    crc
}

/// Each (place from the end, difference) of one byte that changes a checksum over `len` bytes by `syndrome`.
fn changes(len: usize, syndrome: u32) -> impl Iterator<Item = (usize, u8)> {
    // What each bit of the last byte changes.
    let mut bits: [u32; 8] = std::array::from_fn(|bit| shift(1 << bit));
    (0..len).filter_map(move |from_end| {
        let (mut found, mut sum) = (None, 0);
        for step in 1u32..256 {
            // In the order of a Gray code, each difference is one bit from the one before.
            sum ^= bits[step.trailing_zeros() as usize];
            if sum == syndrome {
                found = Some((from_end, (step ^ (step >> 1)) as u8));
            }
        }
        bits.iter_mut().for_each(|bit| *bit = shift(*bit));
        found
    })
}

/// Contents that differ from `bytes` in one byte and are sound under a checksum that lies at 12..16 and covers
/// everything else.
pub(crate) fn candidates(bytes: &[u8]) -> Vec<Vec<u8>> {
    let Some(&stored) = bytes.get(12..16).and_then(|crc| crc.first_chunk()) else { return Vec::new() };
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..12]);
    hasher.update(&bytes[16..]);
    let computed = hasher.finalize();
    let syndrome = computed ^ u32::from_le_bytes(stored);
    let covered = bytes.len() - 4;
    let mut all: Vec<Vec<u8>> = changes(covered, syndrome)
        .map(|(from_end, difference)| {
            let at = covered - 1 - from_end;
            let mut mended = bytes.to_vec();
            mended[if at < 12 { at } else { at + 4 }] ^= difference;
            mended
        })
        .collect();
    // The checksum itself may be what was changed.
    if syndrome.to_le_bytes().iter().filter(|&&byte| byte != 0).count() == 1 {
        let mut mended = bytes.to_vec();
        mended[12..16].copy_from_slice(&computed.to_le_bytes());
        all.push(mended);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::frame::{Kind, seal};
    use super::*;

    #[test]
    fn every_changed_byte_is_found() {
        let payload: Vec<u8> = (0..300u32).map(|i| (i * i % 251) as u8).collect();
        let bytes = seal(Kind::Manifest, &[7; 16], &payload);
        let mut tried = 0;
        for at in 0..bytes.len() {
            for difference in [1, 0x80, 0xff, 0x5a] {
                let mut damaged = bytes.clone();
                damaged[at] ^= difference;
                assert_eq!(candidates(&damaged), std::slice::from_ref(&bytes), "byte {at}");
                tried += 1;
            }
        }
        assert_eq!(tried, bytes.len() * 4);
        assert!(candidates(&bytes[..10]).is_empty());
    }
}
