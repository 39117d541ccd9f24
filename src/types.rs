//! Floor 0: one type per unit and per side, so that a plain offset can never
//! be passed where a cipher offset belongs. Crossing sides is the work of
//! [`crate::codec::geometry::Geometry`] alone.

use serde::{Deserialize, Serialize};

macro_rules! unit {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(u64);

        impl $name {
            /// Wraps a number that is already in this unit.
            #[must_use]
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The bare number, in this unit.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

unit! {
    /// Byte offset in the plaintext of a file.
    PlainOff;
    /// Byte offset in a file of the backing directory.
    CipherOff;
    /// Length of a file's plaintext, in bytes.
    PlainLen;
    /// Length of a file of the backing directory, in bytes.
    CipherLen;
    /// Number of a chunk of plaintext, and of the slot that stores it; from 0.
    ChunkNo;
    /// Inode number as the mount shows it; also the kernel's node id. The root is 1.
    Ino;
    /// Handle of an open file or directory.
    Fh;
}

impl Ino {
    /// The root of the mount; FUSE fixes this number.
    pub const ROOT: Self = Self(1);
}

impl ChunkNo {
    /// The chunk after this one; saturates, a file never has that many.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

macro_rules! id16 {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
        )]
        pub struct $name([u8; 16]);

        impl $name {
            /// Wraps 16 bytes.
            #[must_use]
            pub const fn new(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes.
            #[must_use]
            pub const fn bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            /// 32 lower-case hexadecimal digits.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }
    )*};
}

id16! {
    /// Key of the names inside a directory. Names a birthplace and is not
    /// unique: never a cache, lock or inode key (FORMAT.md, directories).
    DirId;
    /// Names the keys of a file's contents. Copies made on the backing share it.
    FileId;
    /// Names a vault; public.
    VaultId;
    /// Names one key slot; public, and its file's name.
    SlotId;
}

/// A point in time: seconds since 1970 (negative before), and nanoseconds
/// (0 to 999 999 999) after that second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Whole seconds; rounds towards the past.
    pub secs: i64,
    /// Nanoseconds past `secs`.
    pub nanos: u32,
}

impl Time {
    /// A microsecond earlier.
    #[must_use]
    pub const fn a_microsecond_earlier(self) -> Self {
        if self.nanos >= 1_000 {
            Self {
                nanos: self.nanos - 1_000,
                ..self
            }
        } else {
            Self {
                secs: self.secs.saturating_sub(1),
                nanos: self.nanos + 999_999_000,
            }
        }
    }

    /// A nanosecond later.
    #[must_use]
    pub fn next(self) -> Self {
        self.later(1)
    }

    /// So many nanoseconds later.
    #[must_use]
    pub fn later(self, nanos: u32) -> Self {
        const SECOND: u32 = 1_000_000_000;
        let sum = self.nanos % SECOND + nanos % SECOND;
        let more = nanos / SECOND + sum / SECOND;
        Self {
            secs: self.secs.saturating_add(i64::from(more)),
            nanos: sum % SECOND,
        }
    }
}

/// What to do with one timestamp; utimensat(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// Leave it.
    Omit,
    /// Set it to the backing's idea of now.
    Now,
    /// Set it to this time.
    At(Time),
}

/// How a file of the backing is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `O_RDONLY`
    Read,
    /// `O_RDWR`
    ReadWrite,
}

/// On whose behalf something is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// User of the new object.
    pub uid: u32,
    /// Group of the new object, unless its directory has the set-group-ID bit.
    pub gid: u32,
    /// Bits removed from the mode, unless its directory has a default ACL.
    pub umask: u32,
}

/// The kind of a file-system object; `S_IFMT` of its mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// Regular file.
    Regular,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Named pipe.
    Fifo,
    /// Unix socket.
    Socket,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
}

/// What a rename does with an existing target; renameat2(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameMode {
    /// Replace it atomically.
    Replace,
    /// Fail (`RENAME_NOREPLACE`).
    NoReplace,
    /// Swap the two (`RENAME_EXCHANGE`).
    Exchange,
}
