#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::codec::entry::slot_file_name;
use crate::codec::kdf::{KdfCost, Passphrase};
use crate::codec::vault::{KeyFile, RecoveryCode, SlotError, SlotKind};
use crate::sys::fs::mutation::faults::{Plan, Scope, arm};

/// An unlocked vault in a temporary directory.
pub(crate) struct World {
    pub(crate) vault: Vault,
    pub(crate) path: PathBuf,
    _temp: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::within(&std::env::temp_dir())
    }

    /// In memory if the machine offers that: for tests that make thousands of
    /// vaults and flush each many times.
    pub(crate) fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() {
            Self::within(memory)
        } else {
            Self::new()
        }
    }

    fn within(dir: &Path) -> Self {
        let temp = tempfile::tempdir_in(dir).unwrap();
        let path = temp.path().join("vault");
        init(&path, &options(b"key")).unwrap();
        Self {
            vault: unlock(&path, b"key").unwrap(),
            path,
            _temp: temp,
        }
    }

    /// The same vault, opened once more.
    pub(crate) fn reopened(&self) -> Vault {
        unlock(&self.path, b"key").unwrap()
    }
}

const CAPS: KdfCaps = KdfCaps {
    ram_kib: 1024 * 1024,
};

const COST: KdfCost = KdfCost {
    memory_kib: KdfCost::MIN_MEMORY_KIB,
    passes: KdfCost::MIN_PASSES,
    lanes: 1,
};

/// A key file costs nothing, unlike a passphrase.
fn key(bytes: &[u8]) -> Credential {
    Credential::KeyFile(KeyFile::from_bytes(bytes.to_vec()).unwrap())
}

fn options(bytes: &[u8]) -> InitOptions {
    InitOptions {
        geometry: Geometry::DEFAULT,
        cost: COST,
        label: "first".to_owned(),
        credential: key(bytes),
    }
}

fn unlock(path: &Path, bytes: &[u8]) -> Result<Vault, UnlockError> {
    LockedVault::open(path)
        .unwrap()
        .unlock(&key(bytes), &CAPS, SlotChoice::Any)
        .map_err(|failed| failed.error)
}

fn one_slot(path: &Path) -> PathBuf {
    let mut slots = fs::read_dir(path.join("keepfs.slots")).unwrap();
    slots.next().unwrap().unwrap().path()
}

#[test]
fn a_new_vault_opens_with_what_it_was_made_with() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("vault");
    let fingerprint = init(&path, &options(b"key")).unwrap();
    let locked = LockedVault::open(&path).unwrap();
    let info = locked.info();
    assert_eq!(info.description.fingerprint(), fingerprint);
    assert_eq!(info.slots.len(), 1);
    assert_eq!(info.slots.first().unwrap().slot.label(), "first");
    assert!(info.odd.is_empty());
    let vault = locked.unlock(&key(b"key"), &CAPS, SlotChoice::Any).unwrap();
    assert_eq!(vault.fingerprint(), fingerprint);
    assert!(!vault.key_spans().is_empty());
    let error = unlock(&path, b"other").err().unwrap();
    assert!(matches!(error, UnlockError::WrongCredential { .. }));
}

#[test]
fn a_failed_attempt_gives_the_vault_back() {
    let temp = tempfile::tempdir().unwrap();
    init(temp.path(), &options(b"key")).unwrap();
    let locked = LockedVault::open(temp.path()).unwrap();
    let failed = locked
        .unlock(&key(b"wrong"), &CAPS, SlotChoice::Any)
        .err()
        .unwrap();
    let recovery = Credential::Recovery(RecoveryCode::from_bytes([1; 32]));
    let failed = failed
        .vault
        .unlock(&recovery, &CAPS, SlotChoice::Any)
        .err()
        .unwrap();
    assert!(matches!(
        failed.error,
        UnlockError::NoSlotOfKind(SlotKind::Recovery)
    ));
    failed
        .vault
        .unlock(&key(b"key"), &CAPS, SlotChoice::Any)
        .unwrap();
}

#[test]
fn a_passphrase_opens_its_slot_unless_that_costs_too_much() {
    let temp = tempfile::tempdir().unwrap();
    let passphrase = |text: &str| {
        Credential::Passphrase(Passphrase::from_bytes(text.as_bytes().to_vec()).unwrap())
    };
    let options = InitOptions {
        credential: passphrase("right"),
        ..options(b"unused")
    };
    init(temp.path(), &options).unwrap();
    let locked = LockedVault::open(temp.path()).unwrap();
    let little = KdfCaps { ram_kib: 70_000 };
    let failed = locked
        .unlock(&passphrase("right"), &little, SlotChoice::Any)
        .err()
        .unwrap();
    assert!(matches!(failed.error, UnlockError::Slot(SlotError::Kdf(_))));
    failed
        .vault
        .unlock(&passphrase("right"), &CAPS, SlotChoice::Any)
        .unwrap();
}

