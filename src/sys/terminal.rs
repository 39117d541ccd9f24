//! The terminal while a secret is typed.
#![allow(unsafe_code, reason = "the signal mask has no safe binding")]

use std::fs::{File, OpenOptions};
use std::io;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// The controlling terminal, showing nothing of what is typed, until dropped.
///
/// The interrupt key's signal is held back for as long: it would end the
/// process and leave a terminal that stays silent. It arrives at the drop,
/// when the terminal is as it was.
pub struct SilentTerminal {
    tty: File,
    before: Termios,
    signals_before: libc::sigset_t,
}

impl SilentTerminal {
    /// Silences `/dev/tty`. To be called before the prompt is written: what a
    /// person types in answer to it must not show.
    ///
    /// # Errors
    /// `ENXIO` without a controlling terminal; those of tcgetattr(3),
    /// tcsetattr(3) and pthread_sigmask(3).
    pub fn begin() -> io::Result<Self> {
        let tty = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        let before = tcgetattr(&tty)?;
        let mut silent = before.clone();
        silent.local_modes -=
            LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG;
        let signals_before = block_interrupt()?;
        // From here on the drop puts everything back.
        let held = Self {
            tty,
            before,
            signals_before,
        };
        tcsetattr(&held.tty, OptionalActions::Now, &silent)?;
        Ok(held)
    }
}

impl Drop for SilentTerminal {
    fn drop(&mut self) {
        // A terminal that hung up has nothing to be put back.
        let _ = tcsetattr(&self.tty, OptionalActions::Now, &self.before);
        // SAFETY: the mask was filled by `block_interrupt`.
        unsafe {
            libc::pthread_sigmask(
                libc::SIG_SETMASK,
                &raw const self.signals_before,
                std::ptr::null_mut(),
            );
        }
    }
}

/// Blocks SIGINT for this thread; returns the mask from before.
fn block_interrupt() -> io::Result<libc::sigset_t> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set it is given, sigaddset changes
    // it, and pthread_sigmask fills `before` when it succeeds.
    let code = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGINT);
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), before.as_mut_ptr())
    };
    match code {
        // SAFETY: filled by the successful call above.
        0 => Ok(unsafe { before.assume_init() }),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}
