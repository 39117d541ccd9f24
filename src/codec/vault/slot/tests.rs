#![allow(clippy::unwrap_used, reason = "a failed test may panic")]
use proptest::prelude::*;

use super::*;
use crate::codec::geometry::Geometry;
use crate::codec::kdf::{self, Passphrase};
use crate::codec::recovery::RecoveryCode;
use crate::codec::testing::bit_flips;
use crate::codec::vault::create_vault;
use crate::codec::vault::credential::{EmptyKeyFile, KeyFile};

const COST: KdfCost = KdfCost {
    memory_kib: KdfCost::MIN_MEMORY_KIB,
    passes: KdfCost::MIN_PASSES,
    lanes: 2,
};
const CAPS: KdfCaps = KdfCaps {
    ram_kib: 1024 * 1024,
};

fn passphrase(text: &str) -> Passphrase {
    Passphrase::from_bytes(text.as_bytes().to_vec()).unwrap()
}

fn key_file(text: &str) -> KeyFile {
    KeyFile::from_bytes(text.as_bytes().to_vec()).unwrap()
}

fn vault() -> (MasterKey, VaultFile) {
    create_vault(Geometry::DEFAULT).unwrap()
}

fn wrap(vault: &(MasterKey, VaultFile), credential: &Credential, label: &str) -> Vec<u8> {
    let image = Slot::wrap(&vault.0, &vault.1, credential, &COST, label).unwrap();
    assert_eq!(image.sealed().len(), FIXED_LEN + label.len() + SEALED_LEN);
    image.bytes
}

fn all_kinds() -> [Credential; 4] {
    [
        Credential::Passphrase(passphrase("secret")),
        Credential::KeyFile(key_file("contents")),
        Credential::PassphraseAndKeyFile(passphrase("secret"), key_file("contents")),
        Credential::Recovery(RecoveryCode::from_bytes([6; 32])),
    ]
}

#[test]
fn every_kind_opens_with_its_own_credential_only() {
    let vault = vault();
    let wrong = [
        Credential::Passphrase(passphrase("Secret")),
        Credential::KeyFile(key_file("content")),
        Credential::PassphraseAndKeyFile(passphrase("secret"), key_file("content")),
        Credential::Recovery(RecoveryCode::from_bytes([7; 32])),
    ];
    for (number, (right, wrong)) in (1..).zip(all_kinds().iter().zip(&wrong)) {
        let bytes = wrap(&vault, right, "desk");
        assert_eq!(bytes[10], number);
        let slot = Slot::parse(&bytes).unwrap();
        assert_eq!(slot.kind(), right.kind());
        assert_eq!(slot.label(), "desk");
        assert_eq!(slot.vault_id(), vault.1.vault_id());
        let cost = slot.kind().takes_passphrase().then_some(COST);
        assert_eq!(slot.cost(), cost);
        let master = slot.unwrap(&vault.1, right, &CAPS).unwrap();
        assert_eq!(master.secret().bytes(), vault.0.secret().bytes());
        let refused = slot.unwrap(&vault.1, wrong, &CAPS);
        assert!(matches!(refused, Err(SlotError::WrongKey)));
        for other in all_kinds()
            .iter()
            .filter(|other| other.kind() != slot.kind())
        {
            let refused = slot.unwrap(&vault.1, other, &CAPS);
            assert!(matches!(refused, Err(SlotError::KindMismatch { .. })));
        }
    }
}

