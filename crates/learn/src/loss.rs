//! Losses, each a mean that does not depend on the batch's size.

mod adversarial;
mod alignment;
mod contrast;
mod difference;
mod planned;
mod segmentation;

pub use adversarial::least_squares;
pub use alignment::{edge_difference, misalignment};
pub use contrast::{patch_nce, unit_length};
pub use difference::Difference;
pub use planned::{PlannedLoss, PlannedLossConfig, Truth};
pub use segmentation::{cross_entropy, cross_entropy_dice, dice};

/// Central differences against the tape; for tests of this crate.
#[cfg(test)]
pub(crate) mod gradient {
    use burn::tensor::{Tensor, TensorData};

    /// Asserts that the gradient of the scalar `f` at `x` is that of central differences.
    pub(crate) fn assert_matches<const D: usize>(
        shape: [usize; D],
        x: &[f32],
        step: f32,
        tolerance: f32,
        f: impl Fn(Tensor<D>) -> Tensor<1>,
    ) {
        let device = crate::device::cpu_training();
        let at = |values: &[f32]| {
            Tensor::<D>::from_data(TensorData::new(values.to_vec(), shape), &device)
        };
        let leaf = at(x).require_grad();
        let grads = f(leaf.clone()).backward();
        let tape = leaf.grad(&grads).expect("the input takes part").into_data();
        let tape = tape.try_into_vec::<f32>().expect("f32");
        for i in 0..x.len() {
            let shifted = |by: f32| {
                let mut values = x.to_vec();
                values[i] += by;
                f(at(&values)).into_scalar::<f32>()
            };
            let numeric = (shifted(step) - shifted(-step)) / (2.0 * step);
            assert!(
                (tape[i] - numeric).abs() <= tolerance * (1.0 + numeric.abs()),
                "element {i}: tape {} and differences {numeric}",
                tape[i]
            );
        }
    }
}
