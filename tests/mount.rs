//! The mounted file system, through the kernel and the built binary.
//! docs/SEMANTICS.md names these tests bullet by bullet.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(missing_docs, reason = "tests are described by their names")]

#[path = "common/mounted.rs"]
mod mounted;

#[path = "mount/at_once.rs"]
mod at_once;
#[path = "mount/attributes.rs"]
mod attributes;
#[path = "mount/believed.rs"]
mod believed;
#[path = "mount/contents.rs"]
mod contents;
#[path = "mount/differential.rs"]
mod differential;
#[path = "mount/life.rs"]
mod life;
#[path = "mount/names.rs"]
mod names;
#[path = "mount/secrecy.rs"]
mod secrecy;
#[path = "mount/space.rs"]
mod space;
#[path = "mount/underneath.rs"]
mod underneath;
#[path = "mount/waiting.rs"]
mod waiting;
