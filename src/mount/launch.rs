//! Starting the daemon: the same program run again, with the plan and the
//! passphrase on its standard input and its report on its standard output.
//!
//! No process is forked after threads exist, and neither the passphrase nor
//! the plan ever stands in an argument or in the environment.
//!
//! ```text
//! to the daemon:    length of the passphrase, u32 little-endian
//!                   passphrase
//!                   plan, JSON, to the end
//! from the daemon:  one JSON object: how starting ended
//! ```

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::ExitStatus;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::MountPlan;
use crate::sys::process;

/// The argument that makes the program a daemon; not for people.
pub const DAEMON_ARGUMENT: &str = "__daemon";

/// A passphrase as it was typed or read, wiped when dropped.
pub struct TypedPassphrase(Zeroizing<Vec<u8>>);

impl TypedPassphrase {
    /// Longest passphrase, in bytes.
    pub const MAX_LEN: usize = 4096;

    /// Takes the bytes, without the end of the line.
    #[must_use]
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// Whether two of them are the same; for asking twice.
    #[must_use]
    pub fn equals(&self, other: &Self) -> bool {
        use subtle::ConstantTimeEq;
        self.0.ct_eq(&other.0).into()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes, for the code that derives a key from them and wipes them.
    #[must_use]
    pub fn into_bytes(mut self) -> Vec<u8> {
        std::mem::take(&mut *self.0)
    }
}

/// How starting a daemon ended, as it tells the one who started it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartReport {
    /// The mount answers.
    Ready,
    /// There is no mount.
    Failed {
        /// The exit code to end with.
        code: u8,
        /// What to tell the person, without the program's name.
        message: String,
    },
}

/// Why there is no daemon.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The daemon said so itself.
    #[error("{message}")]
    Refused {
        /// The daemon's exit code.
        code: u8,
        /// The daemon's words.
        message: String,
    },
    /// The daemon ended without a word.
    #[error("the process that serves the mount ended before the mount answered ({0})")]
    Died(ExitStatus),
    /// It could not be started or spoken to.
    #[error("cannot start the process that serves the mount: {0}")]
    Io(#[from] io::Error),
}

/// Starts a daemon for `plan` and returns when its mount answers.
///
/// # Errors
/// [`LaunchError`]; there is no mount then.
pub fn start(plan: &MountPlan, passphrase: TypedPassphrase) -> Result<(), LaunchError> {
    let mut daemon = process::spawn_self("keepfs", DAEMON_ARGUMENT)?;
    let stdin = daemon.stdin.take().expect("spawned with a pipe");
    let mut stdout = daemon.stdout.take().expect("spawned with a pipe");
    // A daemon that dies early closes its end; its report or status says why.
    let sent = send(stdin, plan, passphrase);
    let mut report = Vec::new();
    stdout.read_to_end(&mut report)?;
    match serde_json::from_slice(&report) {
        Ok(StartReport::Ready) => Ok(()),
        Ok(StartReport::Failed { code, message }) => {
            daemon.wait()?;
            Err(LaunchError::Refused { code, message })
        }
        Err(_) => {
            let status = daemon.wait()?;
            sent?;
            Err(LaunchError::Died(status))
        }
    }
}

fn send(mut pipe: impl Write, plan: &MountPlan, passphrase: TypedPassphrase) -> io::Result<()> {
    let len = u32::try_from(passphrase.0.len()).map_err(io::Error::other)?;
    pipe.write_all(&len.to_le_bytes())?;
    pipe.write_all(&passphrase.0)?;
    pipe.write_all(&serde_json::to_vec(plan)?)
}

/// Reads what [`start`] sent, as the daemon.
///
/// # Errors
/// `InvalidData` where it is not that; those of read(2).
pub fn receive(mut pipe: impl Read) -> io::Result<(MountPlan, TypedPassphrase)> {
    let mut len = [0; 4];
    pipe.read_exact(&mut len)?;
    let len = usize::try_from(u32::from_le_bytes(len)).unwrap_or(usize::MAX);
    if len > TypedPassphrase::MAX_LEN {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut passphrase = Zeroizing::new(vec![0; len]);
    pipe.read_exact(&mut passphrase)?;
    let plan = serde_json::from_reader(pipe)?;
    Ok((plan, TypedPassphrase(passphrase)))
}

/// Standard input without a buffer that would keep a copy of the passphrase.
///
/// # Errors
/// Those of dup(2).
pub fn unbuffered_stdin() -> io::Result<File> {
    Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?))
}

/// Tells the one who started this daemon how it went.
///
/// # Errors
/// Those of write(2); `BrokenPipe` if nobody listens any more.
pub fn report(report: &StartReport) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(&serde_json::to_vec(report)?)?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may fail loudly")]
    use super::*;
    use crate::mount::{Trust, Writes};
    use crate::sys::mount::Audience;

    fn plan() -> MountPlan {
        MountPlan {
            vault: "/vault".into(),
            point: "/mnt".into(),
            source: "/vault".into(),
            flags: Vec::new(),
            audience: Audience::Owner,
            cache_timeout: std::time::Duration::from_secs(1),
            writes: Writes::Gathered,
            trust: Trust::Lenient,
        }
    }

    fn typed(bytes: &[u8]) -> TypedPassphrase {
        TypedPassphrase::new(Zeroizing::new(bytes.to_vec()))
    }

    #[test]
    fn what_is_sent_is_received() {
        let mut pipe = Vec::new();
        send(&mut pipe, &plan(), typed(b"any\0bytes\n\xff")).unwrap();
        let (received, passphrase) = receive(&pipe[..]).unwrap();
        assert_eq!(received, plan());
        assert_eq!(passphrase.into_bytes(), b"any\0bytes\n\xff");
    }

    #[test]
    fn what_is_cut_short_or_too_long_is_refused() {
        let mut pipe = Vec::new();
        send(&mut pipe, &plan(), typed(b"secret")).unwrap();
        for len in 0..pipe.len() {
            assert!(receive(&pipe[..len]).is_err(), "{len} bytes");
        }
        assert!(receive(&[0xff; 64][..]).is_err());
    }

    #[test]
    fn passphrases_are_compared_by_all_their_bytes() {
        assert!(typed(b"same").equals(&typed(b"same")));
        assert!(!typed(b"same").equals(&typed(b"Same")));
        assert!(!typed(b"same").equals(&typed(b"same ")));
        assert!(typed(b"").is_empty() && !typed(b"x").is_empty());
    }
}
