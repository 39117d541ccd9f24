//! Shell completions and manual pages, made from the command line itself.

use anyhow::Context;
use clap::CommandFactory;

use super::args::{Cli, CompletionsArgs, ManArgs};

/// `keepfs completions`
///
/// # Errors
/// Those of writing to standard output.
pub fn completions(words: &CompletionsArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(words.shell, &mut Cli::command(), "keepfs", &mut script);
    super::print(&String::from_utf8(script)?)
}

/// `keepfs man`
///
/// # Errors
/// Those of writing to standard output or into the directory.
pub fn man(words: &ManArgs) -> anyhow::Result<()> {
    let command = Cli::command();
    match &words.directory {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            super::print(&String::from_utf8(page)?)
        }
        Some(directory) => clap_mangen::generate_to(command, directory)
            .with_context(|| format!("cannot write manual pages into {}", directory.display())),
    }
}
