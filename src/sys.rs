//! Floor 1: the only room with system calls and `unsafe`.
//!
//! | room | system calls for |
//! |---|---|
//! | [`fs`] | the backing: directories, files, their metadata |
//! | [`caller`] | on whose behalf a thread creates: fsuid, fsgid, umask |
//! | [`fuse_device`] | `/dev/fuse`, seen from a running mount |
//! | [`inotify`] | being told of changes to directories |
//! | [`mount`] | attaching to and detaching from the mount table |
//! | [`process`] | sessions, signals, memory hardening, waiting for processes |
//! | [`terminal`] | the terminal while a secret is typed |

pub mod caller;
pub mod fs;
pub mod fuse_device;
pub mod inotify;
pub mod mount;
pub mod process;
pub mod terminal;
