//! The `keepfs` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    keepfs::cli::main(std::env::args_os().collect())
}
