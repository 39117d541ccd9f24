//! keepfs: an encrypted file system for folders that somebody else stores.
//!
//! The crate is a house with floors; imports go downward only, which
//! `tests/layering.rs` checks. `docs/ARCHITECTURE.md` is the map.
//!
//! | floor | rooms | what is kept there |
//! |---|---|---|
//! | 0 | [`types`], [`name`] | units, ids and the two kinds of names |
//! | 0 | [`tasks`] | walks shared by all cores |
//! | 1 | [`codec`], [`sys`] | the format as pure functions; the system calls |
//! | 2 | [`store`] | the backing directory: takes ciphertext only |
//! | 3 | [`vault`] | an unlocked vault: directories and files in plain terms |
//! | 4 | [`view`] | file-system operations over inodes and handles |
//! | 4 | [`check`] | is a vault whole? the walk that reads everything |
//! | 4 | [`tools`] | listings, contents, paths and copies without a mount |
//! | 5 | [`fuse`] | the adapter between the kernel and the view |
//! | 6 | [`mount`] | life of a mount: ready, signals, unmount |
//! | 7 | [`cli`] | what was typed, what it means, how it ended |

pub mod name;
pub mod tasks;
pub mod types;

pub mod codec;
pub mod sys;

pub mod store;
pub mod vault;

pub mod check;
pub mod tools;
pub mod view;

pub mod fuse;

pub mod mount;

pub mod cli;
