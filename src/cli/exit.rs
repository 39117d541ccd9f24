//! How keepfs ends: the only place where exit codes are chosen.

use std::fmt::Write;
use std::process::ExitCode;

use super::check::CheckFailed;
use super::conflicts::ListingIncomplete;
use super::inside::InsideError;
use super::key::KeyError;
use super::key_file::KeyFileError;
use super::mount::SlotsError;
use super::options::OptionError;
use super::passphrase::PassphraseError;
use super::recovery::RecoveryError;
use super::repair::RepairRefused;
use super::slots::PickError;
use super::strength::TooWeak;
use super::transfer::TransferFailed;
use super::unlock::UnlockRefused;
use crate::codec::kdf::{EmptyPassphrase, KdfError};
use crate::codec::recovery::RecoveryTextError;
use crate::codec::vault::{SlotError, VaultFileError};
use crate::mount::control::ControlError;
use crate::mount::daemon::ServeError;
use crate::mount::launch::LaunchError;
use crate::mount::point::PointError;
use crate::mount::unmount::UnmountError;
use crate::sys::mount::MountError;
use crate::tools::ToolError;
use crate::tools::conflicts::ResolveError;
use crate::tools::transfer::ends::TransferError;
use crate::vault::dir::DirError;
use crate::vault::file::FileError;
use crate::vault::{InitError, LockError, SlotEditError, UnlockError, VaultError};

macro_rules! exits {
    ($($name:ident = $code:literal, $meaning:literal;)*) => {
        /// Every way to end. The numbers are a promise to scripts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Exit {
            $(#[doc = $meaning] $name = $code,)*
        }

        impl Exit {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The number.
            #[must_use]
            pub const fn code(self) -> u8 {
                match self {
                    $(Self::$name => $code,)*
                }
            }

            /// What it means, for help and manual.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning,)*
                }
            }
        }
    };
}

