//! Where a paper's documentation and its code differ: which of them to follow.

use serde::{Deserialize, Serialize};

/// What SynthSeg's documentation says, or what its code does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Published {
    /// As documented.
    #[default]
    Documented,
    /// As the code does it.
    Code,
}
