//! [`StoreFile`]: one open regular file of the backing. Writes take
//! [`Sealed`] bytes only, which nothing but the codec can make.

use std::io;

use crate::codec::Sealed;
use crate::store::XattrValue;
use crate::sys::fs::{FileFd, FileLock, Stat, XattrMode};
use crate::types::{Access, CipherLen, CipherOff, SetTime};

/// An open regular file. All methods take `&self` and may run in parallel;
/// which of them must not is the caller's matter.
#[derive(Debug)]
pub struct StoreFile(FileFd);

/// A write that stopped early: the first `written` bytes are in the file, of
/// the others nothing.
#[derive(Debug, thiserror::Error)]
#[error("the backing took {written} bytes of a write, then failed: {source}")]
pub struct PartialWrite {
    /// Bytes that are in the file.
    pub written: u64,
    /// Why it stopped.
    pub source: io::Error,
}

/// Bytes to be copied from one file of the backing to another.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// Where they are in the source.
    pub from: CipherOff,
    /// Where they go.
    pub to: CipherOff,
    /// How many there are.
    pub len: u64,
}

/// At most so many bytes are read at once when files are copied.
const READ_TOGETHER: u64 = 1 << 20;

/// Bytes between two pieces that are read along with them.
const READ_OVER: u64 = 1 << 14;

impl StoreFile {
    pub(in crate::store) fn new(fd: FileFd) -> Self {
        Self(fd)
    }

    pub(in crate::store) fn fd(&self) -> &FileFd {
        &self.0
    }

    /// How the file is open.
    #[must_use]
    pub fn access(&self) -> Access {
        self.0.access()
    }

    /// fstat(2); the size is the ciphertext's.
    ///
    /// # Errors
    /// What the backing says.
    pub fn stat(&self) -> io::Result<Stat> {
        self.0.stat()
    }

    /// Reads from `at` until `buf` is full or the file ends; returns the
    /// number of bytes read, less than `buf.len()` only at the end of the file.
    ///
    /// # Errors
    /// What the backing says; `buf` may be changed then.
    pub fn read_at(&self, buf: &mut [u8], at: CipherOff) -> io::Result<usize> {
        self.0.read_at(buf, at.get())
    }

