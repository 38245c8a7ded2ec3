//! The gradients of a net's parameters, detached from the tape they came from.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};
use rayon::prelude::*;

use crate::ops;

/// One array for each parameter in module order; none where the loss did not reach it.
#[derive(Debug, Clone, PartialEq)]
pub struct NetGradients(pub(super) Vec<Option<Vec<f32>>>);

impl NetGradients {
    /// Takes those of `net`'s parameters out of what a backward pass gave.
    #[must_use]
    pub fn take<M: Module>(net: &M, mut from: Gradients) -> Self {
        let mut visitor = Take {
            from: &mut from,
            found: Vec::new(),
        };
        net.visit(&mut visitor);
        Self(visitor.found)
    }

    /// Whether the loss depends on every parameter.
    #[cfg(test)]
    pub(crate) fn all_reached(&self) -> bool {
        self.0.iter().all(Option::is_some)
    }

    /// All of them scaled so that their norm is at most `limit`, as PyTorch's `clip_grad_norm_`.
    #[must_use]
    pub fn clipped(mut self, limit: f32) -> Self {
        let squares = |grad: &Option<Vec<f32>>| {
            let values = grad.iter().flatten();
            values.map(|&g| f64::from(g) * f64::from(g)).sum::<f64>()
        };
        let each: Vec<f64> = self.0.par_iter().map(squares).collect();
        let norm = each.iter().sum::<f64>().sqrt();
        let factor = (f64::from(limit) / (norm + 1e-6)) as f32;
        if factor < 1.0 {
            let all = self.0.par_iter_mut().flatten();
            all.for_each(|grad| grad.iter_mut().for_each(|g| *g *= factor));
        }
        self
    }

    /// The sum of two losses' gradients.
    ///
    /// # Panics
    /// Where they are of different nets.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        assert_eq!(self.0.len(), other.0.len(), "gradients of one net");
        let add = |pair: (Option<Vec<f32>>, Option<Vec<f32>>)| match pair {
            (Some(mut a), Some(b)) => {
                a.iter_mut().zip(&b).for_each(|(a, b)| *a += b);
                Some(a)
            }
            (a, b) => a.or(b),
        };
        Self(self.0.into_par_iter().zip(other.0).map(add).collect())
    }
}

struct Take<'a> {
    from: &'a mut Gradients,
    found: Vec<Option<Vec<f32>>>,
}

impl ModuleVisitor for Take<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let grad = param.val().grad_remove(self.from);
        self.found.push(grad.map(ops::values));
    }
}

/// Sum of absolute gradients over a net's parameters; none where no parameter has one.
#[cfg(test)]
pub(crate) fn reach<M: Module>(net: &M, grads: &Gradients) -> Option<f32> {
    struct Reach<'a> {
        grads: &'a Gradients,
        total: Option<f32>,
    }

    impl ModuleVisitor for Reach<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(grad) = param.val().grad(self.grads) {
                let sum = grad.abs().sum().into_scalar::<f32>();
                self.total = Some(self.total.unwrap_or(0.0) + sum);
            }
        }
    }

    let mut visitor = Reach { grads, total: None };
    net.visit(&mut visitor);
    visitor.total
}

#[cfg(test)]
mod tests {
    use crossmod_volume::rng::Rng;

    use super::*;
    use crate::net::{PatchGan, PatchGanConfig};

    #[test]
    fn long_gradients_are_shortened() {
        let grads = NetGradients(vec![Some(vec![3.0, 0.0]), None, Some(vec![4.0])]);
        let same = grads.clone().clipped(5.1);
        assert_eq!(same, grads);
        let NetGradients(short) = grads.clipped(1.0);
        let expected = [0.6, 0.0, 0.8];
        let found = short.iter().flatten().flatten();
        assert!(found.zip(expected).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn gradients_of_two_losses_add_up_to_those_of_their_sum() {
        let device = crate::device::cpu_training();
        let net: PatchGan = PatchGanConfig { width: 2 }.init(1, &mut Rng::new(1, 0, 0), &device);
        let score = |scale: f32| {
            let x = Tensor::<4>::full([1, 1, 32, 32], scale, &device);
            net.forward(x).square().mean()
        };
        let of = |loss: Tensor<1>| NetGradients::take(&net, loss.backward());
        let apart = of(score(0.3)).plus(of(score(-0.8)));
        let together = of(score(0.3) + score(-0.8));
        for (a, b) in apart.0.iter().zip(&together.0) {
            let (a, b) = (a.as_ref().expect("reached"), b.as_ref().expect("reached"));
            let pairs = a.iter().zip(b);
            let apart = pairs.map(|(a, b)| (a - b).abs() / (b.abs() + 1e-3));
            assert!(apart.fold(0.0, f32::max) < 1e-3);
        }
        let reached = together.0.iter().flatten().flatten();
        assert!(reached.map(|g| g.abs()).sum::<f32>() > 0.0);
    }
}
