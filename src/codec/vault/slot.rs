//! `keepfs.slots/ID.slot`: one way in. Written once, never changed.
//!
//! | at | bytes | meaning |
//! |---|---|---|
//! | 0 | 8 | `KEEPSLOT` |
//! | 8 | 2 | version = 1 |
//! | 10 | 1 | kind: 1 passphrase, 2 key file, 3 both, 4 recovery code |
//! | 11 | 1 | zero |
//! | 12 | 4 | total length |
//! | 16 | 16 | slot_id |
//! | 32 | 16 | vault_id |
//! | 48 | 32 | salt |
//! | 80 | 16 | Argon2id memory in KiB, passes, lanes, zero; all zero for kinds 2 and 4 |
//! | 96 | 4 | length of the label (0 to 64), of the extension (0) |
//! | 100 | .. | label, UTF-8, public |
//! | .. | 32 | commit |
//! | .. | 72 | nonce 24, wrapped master key 32, tag 16 |
//!
//! ```text
//! ikm = Argon2id(passphrase, salt) || SHA-256(key file), or the recovery code
//! KEK 32 || commit 32 = HKDF-SHA-256(salt, ikm, info)
//! info = "keepfs v1 slot" || SHA-256(all before commit) || SHA-256(keepfs.vault[0..32])
//! ```

use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::codec::Sealed;
use crate::codec::aead::{self, Ad, NONCE_LEN, Nonce, TAG_LEN};
use crate::codec::geometry::Geometry;
use crate::codec::kdf::{KdfCaps, KdfCost, KdfError};
use crate::codec::keys::{self, KeyTree, MasterKey};
use crate::codec::parts::Parts;
use crate::codec::random::{self, RandomError};
use crate::codec::secret::{Secret, wipe_stack};
use crate::types::{SlotId, VaultId};

use super::VaultFile;
use super::credential::{Credential, SALT_LEN, SlotKind};

const MAGIC: [u8; 8] = *b"KEEPSLOT";
const VERSION: u16 = 1;
const INFO: &[u8] = b"keepfs v1 slot";
/// Magic, version and kind: what every version has.
const LEAD_LEN: usize = MAGIC.len() + 3;
/// All before the label.
const FIXED_LEN: usize = 100;
const COMMIT_LEN: usize = 32;
const WRAPPED_LEN: usize = NONCE_LEN + 32 + TAG_LEN;
/// All behind the label.
const SEALED_LEN: usize = COMMIT_LEN + WRAPPED_LEN;

/// Why a slot cannot be read, written or opened.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// It is too short or too long, or its lengths do not add up.
    #[error("the key slot has a wrong length ({len} bytes)")]
    BadLength {
        /// Bytes it has.
        len: usize,
    },
    /// Its first bytes are others.
    #[error("the file is no key slot")]
    BadMagic,
    /// A version this program does not know.
    #[error("the key slot needs a newer keepfs (version {0})")]
    UnknownVersion(u16),
    /// A kind this program does not know.
    #[error("the key slot needs a newer keepfs (kind {0})")]
    UnknownKind(u8),
    /// A byte that must be zero is not.
    #[error("a reserved byte of the key slot is not zero")]
    ReservedNotZero,
    /// The label is too long or not UTF-8.
    #[error(
        "the key slot's label is not UTF-8 text of at most {} bytes",
        Slot::MAX_LABEL_LEN
    )]
    BadLabel,
    /// It belongs to another vault.
    #[error("the key slot belongs to another vault ({0})")]
    ForeignVault(VaultId),
    /// It takes something else than what was offered.
    #[error("the key slot takes a {slot}, not a {offered}")]
    KindMismatch {
        /// What it takes.
        slot: SlotKind,
        /// What was offered.
        offered: SlotKind,
    },
    /// Argon2id costs too much, too little or more memory than there is.
    #[error(transparent)]
    Kdf(#[from] KdfError),
    /// What was offered is not what the slot was made with, or the slot was
    /// changed; the two look the same.
    #[error("this does not open the key slot")]
    WrongKey,
    /// The right key, but the vault was made with another chunk size than
    /// `keepfs.vault` says.
    #[error(
        "the key is right, but keepfs.vault was changed: it must state chunks of {0} bytes; put a copy of the file back"
    )]
    VaultFileChanged(usize),
    /// The right key, but the wrapped master key is damaged.
    #[error("the key slot is damaged")]
    NotAuthentic,
    /// The right key, but not the one whose fingerprint `keepfs.vault` states.
    #[error(
        "the key is right, but the fingerprint in keepfs.vault is another: the file was changed; put a copy of it back"
    )]
    FingerprintMismatch,
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// A key slot, parsed; nothing proves it before it is unwrapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    id: SlotId,
    vault_id: VaultId,
    kind: SlotKind,
    /// All zero for kinds without a passphrase.
    cost: KdfCost,
    salt: [u8; SALT_LEN],
    label: String,
    /// SHA-256 of all before `commit`.
    bound: [u8; 32],
    commit: [u8; COMMIT_LEN],
    wrapped: [u8; WRAPPED_LEN],
}

