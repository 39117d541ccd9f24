//! What repair takes out of a vault is kept in a directory outside it, as it
//! was. Nothing here comes from anywhere but the backing, so nothing here is
//! plaintext: the directory may be synced like the vault.
//!
//! ```text
//! report.txt            a line for each number, written before anything moves
//! 0001/ENTRY            an entry with all that is in it, under its own name
//! 0002/keepfs.dir       a copy of a pin before it was replaced
//! 0003/tail             the bytes that stood behind the end of a file
//! 0004/user.keepfs...   the value of an attribute
//! ```

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::{Internal, StoreDir, StoreFile, StoreNode};
use crate::codec::entry::{LongName, PIN_NAME, RawEntry, classify};
use crate::name::RawName;
use crate::sys::fs::FileFd;
use crate::types::{CipherOff, RenameMode};

/// The name of the list of what is kept and why.
pub const REPORT_NAME: &str = "report.txt";

/// Copied at once, in bytes.
const PIECE: usize = 1 << 20;

const REPORT_HEAD: &str = "\
# What keepfs check --repair took out of a vault: number, reason, path it had there.
# To put something back, move NUMBER/NAME to that path.
";

/// A directory outside the vault that takes up what repair removes from it.
#[derive(Debug)]
pub struct Quarantine {
    dir: StoreDir,
    report: Mutex<Report>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Report {
    file: FileFd,
    len: u64,
}

/// Why something is taken out, and whence.
#[derive(Clone, Copy, Debug)]
pub struct Reason<'a> {
    /// The word for what is wrong with it.
    pub word: &'static str,
    /// Its path on the backing, below the vault's directory.
    pub cipher_path: &'a [u8],
}

impl Quarantine {
    /// Makes the directory, readable by its owner alone. On the file system
    /// of the vault, or moving anything there will fail.
    ///
    /// # Errors
    /// What the system says; `EEXIST` if there is anything in it.
    pub fn create(path: &Path) -> io::Result<Self> {
        let dir = StoreDir::create_root(path, 0o700)?;
        if !dir.list()?.is_empty() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let file = dir.dir.create_file(REPORT_NAME.as_bytes(), 0o600)?;
        let mut report = Report { file, len: 0 };
        report.append(REPORT_HEAD)?;
        dir.sync()?;
        Ok(Self {
            dir,
            report: Mutex::new(report),
            next: AtomicU64::new(1),
        })
    }

    /// Ends the repair; removes the directory again if nothing came into it.
    ///
    /// # Errors
    /// What the system says; the directory is still there then.
    pub fn end(self, path: &Path) -> io::Result<()> {
        if self.next.into_inner() > 1 {
            return Ok(());
        }
        self.dir.dir.unlink(REPORT_NAME.as_bytes())?;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(());
        };
        let parent = if parent == Path::new("") {
            Path::new(".")
        } else {
            parent
        };
        StoreDir::open_root(parent)?
            .dir
            .remove_dir(name.as_encoded_bytes())
    }

    /// Moves an entry here with all that is in it. A long name's side file is
    /// copied: a conflict copy may still need the one that is there.
    ///
    /// # Errors
    /// What the backing says, `EXDEV` from another file system; the entry is
    /// where it was then, unless only the last step failed, which makes the
    /// move durable.
    pub fn take(&self, from: &StoreDir, entry: &RawName, why: Reason<'_>) -> io::Result<()> {
        let kept = self.number(why)?;
        if let RawEntry::Long(long) = classify(entry) {
            copy_side(from, &long, &kept)?;
        }
        from.move_as_it_is(entry, &kept)
    }

    /// Keeps a copy of the directory's pin, if there is one.
    ///
    /// # Errors
    /// What the backing says.
    pub fn copy_pin(&self, dir: &StoreDir, why: Reason<'_>) -> io::Result<()> {
        let pin = match dir.open_internal(Internal::Pin) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        let kept = self.number(why)?;
        copy(&pin, CipherOff::new(0), &kept, PIN_NAME.as_bytes())
    }

    /// Keeps a copy of what a file holds from `at` on.
    ///
    /// # Errors
    /// What the backing says.
    pub fn copy_tail(&self, file: &StoreFile, at: CipherOff, why: Reason<'_>) -> io::Result<()> {
        let kept = self.number(why)?;
        copy(file, at, &kept, b"tail")
    }

    /// Moves an extended attribute's value here.
    ///
    /// # Errors
    /// What the backing says; the attribute is still there then, or here too.
    pub fn take_attribute(&self, node: &StoreNode, name: &[u8], why: Reason<'_>) -> io::Result<()> {
        let value = node.get_xattr(name)?;
        let kept = self.number(why)?;
        // No attribute's name that begins like ours has a slash in it, but
        // this one comes from the backing.
        let file_name: Vec<u8> = name
            .iter()
            .map(|&byte| if byte == b'/' { b'_' } else { byte })
            .collect();
        let file = kept.dir.create_file(&file_name, 0o600)?;
        write(&file, 0, &value)?;
        file.sync_all()?;
        kept.sync()?;
        node.remove_xattr(name)
    }

    /// A new numbered directory, after its line in the report is durable.
    fn number(&self, why: Reason<'_>) -> io::Result<StoreDir> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = String::from_utf8_lossy(why.cipher_path);
        let line = format!("{number:04}\t{}\t{}\n", why.word, path.escape_debug());
        self.report.lock().append(&line)?;
        let name = RawName::new(format!("{number:04}").as_bytes());
        self.dir.dir.make_dir(name.bytes(), 0o700)?;
        self.dir.sync()?;
        self.dir.open_dir(&name)
    }
}

