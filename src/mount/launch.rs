//! Starting the daemon: the same program run again, with the plan and what
//! opens the vault on its standard input and its report on its standard output.
//!
//! No process is forked after threads exist, and neither a secret nor the plan
//! ever stands in an argument or in the environment.
//!
//! ```text
//! to the daemon:    length of the credential, u32 little-endian
//!                   credential: see Credential::to_pipe
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
use crate::codec::vault::Credential;
use crate::sys::process;
use crate::types::SlotId;

/// The argument that makes the program a daemon; not for people.
pub const DAEMON_ARGUMENT: &str = "__daemon";

/// Longest credential on the pipe, in bytes: a passphrase of 4 KiB that
/// normalising made three times as long, with a key file.
const MAX_CREDENTIAL_LEN: usize = 16 * 1024;

/// How starting a daemon ended, as it tells the one who started it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartReport {
    /// The mount answers.
    Ready {
        /// The key slot that opened the vault.
        slot: SlotId,
    },
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

/// Starts a daemon for `plan` and returns when its mount answers, with the slot
/// that opened the vault.
///
/// # Errors
/// [`LaunchError`]; there is no mount then.
pub fn start(plan: &MountPlan, credential: &Credential) -> Result<SlotId, LaunchError> {
    let mut daemon = process::spawn_self("keepfs", DAEMON_ARGUMENT)?;
    let stdin = daemon.stdin.take().expect("spawned with a pipe");
    let mut stdout = daemon.stdout.take().expect("spawned with a pipe");
    // A daemon that dies early closes its end; its report or status says why.
    let sent = send(stdin, plan, credential);
    let mut report = Vec::new();
    stdout.read_to_end(&mut report)?;
    match serde_json::from_slice(&report) {
        Ok(StartReport::Ready { slot }) => Ok(slot),
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

fn send(mut pipe: impl Write, plan: &MountPlan, credential: &Credential) -> io::Result<()> {
    let secret = credential.to_pipe();
    let len = u32::try_from(secret.len()).map_err(io::Error::other)?;
    pipe.write_all(&len.to_le_bytes())?;
    pipe.write_all(&secret)?;
    pipe.write_all(&serde_json::to_vec(plan)?)
}

/// Reads what [`start`] sent, as the daemon.
///
/// # Errors
/// `InvalidData` where it is not that; those of read(2).
pub fn receive(mut pipe: impl Read) -> io::Result<(MountPlan, Credential)> {
    let mut len = [0; 4];
    pipe.read_exact(&mut len)?;
    let len = usize::try_from(u32::from_le_bytes(len)).unwrap_or(usize::MAX);
    if len > MAX_CREDENTIAL_LEN {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut secret = Zeroizing::new(vec![0; len]);
    pipe.read_exact(&mut secret)?;
    let credential = Credential::from_pipe(&secret).ok_or(io::ErrorKind::InvalidData)?;
    let plan = serde_json::from_reader(pipe)?;
    Ok((plan, credential))
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
    use crate::codec::kdf::Passphrase;
    use crate::codec::recovery::RecoveryCode;
    use crate::codec::vault::KeyFile;
    use crate::mount::{Overwrites, Trust, Writes};
    use crate::sys::mount::Audience;
    use crate::vault::SlotChoice;

    fn plan() -> MountPlan {
        MountPlan {
            vault: "/vault".into(),
            point: "/mnt".into(),
            source: "/vault".into(),
            flags: Vec::new(),
            audience: Audience::Owner,
            cache_timeout: std::time::Duration::from_secs(1),
            followed_timeout: std::time::Duration::from_secs(1),
            writes: Writes::Gathered,
            overwrites: Overwrites::Journalled,
            trust: Trust::Lenient,
            slots: SlotChoice::Any,
        }
    }

    fn passphrase(bytes: &[u8]) -> Passphrase {
        Passphrase::from_bytes(bytes.to_vec()).unwrap()
    }

    fn key_file() -> KeyFile {
        KeyFile::from_bytes(vec![1, 2, 3]).unwrap()
    }

    #[test]
    fn what_is_sent_is_received() {
        let longest = "\u{390}".repeat(2048);
        for sent in [
            Credential::Passphrase(passphrase(b"any\0bytes\n\xff")),
            Credential::Passphrase(passphrase(longest.as_bytes())),
            Credential::KeyFile(key_file()),
            Credential::PassphraseAndKeyFile(passphrase(b"both"), key_file()),
            Credential::Recovery(RecoveryCode::from_bytes([9; 32])),
        ] {
            let mut pipe = Vec::new();
            send(&mut pipe, &plan(), &sent).unwrap();
            let (received, credential) = receive(&pipe[..]).unwrap();
            assert_eq!(received, plan());
            assert_eq!(credential.to_pipe(), sent.to_pipe());
        }
    }

    #[test]
    fn what_is_cut_short_or_too_long_is_refused() {
        let mut pipe = Vec::new();
        let both = Credential::PassphraseAndKeyFile(passphrase(b"secret"), key_file());
        send(&mut pipe, &plan(), &both).unwrap();
        for len in 0..pipe.len() {
            assert!(receive(&pipe[..len]).is_err(), "{len} bytes");
        }
        assert!(receive(&[0xff; 64][..]).is_err());
        for secret in [&b""[..], b"\0x", b"\x01", b"\x02short", b"\x04", b"\x05x"] {
            assert!(Credential::from_pipe(secret).is_none(), "{secret:?}");
        }
    }
}
