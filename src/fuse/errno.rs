//! The one place where an error number is chosen. No match here has a
//! wildcard arm: a new error cannot be added without deciding its number.

use fuser::Errno;

use crate::name::BadName;
use crate::view::FsError;

/// Why a request is answered with an error.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The view said no.
    #[error(transparent)]
    View(#[from] FsError),
    /// The name in the request is none.
    #[error(transparent)]
    Name(#[from] BadName),
    /// The adapter itself declines.
    #[error(transparent)]
    Request(#[from] BadRequest),
}

/// What the adapter declines without asking the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadRequest {
    /// The kernel does this work itself once told so; see the operation.
    #[error("the kernel does this itself")]
    LeftToKernel,
    /// No ioctl is defined here.
    #[error("no such ioctl")]
    NoIoctl,
    /// renameat2(2) with flags beyond NOREPLACE and EXCHANGE, or both.
    #[error("unknown rename flags")]
    RenameFlags,
    /// fallocate(2) with a mode not in the table of `convert`.
    #[error("unknown fallocate mode")]
    FallocateMode,
    /// setxattr(2) with flags beyond CREATE or REPLACE, or both.
    #[error("unknown setxattr flags")]
    XattrFlags,
    /// lseek(2) with a whence beyond DATA and HOLE.
    #[error("unknown whence")]
    Whence,
    /// lseek(2) to before the beginning, or to behind any possible end.
    #[error("offset out of range")]
    SeekOffset,
    /// The caller's buffer is smaller than the answer.
    #[error("the answer does not fit the buffer")]
    SmallBuffer,
    /// The answer is larger than Linux allows attributes to be.
    #[error("the answer of {0} bytes is larger than 64 KiB")]
    HugeAnswer(u32),
    /// The attribute is one that never exists here.
    #[error("no such attribute")]
    NoAttribute,
    /// A create without `O_EXCL` met a file the kernel did not know of; told
    /// so, it looks the name up again and opens what it finds, permission
    /// checks included.
    #[error("the name has come into being meanwhile")]
    CreateRace,
    /// A defect of keepfs; the guard caught it.
    #[error("internal error")]
    Panicked,
}

/// The number that is sent to the kernel.
pub(super) fn errno(refusal: &Refusal) -> Errno {
    match refusal {
        Refusal::View(error) => of_view(error),
        Refusal::Name(error) => of_name(*error),
        Refusal::Request(error) => of_request(*error),
    }
}

/// The backing's own number passes through; what has none is EIO.
fn of_view(error: &FsError) -> Errno {
    match error {
        FsError::NotFound => Errno::ENOENT,
        FsError::Exists => Errno::EEXIST,
        FsError::NotEmpty => Errno::ENOTEMPTY,
        FsError::NotDirectory => Errno::ENOTDIR,
        FsError::IsDirectory => Errno::EISDIR,
        FsError::NameTooLong => Errno::ENAMETOOLONG,
        FsError::Invalid(_) => Errno::EINVAL,
        FsError::ReadOnly => Errno::EROFS,
        FsError::NotPermitted => Errno::EPERM,
        FsError::Damaged(_) | FsError::NotAuthentic | FsError::Random(_) => Errno::EIO,
        FsError::Stale => Errno::ESTALE,
        FsError::NotSupported => Errno::EOPNOTSUPP,
        FsError::NoAttribute => Errno::ENODATA,
        FsError::AttributeTooLarge => Errno::ERANGE,
        FsError::BadHandle => Errno::EBADF,
        FsError::BeyondEnd => Errno::ENXIO,
        FsError::TooBig => Errno::EFBIG,
        FsError::Backing(source) => source.raw_os_error().map_or(Errno::EIO, Errno::from_i32),
    }
}

const fn of_name(error: BadName) -> Errno {
    match error {
        BadName::Empty => Errno::ENOENT,
        BadName::TooLong => Errno::ENAMETOOLONG,
        BadName::BadByte | BadName::Dots => Errno::EINVAL,
    }
}

const fn of_request(error: BadRequest) -> Errno {
    match error {
        BadRequest::LeftToKernel => Errno::ENOSYS,
        BadRequest::NoIoctl => Errno::ENOTTY,
        BadRequest::RenameFlags | BadRequest::XattrFlags | BadRequest::Whence => Errno::EINVAL,
        BadRequest::FallocateMode => Errno::EOPNOTSUPP,
        BadRequest::SeekOffset => Errno::ENXIO,
        BadRequest::SmallBuffer => Errno::ERANGE,
        BadRequest::HugeAnswer(_) => Errno::E2BIG,
        BadRequest::NoAttribute => Errno::ENODATA,
        BadRequest::CreateRace => Errno::ESTALE,
        BadRequest::Panicked => Errno::EIO,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn code(refusal: impl Into<Refusal>) -> i32 {
        errno(&refusal.into()).code()
    }

    #[test]
    fn the_backings_number_passes_through_and_without_one_it_is_eio() {
        for number in [
            libc::ENOSPC,
            libc::EDQUOT,
            libc::EIO,
            libc::EROFS,
            libc::ENAMETOOLONG,
        ] {
            let error = FsError::Backing(io::Error::from_raw_os_error(number));
            assert_eq!(code(error), number);
        }
        assert_eq!(
            code(FsError::Backing(io::Error::other("no number"))),
            libc::EIO
        );
    }

    #[test]
    fn each_bad_name_has_its_number() {
        assert_eq!(code(BadName::TooLong), libc::ENAMETOOLONG);
        assert_eq!(code(BadName::Dots), libc::EINVAL);
        assert_eq!(code(BadName::BadByte), libc::EINVAL);
        assert_eq!(code(BadName::Empty), libc::ENOENT);
    }

    #[test]
    fn a_defect_is_an_io_error_and_a_create_race_makes_the_kernel_retry() {
        assert_eq!(code(BadRequest::Panicked), libc::EIO);
        assert_eq!(code(BadRequest::CreateRace), libc::ESTALE);
    }
}