exits! {
    Done = 0, "done";
    Failure = 1, "something else failed; the message says what";
    Usage = 2, "the command line or an -o list was not understood";
    NotAVault = 3, "there is no vault at that path";
    VaultDamaged = 4, "keepfs.vault is damaged, was changed, or belongs to other key slots";
    NeedsNewer = 5, "the vault needs a newer keepfs";
    WrongPassphrase = 6, "the passphrase, key file or recovery code opens no key slot";
    NoPassphrase = 7, "no passphrase could be read, or the two typed differ";
    VaultInUse = 8, "the vault is already mounted on this machine";
    MountPoint = 9, "the mount point is missing, in use, not empty, not yours, or overlaps the vault";
    FuseMissing = 10, "FUSE is missing: no /dev/fuse or no fusermount3";
    MountRefused = 11, "the kernel or fusermount3 refused the mount";
    NotMounted = 12, "no keepfs mount is at that path";
    Busy = 13, "the mount is in use, or another keepfs is changing the keys";
    NotSaved = 14, "not everything could be written to the vault";
    NotEmpty = 15, "init: the directory is not empty, no directory, or a vault already";
    KdfCost = 16, "the passphrase's key derivation costs more than this machine allows, or too little";
    Backing = 17, "the vault's directory cannot be read or written";
    KeyFile = 18, "the key file cannot be read or made, is empty or too large";
    SlotDamaged = 19, "a key slot is damaged, or keepfs.slots holds something that is no key slot";
    NoSuchSlot = 20, "no such key slot, or it cannot be removed, or there is no room for another";
    WeakPassphrase = 21, "the new passphrase is weaker than --require-strength asks for";
    BadRecovery = 22, "the recovery code or a share is mistyped, incomplete or of another set";
    NotConfirmed = 23, "somebody was asked to confirm and did not";
    DamageFound = 24, "something in the vault is damaged or lost, or cannot be proven whole";
    NotAllChecked = 25, "check: something could not be read";
    NoSuchObject = 26, "there is no such object in the vault, or it is of another kind";
    NotAllCopied = 27, "export, import: not everything could be copied; what is missing is listed";
    NotResolved = 28, "conflicts resolve: nothing was changed; the message says what stands against it";
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// All codes and their meanings, a line each.
#[must_use]
pub fn table() -> String {
    let mut table = String::new();
    for exit in Exit::ALL {
        writeln!(table, "  {:>2}  {}", exit.code(), exit.meaning())
            .expect("a String takes everything");
    }
    table
}

/// How to end after `error`: the first cause in its chain that has a code of
/// its own decides.
#[must_use]
pub fn of(error: &anyhow::Error) -> Exit {
    error.chain().find_map(of_cause).unwrap_or(Exit::Failure)
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    macro_rules! first_of {
        ($($known:ty => $code:expr),* $(,)?) => {
            $(if let Some(error) = cause.downcast_ref::<$known>() {
                return Some($code(error));
            })*
        };
    }
    first_of! {
        OptionError => |_: &OptionError| Exit::Usage,
        PassphraseError => |_: &PassphraseError| Exit::NoPassphrase,
        EmptyPassphrase => |_: &EmptyPassphrase| Exit::NoPassphrase,
        KeyFileError => |_: &KeyFileError| Exit::KeyFile,
        RecoveryError => of_recovery,
        TooWeak => |_: &TooWeak| Exit::WeakPassphrase,
        PickError => |_: &PickError| Exit::NoSuchSlot,
        UnlockRefused => |refused: &UnlockRefused| of_unlock(&refused.error),
        SlotEditError => of_slot_edit,
        KeyError => of_key,
        CheckFailed => of_check,
        RepairRefused => of_repair,
        LockError => of_lock,
        TransferFailed => of_transfer,
        TransferError => of_transfer_begin,
        ResolveError => of_resolve,
        ListingIncomplete => |error: &ListingIncomplete| of_tool(error.first()),
        ToolError => of_tool,
        InsideError => |_: &InsideError| Exit::NoSuchObject,
        SlotError => of_slot,
        SlotsError => of_slots,
        PointError => of_point,
        LaunchError => of_launch,
        ServeError => of_serve,
        VaultError => of_vault,
        InitError => of_init,
        KdfError => of_kdf,
        UnmountError => of_unmount,
        ControlError => |_: &ControlError| Exit::Failure,
    }
    None
}

fn of_point(error: &PointError) -> Exit {
    match error {
        PointError::SameVault { .. } => Exit::VaultInUse,
        PointError::Missing(_)
        | PointError::NotDirectory(_)
        | PointError::NotEmpty(_)
        | PointError::NotOwned(_)
        | PointError::AlreadyMounted { .. }
        | PointError::VaultInside { .. }
        | PointError::InsideVault { .. }
        | PointError::Dead { .. }
        | PointError::Io { .. } => Exit::MountPoint,
    }
}

fn of_launch(error: &LaunchError) -> Exit {
    match error {
        LaunchError::Refused { code, .. } => {
            let known = Exit::ALL.iter().find(|exit| exit.code() == *code);
            known.copied().unwrap_or(Exit::Failure)
        }
        LaunchError::Died(_) | LaunchError::Io(_) => Exit::Failure,
    }
}

fn of_serve(error: &ServeError) -> Exit {
    match error {
        ServeError::Vault { error, .. } => of_vault(error),
        ServeError::Lock { error, .. } => of_lock(error),
        ServeError::Unlock { error, .. } => of_unlock(error),
        ServeError::View(_) | ServeError::Replay(_) => Exit::Backing,
        ServeError::Mount { error, .. } => of_mount(error),
        ServeError::Session(_) => Exit::MountRefused,
        ServeError::NotSaved(_) => Exit::NotSaved,
        ServeError::Process { .. } | ServeError::Unheard(_) => Exit::Failure,
    }
}

fn of_mount(error: &MountError) -> Exit {
    match error {
        MountError::NoDevice(_) | MountError::NoHelper => Exit::FuseMissing,
        MountError::Busy => Exit::Busy,
        MountError::HelperRefused(_) | MountError::Kernel { .. } => Exit::MountRefused,
    }
}

fn of_kdf(error: &KdfError) -> Exit {
    match error {
        KdfError::AboveCap { .. } | KdfError::BelowFloor { .. } | KdfError::OutOfMemory { .. } => {
            Exit::KdfCost
        }
        KdfError::PassphraseTooLong => Exit::NoPassphrase,
    }
}

fn of_vault(error: &VaultError) -> Exit {
    match error {
        VaultError::Missing | VaultError::NotADirectory | VaultError::NotAVault => Exit::NotAVault,
        VaultError::NotRegular => Exit::VaultDamaged,
        VaultError::Malformed(error) => of_vault_file(error),
        VaultError::Backing { .. } => Exit::Backing,
    }
}

fn of_vault_file(error: &VaultFileError) -> Exit {
    match error {
        VaultFileError::UnknownVersion(_) => Exit::NeedsNewer,
        VaultFileError::BadLength { .. }
        | VaultFileError::BadMagic
        | VaultFileError::BadChunkSize(_)
        | VaultFileError::ReservedNotZero => Exit::VaultDamaged,
    }
}

fn of_slots(error: &SlotsError) -> Exit {
    match error {
        SlotsError::None | SlotsError::AllBad(_) | SlotsError::OnlyCopies => Exit::SlotDamaged,
        SlotsError::AllForeign(_) => Exit::VaultDamaged,
        SlotsError::AllNewer => Exit::NeedsNewer,
    }
}

fn of_lock(error: &LockError) -> Exit {
    match error {
        LockError::AlreadyLocked => Exit::VaultInUse,
        LockError::LocksUnsupported | LockError::Backing(_) => Exit::Backing,
    }
}

fn of_unlock(error: &UnlockError) -> Exit {
    match error {
        UnlockError::NoSlots => Exit::SlotDamaged,
        UnlockError::NoSlotOfKind(_) | UnlockError::WrongCredential { .. } => Exit::WrongPassphrase,
        UnlockError::NoSuchSlot(_) => Exit::NoSuchSlot,
        UnlockError::Slot(error) => of_slot(error),
    }
}

fn of_slot(error: &SlotError) -> Exit {
    match error {
        SlotError::Kdf(error) => of_kdf(error),
        SlotError::UnknownVersion(_) | SlotError::UnknownKind(_) => Exit::NeedsNewer,
        SlotError::WrongKey | SlotError::KindMismatch { .. } => Exit::WrongPassphrase,
        SlotError::BadLength { .. }
        | SlotError::BadMagic
        | SlotError::ReservedNotZero
        | SlotError::BadLabel
        | SlotError::NotAuthentic => Exit::SlotDamaged,
        SlotError::ForeignVault(_)
        | SlotError::VaultFileChanged(_)
        | SlotError::FingerprintMismatch => Exit::VaultDamaged,
        SlotError::Random(_) => Exit::Failure,
    }
}

fn of_slot_edit(error: &SlotEditError) -> Exit {
    match error {
        SlotEditError::Busy => Exit::Busy,
        SlotEditError::NoSuchSlot(_)
        | SlotEditError::LastSlot(_)
        | SlotEditError::ProofGone(_)
        | SlotEditError::Full => Exit::NoSuchSlot,
        SlotEditError::Backing(_) => Exit::Backing,
    }
}

fn of_recovery(error: &RecoveryError) -> Exit {
    match error {
        RecoveryError::Text(RecoveryTextError::UnknownKind(_)) => Exit::NeedsNewer,
        RecoveryError::Text(_) | RecoveryError::Combine(_) | RecoveryError::Ended => {
            Exit::BadRecovery
        }
        RecoveryError::Plan(_) => Exit::Usage,
        RecoveryError::NotConfirmed => Exit::NotConfirmed,
        RecoveryError::Io(_) => Exit::NoPassphrase,
    }
}

fn of_key(error: &KeyError) -> Exit {
    match error {
        KeyError::NewKeyUnsaid(_) => Exit::Usage,
        KeyError::NotConfirmed | KeyError::NobodyToAsk => Exit::NotConfirmed,
        KeyError::Odd(_) => Exit::SlotDamaged,
        KeyError::WouldLockOut => Exit::NoSuchSlot,
        KeyError::NotTidied(_) => Exit::Backing,
    }
}

fn of_check(error: &CheckFailed) -> Exit {
    match error {
        CheckFailed::Damage { .. } => Exit::DamageFound,
        CheckFailed::Unread(_) => Exit::NotAllChecked,
    }
}

fn of_repair(error: &RepairRefused) -> Exit {
    match error {
        RepairRefused::Inside { .. } => Exit::Usage,
        RepairRefused::Quarantine { .. } => Exit::Failure,
    }
}

fn of_transfer(error: &TransferFailed) -> Exit {
    match error {
        TransferFailed::Damage(_) => Exit::DamageFound,
        TransferFailed::Incomplete(_)
        | TransferFailed::Stopped { .. }
        | TransferFailed::IntoItself(_) => Exit::NotAllCopied,
    }
}

fn of_transfer_begin(error: &TransferError) -> Exit {
    match error {
        TransferError::Tool(error) => of_tool(error),
        TransferError::Target { .. } => Exit::Backing,
        TransferError::Plain { .. }
        | TransferError::Nameless(_)
        | TransferError::InsideVault(_)
        | TransferError::VaultInside(_) => Exit::NotAllCopied,
    }
}

fn of_tool(error: &ToolError) -> Exit {
    match error {
        ToolError::NotFound(_)
        | ToolError::NotADirectory(_)
        | ToolError::NotAFile { .. }
        | ToolError::BadPath { .. }
        | ToolError::NoObject(_) => Exit::NoSuchObject,
        ToolError::Dir { error, .. } => match error {
            DirError::Backing(_) | DirError::PinUnreadable(_) => Exit::Backing,
            DirError::PinMalformed(_)
            | DirError::NothingOpens
            | DirError::Link(_)
            | DirError::Random(_) => Exit::DamageFound,
        },
        ToolError::File { error, .. } => match error {
            FileError::Damaged(_) => Exit::DamageFound,
            FileError::Io(_)
            | FileError::TooBig
            | FileError::BeyondEnd
            | FileError::Random(_)
            | FileError::NotWritable => Exit::Backing,
        },
    }
}

fn of_resolve(error: &ResolveError) -> Exit {
    match error {
        ResolveError::Tool(error) => of_tool(error),
        ResolveError::NoConflict(_) => Exit::NoSuchObject,
        ResolveError::NotWhole { .. } | ResolveError::DamagedChunks { .. } => Exit::DamageFound,
        ResolveError::NoneHasTheName(_)
        | ResolveError::Ambiguous { .. }
        | ResolveError::FullDirectory(_)
        | ResolveError::Kinds { .. } => Exit::NotResolved,
        ResolveError::DirectoryInUse => Exit::VaultInUse,
    }
}

fn of_init(error: &InitError) -> Exit {
    match error {
        InitError::AlreadyAVault
        | InitError::NotEmpty
        | InitError::SlotsWithoutVault
        | InitError::NotADirectory => Exit::NotEmpty,
        InitError::Slot(error) => of_slot(error),
        InitError::Random(_) => Exit::Failure,
        InitError::Backing(_) => Exit::Backing,
    }
}

fn of_unmount(error: &UnmountError) -> Exit {
    match error {
        UnmountError::NotMounted(_) | UnmountError::NotKeepfs { .. } => Exit::NotMounted,
        UnmountError::Busy { .. } => Exit::Busy,
        UnmountError::NotSynced { .. } | UnmountError::NotSaved(_) | UnmountError::Vanished => {
            Exit::NotSaved
        }
        UnmountError::Mount { error, .. } => of_mount(error),
        UnmountError::Io { .. } => Exit::Failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_numbers_from_zero_without_a_gap() {
        for (code, exit) in (0..).zip(Exit::ALL) {
            assert_eq!(exit.code(), code);
        }
    }

    #[test]
    fn the_first_cause_that_is_known_decides() {
        let known = UnmountError::NotMounted("/m".into());
        let error = anyhow::Error::new(known).context("while testing");
        assert_eq!(of(&error), Exit::NotMounted);
        assert_eq!(of(&anyhow::anyhow!("unheard of")), Exit::Failure);
    }

    #[test]
    fn a_daemon_s_code_is_passed_on() {
        let refused = |code| LaunchError::Refused {
            code,
            message: String::new(),
        };
        assert_eq!(of_launch(&refused(6)), Exit::WrongPassphrase);
        assert_eq!(of_launch(&refused(200)), Exit::Failure);
    }
}