/// A key slot as it is written.
pub struct SlotImage {
    id: SlotId,
    bytes: Vec<u8>,
}

impl SlotImage {
    /// Names its file: `entry::slot_file_name`.
    #[must_use]
    pub fn id(&self) -> SlotId {
        self.id
    }

    /// The bytes to be written.
    #[must_use]
    pub fn sealed(&self) -> Sealed<'_> {
        Sealed::new(&self.bytes)
    }
}

impl Slot {
    /// Longest label, in bytes.
    pub const MAX_LABEL_LEN: usize = 64;
    /// Longest slot of this version, in bytes.
    pub const MAX_LEN: usize = FIXED_LEN + Self::MAX_LABEL_LEN + SEALED_LEN;

    /// Reads a slot.
    ///
    /// # Errors
    /// Whatever differs from the table above; a cost out of bounds does not.
    pub fn parse(bytes: &[u8]) -> Result<Self, SlotError> {
        let bad_length = || SlotError::BadLength { len: bytes.len() };
        if bytes.len() < LEAD_LEN {
            return Err(bad_length());
        }
        let mut parts = Parts::new(bytes);
        if parts.take() != &MAGIC {
            return Err(SlotError::BadMagic);
        }
        let version = parts.u16();
        if version != VERSION {
            return Err(SlotError::UnknownVersion(version));
        }
        let [number] = *parts.take();
        let kind = SlotKind::from_number(number).ok_or(SlotError::UnknownKind(number))?;
        if bytes.len() < FIXED_LEN + SEALED_LEN {
            return Err(bad_length());
        }
        let zero: &[u8; 1] = parts.take();
        let total = parts.u32();
        let id = SlotId::new(*parts.take());
        let vault_id = VaultId::new(*parts.take());
        let salt = *parts.take();
        let cost = KdfCost {
            memory_kib: parts.u32(),
            passes: parts.u32(),
            lanes: parts.u32(),
        };
        let zero_cost = parts.u32();
        let label_len = usize::from(parts.u16());
        let extension_len = parts.u16();
        if zero != &[0] || zero_cost != 0 || (!kind.takes_passphrase() && cost != KdfCost::NONE) {
            return Err(SlotError::ReservedNotZero);
        }
        if usize::try_from(total) != Ok(bytes.len())
            || extension_len != 0
            || parts.left() != label_len + SEALED_LEN
        {
            return Err(bad_length());
        }
        let label = check_label(parts.take_slice(label_len))?.to_owned();
        let (public, _) = bytes.split_at(FIXED_LEN + label_len);
        Ok(Self {
            id,
            vault_id,
            kind,
            cost,
            salt,
            label,
            bound: Sha256::digest(public).into(),
            commit: *parts.take(),
            wrapped: *parts.take(),
        })
    }