#[test]
fn the_bytes_are_those_of_the_table() {
    let vault = vault();
    let credential = Credential::PassphraseAndKeyFile(passphrase("p"), key_file("k"));
    let image = Slot::wrap(&vault.0, &vault.1, &credential, &COST, "ünï").unwrap();
    let bytes = image.sealed().bytes();
    assert_eq!(bytes[..12], *b"KEEPSLOT\x01\0\x03\0");
    assert_eq!(bytes[12..16], 209u32.to_le_bytes());
    assert_eq!(bytes[16..32], image.id().bytes()[..]);
    assert_eq!(bytes[32..48], vault.1.vault_id().bytes()[..]);
    assert_eq!(bytes[80..84], COST.memory_kib.to_le_bytes());
    assert_eq!(bytes[84..88], 3u32.to_le_bytes());
    assert_eq!(bytes[88..92], 2u32.to_le_bytes());
    assert_eq!(bytes[92..96], [0; 4]);
    assert_eq!(bytes[96..100], [5, 0, 0, 0]);
    assert_eq!(bytes[100..105], *"ünï".as_bytes());
    assert_eq!(bytes.len(), 209);

    // The key that opens it, written out.
    let salt = &bytes[48..80];
    let mut ikm = kdf::argon2id(&passphrase("p"), salt, &COST)
        .unwrap()
        .bytes()
        .to_vec();
    ikm.extend_from_slice(&Sha256::digest(b"k"));
    let vault_image = vault.1.encode();
    let mut info = b"keepfs v1 slot".to_vec();
    info.extend_from_slice(&Sha256::digest(&bytes[..105]));
    info.extend_from_slice(&Sha256::digest(&vault_image.sealed().bytes()[..32]));
    let mut both = [0; 64];
    Hkdf::<Sha256>::new(Some(salt), &ikm)
        .expand(&info, &mut both)
        .unwrap();
    assert_eq!(bytes[105..137], both[32..]);
    let kek = Secret::make(|kek| kek.copy_from_slice(&both[..32]));
    let plain = aead::open_message(&kek, &Ad::wrapped_key(), &bytes[137..]).unwrap();
    assert_eq!(plain, vault.0.secret().bytes());
}

#[test]
fn every_flipped_bit_of_slot_and_vault_file_is_refused() {
    let vault = vault();
    let credential = Credential::KeyFile(key_file("contents"));
    let bytes = wrap(&vault, &credential, "label");
    let open = |slot: &[u8], vault: &[u8]| {
        let vault = VaultFile::parse(vault).ok()?;
        let slot = Slot::parse(slot).ok()?;
        slot.unwrap(&vault, &credential, &CAPS).ok()
    };
    let image = vault.1.encode();
    let image = image.sealed().bytes();
    assert!(open(&bytes, image).is_some());
    for flipped in bit_flips(&bytes) {
        assert!(open(&flipped, image).is_none());
    }
    for flipped in bit_flips(image) {
        assert!(open(&bytes, &flipped).is_none());
    }
}

#[test]
fn what_was_changed_decides_the_error() {
    let vault = vault();
    let credential = Credential::Recovery(RecoveryCode::from_bytes([6; 32]));
    let bytes = wrap(&vault, &credential, "");
    let with = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        Slot::parse(&bytes).and_then(|slot| slot.unwrap(&vault.1, &credential, &CAPS))
    };
    assert!(matches!(with(0), Err(SlotError::BadMagic)));
    assert!(matches!(with(9), Err(SlotError::UnknownVersion(257))));
    assert!(matches!(with(10), Err(SlotError::UnknownKind(5))));
    assert!(matches!(with(11), Err(SlotError::ReservedNotZero)));
    assert!(matches!(with(12), Err(SlotError::BadLength { .. })));
    assert!(matches!(with(16), Err(SlotError::WrongKey)));
    assert!(matches!(with(32), Err(SlotError::ForeignVault(_))));
    assert!(matches!(with(48), Err(SlotError::WrongKey)));
    assert!(matches!(with(80), Err(SlotError::ReservedNotZero)));
    assert!(matches!(with(92), Err(SlotError::ReservedNotZero)));
    assert!(matches!(with(96), Err(SlotError::BadLength { .. })));
    assert!(matches!(with(98), Err(SlotError::BadLength { .. })));
    assert!(matches!(with(100), Err(SlotError::WrongKey)));
    assert!(matches!(with(140), Err(SlotError::NotAuthentic)));
}

#[test]
fn any_other_length_is_refused() {
    let bytes = wrap(&vault(), &Credential::KeyFile(key_file("k")), "label");
    for len in 0..bytes.len() {
        let refused = Slot::parse(&bytes[..len]);
        assert!(matches!(refused, Err(SlotError::BadLength { .. })), "{len}");
    }
    let mut long = bytes.clone();
    long.push(0);
    assert!(matches!(
        Slot::parse(&long),
        Err(SlotError::BadLength { .. })
    ));
    // Even where the stated lengths agree with each other.
    let total = u32::try_from(long.len()).unwrap();
    long[12..16].copy_from_slice(&total.to_le_bytes());
    assert!(matches!(
        Slot::parse(&long),
        Err(SlotError::BadLength { .. })
    ));
}