#[test]
fn a_lock_is_held_once_and_goes_with_the_vault() {
    let temp = tempfile::tempdir().unwrap();
    init(temp.path(), &options(b"key")).unwrap();
    let first = LockedVault::open(temp.path()).unwrap();
    first.lock_exclusive().unwrap();
    let second = LockedVault::open(temp.path()).unwrap();
    assert!(matches!(
        second.lock_exclusive(),
        Err(LockError::AlreadyLocked)
    ));
    let vault = first.unlock(&key(b"key"), &CAPS, SlotChoice::Any).unwrap();
    assert!(matches!(
        second.lock_exclusive(),
        Err(LockError::AlreadyLocked)
    ));
    drop(vault);
    second.lock_exclusive().unwrap();
}

#[test]
fn what_is_no_vault_is_told_apart() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("v");
    let open = |path: &Path| LockedVault::open(path).unwrap_err();
    assert!(matches!(open(&path), VaultError::Missing));
    fs::write(&path, "").unwrap();
    assert!(matches!(open(&path), VaultError::NotADirectory));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(open(&path), VaultError::NotAVault));
    let file = path.join("keepfs.vault");
    fs::create_dir(&file).unwrap();
    assert!(matches!(open(&path), VaultError::NotRegular));
    fs::remove_dir(&file).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
    assert!(matches!(open(&path), VaultError::NotRegular));
    fs::remove_file(&file).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &file,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    assert!(matches!(open(&path), VaultError::NotRegular));
}

#[test]
fn a_damaged_description_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    init(temp.path(), &options(b"key")).unwrap();
    let file = temp.path().join("keepfs.vault");
    let good = fs::read(&file).unwrap();
    let open = || LockedVault::open(temp.path()).unwrap_err();
    for len in [0, 1, 63, 65, 1 << 40] {
        let cut = fs::File::options().write(true).open(&file).unwrap();
        cut.set_len(len).unwrap();
        assert!(matches!(open(), VaultError::Malformed(_)), "{len} bytes");
        fs::write(&file, &good).unwrap();
    }
    // Any flipped bit: malformed, or another vault's that no slot opens.
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&file, &bad).unwrap();
        match LockedVault::open(temp.path()) {
            Err(error) => assert!(matches!(error, VaultError::Malformed(_))),
            Ok(locked) => assert!(
                locked.unlock(&key(b"key"), &CAPS, SlotChoice::Any).is_err(),
                "byte {at}"
            ),
        }
    }
}

#[test]
fn bad_slots_are_reported_and_do_no_harm() {
    let world = World::new();
    let slots = world.path.join("keepfs.slots");
    let good = fs::read(one_slot(&world.path)).unwrap();
    let slot = |number: u8| slots.join(slot_file_name(SlotId::new([number; 16])));
    fs::write(slots.join("notes.txt"), "").unwrap();
    fs::write(slot(1), &good).unwrap();
    fs::write(slot(2), &good[..good.len() - 1]).unwrap();
    fs::create_dir(slot(3)).unwrap();
    let huge = fs::File::create(slot(4)).unwrap();
    huge.set_len(1 << 40).unwrap();
    std::os::unix::fs::symlink(one_slot(&world.path), slot(5)).unwrap();
    let other = World::new();
    let foreign = one_slot(&other.path);
    fs::copy(&foreign, slots.join(foreign.file_name().unwrap())).unwrap();
    let locked = LockedVault::open(&world.path).unwrap();
    let mut why: Vec<String> = locked
        .info()
        .odd
        .iter()
        .map(|odd| format!("{:?}", odd.why))
        .collect();
    why.sort();
    assert_eq!(locked.info().slots.len(), 1);
    assert_eq!(why.len(), 7, "{why:?}");
    for (expected, count) in [
        ("Name", 1),
        ("OtherSlot", 1),
        ("Malformed", 2),
        ("NotRegular", 2),
        ("ForeignVault", 1),
    ] {
        let found = why.iter().filter(|w| w.starts_with(expected)).count();
        assert_eq!(found, count, "{expected}: {why:?}");
    }
    locked.unlock(&key(b"key"), &CAPS, SlotChoice::Any).unwrap();
}

#[test]
fn a_vault_without_slots_says_so() {
    let world = World::new();
    fs::remove_dir_all(world.path.join("keepfs.slots")).unwrap();
    let error = unlock(&world.path, b"key").err().unwrap();
    assert!(matches!(error, UnlockError::NoSlots));
}

