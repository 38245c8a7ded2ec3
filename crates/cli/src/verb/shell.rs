//! `crossmod shell`: completions and manual pages.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Cli;
use crate::context::Outcome;
use crate::output;

/// Prints what a shell needs to complete commands and options, or writes a manual page for each verb.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    crossmod shell bash > ~/.local/share/bash-completion/completions/crossmod\n  \
    crossmod shell zsh > ~/.zfunc/_crossmod\n  \
    crossmod shell --man ~/.local/share/man/man1")]
#[group(required = true, multiple = false)]
pub(crate) struct Args {
    /// The shell
    shell: Option<Shell>,
    /// The folder that manual pages go to
    #[arg(long, value_name = "FOLDER")]
    man: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let mut command = Cli::command();
    if let Some(shell) = args.shell {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command, "crossmod", &mut script);
        output::text(&String::from_utf8_lossy(&script))?;
    }
    if let Some(folder) = &args.man {
        let failed = || format!("could not write manual pages: {}", folder.display());
        std::fs::create_dir_all(folder).with_context(failed)?;
        clap_mangen::generate_to(command, folder).with_context(failed)?;
    }
    Ok(Outcome::Done)
}
