//! `Tree`: what a copy needs of the trees it copies between. There are two:
//! a vault, and a plain directory.

use std::io;
use std::ops::Range;

use crate::codec::xattr::XattrError;
use crate::name::PlainName;
use crate::store::StoreNode;
use crate::sys::fs::{NodeFd, Stat};
use crate::sys::process;
use crate::types::{FileKind, RenameMode, SetTime, Time};
use crate::vault::dir::DirError;
use crate::vault::file::FileError;

/// Why something in one of the two trees cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The system's own answer.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A directory of the vault.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// A file of the vault.
    #[error(transparent)]
    File(#[from] FileError),
    /// An attribute of the vault.
    #[error(transparent)]
    Attribute(#[from] XattrError),
    /// The plain tree leads into the directory with the ciphertext.
    #[error("it is the vault's own directory")]
    TheVault,
    /// Somebody else works in the target directory.
    #[error("what was begun there has been replaced by something else")]
    Replaced,
}

impl TreeError {
    /// The system's answer at the bottom of it, if there is one.
    #[must_use]
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            Self::Io(error)
            | Self::Dir(DirError::Backing(error) | DirError::PinUnreadable(error))
            | Self::File(FileError::Io(error)) => Some(error),
            Self::Dir(
                DirError::PinMalformed(_)
                | DirError::NothingOpens
                | DirError::Link(_)
                | DirError::Random(_),
            )
            | Self::File(
                FileError::Damaged(_)
                | FileError::TooBig
                | FileError::BeyondEnd
                | FileError::Random(_)
                | FileError::NotWritable,
            )
            | Self::Attribute(_)
            | Self::TheVault
            | Self::Replaced => None,
        }
    }

    /// Whether the vault's bytes are not what was stored.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Dir(DirError::PinMalformed(_) | DirError::NothingOpens | DirError::Link(_))
            | Self::File(FileError::Damaged(_))
            | Self::Attribute(XattrError::Malformed | XattrError::NotAuthentic) => true,
            Self::Dir(DirError::Backing(_) | DirError::PinUnreadable(_) | DirError::Random(_))
            | Self::File(
                FileError::Io(_)
                | FileError::TooBig
                | FileError::BeyondEnd
                | FileError::Random(_)
                | FileError::NotWritable,
            )
            | Self::Attribute(
                XattrError::EmptyName
                | XattrError::BadName
                | XattrError::NameTooLong { .. }
                | XattrError::ValueTooLong { .. }
                | XattrError::Random(_),
            )
            | Self::Io(_)
            | Self::TheVault
            | Self::Replaced => false,
        }
    }

    /// The errno, if the system gave one.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.io().and_then(io::Error::raw_os_error)
    }
}

/// A directory's contents.
#[derive(Default)]
pub(super) struct Listing {
    /// The entries; their kinds only where the listing tells them.
    pub(super) entries: Vec<(PlainName, Option<FileKind>)>,
    /// Names that do not open.
    pub(super) lost: u64,
}

/// An extended attribute by its name in plain, `user.` included.
pub(super) struct Attribute {
    pub(super) name: Vec<u8>,
    pub(super) value: Vec<u8>,
}

/// Attributes that were read, and why others were not.
#[derive(Default)]
pub(super) struct Attributes {
    pub(super) found: Vec<Attribute>,
    pub(super) lost: Vec<TreeError>,
}

/// What an object looks like apart from its contents.
pub(super) struct Look {
    kind: Option<FileKind>,
    uid: u32,
    gid: u32,
    perm: u32,
    atime: Time,
    mtime: Time,
    attributes: Vec<Attribute>,
}

impl Look {
    pub(super) fn new(stat: &Stat, attributes: Vec<Attribute>) -> Self {
        Self {
            kind: stat.kind(),
            uid: stat.uid,
            gid: stat.gid,
            perm: stat.perm(),
            atime: stat.atime,
            mtime: stat.mtime,
            attributes,
        }
    }

    /// Without the bits that make a program run as its owner or group.
    pub(super) fn drop_set_id(&mut self) {
        self.perm &= !(SUID | SGID);
    }
}