#[test]
fn a_damaged_slot_that_opens_is_not_called_a_wrong_key() {
    let world = World::new();
    let slot = one_slot(&world.path);
    let mut bytes = fs::read(&slot).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&slot, bytes).unwrap();
    let error = unlock(&world.path, b"key").err().unwrap();
    assert!(matches!(error, UnlockError::Slot(SlotError::NotAuthentic)));
}

#[test]
fn init_refuses_what_is_not_empty() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("v");
    let refused = |path: &Path| init(path, &options(b"key")).unwrap_err();
    fs::write(&path, "").unwrap();
    assert!(matches!(refused(&path), InitError::NotADirectory));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let temporary = format!("~keepfs-{:032x}.tmp", 1);
    for (entry, bytes) in [("notes.txt", 0), (&temporary, 65), ("~keepfs-1.tmp", 0)] {
        fs::write(path.join(entry), vec![0; bytes]).unwrap();
        assert!(matches!(refused(&path), InitError::NotEmpty), "{entry}");
        assert!(path.join(entry).exists());
        fs::remove_file(path.join(entry)).unwrap();
    }
    fs::create_dir_all(path.join(&temporary).join("precious")).unwrap();
    assert!(matches!(refused(&path), InitError::NotEmpty));
    fs::remove_dir_all(path.join(&temporary)).unwrap();
    init(&path, &options(b"key")).unwrap();
    let before = fs::read(path.join("keepfs.vault")).unwrap();
    assert!(matches!(refused(&path), InitError::AlreadyAVault));
    assert_eq!(fs::read(path.join("keepfs.vault")).unwrap(), before);
}

#[test]
fn init_never_touches_the_slots_of_a_vault_that_is_still_arriving() {
    let world = World::new();
    let (file, slot) = (world.path.join("keepfs.vault"), one_slot(&world.path));
    let (description, bytes) = (fs::read(&file).unwrap(), fs::read(&slot).unwrap());
    fs::remove_file(&file).unwrap();
    let refused = || init(&world.path, &options(b"new")).unwrap_err();
    assert!(matches!(refused(), InitError::SlotsWithoutVault));
    // The description of another vault explains nothing.
    let other = World::new();
    let temporary = world.path.join(format!("~keepfs-{:032x}.tmp", 1));
    fs::copy(other.path.join("keepfs.vault"), &temporary).unwrap();
    assert!(matches!(refused(), InitError::SlotsWithoutVault));
    fs::remove_file(&temporary).unwrap();
    assert_eq!(fs::read(&slot).unwrap(), bytes);
    fs::write(&file, description).unwrap();
    unlock(&world.path, b"key").unwrap();
}

#[test]
fn a_killed_init_leaves_no_vault_or_a_whole_one() {
    let temp = tempfile::tempdir().unwrap();
    for existing in [false, true] {
        for passed in 0.. {
            let path = temp.path().join(format!("{existing}-{passed}"));
            if existing {
                fs::create_dir(&path).unwrap();
            }
            let armed = arm(Scope::Thread, Plan::kill_after(passed));
            let done = init(&path, &options(b"first"));
            let fired = armed.fired();
            drop(armed);
            match LockedVault::open(&path) {
                Ok(_) => drop(unlock(&path, b"first").unwrap()),
                Err(VaultError::NotAVault | VaultError::Missing) => {
                    assert!(done.is_err());
                    // The next attempt finds nothing in its way.
                    init(&path, &options(b"second")).unwrap();
                    unlock(&path, b"second").unwrap();
                    assert_eq!(fs::read_dir(&path).unwrap().count(), 2, "leftovers");
                }
                Err(other) => panic!("killed after {passed} changes: {other}"),
            }
            if !fired {
                done.unwrap();
                assert!(passed >= 11);
                break;
            }
        }
    }
}

#[test]
fn an_init_that_fails_cleans_up() {
    let temp = tempfile::tempdir().unwrap();
    for skip in 0..11 {
        let plan = Plan {
            skip,
            only: None,
            ..Plan::fail(crate::sys::fs::mutation::Mutation::Sync, libc::ENOSPC)
        };
        let armed = arm(Scope::Thread, plan);
        let failed = init(temp.path(), &options(b"key"));
        if !armed.fired() {
            break;
        }
        drop(armed);
        if let Err(error) = failed {
            assert!(matches!(error, InitError::Backing(_)), "{error}");
            if !temp.path().join("keepfs.vault").exists() {
                let left = fs::read_dir(temp.path()).unwrap().count();
                assert_eq!(left, 0, "after failing change {skip}");
                continue;
            }
        }
        fs::remove_dir_all(temp.path().join("keepfs.slots")).unwrap();
        fs::remove_file(temp.path().join("keepfs.vault")).unwrap();
    }
}
