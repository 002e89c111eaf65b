//! Every limit of the library, with its unit.
//!
//! The figures are those of the ImageSearch service where its reference states one, and ours where it is
//! silent; each line says which.
//!
//! ```
//! use lookalike::limits::{MAX_BODY_BYTES, MAX_LIMIT, MAX_SIDE_PX, MIN_SIDE_PX};
//! use lookalike::SizeLimits;
//!
//! assert_eq!((MIN_SIDE_PX, MAX_SIDE_PX, MAX_LIMIT), (100, 2048, 100));
//! // The largest picture that an instance takes by default does not fit in a body of JSON.
//! assert!(SizeLimits::default().max_encoded_bytes > MAX_BODY_BYTES);
//! ```

/// Shortest allowed side of a picture, in pixels (service).
pub const MIN_SIDE_PX: u32 = 100;
/// Longest allowed side of a picture, in pixels (service).
pub const MAX_SIDE_PX: u32 = 2048;
/// Longest side that is accepted when the service's size limits are lifted, in pixels (ours).
pub const MAX_ANY_SIDE_PX: u32 = 8192;
/// Largest encoded picture, in bytes: covers a 16-bit RGBA PNG and a 32-bit BMP of 2048 x 2048 (ours).
pub const MAX_ENCODED_BYTES: usize = 34 << 20;

/// Longest path (the key of an image), in bytes of UTF-8 (ours).
pub const MAX_PATH_BYTES: usize = 4096;
/// Most tag keys of an instance, an image or a query (service).
pub const MAX_TAG_KEYS: usize = 10;
/// Longest tag key, in Unicode scalar values (ours).
pub const MAX_TAG_KEY_CHARS: usize = 64;
/// Longest tag value, in Unicode scalar values (ours).
pub const MAX_TAG_VALUE_CHARS: usize = 256;
/// Most values of one tag key of an image or a query (ours).
pub const MAX_TAG_VALUES: usize = 32;

/// Longest instance name, in characters (service).
pub const MAX_NAME_CHARS: usize = 16;
/// Longest instance description, in Unicode scalar values (service).
pub const MAX_DESCRIPTION_CHARS: usize = 512;
/// Images an instance may hold: the service's only `level`.
pub const LEVEL: u64 = 30_000_000;

/// Hits of a page when the query names no limit (service).
pub const DEFAULT_LIMIT: u32 = 10;
/// Most hits of a page (service).
pub const MAX_LIMIT: u32 = 100;

/// Longest body of a request in JSON, in bytes (service: 12 MB).
pub const MAX_BODY_BYTES: usize = 12 << 20;

/// Most dimensions of a registered model's vector (ours).
pub const MAX_DIMS: usize = 4096;
/// Most blocks of a registered model's vector (ours).
pub const MAX_BLOCKS: usize = 4;
