//! What can go wrong while training and inferring.

use std::path::{Path, PathBuf};

/// An error of this crate. Messages say what was expected, what was found and what to do; the
/// path comes last.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A volume, file or dataset that cannot be used.
    #[error(transparent)]
    Volume(#[from] crossmod_volume::Error),
    /// Images that cannot be made of label maps.
    #[error(transparent)]
    Synth(crossmod_synth::Error),
    /// A recipe or an override that cannot be read.
    #[error("{0}")]
    Recipe(String),
    /// Data that do not fit together or are too few to train on.
    #[error("{message}: {}", path.display())]
    Data {
        /// Expected, found and what to do.
        message: String,
        /// The dataset.
        path: PathBuf,
    },
    /// A run folder that is missing something or does not fit the request.
    #[error("{message}: {}", path.display())]
    Run {
        /// Expected, found and what to do.
        message: String,
        /// The run or the file in it.
        path: PathBuf,
    },
    /// A loss that is no longer a number.
    #[error(
        "the training diverged: {loss} is {value} at step {step}; lower `optimizer.learning_rate` \
         or resume from the last checkpoint with another seed"
    )]
    Diverged {
        /// Which loss.
        loss: &'static str,
        /// Its value.
        value: f32,
        /// The step.
        step: u64,
    },
    /// A device whose feature was not compiled in.
    #[error(
        "expected a device of this build, found {device}; build with `cargo build --release \
         --features {device}`, or leave --device out"
    )]
    DeviceNotBuilt {
        /// Its name.
        device: &'static str,
    },
    /// A device that is not there.
    #[error(
        "expected a GPU and its driver for --device {device}, found none ({reason}); install the \
         driver, or leave --device out"
    )]
    DeviceNotFound {
        /// Its name.
        device: &'static str,
        /// What the search said.
        reason: String,
    },
    /// A device that gave up, for want of memory or because its driver did.
    #[error("the device could not compute this: {0}")]
    DeviceFailed(String),
    /// The user asked to stop; what was reached is saved.
    #[error("interrupted at step {step}; continue with --resume")]
    Interrupted {
        /// Steps done and saved.
        step: u64,
    },
}

impl From<crossmod_synth::Error> for Error {
    fn from(error: crossmod_synth::Error) -> Self {
        match error {
            crossmod_synth::Error::Interrupted { .. } => Self::Interrupted { step: 0 },
            crossmod_synth::Error::Volume(error) => Self::Volume(error),
            other => Self::Synth(other),
        }
    }
}

impl Error {
    pub(crate) fn data(message: impl Into<String>, path: &Path) -> Self {
        Self::Data {
            message: message.into(),
            path: path.to_owned(),
        }
    }

    pub(crate) fn run(message: impl Into<String>, path: &Path) -> Self {
        Self::Run {
            message: message.into(),
            path: path.to_owned(),
        }
    }

    pub(crate) fn io(action: &'static str, source: std::io::Error, path: &Path) -> Self {
        crossmod_volume::Error::io(action, source, path).into()
    }
}