#[test]
fn a_cost_out_of_bounds_is_refused_before_it_is_paid() {
    let vault = vault();
    let credential = Credential::Passphrase(passphrase("secret"));
    let bytes = wrap(&vault, &credential, "");
    let with = |at: usize, value: u32| {
        let mut bytes = bytes.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        let slot = Slot::parse(&bytes).unwrap();
        slot.unwrap(&vault.1, &credential, &CAPS).err()
    };
    for (at, value) in [(80, 768 * 1024 + 1), (80, u32::MAX), (84, 21), (88, 17)] {
        let refused = with(at, value);
        assert!(matches!(
            refused,
            Some(SlotError::Kdf(KdfError::AboveCap { .. }))
        ));
    }
    for (at, value) in [(80, 65_535), (80, 0), (84, 2), (88, 0)] {
        let refused = with(at, value);
        assert!(matches!(
            refused,
            Some(SlotError::Kdf(KdfError::BelowFloor { .. }))
        ));
    }
    // Within bounds but changed: paid, and wrong.
    assert!(matches!(with(84, 4), Some(SlotError::WrongKey)));
    let weak = KdfCost { passes: 2, ..COST };
    let refused = Slot::wrap(&vault.0, &vault.1, &credential, &weak, "");
    assert!(matches!(
        refused,
        Err(SlotError::Kdf(KdfError::BelowFloor { .. }))
    ));
}

#[test]
fn labels_are_short_utf_8() {
    let vault = vault();
    let credential = Credential::KeyFile(key_file("k"));
    let longest = "x".repeat(64);
    let bytes = wrap(&vault, &credential, &longest);
    assert_eq!(bytes.len(), Slot::MAX_LEN);
    assert_eq!(Slot::parse(&bytes).unwrap().label(), longest);
    let refused = Slot::wrap(&vault.0, &vault.1, &credential, &COST, &"x".repeat(65));
    assert!(matches!(refused, Err(SlotError::BadLabel)));
    let mut bytes = bytes;
    bytes[100] = 0xff;
    assert!(matches!(Slot::parse(&bytes), Err(SlotError::BadLabel)));
}

#[test]
fn a_slot_of_another_vault_does_not_open_even_if_renamed() {
    let (ours, theirs) = (vault(), vault());
    let credential = Credential::KeyFile(key_file("same"));
    let mut bytes = wrap(&theirs, &credential, "");
    let slot = Slot::parse(&bytes).unwrap();
    let refused = slot.unwrap(&ours.1, &credential, &CAPS);
    assert!(matches!(refused, Err(SlotError::ForeignVault(id)) if id == theirs.1.vault_id()));
    bytes[32..48].copy_from_slice(ours.1.vault_id().bytes());
    let slot = Slot::parse(&bytes).unwrap();
    let refused = slot.unwrap(&ours.1, &credential, &CAPS);
    assert!(matches!(refused, Err(SlotError::WrongKey)));
    let refused = Slot::wrap(&theirs.0, &ours.1, &credential, &COST, "");
    assert!(matches!(refused, Err(SlotError::FingerprintMismatch)));
}

#[test]
fn another_fingerprint_is_noticed() {
    let vault = vault();
    let credential = Credential::KeyFile(key_file("k"));
    let slot = Slot::parse(&wrap(&vault, &credential, "")).unwrap();
    let mut image = vault.1.encode().sealed().bytes().to_vec();
    image[63] ^= 1;
    let other = VaultFile::parse(&image).unwrap();
    let refused = slot.unwrap(&other, &credential, &CAPS);
    assert!(matches!(refused, Err(SlotError::FingerprintMismatch)));
}

#[test]
fn an_empty_key_file_is_refused() {
    assert_eq!(KeyFile::from_bytes(Vec::new()).err(), Some(EmptyKeyFile));
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        kind in 0u8..6,
    ) {
        let _ = Slot::parse(&bytes);
        let mut bytes = bytes;
        if bytes.len() > 100 {
            let total = u32::try_from(bytes.len()).unwrap();
            bytes[..12].copy_from_slice(b"KEEPSLOT\x01\0\0\0");
            bytes[10] = kind;
            bytes[12..16].copy_from_slice(&total.to_le_bytes());
            let _ = Slot::parse(&bytes);
        }
    }
}
