//! Arguments: what every verb takes, and the verbs.

use std::process::ExitCode;

use clap::{ArgAction, Args, Parser, ValueEnum};
use crossmod_learn::Error;
use crossmod_learn::device::Kind;

use crate::context::Context;
use crate::error;
use crate::output;
use crate::verb::Verb;

/// Turns labels in one imaging modality into a segmenter for another.
#[derive(Debug, Parser)]
#[command(name = "crossmod", version, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 findings or a failed run, 2 wrong usage.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Options of every verb.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    #[cfg_attr(feature = "gpu", doc = "Where nets run")]
    #[cfg_attr(
        not(feature = "gpu"),
        doc = "Where nets run; this build knows the CPU only"
    )]
    #[arg(long, global = true, value_enum, default_value_t = Device::Cpu, value_name = "DEVICE")]
    device: Device,
    /// Threads to use [default: one per core]
    #[arg(long, global = true, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Print the result as one JSON object on stdout
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print more: single cases, affines, the demo's plans
    #[arg(short, long, global = true, action = ArgAction::SetTrue, conflicts_with = "quiet")]
    verbose: bool,
    /// Print no progress and no notes
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Show progress as lines, as in a file, rather than as a bar
    #[arg(long, global = true, conflicts_with = "quiet")]
    plain: bool,
}

/// Those this build cannot use are known, but not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Device {
    #[cfg_attr(feature = "gpu", doc = "The CPU")]
    Cpu,
    #[cfg_attr(feature = "gpu", doc = "A GPU through Vulkan, Metal or DX12")]
    #[cfg_attr(not(feature = "gpu"), value(hide = true))]
    Gpu,
    #[cfg_attr(feature = "vulkan", doc = "A GPU through Vulkan, with SPIR-V")]
    #[cfg_attr(not(feature = "vulkan"), value(hide = true))]
    Vulkan,
    #[cfg_attr(feature = "cuda", doc = "An NVIDIA GPU through CUDA")]
    #[cfg_attr(not(feature = "cuda"), value(hide = true))]
    Cuda,
}

impl Device {
    fn kind(self) -> Kind {
        match self {
            Self::Cpu => Kind::Cpu,
            Self::Gpu => Kind::Gpu,
            Self::Vulkan => Kind::Vulkan,
            Self::Cuda => Kind::Cuda,
        }
    }
}

impl Global {
    /// Puts the options into effect.
    pub(crate) fn apply(&self) -> anyhow::Result<Context> {
        let device = self.device.kind();
        if !device.built() {
            // Also said of verbs that use none: who asks for one expects it.
            let device = device.name();
            return Err(Error::DeviceNotBuilt { device }.into());
        }
        if let Some(threads) = self.threads {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads.into())
                .build_global()?;
        }
        Ok(Context {
            device,
            json: self.json,
            verbose: self.verbose,
            quiet: self.quiet,
            plain: self.plain,
        })
    }
}

/// The command line, or the code to exit with once its error or help is printed.
pub(crate) fn read() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|problem| {
        if !problem.use_stderr() {
            // `--help` and `--version`: what was asked for, even into a closed pipe.
            let _ = problem.print();
            return ExitCode::SUCCESS;
        }
        let _ = problem.print();
        if std::env::args_os().any(|a| a == "--json") {
            let text = problem.render().to_string();
            let message = text.lines().next().unwrap_or_default();
            let message = message.strip_prefix("error: ").unwrap_or(message);
            let _ = output::json(&serde_json::json!({ "error": message }));
        }
        ExitCode::from(error::WRONG_USAGE)
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_shows_examples_and_all_of_them_are_understood() {
        for verb in Cli::command().get_subcommands() {
            let name = verb.get_name();
            let help = verb.get_after_help().or(verb.get_after_long_help());
            let help = help.map(ToString::to_string).unwrap_or_default();
            let lines = help.lines().map(str::trim);
            let examples: Vec<&str> = lines.filter(|l| l.starts_with("crossmod ")).collect();
            assert!(!examples.is_empty() || name == "bench", "{name}");
            for example in examples {
                let words = example.split_whitespace().map(|w| w.trim_matches('\''));
                let words = words.take_while(|word| *word != ">");
                let parsed = Cli::try_parse_from(words);
                assert!(parsed.is_ok(), "{example}: {:?}", parsed.err());
            }
        }
    }

    #[test]
    fn quiet_and_verbose_exclude_each_other() {
        assert!(Cli::try_parse_from(["crossmod", "-q", "-v", "info", "x"]).is_err());
        assert!(Cli::try_parse_from(["crossmod", "info", "x", "-q"]).is_ok());
    }
}
