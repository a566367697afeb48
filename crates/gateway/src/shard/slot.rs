//! The slots of a shard's connections.

/// Slot of a connection in its shard's slab.
pub(super) type SlotKey = u32;