    /// The first `max` bytes, or all if there are fewer.
    ///
    /// # Errors
    /// What the backing says.
    pub fn read_head(&self, max: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; max];
        let len = self.read_at(&mut bytes, CipherOff::new(0))?;
        bytes.truncate(len);
        Ok(bytes)
    }

    /// Writes `parts` one after the other from `at`, normally in one system
    /// call; short writes are continued.
    ///
    /// # Errors
    /// What the backing says, and how many bytes went in before.
    pub fn write_at(&self, parts: &[Sealed<'_>], at: CipherOff) -> Result<(), PartialWrite> {
        let parts: Vec<&[u8]> = parts.iter().map(|part| part.bytes()).collect();
        self.0
            .write_at(&parts, at.get())
            .map_err(|(written, source)| PartialWrite { written, source })
    }

    /// Copies `len` bytes of another file of the backing, as they are, from
    /// `from` there to `to` here.
    ///
    /// # Errors
    /// What the backing says, and how many bytes went in before;
    /// `UnexpectedEof` if the other file is shorter.
    pub fn copy_from(
        &self,
        source: &Self,
        from: CipherOff,
        len: u64,
        to: CipherOff,
    ) -> Result<(), PartialWrite> {
        self.copy_pieces(source, &[Piece { from, to, len }])
    }

    /// Copies pieces of another file of the backing, as they are. Pieces near
    /// each other there, in ascending order, are read together.
    ///
    /// # Errors
    /// As for [`Self::copy_from`].
    pub fn copy_pieces(&self, source: &Self, pieces: &[Piece]) -> Result<(), PartialWrite> {
        let mut read = Window::default();
        let mut written = 0;
        for (index, piece) in pieces.iter().enumerate() {
            let mut done = 0;
            while done < piece.len {
                let at = piece.from.get() + done;
                let wanted = READ_TOGETHER.min(piece.len - done);
                let failed = |source| PartialWrite { written, source };
                if read.get(at, wanted).is_none() {
                    read.fill(source, at, reach(at, &pieces[index..]))
                        .map_err(failed)?;
                }
                let bytes = read
                    .get(at, wanted)
                    .ok_or_else(|| failed(io::ErrorKind::UnexpectedEof.into()))?;
                self.0
                    .write_at(&[bytes], piece.to.get() + done)
                    .map_err(|(some, source)| PartialWrite {
                        written: written + some,
                        source,
                    })?;
                done += wanted;
                written += wanted;
            }
        }
        Ok(())
    }

    /// Cuts or extends the file to `len` bytes.
    ///
    /// # Errors
    /// What the backing says.
    pub fn truncate(&self, len: CipherLen) -> io::Result<()> {
        self.0.truncate(len.get())
    }

    /// Frees `len` bytes from `from`, which read as zeros then; the length stays.
    ///
    /// # Errors
    /// What the backing says, `EOPNOTSUPP` above all.
    pub fn punch_hole(&self, from: CipherOff, len: u64) -> io::Result<()> {
        self.0.punch_hole(from.get(), len)
    }

    /// Reserves storage for `len` bytes from `from`; the length stays.
    ///
    /// # Errors
    /// What the backing says.
    pub fn allocate(&self, from: CipherOff, len: u64) -> io::Result<()> {
        self.0.allocate(from.get(), len)
    }

    /// Contents and length survive a power cut once this returns.
    ///
    /// # Errors
    /// What the backing says. Linux reports a failed write-back once.
    pub fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    /// As [`Self::sync_data`], with times, mode and owner.
    ///
    /// # Errors
    /// What the backing says.
    pub fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    /// First byte of data at or after `from`; `None` if there is none.
    ///
    /// # Errors
    /// What the backing says.
    pub fn seek_data(&self, from: CipherOff) -> io::Result<Option<CipherOff>> {
        Ok(self.0.seek_data(from.get())?.map(CipherOff::new))
    }

    /// First byte of a hole at or after `from`; the end of the file counts.
    ///
    /// # Errors
    /// What the backing says; `ENXIO` at or beyond the end of the file.
    pub fn seek_hole(&self, from: CipherOff) -> io::Result<CipherOff> {
        self.0.seek_hole(from.get()).map(CipherOff::new)
    }

    /// Sets the times.
    ///
    /// # Errors
    /// What the backing says.
    pub fn set_times(&self, atime: SetTime, mtime: SetTime) -> io::Result<()> {
        self.0.set_times(atime, mtime)
    }

    /// Sets the permission bits, `07777`.
    ///
    /// # Errors
    /// What the backing says.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.0.set_mode(mode)
    }

    /// Sets owner and group; `None` leaves that id.
    ///
    /// # Errors
    /// What the backing says.
    pub fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        self.0.set_owner(uid, gid)
    }

    /// Value of an extended attribute, by its name on the backing.
    ///
    /// # Errors
    /// What the backing says.
    pub fn get_xattr(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        self.0.get_xattr(name)
    }

    /// Names of all extended attributes on the backing.
    ///
    /// # Errors
    /// What the backing says.
    pub fn list_xattrs(&self) -> io::Result<Vec<Vec<u8>>> {
        self.0.list_xattrs()
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    /// What the backing says; see [`XattrValue`].
    pub fn set_xattr(&self, name: &[u8], value: XattrValue<'_>, mode: XattrMode) -> io::Result<()> {
        self.0.set_xattr(name, value.checked(name)?, mode)
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// What the backing says.
    pub fn remove_xattr(&self, name: &[u8]) -> io::Result<()> {
        self.0.remove_xattr(name)
    }

    /// Opens the same file again, whatever its name is by now.
    ///
    /// # Errors
    /// What the backing says; the file's mode is checked again.
    pub fn reopen(&self, access: Access) -> io::Result<Self> {
        self.0.reopen(access).map(Self)
    }

    /// Tries to lock the whole file; the lock goes with this open file.
    ///
    /// # Errors
    /// What the backing says.
    pub fn try_lock(&self) -> io::Result<FileLock> {
        self.0.try_lock()
    }
}

/// Bytes of a file that were read at once.
#[derive(Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// Reads `start..end`, or what there is of it.
    fn fill(&mut self, source: &StoreFile, start: u64, end: u64) -> io::Result<()> {
        self.start = start;
        self.bytes.resize(to_usize(end - start), 0);
        let read = source.0.read_at(&mut self.bytes, start)?;
        self.bytes.truncate(read);
        Ok(())
    }

    fn get(&self, at: u64, len: u64) -> Option<&[u8]> {
        let from = to_usize(at.checked_sub(self.start)?);
        self.bytes.get(from..from.checked_add(to_usize(len))?)
    }
}

/// How far to read from `at` on, which is in the first of `pieces`: over those
/// that follow near by, but not too far.
fn reach(at: u64, pieces: &[Piece]) -> u64 {
    let most = at + READ_TOGETHER;
    let mut end = at;
    for piece in pieces {
        let (from, to) = (piece.from.get(), piece.from.get() + piece.len);
        if to < end || from >= most || from > end.max(at) + READ_OVER {
            break;
        }
        end = to.min(most);
    }
    end
}

fn to_usize(len: u64) -> usize {
    usize::try_from(len).expect("at most READ_TOGETHER")
}