    /// Wraps a vault's master key for `credential`. `cost` is what a
    /// passphrase shall cost; kinds without one ignore it.
    ///
    /// # Errors
    /// The label or the cost is out of bounds; `master` is not `vault`'s; no
    /// randomness.
    pub fn wrap(
        master: &MasterKey,
        vault: &VaultFile,
        credential: &Credential,
        cost: &KdfCost,
        label: &str,
    ) -> Result<SlotImage, SlotError> {
        let image = Self::try_wrap(master, vault, credential, cost, label);
        wipe_stack();
        image
    }

    /// Never inlined, so that all of its stack is below that of its caller.
    #[inline(never)]
    fn try_wrap(
        master: &MasterKey,
        vault: &VaultFile,
        credential: &Credential,
        cost: &KdfCost,
        label: &str,
    ) -> Result<SlotImage, SlotError> {
        check_label(label.as_bytes())?;
        check_fingerprint(master, vault)?;
        let kind = credential.kind();
        let cost = if kind.takes_passphrase() {
            cost.check_floor()?;
            cost
        } else {
            &KdfCost::NONE
        };
        let id = SlotId::new(random::array()?);
        let salt = random::array()?;
        let nonce: Nonce = random::array()?;
        let public = Public {
            id,
            vault_id: vault.vault_id(),
            kind,
            cost,
            salt: &salt,
            label,
        };
        let mut bytes = public.encode();
        let bound = Sha256::digest(&bytes).into();
        let keys = SlotKeys::derive(&salt, &credential.ikm(&salt, cost)?, &bound, vault);
        let wrapped = aead::seal_message(
            &keys.kek,
            &nonce,
            &Ad::wrapped_key(),
            master.secret().bytes(),
        );
        bytes.extend_from_slice(keys.commit.bytes());
        bytes.extend_from_slice(&wrapped);
        Ok(SlotImage { id, bytes })
    }

    /// Opens the slot: bounds of the cost first, then the commitment, the
    /// wrapped key, and the fingerprint in `vault`.
    ///
    /// # Errors
    /// All but those of [`Self::parse`] and `Random`.
    pub fn unwrap(
        &self,
        vault: &VaultFile,
        credential: &Credential,
        caps: &KdfCaps,
    ) -> Result<MasterKey, SlotError> {
        let master = self.try_unwrap(vault, credential, caps);
        wipe_stack();
        master
    }

    /// Never inlined, so that all of its stack is below that of its caller.
    #[inline(never)]
    fn try_unwrap(
        &self,
        vault: &VaultFile,
        credential: &Credential,
        caps: &KdfCaps,
    ) -> Result<MasterKey, SlotError> {
        if self.vault_id != vault.vault_id() {
            return Err(SlotError::ForeignVault(self.vault_id));
        }
        if self.kind != credential.kind() {
            return Err(SlotError::KindMismatch {
                slot: self.kind,
                offered: credential.kind(),
            });
        }
        if self.kind.takes_passphrase() {
            self.cost.check_caps(caps)?;
            self.cost.check_floor()?;
        }
        let ikm = credential.ikm(&self.salt, &self.cost)?;
        let keys = SlotKeys::derive(&self.salt, &ikm, &self.bound, vault);
        if !self.is_committed_by(&keys) {
            return Err(self.wrong_key(vault, &ikm));
        }
        let (nonce, cipher, tag) =
            aead::split_message(&self.wrapped).expect("72 bytes are longer than nonce and tag");
        let master = Secret::try_make(|plain| {
            aead::open(&keys.kek, nonce, &Ad::wrapped_key(), cipher, tag, plain)
        });
        let master =
            MasterKey::from_secret(master.map_err(|aead::NotAuthentic| SlotError::NotAuthentic)?);
        check_fingerprint(&master, vault)?;
        Ok(master)
    }

    fn is_committed_by(&self, keys: &SlotKeys) -> bool {
        keys.commit.bytes().ct_eq(&self.commit).into()
    }

