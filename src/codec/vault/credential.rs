//! What opens a slot.

use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::codec::kdf::{self, KdfCost, KdfError, Passphrase};
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
            Self::PassphraseAndKeyFile => "passphrase and key file",
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
}

/// A recovery code: 256 random bits.
pub struct RecoveryCode(Secret<32>);

impl RecoveryCode {
    /// Takes over the 32 bytes of a recovery code and wipes them.
    #[must_use]
    pub fn from_bytes(mut code: [u8; 32]) -> Self {
        let secret = Secret::make(|bytes| bytes.copy_from_slice(&code));
        code.zeroize();
        Self(secret)
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
            Self::Recovery(RecoveryCode(code)) => ikm.extend_from_slice(code.bytes()),
        }
        Ok(ikm)
    }
}
