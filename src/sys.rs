//! STUB.
#![allow(unsafe_code, reason = "stub")]
pub mod fuse_device;
