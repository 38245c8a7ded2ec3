//! Where nets run.

#[cfg(feature = "gpu")]
use std::sync::OnceLock;

use burn::tensor::Device;

use crate::{Error, Result};

/// What nets can run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The CPU.
    Cpu,
    /// A GPU, through the interface the system has: Vulkan, Metal or DX12. Feature `gpu`.
    Gpu,
    /// A GPU with a Vulkan driver that takes what is compiled to SPIR-V. Feature `vulkan`.
    Vulkan,
    /// An NVIDIA GPU. Feature `cuda`.
    Cuda,
}

impl Kind {
    /// Its name, which is that of its feature.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
            Self::Vulkan => "vulkan",
            Self::Cuda => "cuda",
        }
    }

    /// Whether this build can use it.
    #[must_use]
    pub fn built(self) -> bool {
        match self {
            Self::Cpu => true,
            Self::Gpu => cfg!(feature = "gpu"),
            Self::Vulkan => cfg!(feature = "vulkan"),
            Self::Cuda => cfg!(feature = "cuda"),
        }
    }
}

/// A device that is there.
#[derive(Debug, Clone)]
pub struct Processor {
    device: Device,
}

impl Processor {
    /// The CPU.
    #[must_use]
    pub fn cpu() -> Self {
        Self {
            device: Device::flex(),
        }
    }

    /// The first device of a kind.
    ///
    /// # Errors
    /// [`Error::DeviceNotBuilt`] where this build cannot use it, [`Error::DeviceNotFound`] where
    /// there is none.
    pub fn find(kind: Kind) -> Result<Self> {
        let device = match kind {
            Kind::Cpu => Ok(Device::flex()),
            #[cfg(feature = "gpu")]
            Kind::Gpu => {
                static FOUND: OnceLock<std::result::Result<Device, String>> = OnceLock::new();
                FOUND.get_or_init(|| any(Device::wgpu_options())).clone()
            }
            #[cfg(feature = "vulkan")]
            Kind::Vulkan => {
                static FOUND: OnceLock<std::result::Result<Device, String>> = OnceLock::new();
                let vulkan = burn::tensor::wgpu::WgpuBackend::Vulkan;
                let options = || Device::wgpu_options().graphics_api(vulkan);
                FOUND.get_or_init(|| any(options())).clone()
            }
            #[cfg(feature = "cuda")]
            Kind::Cuda => {
                let all = Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec();
                let none = || "the CUDA driver names none".to_owned();
                all.into_iter().next().ok_or_else(none)
            }
            #[allow(unreachable_patterns, reason = "a build can have them all")]
            _ => {
                return Err(Error::DeviceNotBuilt {
                    device: kind.name(),
                });
            }
        };
        let device = device.map_err(|reason| Error::DeviceNotFound {
            device: kind.name(),
            reason,
        })?;
        Ok(Self { device })
    }

    /// Where tensors live that record no gradients: for inference.
    #[must_use]
    pub fn inference(&self) -> Device {
        self.device.clone()
    }

    /// Where tensors live that record gradients: for training.
    #[must_use]
    pub fn training(&self) -> Device {
        self.device.clone().autodiff()
    }

    /// What the driver calls the device; none for the CPU.
    #[must_use]
    pub fn driver_name(&self) -> Option<String> {
        #[cfg(feature = "gpu")]
        return self.device.identity().map(|identity| identity.name);
        #[cfg(not(feature = "gpu"))]
        None
    }
}

/// Starts the device of some options. It can be started once a program.
#[cfg(feature = "gpu")]
fn any(options: burn::tensor::wgpu::WgpuOptions) -> std::result::Result<Device, String> {
    options.init().map_err(|e| e.to_string())
}

/// The CPU, without gradients: for inference.
#[must_use]
pub fn cpu() -> Device {
    Processor::cpu().inference()
}

/// The CPU, recording gradients: for training.
#[must_use]
pub fn cpu_training() -> Device {
    Processor::cpu().training()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_built_is_said_with_its_feature() {
        for kind in [Kind::Gpu, Kind::Vulkan, Kind::Cuda] {
            if kind.built() {
                continue;
            }
            let error = Processor::find(kind).expect_err("not built").to_string();
            let feature = format!("--features {}", kind.name());
            assert!(error.contains(&feature), "{error}");
        }
        assert!(Processor::find(Kind::Cpu).is_ok());
    }
}
