//! Ten steps of each training on the GPU against the CPU. They skip where there is no GPU; a
//! software driver such as Mesa's lavapipe counts as one.

use super::*;
use crate::device::Kind;

/// Losses of whole steps from the same weights and data; absolute below 1, relative above.
fn assert_alike(config: &StepConfig) -> Result<()> {
    let gpu = match Processor::find(Kind::Gpu) {
        Ok(gpu) => gpu,
        Err(error) => {
            eprintln!("skipped: {error}");
            return Ok(());
        }
    };
    let (mut ours, mut theirs) = (
        subject(config, 1, &gpu)?,
        subject(config, 1, &Processor::cpu())?,
    );
    for step in 1..=10 {
        let (ours, theirs) = (ours.step()?, theirs.step()?);
        assert_eq!(ours.len(), theirs.len());
        for ((name, a), (_, b)) in ours.iter().zip(&theirs) {
            let apart = (a - b).abs() / b.abs().max(1.0);
            assert!(apart < 1e-3, "{name} at step {step}: {a}, on the CPU {b}");
        }
    }
    ours.infer()
}

#[test]
fn ten_steps_of_synseg_give_the_losses_of_the_cpu() -> Result<()> {
    assert_alike(&StepConfig::Synseg {
        width: 4,
        blocks: 2,
        classes: 4,
        size: [32; 2],
    })
}

#[test]
fn ten_steps_of_the_3d_unet_give_the_losses_of_the_cpu() -> Result<()> {
    assert_alike(&StepConfig::Unet3d {
        features: vec![4, 8],
        classes: 3,
        size: [8, 12, 16],
    })
}
