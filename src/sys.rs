//! Floor 1: the only place with system calls and `unsafe`.
//!
//! | file | what it holds |
//! |---|---|
//! | [`process`] | sessions, signals, memory hardening, waiting for processes |
//! | [`mount`] | attaching to and detaching from the mount table |

pub mod mount;
pub mod process;
