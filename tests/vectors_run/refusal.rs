//! What the vectors call the errors of the codec. Every variant is named, so a
//! new one has to be placed here.

use keepfs::codec::header::HeaderError;
use keepfs::codec::kdf::KdfError;
use keepfs::codec::names::NameError;
use keepfs::codec::recovery::{CombineError, LettersError, RecoveryTextError};
use keepfs::codec::vault::VaultFileError;
use keepfs::codec::vault::slot::SlotError;
use keepfs::codec::xattr::XattrError;

use crate::case::Refusal;

pub(crate) fn vault_refusal(error: VaultFileError) -> Refusal {
    Refusal(match error {
        VaultFileError::BadLength { .. } => &["bad-length"],
        VaultFileError::BadMagic => &["bad-magic"],
        VaultFileError::UnknownVersion(_) => &["unknown-version"],
        VaultFileError::BadChunkSize(_) => &["bad-chunk-size"],
        VaultFileError::ReservedNotZero => &["reserved-not-zero"],
    })
}

pub(crate) fn slot_refusal(error: &SlotError) -> Refusal {
    Refusal(match error {
        SlotError::BadLength { .. } => &["bad-length"],
        SlotError::BadMagic => &["bad-magic"],
        SlotError::UnknownVersion(_) => &["unknown-version"],
        SlotError::UnknownKind(_) => &["unknown-kind"],
        SlotError::ReservedNotZero => &["reserved-not-zero"],
        SlotError::BadLabel => &["bad-label"],
        SlotError::ForeignVault(_) => &["foreign-vault"],
        SlotError::KindMismatch { .. } => &["kind-mismatch"],
        SlotError::Kdf(KdfError::AboveCap { .. }) => &["cost-above-cap"],
        SlotError::Kdf(KdfError::BelowFloor { .. }) => &["cost-below-floor"],
        SlotError::Kdf(KdfError::OutOfMemory { .. } | KdfError::PassphraseTooLong)
        | SlotError::Random(_) => &["this machine's fault"],
        SlotError::WrongKey => &["wrong-key"],
        SlotError::VaultFileChanged(_) => &["vault-file-changed"],
        SlotError::NotAuthentic => &["wrap-damaged"],
        SlotError::FingerprintMismatch => &["fingerprint-mismatch"],
    })
}

pub(crate) fn recovery_refusal(error: &RecoveryTextError) -> Refusal {
    Refusal(match error {
        RecoveryTextError::Letters(LettersError::BadLetter { .. }) => &["bad-letter"],
        RecoveryTextError::Letters(LettersError::GroupLength { .. }) => &["group-length"],
        RecoveryTextError::Letters(LettersError::BadGroup { .. }) => &["bad-group"],
        RecoveryTextError::Letters(LettersError::BadSum) => &["bad-sum"],
        RecoveryTextError::Letters(LettersError::TooLong { .. }) => &["too-long"],
        RecoveryTextError::UnknownKind(_) => &["unknown-kind"],
        RecoveryTextError::BadShare => &["bad-share"],
    })
}

/// The group that a person is told to look at.
pub(crate) fn named_group(error: &RecoveryTextError) -> Option<usize> {
    match error {
        RecoveryTextError::Letters(
            LettersError::BadLetter { group, .. }
            | LettersError::GroupLength { group, .. }
            | LettersError::BadGroup { group },
        ) => Some(*group),
        RecoveryTextError::Letters(LettersError::BadSum | LettersError::TooLong { .. })
        | RecoveryTextError::UnknownKind(_)
        | RecoveryTextError::BadShare => None,
    }
}

pub(crate) fn combine_refusal(error: &CombineError) -> Refusal {
    Refusal(match error {
        CombineError::TooFew { .. } => &["too-few"],
        CombineError::OtherSet => &["other-set"],
        CombineError::SameNumber(_) => &["same-number"],
    })
}

pub(crate) fn header_refusal(error: HeaderError) -> Refusal {
    Refusal(match error {
        HeaderError::TooShort => &["too-short"],
        HeaderError::BadMagic => &["bad-magic"],
        HeaderError::ReservedNotZero => &["reserved-not-zero"],
        HeaderError::WrongFile { .. } => &["wrong-file"],
        HeaderError::NotAuthentic => &["not-authentic"],
        HeaderError::UnknownFlags(_) => &["unknown-flags"],
        HeaderError::ImpossibleSize(_) => &["impossible-size"],
    })
}

pub(crate) fn name_refusal(error: NameError) -> Refusal {
    Refusal(match error {
        NameError::NotAuthentic => &["not-authentic"],
        NameError::WrongSideFile => &["side-mismatch"],
        NameError::Malformed => &["bad-padding", "bad-name"],
    })
}

pub(crate) fn xattr_refusal(error: &XattrError) -> Refusal {
    Refusal(match error {
        XattrError::EmptyName | XattrError::BadName | XattrError::NameTooLong { .. } => {
            &["bad-name"]
        }
        XattrError::Malformed => &["foreign", "bad-text", "bad-padding", "too-short"],
        XattrError::NotAuthentic => &["not-authentic"],
        XattrError::ValueTooLong { .. } => &["value-too-long"],
        XattrError::Random(_) => &["this machine's fault"],
    })
}
