//! How long work tells its caller where it is, and is told to stop.

/// Receives progress; the program draws it, tests ignore it.
pub trait Progress {
    /// A stage of the work begins.
    fn stage(&mut self, name: &str);
    /// The stage is `fraction` done; `message` holds the figures of the moment.
    fn update(&mut self, fraction: f64, message: &str);
    /// Something the user should know, said once.
    fn note(&mut self, message: &str);
    /// Whether the user has asked to stop.
    fn cancelled(&self) -> bool;
}

/// Ignores progress and never cancels.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn stage(&mut self, _: &str) {}
    fn update(&mut self, _: f64, _: &str) {}
    fn note(&mut self, _: &str) {}
    fn cancelled(&self) -> bool {
        false
    }
}
