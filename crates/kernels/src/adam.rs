//! Adam (Kingma & Ba, 2015, arXiv:1412.6980, algorithm 1), one pass over memory.
//!
//! The denominator is `sqrt(v / (1 - beta2^t)) + eps`: eps outside the root of the corrected second
//! moment, as the paper has it.

use crate::simd::{Kernel, Lanes, Level};
use rayon::prelude::*;

/// Elements per task: four arrays of it stay in a second-level cache.
const CHUNK: usize = 1 << 14;

/// The constants of an update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the denominator.
    pub eps: f32,
    /// Added to the gradient as `weight_decay * param` (L2; not the decoupled decay of AdamW).
    pub weight_decay: f32,
}

impl Default for Adam {
    /// The paper's constants.
    fn default() -> Self {
        Self {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
        }
    }
}

impl Adam {
    /// Update number `step` (1 for the first) of `param` under `grad`, with the moments `m` and `v`.
    ///
    /// # Panics
    ///
    /// Where the lengths differ or `step` is 0.
    pub fn update(&self, param: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32], step: u32) {
        self.update_with(Level::best(), param, grad, m, v, step);
    }

    fn update_with(
        &self,
        level: Level,
        param: &mut [f32],
        grad: &[f32],
        m: &mut [f32],
        v: &mut [f32],
        step: u32,
    ) {
        assert!(step > 0, "steps count from 1");
        assert!(
            [grad.len(), m.len(), v.len()] == [param.len(); 3],
            "one gradient and two moments per parameter"
        );
        let corrected = |beta: f32| 1.0 - f64::from(beta).powf(f64::from(step));
        let size = (f64::from(self.lr) / corrected(self.beta1)) as f32;
        let scale = (1.0 / corrected(self.beta2).sqrt()) as f32;
        (param.par_chunks_mut(CHUNK), grad.par_chunks(CHUNK))
            .into_par_iter()
            .zip((m.par_chunks_mut(CHUNK), v.par_chunks_mut(CHUNK)))
            .for_each(|((param, grad), (m, v))| {
                level.run(Update {
                    adam: self,
                    param,
                    grad,
                    m,
                    v,
                    size,
                    scale,
                });
            });
    }
}

struct Update<'a> {
    adam: &'a Adam,
    param: &'a mut [f32],
    grad: &'a [f32],
    m: &'a mut [f32],
    v: &'a mut [f32],
    size: f32,
    scale: f32,
}

impl Kernel for Update<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let Adam {
            beta1,
            beta2,
            eps,
            weight_decay,
            ..
        } = *self.adam;
        let moments = self.m.iter_mut().zip(self.v.iter_mut());
        for ((param, grad), (m, v)) in self.param.iter_mut().zip(self.grad).zip(moments) {
            let g = grad + weight_decay * *param;
            *m = beta1 * *m + (1.0 - beta1) * g;
            *v = beta2 * *v + (1.0 - beta2) * g * g;
            *param -= self.size * *m / (v.sqrt() * self.scale + eps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The algorithm in f64, as the paper writes it.
    #[test]
    fn updates_follow_the_paper() {
        let adam = Adam {
            lr: 2e-3,
            beta1: 0.5,
            weight_decay: 0.01,
            ..Adam::default()
        };
        let n = 40_001;
        for level in Level::all() {
            let mut param: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin()).collect();
            let mut exact: Vec<[f64; 3]> = param.iter().map(|&p| [p.into(), 0.0, 0.0]).collect();
            let (mut m, mut v) = (vec![0.0; n], vec![0.0; n]);
            for step in 1..=3 {
                let grad: Vec<f32> = (0..n).map(|i| ((i * step) as f32 * 0.11).cos()).collect();
                adam.update_with(level, &mut param, &grad, &mut m, &mut v, step as u32);
                for ([p, m, v], &g) in exact.iter_mut().zip(&grad) {
                    let g = f64::from(g) + 0.01 * *p;
                    *m = 0.5 * *m + 0.5 * g;
                    *v = 0.999 * *v + 0.001 * g * g;
                    let m_hat = *m / (1.0 - 0.5f64.powi(step as i32));
                    let v_hat = *v / (1.0 - 0.999f64.powi(step as i32));
                    *p -= 2e-3 * m_hat / (v_hat.sqrt() + 1e-8);
                }
            }
            for (p, e) in param.iter().zip(&exact) {
                assert!(
                    (f64::from(*p) - e[0]).abs() < 2e-6,
                    "{level:?}: {p} for {}",
                    e[0]
                );
            }
        }
    }

    /// By hand: the first step is lr * g / (|g| + eps).
    #[test]
    fn the_first_step_is_the_learning_rate() {
        let mut param = [1.0, 1.0, 1.0];
        let (mut m, mut v) = ([0.0; 3], [0.0; 3]);
        Adam {
            lr: 0.1,
            ..Adam::default()
        }
        .update(&mut param, &[3.0, -0.2, 0.0], &mut m, &mut v, 1);
        for (p, e) in param.iter().zip([0.9, 1.1, 1.0]) {
            assert!((p - e).abs() < 1e-6);
        }
    }
}
