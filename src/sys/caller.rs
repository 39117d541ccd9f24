//! On whose behalf a thread creates objects.
//!
//! Owner, group and mode of a new object are made by the backing itself, from
//! the thread's file system ids and umask, so that set-group-ID directories
//! and default ACLs work as on any directory.
//!
//! The umask belongs to a thread only after `unshare(CLONE_FS)`, which needs
//! no privilege but may be forbidden by a sandbox. Where it is, the umask is
//! taken off the mode before the call and the process keeps umask 0
//! ([`clear_process_umask`]); default ACLs then see the smaller mode.

#![allow(
    unsafe_code,
    reason = "setfsuid, setfsgid and unshare have no safe wrapper"
)]

use std::cell::Cell;

use rustix::fs::Mode;
use rustix::thread::{CapabilitySet, UnshareFlags};

use crate::types::Caller;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Umask {
    /// Not tried yet.
    Unknown,
    /// The thread has its own.
    Own,
    /// Shared with other threads; modes are masked by hand.
    Shared,
}

thread_local! {
    static UMASK: Cell<Umask> = const { Cell::new(Umask::Unknown) };
    /// Bits taken off modes by hand; 0 unless the umask is shared.
    static BY_HAND: Cell<u32> = const { Cell::new(0) };
}

/// What the change of fsuid from 0 drops and a daemon needs: the kernel has
/// checked the caller's permissions already, including supplementary groups
/// the daemon does not have.
const NEEDED: CapabilitySet = CapabilitySet::DAC_OVERRIDE
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::MKNOD);

/// Sets the umask of the process to 0, so that modes arrive as asked.
/// To be called before threads start.
pub fn clear_process_umask() {
    rustix::process::umask(Mode::empty());
}

/// Runs `create` with the caller's umask and, if the process runs as root,
/// with the caller's user and group as file system ids.
///
/// The thread is as it was when this returns, also by a panic. Never hold it
/// across work for somebody else.
pub fn as_caller<T>(caller: Caller, create: impl FnOnce() -> T) -> T {
    let _umask = UmaskGuard::set(caller.umask & 0o777);
    let _ids = IdsGuard::switch(caller);
    create()
}

/// `mode` as the system call shall get it.
pub(in crate::sys) fn masked(mode: u32) -> u32 {
    mode & !BY_HAND.get()
}

struct UmaskGuard(Before);

enum Before {
    Own(Mode),
    ByHand(u32),
}

impl UmaskGuard {
    fn set(umask: u32) -> Self {
        if UMASK.get() == Umask::Unknown {
            UMASK.set(if unshare_fs() {
                Umask::Own
            } else {
                Umask::Shared
            });
        }
        Self(if UMASK.get() == Umask::Own {
            Before::Own(rustix::process::umask(Mode::from_raw_mode(umask)))
        } else {
            Before::ByHand(BY_HAND.replace(umask))
        })
    }
}

impl Drop for UmaskGuard {
    fn drop(&mut self) {
        match self.0 {
            Before::Own(umask) => {
                rustix::process::umask(umask);
            }
            Before::ByHand(bits) => BY_HAND.set(bits),
        }
    }
}

fn unshare_fs() -> bool {
    // SAFETY: CLONE_FS separates only the umask, the working directory and
    // the root of this thread. No descriptor table is involved, and nothing
    // here depends on a shared working directory.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }.is_ok()
}

/// Restores the thread's file system ids when dropped.
struct IdsGuard {
    uid: Option<u32>,
    gid: Option<u32>,
}

impl IdsGuard {
    fn switch(caller: Caller) -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self {
                uid: None,
                gid: None,
            };
        }
        // The group first: afterwards the thread may lack CAP_SETGID's peer.
        let gid = swap(set_fsgid, caller.gid);
        let uid = swap(set_fsuid, caller.uid);
        if uid.is_some() {
            raise_needed();
        }
        Self { uid, gid }
    }
}

impl Drop for IdsGuard {
    fn drop(&mut self) {
        if let Some(uid) = self.uid {
            set_fsuid(uid);
        }
        if let Some(gid) = self.gid {
            set_fsgid(gid);
        }
    }
}

/// Sets an id and returns the old one, or `None` if that was the same.
fn swap(set: fn(u32) -> u32, to: u32) -> Option<u32> {
    let before = set(to);
    (before != to).then_some(before)
}

fn set_fsuid(uid: u32) -> u32 {
    // SAFETY: setfsuid takes a number and touches nothing but this thread's
    // credentials; it has no failure that leaves them half changed.
    let before = unsafe { libc::setfsuid(uid) };
    before.cast_unsigned()
}

fn set_fsgid(gid: u32) -> u32 {
    // SAFETY: as for setfsuid.
    let before = unsafe { libc::setfsgid(gid) };
    before.cast_unsigned()
}

/// Makes the needed capabilities effective again, as far as they are permitted.
/// A failure leaves the thread with the caller's own rights, which is safe.
fn raise_needed() {
    if let Ok(mut sets) = rustix::thread::capabilities(None) {
        sets.effective |= sets.permitted & NEEDED;
        let _refused = rustix::thread::set_capabilities(None, sets);
    }
}
