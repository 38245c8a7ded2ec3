//! What the tests of several files share.

use rayon::ThreadPoolBuilder;

/// A smooth signal without symmetries: `2 sin(step i) + offset`.
pub(crate) fn wave(n: usize, step: f32, offset: f32) -> Vec<f32> {
    (0..n)
        .map(|i| (i as f32 * step).sin() * 2.0 + offset)
        .collect()
}

/// The same in `f64`.
pub(crate) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| v.into()).collect()
}

/// The sum of products, in `f64`.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(&a, &b)| f64::from(a) * f64::from(b))
        .sum()
}

/// The slope of `loss` along element `i` of `x`, by central differences.
pub(crate) fn slope(loss: impl Fn(&[f64]) -> f64, x: &[f64], i: usize, h: f64) -> f64 {
    let at = |h: f64| {
        let mut moved = x.to_vec();
        moved[i] += h;
        loss(&moved)
    };
    (at(h) - at(-h)) / (2.0 * h)
}

/// Asserts that 1, 2 and 3 threads compute the same bits.
pub(crate) fn same_on_any_pool(compute: impl Fn() -> Vec<f32> + Sync) {
    let [one, two, three] = [1, 2, 3].map(|threads| -> Vec<u32> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads can be started");
        pool.install(|| compute().into_iter().map(f32::to_bits).collect())
    });
    assert!(one == two && one == three, "bits depend on the threads");
}
