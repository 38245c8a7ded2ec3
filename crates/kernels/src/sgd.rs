//! Stochastic gradient descent with Nesterov momentum, one pass over memory.
//!
//! Sutskever et al. 2013 (proceedings.mlr.press/v28/sutskever13.html), in the form that PyTorch
//! gives it: with g the gradient plus weight decay, `m = momentum * m + g`, then
//! `p -= lr * (g + momentum * m)`. A buffer m of zeros makes the first step what it is there: m is
//! g.

use crate::simd::{Kernel, Lanes, Level};
use rayon::prelude::*;

/// Elements per task: three arrays of it stay in a second-level cache.
const CHUNK: usize = 1 << 14;

/// The constants of an update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the momentum.
    pub momentum: f32,
    /// Added to the gradient as `weight_decay * param`.
    pub weight_decay: f32,
}

impl Default for Sgd {
    /// nnU-Net's constants (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z): 0.01, 0.99, 3e-5.
    fn default() -> Self {
        Self {
            lr: 1e-2,
            momentum: 0.99,
            weight_decay: 3e-5,
        }
    }
}

impl Sgd {
    /// Updates `param` under `grad`, with the momentum `m`: zeros before the first update.
    ///
    /// # Panics
    ///
    /// Where the lengths differ.
    pub fn update(&self, param: &mut [f32], grad: &[f32], m: &mut [f32]) {
        self.update_with(Level::best(), param, grad, m);
    }

    fn update_with(&self, level: Level, param: &mut [f32], grad: &[f32], m: &mut [f32]) {
        assert!(
            [grad.len(), m.len()] == [param.len(); 2],
            "one gradient and one momentum per parameter"
        );
        (
            param.par_chunks_mut(CHUNK),
            grad.par_chunks(CHUNK),
            m.par_chunks_mut(CHUNK),
        )
            .into_par_iter()
            .for_each(|(param, grad, m)| {
                level.run(Update {
                    sgd: *self,
                    param,
                    grad,
                    m,
                });
            });
    }
}

struct Update<'a> {
    sgd: Sgd,
    param: &'a mut [f32],
    grad: &'a [f32],
    m: &'a mut [f32],
}

impl Kernel for Update<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let Sgd {
            lr,
            momentum,
            weight_decay,
        } = self.sgd;
        for ((param, grad), m) in self.param.iter_mut().zip(self.grad).zip(self.m) {
            let g = grad + weight_decay * *param;
            *m = momentum * *m + g;
            *param -= lr * (g + momentum * *m);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{same_on_any_pool, wave};

    /// PyTorch's rule in f64, its first step told apart.
    #[test]
    fn updates_follow_the_rule() {
        let sgd = Sgd {
            lr: 0.02,
            momentum: 0.9,
            weight_decay: 0.01,
        };
        let n = 40_001;
        for level in Level::all() {
            let mut param = wave(n, 0.37, 0.1);
            let mut exact: Vec<[f64; 2]> = param.iter().map(|&p| [p.into(), 0.0]).collect();
            let mut m = vec![0.0; n];
            for step in 1..=4 {
                let grad = wave(n, 0.11 * step as f32, 0.0);
                sgd.update_with(level, &mut param, &grad, &mut m);
                for ([p, m], &g) in exact.iter_mut().zip(&grad) {
                    let g = f64::from(g) + 0.01 * *p;
                    *m = if step == 1 { g } else { 0.9 * *m + g };
                    *p -= 0.02 * (g + 0.9 * *m);
                }
            }
            for (p, [e, _]) in param.iter().zip(&exact) {
                assert!((f64::from(*p) - e).abs() < 1e-6, "{level:?}: {p} for {e}");
            }
        }
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let grad = wave(100_003, 0.7, 0.1);
        same_on_any_pool(|| {
            let (mut param, mut m) = (wave(100_003, 0.1, 0.0), vec![0.5; 100_003]);
            Sgd::default().update(&mut param, &grad, &mut m);
            [param, m].concat()
        });
    }
}
