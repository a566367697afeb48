//! The compressor and the decompressor of a shard, which all of its connections share. A value.

use framing::websocket::{Deflater, Inflater};

use crate::settings::CompressionPolicy;

/// Both allocate memory when they are first used.
#[derive(Debug)]
pub(super) struct Compression {
    pub(super) deflater: Deflater,
    pub(super) inflater: Inflater,
}

impl Compression {
    /// Without a policy nothing is negotiated, and neither is used.
    pub(super) fn new(policy: Option<&CompressionPolicy>) -> Self {
        let level = policy.map_or(1, |policy| policy.level);
        Self { deflater: Deflater::new(level), inflater: Inflater::default() }
    }
}
