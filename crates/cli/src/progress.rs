//! Progress on stderr: a bar on a terminal, a line every few seconds elsewhere; and Ctrl-C.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use crossmod_learn::Progress;
use indicatif::{ProgressBar, ProgressStyle};

use crate::error::STOPPED;
use crate::output;

/// Set by Ctrl-C or a request to terminate.
static STOP: AtomicBool = AtomicBool::new(false);

/// Time between lines where stderr is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Positions of a full bar.
const FULL: u64 = 1000;

/// Draws the progress of one stage after another.
#[derive(Debug)]
pub(crate) struct Bar {
    kind: Kind,
    stage: String,
    clock: Clock,
}

#[derive(Debug)]
enum Kind {
    Quiet,
    Terminal(ProgressBar),
    Lines { last: Option<Instant> },
}

impl Bar {
    /// Silent, or in lines also on a terminal.
    pub(crate) fn new(quiet: bool, plain: bool) -> anyhow::Result<Self> {
        catch_interrupt(quiet)?;
        let kind = if quiet {
            Kind::Quiet
        } else if std::io::stderr().is_terminal() && !plain {
            Kind::Terminal(ProgressBar::hidden())
        } else {
            Kind::Lines { last: None }
        };
        Ok(Self {
            kind,
            stage: String::new(),
            clock: Clock::default(),
        })
    }

    /// A silent one, for work that goes on beside this one's; it is stopped by the same Ctrl-C.
    #[expect(clippy::unused_self, reason = "there is one beside another only")]
    pub(crate) fn beside(&self) -> Self {
        Self {
            kind: Kind::Quiet,
            stage: String::new(),
            clock: Clock::default(),
        }
    }
}

impl Progress for Bar {
    fn stage(&mut self, name: &str) {
        self.stage = name.to_owned();
        self.clock = Clock::default();
        match &mut self.kind {
            Kind::Quiet => {}
            Kind::Terminal(bar) => {
                bar.finish_and_clear();
                *bar = ProgressBar::new(FULL).with_message(name.to_owned());
                bar.set_style(style("{spinner} {wide_msg}"));
                bar.enable_steady_tick(Duration::from_millis(120));
            }
            Kind::Lines { last } => {
                *last = None;
                output::stderr(name);
            }
        }
    }

    fn update(&mut self, fraction: f64, message: &str) {
        let fraction = fraction.clamp(0.0, 1.0);
        let first = self.clock.start.is_none();
        let left = self.clock.left(fraction, Instant::now());
        let left = left.map_or(String::new(), |left| format!("{} left  ", duration(left)));
        match &mut self.kind {
            Kind::Quiet => {}
            Kind::Terminal(bar) => {
                bar.set_message(format!("{left}{message}"));
                if first {
                    bar.disable_steady_tick();
                    bar.set_style(style("{prefix} {bar:24} {percent:>3}%  {wide_msg}"));
                    bar.set_prefix(self.stage.clone());
                }
                bar.set_position((fraction * FULL as f64) as u64);
            }
            Kind::Lines { last } => {
                let due = last.is_none_or(|at| at.elapsed() >= LINE_EVERY);
                if due || fraction >= 1.0 {
                    *last = Some(Instant::now());
                    let percent = (100.0 * fraction) as u32;
                    output::stderr(&format!("{} {percent:>3}%  {left}{message}", self.stage));
                }
            }
        }
    }

    fn note(&mut self, message: &str) {
        match &self.kind {
            Kind::Quiet => {}
            Kind::Terminal(bar) => bar.suspend(|| output::stderr(&format!("  {message}"))),
            Kind::Lines { .. } => output::stderr(&format!("  {message}")),
        }
    }

    fn cancelled(&self) -> bool {
        STOP.load(Ordering::Relaxed)
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Kind::Terminal(bar) = &self.kind {
            bar.finish_and_clear();
        }
    }
}

/// When a stage's first figure came and what it was: a resumed run does not start at 0.
#[derive(Debug, Default, Clone, Copy)]
struct Clock {
    start: Option<(Instant, f64)>,
}

impl Clock {
    /// Time left at the pace so far; none before there is a pace.
    fn left(&mut self, fraction: f64, now: Instant) -> Option<Duration> {
        let (since, from) = *self.start.get_or_insert((now, fraction));
        let pace = (fraction - from) / now.duration_since(since).as_secs_f64();
        let seconds = (1.0 - fraction) / pace;
        (pace > 0.0 && pace.is_finite() && fraction < 1.0)
            .then(|| Duration::try_from_secs_f64(seconds).ok())
            .flatten()
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants; a wrong one would only draw indicatif's own bar.
    let style = ProgressStyle::with_template(template);
    style
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸ ")
}

/// `4 s`, `3 min 20 s`, `2 h 5 min`.
pub(crate) fn duration(time: Duration) -> String {
    match time.as_secs_f64().round() as u64 {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min {} s", s / 60, s % 60),
        s => format!("{} h {} min", s / 3600, s / 60 % 60),
    }
}

/// From now on the first Ctrl-C sets [`STOP`], and the second one exits.
fn catch_interrupt(quiet: bool) -> anyhow::Result<()> {
    static CAUGHT: AtomicBool = AtomicBool::new(false);
    if CAUGHT.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    ctrlc::set_handler(move || {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(STOPPED);
        }
        if !quiet {
            output::stderr("\nstopping; press Ctrl-C again to stop at once");
        }
    })
    .context("could not listen for Ctrl-C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_follows_the_pace_since_the_first_figure() {
        let (mut clock, start) = (Clock::default(), Instant::now());
        assert_eq!(clock.left(0.5, start), None);
        let left = clock
            .left(0.6, start + Duration::from_secs(10))
            .expect("a pace");
        assert!((left.as_secs_f64() - 40.0).abs() < 1e-6, "{left:?}");
        assert_eq!(clock.left(1.0, start + Duration::from_secs(50)), None);
    }

    #[test]
    fn durations_read_well() {
        let said = |s| duration(Duration::from_secs(s));
        assert_eq!(
            [said(4), said(200), said(7500)],
            ["4 s", "3 min 20 s", "2 h 5 min"]
        );
    }
}
