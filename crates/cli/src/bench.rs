//! Measuring: our arithmetic beside a peer's, in one run and in alternation.
//!
//! Times on shared machines drift by more than what is to be measured. So the sides take turns
//! within a row of the table, a row is the ratio of two medians, and the most that the cores can
//! do is measured in the same run. A peer is a process that answers requests for timings; PyTorch's
//! is `benches/peers/peer.py`, which documents the protocol.

pub(crate) mod compare;
pub(crate) mod io;
pub(crate) mod machine;
pub(crate) mod measure;
pub(crate) mod ops;
mod ours;
pub(crate) mod process;
pub(crate) mod report;
pub(crate) mod scan;
pub(crate) mod serve;
pub(crate) mod single;
pub(crate) mod steps;
pub(crate) mod synth;
pub(crate) mod volumes;
