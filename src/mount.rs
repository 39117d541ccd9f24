//! Floor 6: the life of a mount, from the plan to the last sealed file.
//!
//! | file | what it holds |
//! |---|---|
//! | [`point`] | is this directory fit to be mounted on? |
//! | [`launch`] | starting the daemon and hearing how it went |
//! | [`daemon`] | the process that serves: unlock, mount, signals, seal |
//! | [`control`] | the socket over which a daemon tells about itself |
//! | [`unmount`] | taking a mount off and waiting until all is saved |
//! | [`table`] | what the kernel says is mounted |
//! | `tuning` | what only root may ask of the kernel for a mount |
//! | `surplus` | memory of what the kernel forgot, given back |
//! | `watch` | telling the kernel of changes made underneath |
//! | [`holders`] | who keeps a mount busy |
//!
//! ```text
//!   keepfs mount                     daemon (the same program, run again)
//!   check, ask passphrase
//!   run itself again  ------------>  setsid, harden
//!   credential, plan  --- pipe --->  unlock, lock, mount(2), INIT
//!   exit with its code <-- pipe ---  ready, or code and message
//!                                    serve ... unmounted
//!                                    seal every file, tell who waits, exit
//! ```

pub mod control;
pub mod daemon;
pub mod holders;
pub mod launch;
pub mod point;
pub mod statistics;
mod surplus;
pub mod table;
mod tuning;
pub mod unmount;
mod watch;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::sys::mount::{Audience, MountFlag};
use crate::vault::SlotChoice;

/// Everything a daemon needs to know to mount, checked; what opens the vault
/// apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPlan {
    /// The vault's directory: absolute, without symbolic links.
    #[serde(with = "as_bytes")]
    pub vault: PathBuf,
    /// Where to mount it: absolute, without symbolic links.
    #[serde(with = "as_bytes")]
    pub point: PathBuf,
    /// What mountinfo shows as the source.
    #[serde(with = "as_bytes")]
    pub source: OsString,
    /// Restrictions the kernel puts on the mount.
    pub flags: Vec<MountFlag>,
    /// Who may use the mount.
    pub audience: Audience,
    /// How long the kernel may believe what it was told about names and
    /// attributes.
    pub cache_timeout: Duration,
    /// The same where every change in a directory is told.
    pub followed_timeout: Duration,
    /// What becomes of a program's writes.
    pub writes: Writes,
    /// How a file that was safe already is written over.
    pub overwrites: Overwrites,
    /// What becomes of files that are not sealed.
    pub trust: Trust,
    /// Which key slots are tried.
    pub slots: SlotChoice,
}

impl MountPlan {
    /// Whether nothing in the vault may be changed.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.flags.contains(&MountFlag::ReadOnly)
    }
}

/// What becomes of a program's writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Writes {
    /// The kernel gathers them (FUSE writeback cache).
    Gathered,
    /// Each goes to the daemon at once.
    AtOnce,
}

/// How a file that was safe already is written over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Overwrites {
    /// By way of the journal: a crash at any moment leaves it whole.
    Journalled,
    /// In its place: a crash tears what is being written.
    InPlace,
}

/// What becomes of files that are not sealed: whose last writer did not come
/// to its end, or whose contents are not those that were sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trust {
    /// They are served, and counted in the status.
    Lenient,
    /// They are refused.
    Strict,
}

/// Paths as lists of bytes: JSON strings cannot hold every file name.
mod as_bytes {
    use std::ffi::{OsStr, OsString};
    use std::os::unix::ffi::{OsStrExt, OsStringExt};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        path: &impl AsRef<OsStr>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        path.as_ref().as_bytes().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, T: From<OsString>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        Vec::<u8>::deserialize(deserializer).map(|bytes| OsString::from_vec(bytes).into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may fail loudly")]
    use super::*;
    use crate::types::SlotId;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn a_plan_survives_the_pipe_whatever_its_paths_are() {
        let odd = OsString::from_vec(b"/odd \xff,\n\"".to_vec());
        let plan = MountPlan {
            vault: odd.clone().into(),
            point: "/mnt".into(),
            source: odd,
            flags: vec![MountFlag::ReadOnly, MountFlag::NoDev],
            audience: Audience::Everyone,
            cache_timeout: Duration::from_millis(1500),
            followed_timeout: Duration::from_secs(60),
            writes: Writes::AtOnce,
            overwrites: Overwrites::InPlace,
            trust: Trust::Strict,
            slots: SlotChoice::First(SlotId::new([7; 16])),
        };
        let json = serde_json::to_vec(&plan).unwrap();
        let back: MountPlan = serde_json::from_slice(&json).unwrap();
        assert_eq!(back, plan);
        assert!(back.is_read_only());
    }
}
