//! The only file that names `bincode`: small cold records, always inside a checksummed frame, always with a
//! limit, always consumed to the last byte.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use serde::{Serialize, de::DeserializeOwned};

/// Largest record, in bytes: a manifest of some tens of thousands of segments.
const MAX_RECORD_BYTES: usize = 4 << 20;

fn config() -> Configuration<LittleEndian, Fixint, Limit<MAX_RECORD_BYTES>> {
    bincode::config::legacy().with_limit::<MAX_RECORD_BYTES>()
}

/// The bytes of a record, or none when they would be over the limit.
pub(crate) fn encode<T: Serialize>(record: &T) -> Option<Vec<u8>> {
    bincode::serde::encode_to_vec(record, config()).ok().filter(|bytes| bytes.len() <= MAX_RECORD_BYTES)
}

/// The record that `bytes` are, all of them.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (record, used) = bincode::serde::decode_from_slice(bytes, config()).ok()?;
    (used == bytes.len()).then_some(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_lengths_and_trailing_bytes_are_refused() {
        let record = vec!["a".to_owned(), "bc".to_owned()];
        let bytes = encode(&record).unwrap();
        assert_eq!(decode::<Vec<String>>(&bytes), Some(record));
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(decode::<Vec<String>>(&longer), None);
        let mut huge = bytes.clone();
        huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(decode::<Vec<String>>(&huge), None);
        huge[..8].copy_from_slice(&(1u64 << 34).to_le_bytes());
        assert_eq!(decode::<Vec<u8>>(&huge), None);
        for len in 0..bytes.len() {
            assert_eq!(decode::<Vec<String>>(&bytes[..len]), None, "{len} bytes");
        }
    }
}
