//! Tables of what goes by a number.

use rustc_hash::FxHashMap;

/// What goes by numbers of our own, which count up and are never used again. No peer and no script chooses them, so the
/// cheapest hash does.
pub type Numbered<T> = FxHashMap<u64, T>;
