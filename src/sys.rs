//! Floor 1: the only room with system calls and `unsafe`.
//!
//! | room | system calls for |
//! |---|---|
//! | [`fs`] | the backing: directories, files, their metadata |
//! | [`fuse_device`] | `/dev/fuse`, seen from a running mount |
//! | [`caller`] | on whose behalf a thread creates: fsuid, fsgid, umask |

pub mod caller;
pub mod fs;
pub mod fuse_device;
