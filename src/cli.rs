//! Floor 7: what was typed, what it means, and how it ended.
//!
//! | file | what it holds |
//! |---|---|
//! | [`args`] | the words of the command line (clap) |
//! | [`options`] | `-o LIST`, in the manner of mount(8) |
//! | [`size`] | sizes and durations as people write them |
//! | [`plan`] | from the words to a checked [`crate::mount::MountPlan`] |
//! | [`unlock`] | what opens a vault, and opening it |
//! | [`new_key`] | what shall open it from now on; [`cost`], [`strength`] |
//! | [`passphrase`], [`key_file`], [`recovery`] | where secrets come from |
//! | [`init`], [`mount`], [`unmount`], [`info`], [`status`], [`key`], [`check`], [`inside`], [`conflicts`], [`transfer`] | the commands |
//! | [`slots`] | key slots as people and scripts see them |
//! | [`remember`] | which slot opened a vault last |
//! | [`progress`] | a sign of life while something takes long |
//! | [`pages`] | shell completions and manual pages |
//! | [`log`] | where messages go: terminal first, syslog for daemons |
//! | [`exit`] | the exit codes |

pub mod args;
pub mod check;
pub mod conflicts;
pub mod cost;
pub mod exit;
pub mod info;
pub mod init;
pub mod inside;
pub mod key;
pub mod key_file;
pub mod log;
pub mod mount;
pub mod new_key;
pub mod options;
pub mod pages;
pub mod passphrase;
pub mod plan;
pub mod progress;
pub mod recovery;
pub mod remember;
pub mod repair;
pub mod size;
pub mod slots;
pub mod status;
pub mod strength;
pub mod transfer;
pub mod unlock;
pub mod unmount;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::mount::launch::DAEMON_ARGUMENT;
use args::{Cli, Command, HelperCli};

/// Runs keepfs as the process with these arguments, the program's name first,
/// and returns its exit code. Messages are printed here.
#[must_use]
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    if arguments.get(1).is_some_and(|word| word == DAEMON_ARGUMENT) {
        log::start();
        return mount::daemon().into();
    }
    let program = arguments.first().map(Path::new).and_then(Path::file_name);
    let helper = program.is_some_and(|name| name == "mount.keepfs" || name == "mount.fuse.keepfs");
    let parsed = if helper {
        HelperCli::try_parse_from(arguments).map(HelperCli::into_command)
    } else {
        Cli::try_parse_from(arguments).map(|cli| cli.command)
    };
    let command = match parsed {
        Ok(command) => command,
        Err(error) => {
            // Help and version are "errors" of clap with the code 0.
            return match error.print() {
                Ok(()) if error.exit_code() == 0 => exit::Exit::Done,
                Ok(()) => exit::Exit::Usage,
                Err(_) => exit::Exit::Failure,
            }
            .into();
        }
    };
    log::start();
    match run(command) {
        Ok(()) => exit::Exit::Done.into(),
        Err(error) => {
            complain(&error);
            exit::of(&error).into()
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Init(words) => init::run(words),
        Command::Mount(words) => mount::run(words),
        Command::Unmount(words) => unmount::run(&words),
        Command::Info(words) => info::run(&words),
        Command::Key(command) => key::run(command),
        Command::Check(words) => check::run(&words),
        Command::Ls(words) => inside::ls(&words),
        Command::Cat(words) => inside::cat(&words),
        Command::Path(words) => inside::path(&words),
        Command::Conflicts(words) => conflicts::run(&words),
        Command::Export(words) => transfer::export(&words),
        Command::Import(words) => transfer::import(&words),
        Command::Status(words) => status::run(&words),
        Command::Completions(words) => pages::completions(&words),
        Command::Man(words) => pages::man(&words),
    }
}

/// Prints what went wrong as one line on standard error.
fn complain(error: &anyhow::Error) {
    // With standard error closed there is nobody left to tell.
    let _ = writeln!(io::stderr(), "keepfs: {}", message(error));
}

/// An error and its causes in one line, each said once: many an error quotes
/// its cause already.
fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain() {
        let words = cause.to_string();
        if message.is_empty() {
            message = words;
        } else if !message.contains(&words) {
            message.push_str(": ");
            message.push_str(&words);
        }
    }
    message
}

/// Prints a result on standard output.
fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        // Whoever read us has seen enough, like head(1).
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// Prints what must reach its reader, like a secret that is shown once: a
/// reader that is gone is an error here.
fn print_all(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Speaks to the person at the terminal, on standard error: results alone go
/// to standard output.
fn say(text: &str) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    stderr.write_all(text.as_bytes())?;
    stderr.flush()
}

/// Prints a result as JSON on standard output.
fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_each_cause_once() {
        let cause = || io::Error::other("disk full");
        let quoting = crate::mount::launch::LaunchError::Io(cause());
        let quoted = message(&anyhow::Error::new(quoting).context("cannot mount"));
        assert_eq!(quoted.matches("disk full").count(), 1);
        assert!(quoted.starts_with("cannot mount: cannot start"), "{quoted}");
        let plain = anyhow::Error::new(cause()).context("cannot mount");
        assert_eq!(message(&plain), "cannot mount: disk full");
    }
}
