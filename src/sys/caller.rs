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
/// The thread is as it was when this returns, also by a panic. An id that the
/// kernel refuses (one without a mapping in a user namespace) leaves the
/// daemon's own.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::sys::fs::{DirFd, Stat};

    const SOMEBODY: Caller = Caller {
        uid: 4711,
        gid: 4712,
        umask: 0o027,
    };

    fn me(umask: u32) -> Caller {
        Caller {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            umask,
        }
    }

    fn root_or_skip() -> bool {
        let root = rustix::process::geteuid().is_root();
        if !root {
            eprintln!("skipped: needs root");
        }
        root
    }

    fn created(dir: &DirFd, name: &[u8], caller: Caller, mode: u32) -> Stat {
        as_caller(caller, || dir.create_file(name, mode).unwrap())
            .stat()
            .unwrap()
    }

    #[test]
    fn the_umask_is_the_callers_and_the_threads_own() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path();
        std::thread::scope(|scope| {
            for umask in [0o000, 0o022, 0o077, 0o777] {
                scope.spawn(move || {
                    let dir = DirFd::open_path(path).unwrap();
                    for round in 0..200 {
                        let name = format!("{umask:o}-{round}");
                        let stat = created(&dir, name.as_bytes(), me(umask), 0o666);
                        assert_eq!(stat.perm(), 0o666 & !umask);
                    }
                });
            }
        });
    }

    #[test]
    fn a_shared_umask_is_taken_off_by_hand() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DirFd::open_path(temp.path()).unwrap();
        UMASK.set(Umask::Shared);
        let stat = created(&dir, b"masked", me(0o057), 0o666);
        assert_eq!(stat.perm() & 0o057, 0);
        assert_eq!(BY_HAND.get(), 0);
    }

    #[test]
    fn as_root_new_objects_are_the_callers() {
        if !root_or_skip() {
            return;
        }
        let temp = tempfile::tempdir().unwrap();
        let dir = DirFd::open_path(temp.path()).unwrap();
        // Mode 0700 of root: only the raised capability lets the caller in.
        let stat = created(&dir, b"file", SOMEBODY, 0o4666);
        assert_eq!((stat.uid, stat.gid), (SOMEBODY.uid, SOMEBODY.gid));
        assert_eq!(stat.perm(), 0o4640);
        let device = rustix::fs::makedev(1, 3);
        as_caller(SOMEBODY, || {
            dir.make_node(b"null", libc::S_IFCHR | 0o666, device)
                .unwrap();
        });
        let stat = dir.stat(b"null").unwrap();
        assert_eq!((stat.uid, stat.rdev), (SOMEBODY.uid, device));
    }

    #[test]
    fn a_set_group_id_directory_gives_its_group() {
        if !root_or_skip() {
            return;
        }
        let temp = tempfile::tempdir().unwrap();
        let dir = DirFd::open_path(temp.path()).unwrap();
        let itself = dir.itself().unwrap();
        itself.set_owner(None, Some(99)).unwrap();
        itself.set_mode(0o2777).unwrap();
        // Set-group-ID survives although the caller is not in that group: the
        // kernel has decided that before.
        let stat = created(&dir, b"file", SOMEBODY, 0o2770);
        assert_eq!((stat.uid, stat.gid), (SOMEBODY.uid, 99));
        assert_eq!(stat.perm(), 0o2750);
        as_caller(SOMEBODY, || dir.make_dir(b"sub", 0o777).unwrap());
        assert_eq!(dir.stat(b"sub").unwrap().perm(), 0o2750);
    }

    #[test]
    fn a_default_acl_sees_the_mode_before_the_umask() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DirFd::open_path(temp.path()).unwrap();
        // Version 2; user::rwx group::rwx other::---, each tag, permission, id.
        let mut acl = 2_u32.to_le_bytes().to_vec();
        for (tag, perm) in [(1_u16, 7_u16), (4, 7), (0x20, 0)] {
            acl.extend_from_slice(&tag.to_le_bytes());
            acl.extend_from_slice(&perm.to_le_bytes());
            acl.extend_from_slice(&u32::MAX.to_le_bytes());
        }
        let set = dir.itself().unwrap().set_xattr(
            b"system.posix_acl_default",
            &acl,
            crate::sys::fs::XattrMode::Any,
        );
        if set.is_err() {
            eprintln!("skipped: the file system has no ACLs");
            return;
        }
        let stat = created(&dir, b"file", me(0o077), 0o666);
        assert_eq!(stat.perm(), 0o660);
    }

    #[test]
    fn the_thread_is_itself_again_after_a_panic() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DirFd::open_path(temp.path()).unwrap();
        let before = created(&dir, b"before", me(0o022), 0o666);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            as_caller(SOMEBODY, || panic!("on purpose"));
        }));
        assert!(panicked.is_err());
        let after = created(&dir, b"after", me(0o022), 0o666);
        assert_eq!((before.uid, before.gid), (after.uid, after.gid));
        assert_eq!(before.mode, after.mode);
        let sets = rustix::thread::capabilities(None).unwrap();
        if rustix::process::geteuid().is_root() {
            assert!(
                sets.effective
                    .contains(sets.permitted & CapabilitySet::CHOWN)
            );
        }
    }
}