/// What is begun in a target directory, other than a regular file.
pub(super) enum Begin<'a, D> {
    Symlink(&'a [u8]),
    /// A FIFO, socket or device; the mode carries the kind.
    Node {
        mode: u32,
        rdev: u64,
    },
    /// One more name of this object.
    Link(&'a D, &'a PlainName),
}

/// A tree of directories, files, links and the rest, in plain. Sizes in
/// [`Stat`] are those of the plaintext. Nothing follows a symbolic link.
pub(super) trait Tree: Sync {
    /// An open directory.
    type Dir: Send + Sync;
    /// An open regular file.
    type File;
    /// An object under a temporary name.
    type Draft;

    /// The entries, without what earlier copies left unfinished.
    fn list(&self, dir: &Self::Dir) -> Result<Listing, TreeError>;
    fn find(&self, dir: &Self::Dir, name: &PlainName) -> Result<Option<Stat>, TreeError>;
    fn stat_file(&self, file: &Self::File) -> Result<Stat, TreeError>;
    fn open_dir(&self, dir: &Self::Dir, name: &PlainName) -> Result<Self::Dir, TreeError>;
    fn open_file(&self, dir: &Self::Dir, name: &PlainName) -> Result<Self::File, TreeError>;
    fn read_link(&self, dir: &Self::Dir, name: &PlainName) -> Result<Vec<u8>, TreeError>;
    fn dir_attributes(&self, dir: &Self::Dir) -> Result<Attributes, TreeError>;
    fn file_attributes(&self, file: &Self::File) -> Result<Attributes, TreeError>;

    /// Replaces `out` by up to `len` bytes; fewer only where the file ends.
    fn read(
        &self,
        file: &Self::File,
        at: u64,
        len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), TreeError>;
    /// The next run of bytes at or after `at` that are not known to be zeros.
    fn data(&self, file: &Self::File, at: u64) -> Result<Option<Range<u64>>, TreeError>;

    /// Makes a directory that only its owner may use.
    fn make_dir(&self, dir: &Self::Dir, name: &PlainName) -> Result<(), TreeError>;
    /// Lets the owner work in an existing directory until it is dressed, and
    /// removes what earlier copies left unfinished in it.
    fn prepare_dir(&self, dir: &Self::Dir) -> Result<(), TreeError>;
    /// Opens an existing directory and prepares it.
    fn open_target(&self, dir: &Self::Dir, name: &PlainName) -> Result<Self::Dir, TreeError>;
    fn begin_file(&self, dir: &Self::Dir) -> Result<(Self::Draft, Self::File), TreeError>;
    fn begin(&self, dir: &Self::Dir, what: Begin<'_, Self::Dir>) -> Result<Self::Draft, TreeError>;
    fn write(&self, file: &Self::File, at: u64, bytes: &[u8]) -> Result<(), TreeError>;
    /// Makes the file `len` bytes long and whole; the last change of it.
    fn close(&self, file: Self::File, len: u64) -> Result<(), TreeError>;
    /// Gives owner, mode, attributes and, last, times. What cannot be kept
    /// and is no reason to do without the object is returned.
    fn dress(
        &self,
        dir: &Self::Dir,
        draft: &Self::Draft,
        look: &Look,
    ) -> Result<Vec<TreeError>, TreeError>;
    fn dress_dir(&self, dir: &Self::Dir, look: &Look) -> Result<Vec<TreeError>, TreeError>;
    /// Gives the object its name, atomically.
    fn finish(
        &self,
        dir: &Self::Dir,
        draft: &Self::Draft,
        name: &PlainName,
        mode: RenameMode,
    ) -> Result<(), TreeError>;
    fn discard(&self, dir: &Self::Dir, draft: &Self::Draft) -> Result<(), TreeError>;
    /// Everything on the file system of `dir` survives a power cut.
    fn sync(&self, dir: &Self::Dir) -> Result<(), TreeError>;
}

pub(super) const USER: &[u8] = b"user.";
pub(super) const ACLS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];
const SUID: u32 = 0o4000;
const SGID: u32 = 0o2000;

/// An object of either tree, for what concerns its inode.
pub(super) trait Node {
    fn stat(&self) -> io::Result<Stat>;
    fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> io::Result<()>;
    fn set_mode(&self, mode: u32) -> io::Result<()>;
    fn set_times(&self, atime: SetTime, mtime: SetTime) -> io::Result<()>;
    fn list_xattrs(&self) -> io::Result<Vec<Vec<u8>>>;
    fn remove_xattr(&self, name: &[u8]) -> io::Result<()>;
}

