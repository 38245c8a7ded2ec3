//! How finely work is cut: waking a thread costs as much as some ten thousand elements.

/// Whether `check-memory.sh` looks for stray accesses and races: then buffers are not kept and small
/// sizes are cut into tasks as well, lest either hide them.
pub(crate) const CHECKED: bool = option_env!("CROSSMOD_CHECK_MEMORY").is_some();

/// Multiply-adds that are worth a task of their own: some ten microseconds.
const PRODUCTS: usize = if CHECKED { 1 << 6 } else { 1 << 19 };

/// Elements gone through once or twice that are worth a task of their own.
const ELEMENTS: usize = if CHECKED { 1 << 6 } else { 1 << 15 };

/// Tasks to cut `products` multiply-adds into: a few a thread where there is that much.
pub(crate) fn tasks(products: usize) -> usize {
    (products / PRODUCTS).clamp(1, 4 * rayon::current_num_threads())
}

/// Pieces of `elements` to give a task at least.
pub(crate) fn least(elements: usize) -> usize {
    ELEMENTS.div_ceil(elements.max(1))
}
