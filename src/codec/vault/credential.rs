//! What opens a slot.

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::codec::kdf::{self, KdfCost, KdfError, Passphrase};
use crate::codec::parts::Parts;
use crate::codec::random::{self, RandomError};
use crate::codec::recovery::RecoveryCode;
use crate::codec::secret::Secret;

/// Bytes of the salt of a slot.
pub(super) const SALT_LEN: usize = 32;

/// What a slot takes to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotKind {
    /// A passphrase.
    Passphrase,
    /// A key file.
    KeyFile,
    /// A passphrase and a key file.
    PassphraseAndKeyFile,
    /// A recovery code.
    Recovery,
}

impl SlotKind {
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Passphrase => 1,
            Self::KeyFile => 2,
            Self::PassphraseAndKeyFile => 3,
            Self::Recovery => 4,
        }
    }

    pub(super) fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Passphrase),
            2 => Some(Self::KeyFile),
            3 => Some(Self::PassphraseAndKeyFile),
            4 => Some(Self::Recovery),
            _ => None,
        }
    }

    /// Whether a passphrase is part of it, so that Argon2id must be paid.
    #[must_use]
    pub fn takes_passphrase(self) -> bool {
        match self {
            Self::Passphrase | Self::PassphraseAndKeyFile => true,
            Self::KeyFile | Self::Recovery => false,
        }
    }
}

impl std::fmt::Display for SlotKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Passphrase => "passphrase",
            Self::KeyFile => "key file",
            Self::PassphraseAndKeyFile => "passphrase with key file",
            Self::Recovery => "recovery code",
        })
    }
}

/// The contents of a key file, hashed.
pub struct KeyFile(Secret<32>);

/// A key file without a single byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key file is empty")]
pub struct EmptyKeyFile;

impl KeyFile {
    /// Takes over the contents of a key file and wipes them.
    ///
    /// # Errors
    /// There are none.
    pub fn from_bytes(contents: Vec<u8>) -> Result<Self, EmptyKeyFile> {
        let contents = Zeroizing::new(contents);
        if contents.is_empty() {
            return Err(EmptyKeyFile);
        }
        Ok(Self(Secret::make(|hash| {
            hash.copy_from_slice(&Sha256::digest(&*contents));
        })))
    }

    /// Contents for a new key file: 64 random bytes.
    ///
    /// # Errors
    /// No randomness.
    pub fn generate() -> Result<Zeroizing<[u8; 64]>, RandomError> {
        let mut contents = Zeroizing::new([0; 64]);
        random::fill(&mut *contents)?;
        Ok(contents)
    }
}

/// What somebody offers to open a slot.
pub enum Credential {
    /// For slots of kind 1.
    Passphrase(Passphrase),
    /// For slots of kind 2.
    KeyFile(KeyFile),
    /// For slots of kind 3.
    PassphraseAndKeyFile(Passphrase, KeyFile),
    /// For slots of kind 4.
    Recovery(RecoveryCode),
}

impl Credential {
    /// The kind of slot that it opens.
    #[must_use]
    pub fn kind(&self) -> SlotKind {
        match self {
            Self::Passphrase(_) => SlotKind::Passphrase,
            Self::KeyFile(_) => SlotKind::KeyFile,
            Self::PassphraseAndKeyFile(..) => SlotKind::PassphraseAndKeyFile,
            Self::Recovery(_) => SlotKind::Recovery,
        }
    }

    /// `ikm`: the parts that the kind has, in order. Pays `cost` if one of
    /// them is a passphrase.
    pub(super) fn ikm(
        &self,
        salt: &[u8; SALT_LEN],
        cost: &KdfCost,
    ) -> Result<Zeroizing<Vec<u8>>, KdfError> {
        // Room for two parts: it never moves, which would leave a copy.
        let mut ikm = Zeroizing::new(Vec::with_capacity(64));
        match self {
            Self::Passphrase(passphrase) => {
                ikm.extend_from_slice(kdf::argon2id(passphrase, salt, cost)?.bytes());
            }
            Self::KeyFile(KeyFile(hash)) => ikm.extend_from_slice(hash.bytes()),
            Self::PassphraseAndKeyFile(passphrase, KeyFile(hash)) => {
                ikm.extend_from_slice(kdf::argon2id(passphrase, salt, cost)?.bytes());
                ikm.extend_from_slice(hash.bytes());
            }
            Self::Recovery(code) => ikm.extend_from_slice(code.secret().bytes()),
        }
        Ok(ikm)
    }
    /// The credential as bytes, for the pipe to a process that unlocks in our
    /// place; never for a file.
    ///
    /// ```text
    /// kind (1) || SHA-256(key file) or recovery code (32), where the kind has it
    ///          || passphrase, to the end, where the kind has it
    /// ```
    #[must_use]
    pub fn to_pipe(&self) -> Zeroizing<Vec<u8>> {
        let (fixed, passphrase): (Option<&Secret<32>>, &[u8]) = match self {
            Self::Passphrase(passphrase) => (None, passphrase.bytes()),
            Self::KeyFile(KeyFile(hash)) => (Some(hash), &[]),
            Self::PassphraseAndKeyFile(passphrase, KeyFile(hash)) => {
                (Some(hash), passphrase.bytes())
            }
            Self::Recovery(code) => (Some(code.secret()), &[]),
        };
        // Room for all: it never moves, which would leave a copy.
        let mut bytes = Zeroizing::new(Vec::with_capacity(33 + passphrase.len()));
        bytes.push(self.kind().number());
        bytes.extend(fixed.into_iter().flat_map(|secret| secret.bytes()));
        bytes.extend_from_slice(passphrase);
        bytes
    }

    /// What [`Self::to_pipe`] gave; `None` for any other bytes.
    #[must_use]
    pub fn from_pipe(bytes: &[u8]) -> Option<Self> {
        let (&number, rest) = bytes.split_first()?;
        let passphrase = |bytes: &[u8]| Passphrase::from_bytes(bytes.to_vec()).ok();
        let fixed = |bytes: &[u8]| {
            let mut parts = Parts::new(bytes);
            Secret::make(|secret| *secret = *parts.take())
        };
        match SlotKind::from_number(number)? {
            SlotKind::Passphrase => Some(Self::Passphrase(passphrase(rest)?)),
            SlotKind::KeyFile if rest.len() == 32 => Some(Self::KeyFile(KeyFile(fixed(rest)))),
            SlotKind::PassphraseAndKeyFile => {
                let (hash, rest) = rest.split_at_checked(32)?;
                let key_file = KeyFile(fixed(hash));
                Some(Self::PassphraseAndKeyFile(passphrase(rest)?, key_file))
            }
            SlotKind::Recovery if rest.len() == 32 => {
                Some(Self::Recovery(RecoveryCode::from_secret(fixed(rest))))
            }
            SlotKind::KeyFile | SlotKind::Recovery => None,
        }
    }
}