macro_rules! node {
    ($($of:ty),*) => {$(
        impl Node for $of {
            fn stat(&self) -> io::Result<Stat> {
                <$of>::stat(self)
            }
            fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
                <$of>::set_owner(self, uid, gid)
            }
            fn set_mode(&self, mode: u32) -> io::Result<()> {
                <$of>::set_mode(self, mode)
            }
            fn set_times(&self, atime: SetTime, mtime: SetTime) -> io::Result<()> {
                <$of>::set_times(self, atime, mtime)
            }
            fn list_xattrs(&self) -> io::Result<Vec<Vec<u8>>> {
                <$of>::list_xattrs(self)
            }
            fn remove_xattr(&self, name: &[u8]) -> io::Result<()> {
                <$of>::remove_xattr(self, name)
            }
        }
    )*};
}

node!(NodeFd, StoreNode);

/// How it is known that an object is the one that was made, and not one that
/// somebody who may write to its directory put in its place: what follows
/// could open that to him.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// A regular file of this device and inode.
    File(u64, u64),
    /// Anything of the right kind that has no other name.
    OnlyName,
    /// It is held open since it was found.
    Held,
}

impl Identity {
    pub(super) fn of_file(stat: &Stat) -> Self {
        Self::File(stat.dev, stat.ino)
    }

    fn check(self, now: &Stat, look: &Look) -> Result<(), TreeError> {
        let right = now.kind() == look.kind
            && match self {
                Self::File(dev, ino) => (now.dev, now.ino) == (dev, ino),
                Self::OnlyName => now.nlink == 1,
                Self::Held => true,
            };
        if right {
            Ok(())
        } else {
            Err(TreeError::Replaced)
        }
    }
}

/// Owner, attributes, mode and times, in the order in which none undoes
/// another. The owner as far as the process may, and without it no set-ID
/// bit. ACLs become those of `look`; other attributes are added.
pub(super) fn dress(
    node: &impl Node,
    identity: Identity,
    look: &Look,
    put: impl Fn(&Attribute) -> Result<(), TreeError>,
) -> Result<Vec<TreeError>, TreeError> {
    let mut perm = look.perm;
    let now = node.stat()?;
    identity.check(&now, look)?;
    if now.uid != look.uid && !may(node.set_owner(Some(look.uid), None))? {
        perm &= !SUID;
    }
    if now.gid != look.gid && !may(node.set_owner(None, Some(look.gid)))? {
        perm &= !SGID;
    }
    let mut lost = Vec::new();
    if look.kind != Some(FileKind::Symlink) {
        for name in listed(node.list_xattrs())? {
            let wanted = |attribute: &Attribute| attribute.name == name;
            if ACLS.contains(&name.as_slice()) && !look.attributes.iter().any(wanted) {
                node.remove_xattr(&name)?;
            }
        }
        for attribute in &look.attributes {
            if let Err(error) = put(attribute) {
                lost.push(error);
            }
        }
        node.set_mode(perm)?;
    }
    node.set_times(SetTime::At(look.atime), SetTime::At(look.mtime))?;
    Ok(lost)
}

/// Lets the owner of a directory work in it.
pub(super) fn open_up(node: &impl Node) -> io::Result<()> {
    let stat = node.stat()?;
    if stat.perm() & 0o700 != 0o700 && stat.uid == process::effective_uid() {
        node.set_mode(stat.perm() | 0o700)?;
    }
    Ok(())
}

/// Names of attributes; none where the file system has none.
pub(super) fn listed(names: io::Result<Vec<Vec<u8>>>) -> io::Result<Vec<Vec<u8>>> {
    match names {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(Vec::new()),
        other => other,
    }
}

/// Whether a change of owner was permitted.
fn may(changed: io::Result<()>) -> io::Result<bool> {
    match changed {
        Ok(()) => Ok(true),
        // EINVAL: an id that this user namespace does not know.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::EINVAL)) => Ok(false),
        Err(error) => Err(error),
    }
}
