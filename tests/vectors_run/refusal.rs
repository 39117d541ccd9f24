//! What the vectors call the errors of the codec. Every variant is named, so a
//! new one has to be placed here.

use keepfs::codec::header::HeaderError;
use keepfs::codec::kdf::KdfError;
use keepfs::codec::names::NameError;
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
