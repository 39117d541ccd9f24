//! The command as a person or a script meets it: every exit code, every bad
//! input, and the life of a mount.
//!
//! Tests that mount need FUSE and fail without it. Those for root or for an
//! ordinary user alone say so when they are passed over.

#![allow(
    clippy::unwrap_used,
    reason = "a test may unwrap: its failure is the report"
)]

#[path = "cli/bad_input.rs"]
mod bad_input;
#[path = "cli/check.rs"]
mod check;
#[path = "cli/conflicts.rs"]
mod conflicts;
#[path = "cli/filled.rs"]
mod filled;
#[path = "cli/harness.rs"]
mod harness;
#[path = "cli/inside.rs"]
mod inside;
#[path = "cli/keys.rs"]
mod keys;
#[path = "cli/life.rs"]
mod life;
#[path = "cli/memory.rs"]
mod memory;
#[path = "cli/recovery.rs"]
mod recovery;
#[path = "cli/repair.rs"]
mod repair;
#[path = "cli/terminal.rs"]
mod terminal;
#[path = "cli/transfer.rs"]
mod transfer;
#[path = "cli/words.rs"]
mod words;
