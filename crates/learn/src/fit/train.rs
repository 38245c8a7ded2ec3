//! The loop every recipe is trained by: budget, schedule, log, checkpoints, interruption.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::log::Log;
use super::{Budget, Row, RunFolder, State};
use crate::net::weights::Named;
use crate::{Error, Progress, Result};

/// The loss on cases that are not trained on, which few steps have.
pub(crate) const VALIDATION: &str = "validation";

/// The losses of one step by name, each before its weight.
pub type Losses = Vec<(&'static str, f32)>;

/// Something a step can be taken with; its whole state can be saved and put back.
pub trait Trainable {
    /// Takes step `step` (from 0). Everything random in it is keyed by the step.
    ///
    /// # Errors
    /// Where the step's data cannot be made.
    fn step(&mut self, step: u64, learning_rate: f32) -> Result<Losses>;
    /// The nets that inference uses, by name.
    fn weights(&self) -> Vec<(String, Vec<Named>)>;
    /// All that [`Trainable::restore`] needs, by name.
    fn state(&self) -> Vec<(String, Vec<Named>)>;
    /// Puts back what [`Trainable::state`] gave.
    ///
    /// # Errors
    /// Where the state is of another recipe.
    fn restore(&mut self, state: &State, run: &RunFolder) -> Result<()>;
    /// What the user should know of the steps since the last call.
    fn notes(&mut self) -> Vec<String> {
        Vec::new()
    }
    /// Whether more steps would bring nothing, though the budget be not spent.
    fn finished(&self) -> bool {
        false
    }
}

/// How the learning rate falls over a training.
pub trait Decay {
    /// The epoch, from 1, at `progress` in [0, 1] of the training.
    fn epoch_at(&self, progress: f64) -> u32;
    /// The factor on the learning rate in `epoch`.
    fn factor(&self, epoch: u32) -> f32;
}

/// How a training is run.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// When it ends.
    pub budget: Budget,
    /// The learning rate at the start.
    pub learning_rate: f32,
    /// How it falls.
    pub decay: &'a dyn Decay,
    /// Time between checkpoints.
    pub checkpoint: Duration,
}

impl std::fmt::Debug for dyn Decay + '_ {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "from 1 to {}", self.factor(self.epoch_at(1.0)))
    }
}

/// What a training came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Steps taken in all.
    pub steps: u64,
    /// Seconds spent training in all.
    pub seconds: f64,
    /// Each loss, averaged over those of the last tenth of the steps that have it.
    pub losses: std::collections::BTreeMap<String, f32>,
}

/// Trains until the budget is spent, from `resumed` where given.
///
/// # Errors
/// [`Error::Interrupted`] when the caller cancels (the state is saved first), [`Error::Diverged`]
/// when a loss is not finite (the last checkpoint stays), and whatever the files give.
pub fn train(
    model: &mut dyn Trainable,
    run: &RunFolder,
    plan: &Plan<'_>,
    resumed: Option<&State>,
    progress: &mut dyn Progress,
) -> Result<Summary> {
    let (mut step, before) = resumed.map_or((0, 0.0), |s| (s.step, s.seconds));
    let log_path = run.file("log.jsonl");
    let mut log = Log::open(&log_path, step)?;
    let (start, mut saved, mut shown) = (Instant::now(), Instant::now(), None::<Instant>);
    let (first, mut validation) = (step, None);
    loop {
        let seconds = before + start.elapsed().as_secs_f64();
        let done = plan.budget.progress(step, seconds);
        if done >= 1.0 || model.finished() {
            break;
        }
        let epoch = plan.decay.epoch_at(done);
        let rate = plan.learning_rate * plan.decay.factor(epoch);
        let losses = model.step(step, rate)?;
        if let Some(&(loss, value)) = losses.iter().find(|(_, v)| !v.is_finite()) {
            return Err(Error::Diverged { loss, value, step });
        }
        log.push(&Row::new(step, epoch, rate, seconds, &losses))?;
        model.notes().iter().for_each(|note| progress.note(note));
        step += 1;
        let validated = losses.iter().find(|(name, _)| *name == VALIDATION);
        validation = validated.map(|(_, value)| *value).or(validation);
        if shown.is_none_or(|at| at.elapsed() > Duration::from_millis(200)) {
            let pace = start.elapsed().as_secs_f64() / (step - first) as f64;
            progress.update(done, &describe(step, pace, &losses, validation));
            shown = Some(Instant::now());
        }
        let stop = progress.cancelled();
        if stop || saved.elapsed() >= plan.checkpoint {
            log.flush()?;
            save(
                model,
                run,
                step,
                before + start.elapsed().as_secs_f64(),
                plan.budget,
            )?;
            saved = Instant::now();
        }
        if stop {
            return Err(Error::Interrupted { step });
        }
    }
    log.flush()?;
    let seconds = before + start.elapsed().as_secs_f64();
    save(model, run, step, seconds, plan.budget)?;
    progress.update(1.0, &format!("{step} steps"));
    Ok(Summary {
        steps: step,
        seconds,
        losses: last_losses(&super::log::read(&log_path)?),
    })
}

fn save(
    model: &dyn Trainable,
    run: &RunFolder,
    step: u64,
    seconds: f64,
    budget: Budget,
) -> Result<()> {
    let state = State {
        step,
        seconds,
        budget: Some(budget),
        arrays: model.state(),
    };
    run.write_state(&state)?;
    run.write_weights(&model.weights())
}

/// What is said of a step: its number, the pace in seconds a step, its losses and the last validation.
fn describe(step: u64, pace: f64, losses: &Losses, validation: Option<f32>) -> String {
    let pace = if pace > 1.0 {
        format!("{pace:.1} s a step")
    } else {
        format!("{:.1} steps a second", 1.0 / pace.max(1e-9))
    };
    let shown = losses.iter().filter(|(name, _)| *name != VALIDATION);
    let mut figures: Vec<String> = shown.map(|(name, v)| format!("{name} {v:.3}")).collect();
    figures.extend(validation.map(|v| format!("{VALIDATION} {v:.3}")));
    format!("step {step}  {pace}  {}", figures.join("  "))
}

fn last_losses(rows: &[Row]) -> std::collections::BTreeMap<String, f32> {
    let tail = &rows[rows.len() - rows.len().div_ceil(10)..];
    // Not every step has every loss.
    let mut sums = std::collections::BTreeMap::<String, (f32, f32)>::new();
    for row in tail {
        for (name, value) in &row.losses {
            let (sum, rows) = sums.entry(name.clone()).or_default();
            (*sum, *rows) = (*sum + value, *rows + 1.0);
        }
    }
    let mean = |(name, (sum, rows))| (name, sum / rows);
    sums.into_iter().map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_with_its_pace_and_the_last_validation() {
        let losses = vec![("segmentation", 0.5)];
        let told = describe(7, 0.25, &losses, Some(0.125));
        assert_eq!(
            told,
            "step 7  4.0 steps a second  segmentation 0.500  validation 0.125"
        );
        let validated = vec![("segmentation", 0.5), (VALIDATION, 0.25)];
        let told = describe(8, 2.5, &validated, Some(0.25));
        assert_eq!(
            told,
            "step 8  2.5 s a step  segmentation 0.500  validation 0.250"
        );
    }
}
