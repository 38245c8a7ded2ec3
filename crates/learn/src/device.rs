//! Where tensors live.

use burn::tensor::Device;

/// The CPU, without gradients: for inference.
#[must_use]
pub fn cpu() -> Device {
    Device::flex()
}

/// The CPU, recording gradients: for training.
#[must_use]
pub fn cpu_training() -> Device {
    Device::flex().autodiff()
}
