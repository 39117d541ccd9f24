//! Extended attributes: a user's are encrypted, names and values; POSIX ACLs
//! are the backing's own; nothing else is offered.

use std::io;
use std::sync::Arc;

use super::inodes::Node;
use super::object::Object;
use super::{FsError, View};
use crate::codec::geometry::Geometry;
use crate::codec::header;
use crate::codec::xattr::{XATTR_PREFIX, XattrError, XattrOwner};
use crate::store::XattrValue;
use crate::sys::fs::XattrMode;
use crate::types::{Access, CipherOff, FileKind, Ino};

/// Which rules apply to an attribute.
enum Namespace<'a> {
    /// `user.NAME`: the name without the prefix.
    User(&'a [u8]),
    /// A POSIX ACL.
    Acl,
}

const USER: &[u8] = b"user.";
const ACLS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];

impl View {
    /// Value of an attribute.
    ///
    /// # Errors
    /// [`FsError::NoAttribute`], [`FsError::NotSupported`]; [`FsError::NotAuthentic`].
    pub fn getxattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>, FsError> {
        let node = self.node(ino)?;
        match namespace(&node, name, FsError::NoAttribute)? {
            Namespace::Acl => {
                let object = self.object(&node, None)?;
                object.get_xattr(name).map_err(attribute_error)
            }
            Namespace::User(name) => {
                let (object, owner) = self.owner(&node)?;
                let keys = self.vault.keys();
                let cipher_name = keys.seal_xattr_name(owner, name)?;
                let value = object
                    .get_xattr(cipher_name.as_bytes())
                    .map_err(attribute_error)?;
                Ok(keys.open_xattr_value(owner, name, &value)?)
            }
        }
    }

    /// Sets an attribute.
    ///
    /// # Errors
    /// [`FsError::Exists`], [`FsError::NoAttribute`] as `mode` asks;
    /// [`FsError::AttributeTooLarge`]; the backing's.
    pub fn setxattr(
        &self,
        ino: Ino,
        name: &[u8],
        value: &[u8],
        mode: XattrMode,
    ) -> Result<(), FsError> {
        self.must_be_writable()?;
        let node = self.node(ino)?;
        match namespace(&node, name, FsError::NotPermitted)? {
            Namespace::Acl => self
                .object(&node, None)?
                .set_xattr(name, XattrValue::Metadata(value), mode)
                .map_err(attribute_error),
            Namespace::User(name) => {
                let (object, owner) = self.owner(&node)?;
                let keys = self.vault.keys();
                let cipher_name = keys.seal_xattr_name(owner, name)?;
                let sealed = keys.seal_xattr_value(owner, name, value)?;
                object
                    .set_xattr(
                        cipher_name.as_bytes(),
                        XattrValue::Sealed(sealed.sealed()),
                        mode,
                    )
                    .map_err(attribute_error)
            }
        }
    }

    /// Names of all attributes. What does not open is left out.
    ///
    /// # Errors
    /// The backing's.
    pub fn listxattr(&self, ino: Ino) -> Result<Vec<Vec<u8>>, FsError> {
        let node = self.node(ino)?;
        let object = self.object(&node, None)?;
        let raw = match object.list_xattrs() {
            Ok(raw) => raw,
            Err(error) if is_unsupported(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut names = Vec::new();
        let mut owner = None;
        for raw in raw {
            if ACLS.contains(&raw.as_slice()) {
                names.push(raw);
            } else if raw.starts_with(XATTR_PREFIX.as_bytes()) {
                let owner = match owner {
                    Some(owner) => owner,
                    None => *owner.insert(self.owner(&node)?.1),
                };
                if let Ok(name) = self.vault.keys().open_xattr_name(owner, &raw) {
                    names.push([USER, &name].concat());
                }
            }
        }
        Ok(names)
    }

    /// Removes an attribute.
    ///
    /// # Errors
    /// [`FsError::NoAttribute`]; the backing's.
    pub fn removexattr(&self, ino: Ino, name: &[u8]) -> Result<(), FsError> {
        self.must_be_writable()?;
        let node = self.node(ino)?;
        match namespace(&node, name, FsError::NotPermitted)? {
            Namespace::Acl => self.object(&node, None)?.remove_xattr(name),
            Namespace::User(name) => {
                let (object, owner) = self.owner(&node)?;
                let cipher_name = self.vault.keys().seal_xattr_name(owner, name)?;
                object.remove_xattr(cipher_name.as_bytes())
            }
        }
        .map_err(attribute_error)
    }

    /// The object, and the id its attributes are encrypted under.
    fn owner(&self, node: &Arc<Node>) -> Result<(Object, XattrOwner), FsError> {
        let object = self.object(node, None)?;
        let owner = match node.kind {
            FileKind::Directory => XattrOwner::Dir(self.dir(node)?.id()),
            FileKind::Regular
            | FileKind::Symlink
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharDevice
            | FileKind::BlockDevice => {
                let known = *node.file_id.lock();
                let file_id = match known {
                    Some(id) => id,
                    None => self.read_file_id(node)?,
                };
                *node.file_id.lock() = Some(file_id);
                XattrOwner::File(file_id)
            }
        };
        Ok((object, owner))
    }

    fn read_file_id(&self, node: &Arc<Node>) -> Result<crate::types::FileId, FsError> {
        let (link, dir) = self.place_of(node)?;
        let store = dir
            .open_file(&self.vault, &link.name, Access::Read)
            .map_err(|error| FsError::from(error).stale_if_gone())?;
        let mut bytes = [0; Geometry::HEADER_LEN];
        let read = store.read_at(&mut bytes, CipherOff::new(0))?;
        // The id in clear may be another file's until the header opens.
        header::claimed_file_id(&bytes[..read])
            .and_then(|id| {
                header::open_header(&self.vault.keys().file_keys(id), &bytes).map(|_| id)
            })
            .map_err(|error| FsError::Damaged(error.into()))
    }
}

/// Which rules apply; `elsewhere` is the answer for names in `user.` on
/// objects that cannot have them: xattr(7).
fn namespace<'a>(
    node: &Node,
    name: &'a [u8],
    elsewhere: FsError,
) -> Result<Namespace<'a>, FsError> {
    if let Some(name) = name.strip_prefix(USER) {
        match node.kind {
            FileKind::Regular | FileKind::Directory => Ok(Namespace::User(name)),
            FileKind::Symlink
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharDevice
            | FileKind::BlockDevice => Err(elsewhere),
        }
    } else if ACLS.contains(&name) {
        Ok(Namespace::Acl)
    } else {
        Err(FsError::NotSupported)
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EOPNOTSUPP)
}

fn attribute_error(error: io::Error) -> FsError {
    match error.raw_os_error() {
        Some(libc::ENODATA) => FsError::NoAttribute,
        Some(libc::EEXIST) => FsError::Exists,
        Some(libc::EOPNOTSUPP) => FsError::NotSupported,
        Some(libc::ERANGE | libc::E2BIG) => FsError::AttributeTooLarge,
        _ => FsError::Backing(error),
    }
}

impl From<XattrError> for FsError {
    fn from(error: XattrError) -> Self {
        match error {
            XattrError::EmptyName | XattrError::BadName => Self::Invalid("bad attribute name"),
            XattrError::NameTooLong { .. } | XattrError::ValueTooLong { .. } => {
                Self::AttributeTooLarge
            }
            XattrError::Malformed | XattrError::NotAuthentic => Self::NotAuthentic,
            XattrError::Random(random) => Self::Random(random),
        }
    }
}
