//! What the keeper of a vault can do to it, and what keepfs answers, at which
//! command. Each test makes a real vault, proves that it reads right, does one
//! thing to the ciphertext and states the answers. docs/SECURITY-MODEL.md lists
//! every test here by name, and `table` holds the two together.
//!
//! * `victim`: the vault, and the answers as assertions
//! * `keys`: `keepfs.vault` and `keepfs.slots`
//! * `cost`: making the one who unlocks pay
//! * `contents`: one regular file, changed
//! * `replay`: former states of regular files, and files for one another
//! * `names`: entries, long names, what does not belong
//! * `directories`: moved and exchanged directories, and their pins
//! * `attributes`: symbolic links, extended attributes, modes and times
//! * `mounts`: the same through a mount, with and without `--strict`
//! * `learned`: what the backing tells without a key
//! * `table`: docs/SECURITY-MODEL.md and these tests name each other

#![allow(
    clippy::unwrap_used,
    reason = "a test may unwrap: its failure is the report"
)]

#[path = "cli/filled.rs"]
#[allow(dead_code, reason = "tests/cli.rs uses the rest")]
mod filled;
#[path = "cli/harness.rs"]
#[allow(dead_code, reason = "tests/cli.rs uses the rest")]
mod harness;

#[path = "attacks/attributes.rs"]
mod attributes;
#[path = "attacks/contents.rs"]
mod contents;
#[path = "attacks/cost.rs"]
mod cost;
#[path = "attacks/directories.rs"]
mod directories;
#[path = "attacks/keys.rs"]
mod keys;
#[path = "attacks/learned.rs"]
mod learned;
#[path = "attacks/mounts.rs"]
mod mounts;
#[path = "attacks/names.rs"]
mod names;
#[path = "attacks/replay.rs"]
mod replay;
#[path = "attacks/table.rs"]
mod table;
#[path = "attacks/victim.rs"]
mod victim;