    /// Tells a wrong key from a right one beside a `keepfs.vault` with another
    /// chunk size: there are nine of them, and trying costs no Argon2id. Who
    /// has no key learns nothing from it.
    fn wrong_key(&self, vault: &VaultFile, ikm: &[u8]) -> SlotError {
        let made_with = Geometry::all().find(|&geometry| {
            let vault = vault.with_geometry(geometry);
            self.is_committed_by(&SlotKeys::derive(&self.salt, ikm, &self.bound, &vault))
        });
        made_with.map_or(SlotError::WrongKey, |geometry| {
            SlotError::VaultFileChanged(geometry.chunk_size())
        })
    }

    /// Its id, by which its file is called.
    #[must_use]
    pub fn id(&self) -> SlotId {
        self.id
    }

    /// The vault that it says it belongs to.
    #[must_use]
    pub fn vault_id(&self) -> VaultId {
        self.vault_id
    }

    /// What it takes to open it.
    #[must_use]
    pub fn kind(&self) -> SlotKind {
        self.kind
    }

    /// What its passphrase costs; `None` for kinds without one.
    #[must_use]
    pub fn cost(&self) -> Option<KdfCost> {
        self.kind.takes_passphrase().then_some(self.cost)
    }

    /// Its label: public, unproven, and not fit for a terminal unescaped.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }
}

fn check_label(label: &[u8]) -> Result<&str, SlotError> {
    if label.len() > Slot::MAX_LABEL_LEN {
        return Err(SlotError::BadLabel);
    }
    std::str::from_utf8(label).map_err(|_| SlotError::BadLabel)
}

fn check_fingerprint(master: &MasterKey, vault: &VaultFile) -> Result<(), SlotError> {
    if KeyTree::derive(vault.vault_id(), master).fingerprint() == vault.fingerprint() {
        Ok(())
    } else {
        Err(SlotError::FingerprintMismatch)
    }
}

/// All before `commit`.
struct Public<'a> {
    id: SlotId,
    vault_id: VaultId,
    kind: SlotKind,
    cost: &'a KdfCost,
    salt: &'a [u8; SALT_LEN],
    label: &'a str,
}

impl Public<'_> {
    fn encode(&self) -> Vec<u8> {
        let short = "a label has at most 64 bytes";
        let label_len = u16::try_from(self.label.len()).expect(short);
        let total = u32::try_from(FIXED_LEN + self.label.len() + SEALED_LEN).expect(short);
        let mut bytes = Vec::with_capacity(Slot::MAX_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[self.kind.number(), 0]);
        bytes.extend_from_slice(&total.to_le_bytes());
        bytes.extend_from_slice(self.id.bytes());
        bytes.extend_from_slice(self.vault_id.bytes());
        bytes.extend_from_slice(self.salt);
        for part in [self.cost.memory_kib, self.cost.passes, self.cost.lanes, 0] {
            bytes.extend_from_slice(&part.to_le_bytes());
        }
        bytes.extend_from_slice(&label_len.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(self.label.as_bytes());
        bytes
    }
}

/// `KEK || commit`.
struct SlotKeys {
    kek: Secret<32>,
    commit: Secret<COMMIT_LEN>,
}

impl SlotKeys {
    fn derive(salt: &[u8; SALT_LEN], ikm: &[u8], bound: &[u8; 32], vault: &VaultFile) -> Self {
        let prk = Hkdf::<Sha256>::new(Some(salt), ikm);
        let mut both = Zeroizing::new([0; 64]);
        keys::expand(&prk, &[INFO, bound, &vault.bound_hash()], &mut *both);
        let (kek, commit) = both.split_at(32);
        Self {
            kek: Secret::make(|bytes| bytes.copy_from_slice(kek)),
            commit: Secret::make(|bytes| bytes.copy_from_slice(commit)),
        }
    }
}

#[cfg(test)]
mod tests;
