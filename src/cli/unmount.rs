//! `keepfs unmount`

use super::args::UnmountArgs;
use crate::mount::unmount::{Unmounted, unmount};
use crate::sys::mount::Detach;

/// `keepfs unmount`
///
/// # Errors
/// Why it is still mounted, or not everything is saved.
pub fn run(words: &UnmountArgs) -> anyhow::Result<()> {
    let how = if words.lazy {
        Detach::Lazily
    } else {
        Detach::WhenIdle
    };
    let slow = || eprintln!("keepfs: unmounted; waiting until everything is in the vault");
    match unmount(&words.mountpoint, how, slow)? {
        Unmounted::Saved | Unmounted::WasDead | Unmounted::Detached => {}
        Unmounted::MountedElsewhere => {
            eprintln!("keepfs: unmounted here; it is still mounted elsewhere (keepfs status)");
        }
        Unmounted::Unwatched => {
            eprintln!("keepfs: unmounted; the process that serves it could not be waited for");
        }
    }
    Ok(())
}
