//! Keys and values of sequences: where they live and which are read.

mod block_store;
mod counters;
mod hot_rows;
mod kv_cache;
mod policy;
pub mod select;

pub use block_store::{BLOCK, BlockStore};
pub use counters::KvCounters;
pub use hot_rows::{Found, HotRows};
pub use kv_cache::{HeadState, KCacheStore, KvCache, VLayer, VStore};
pub use policy::{GroupScore, KvPolicy, Selection, Weighting};