impl Report {
    fn append(&mut self, text: &str) -> io::Result<()> {
        write(&self.file, self.len, text.as_bytes())?;
        self.file.sync_data()?;
        self.len += u64::try_from(text.len()).unwrap_or(u64::MAX);
        Ok(())
    }
}

impl StoreDir {
    /// Moves an entry into another directory under the name it has; durable
    /// once this returns.
    ///
    /// # Errors
    /// What the backing says; `EEXIST` if that name is taken there.
    pub fn move_as_it_is(&self, entry: &RawName, to: &Self) -> io::Result<()> {
        self.rename_new(entry, to, entry.bytes())?;
        to.sync()?;
        self.sync()
    }

    /// Exchanges two entries: each stands at the other's place and under its
    /// name afterwards; durable once this returns.
    ///
    /// # Errors
    /// What the backing says; `EINVAL` where it cannot exchange.
    pub fn exchange_as_they_are(
        &self,
        entry: &RawName,
        other: &Self,
        other_entry: &RawName,
    ) -> io::Result<()> {
        self.dir.rename(
            entry.bytes(),
            &other.dir,
            other_entry.bytes(),
            RenameMode::Exchange,
        )?;
        other.sync()?;
        self.sync()
    }

    /// Moves an entry home, [`Self::move_as_it_is`], with a copy of its side
    /// file if it has a long name.
    ///
    /// # Errors
    /// What the backing says; `EEXIST` if that name is taken there.
    pub fn move_with_side(&self, entry: &RawName, to: &Self) -> io::Result<()> {
        if let RawEntry::Long(long) = classify(entry)
            && to.read_side(&long).is_err()
        {
            copy_side(self, &long, to)?;
        }
        self.move_as_it_is(entry, to)
    }
}

/// Copies a long name's side file; one that cannot be read is left out.
fn copy_side(from: &StoreDir, long: &LongName, to: &StoreDir) -> io::Result<()> {
    let name = long.side_name();
    match from
        .dir
        .open_file(name.as_bytes(), crate::types::Access::Read)
    {
        Ok(side) => copy(
            &StoreFile::new(side),
            CipherOff::new(0),
            to,
            name.as_bytes(),
        ),
        Err(_) => Ok(()),
    }
}

/// Copies a file from `at` on, piece by piece, durably.
fn copy(from: &StoreFile, at: CipherOff, to: &StoreDir, name: &[u8]) -> io::Result<()> {
    let file = to.dir.create_file(name, 0o600)?;
    let mut piece = vec![0; PIECE];
    let mut done = 0;
    loop {
        let read = from.read_at(&mut piece, CipherOff::new(at.get() + done))?;
        if read == 0 {
            break;
        }
        write(&file, done, &piece[..read])?;
        done += u64::try_from(read).unwrap_or(u64::MAX);
    }
    file.sync_all()?;
    to.sync()
}

fn write(file: &FileFd, at: u64, bytes: &[u8]) -> io::Result<()> {
    file.write_at(&[bytes], at).map_err(|(_, error)| error)
}
