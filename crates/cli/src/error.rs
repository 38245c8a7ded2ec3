//! Errors for people and for machines, and the codes to exit with.

use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

use crate::output;

/// Exit code of findings and of failed or interrupted runs.
pub(crate) const FAILED: u8 = 1;
/// Exit code of wrong usage, as clap's.
pub(crate) const WRONG_USAGE: u8 = 2;
/// Exit code of a stop at once: 128 + SIGINT, as shells expect.
pub(crate) const STOPPED: i32 = 130;

/// Arguments that do not fit together.
#[derive(Debug)]
pub(crate) struct Usage(String);

impl Usage {
    pub(crate) fn error(message: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self(message.into()))
    }
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Prints a failure on stderr, with `json` also on stdout, and gives its exit code.
pub(crate) fn report(failure: &anyhow::Error, json: bool) -> ExitCode {
    let lines = messages(failure);
    let (mark, cause) = (AnsiColor::Red.on_default().bold(), Style::new().bold());
    let because = format!("\n  {cause}because:{cause:#} ");
    output::stderr(&format!("{mark}error:{mark:#} {}", lines.join(&because)));
    if json {
        // Where stdout is what failed, stderr has told it.
        let _ = output::json(&serde_json::json!({ "error": lines.join(": ") }));
    }
    ExitCode::from(code(failure))
}

/// The message and those causes that it does not already quote.
fn messages(failure: &anyhow::Error) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for cause in failure.chain() {
        let text = cause.to_string().trim_end().to_owned();
        if !lines.iter().any(|line| line.contains(&text)) {
            lines.push(text);
        }
    }
    lines
}

fn code(failure: &anyhow::Error) -> u8 {
    use crossmod_learn::Error::{DeviceNotBuilt, Recipe};
    let wrong_usage = failure.chain().any(|cause| {
        cause.is::<Usage>()
            || matches!(cause.downcast_ref(), Some(crossmod_synth::Error::Recipe(_)))
            || matches!(
                cause.downcast_ref(),
                Some(Recipe(_) | DeviceNotBuilt { .. })
            )
    });
    if wrong_usage { WRONG_USAGE } else { FAILED }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_quoted_cause_is_said_once() {
        let path = std::path::Path::new("a.nii");
        let cause = std::io::Error::other("disk full");
        let error = crossmod_volume::Error::io("write the file", cause, path);
        let said = messages(&anyhow::Error::new(error));
        assert_eq!(said, ["could not write the file: disk full: a.nii"]);
        let nested: anyhow::Result<()> = Err(std::io::Error::other("inner").into());
        let said = messages(&nested.context("outer").expect_err("an error"));
        assert_eq!(said, ["outer", "inner"]);
    }

    #[test]
    fn wrong_usage_and_recipes_are_two_and_the_rest_one() {
        assert_eq!(code(&Usage::error("x")), 2);
        assert_eq!(code(&crossmod_learn::Error::Recipe("x".into()).into()), 2);
        assert_eq!(
            code(&crossmod_learn::Error::Interrupted { step: 3 }.into()),
            1
        );
        let device = "cuda";
        assert_eq!(
            code(&crossmod_learn::Error::DeviceNotBuilt { device }.into()),
            2
        );
    }
}
