//! Webhooks of apps: their events, and the bodies that carry them.

pub mod payload;
