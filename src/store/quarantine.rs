//! What repair takes out of a vault is kept in a directory outside it, as it
//! was. Nothing here comes from anywhere but the backing, so nothing here is
//! plaintext: the directory may be synced like the vault.
//!
//! ```text
//! report.txt            two lines a number: before anything moves, and after
//! 0001/ENTRY            an entry with all that is in it, under its own name
//! 0002/keepfs.dir       a pin that stated nothing
//! 0003/tail             the bytes that stood behind the end of a file
//! 0004/user.keepfs...   the value of an attribute
//! ```

use std::io::{self, ErrorKind};
use std::path::Path;

use super::internal::temporary_name;
use super::{StoreDir, StoreFile, StoreNode};
use crate::codec::entry::{LongName, PIN_NAME, RawEntry, classify};
use crate::name::RawName;
use crate::sys::fs::FileFd;
use crate::types::{CipherOff, FileKind, RenameMode};

/// The name of the list of what is kept and why.
pub const REPORT_NAME: &str = "report.txt";

/// Copied at once, in bytes.
const PIECE: usize = 1 << 20;

const REPORT_HEAD: &str = "\
# What keepfs check --repair did to a vault: number, what, why, path in the vault's directory.
# A line before, and one with done or failed after. What was kept is in NUMBER/:
#   entry       move NUMBER/NAME to that path to put it back
#   pin         the keepfs.dir that was in that directory; it stated nothing there
#   tail        what stood in that file from the byte given on; the file itself is in the vault
#   attributes  values of extended attributes of that object, by name
# Nothing was kept of what is called sealed, moved, exchanged, renamed: it is all in the vault.
";

/// A directory outside the vault that takes up what repair removes from it.
#[derive(Debug)]
pub struct Quarantine {
    dir: StoreDir,
    report: FileFd,
    report_len: u64,
    /// Steps so far.
    steps: u64,
    /// Whether anything was kept.
    holds: bool,
}

/// Why something is done, and to what.
#[derive(Clone, Copy, Debug)]
pub struct Reason<'a> {
    /// The word for what is wrong with it.
    pub word: &'static str,
    /// Its path on the backing, below the vault's directory.
    pub cipher_path: &'a [u8],
}

/// What is done: for the report.
#[derive(Clone, Copy, Debug)]
pub enum Deed<'a> {
    /// An entry is taken out.
    Entry,
    /// A pin is taken out.
    Pin,
    /// A file's end is copied, from this byte on.
    Tail(CipherOff),
    /// Attributes are taken out.
    Attributes,
    /// A file is sealed.
    Seal,
    /// An entry goes to this directory of the backing, or is exchanged for the
    /// entry at this path.
    Moved(&'a [u8]),
    /// An entry gets another name.
    Renamed(&'a RawName),
}

/// A step that was begun, with a directory for what it keeps.
#[derive(Debug)]
pub struct Kept {
    number: u64,
    dir: Option<StoreDir>,
}

impl Quarantine {
    /// Makes the directory, which must not exist, readable by its owner alone.
    /// On the file system of the vault, or moving anything there will fail.
    ///
    /// # Errors
    /// What the system says; `EEXIST`.
    pub fn create(path: &Path) -> io::Result<Self> {
        if path.symlink_metadata().is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let dir = StoreDir::create_root(path, 0o700)?;
        let report = dir.dir.create_file(REPORT_NAME.as_bytes(), 0o600)?;
        dir.sync()?;
        let mut quarantine = Self {
            dir,
            report,
            report_len: 0,
            steps: 0,
            holds: false,
        };
        quarantine.tell(REPORT_HEAD)?;
        Ok(quarantine)
    }

    /// Whether anything was kept.
    #[must_use]
    pub fn holds_something(&self) -> bool {
        self.holds
    }

    /// Removes the directory again, for a repair that kept nothing.
    ///
    /// # Errors
    /// What the system says, `ENOTEMPTY` if something is in it; the directory
    /// is still there then.
    pub fn discard(self, path: &Path) -> io::Result<()> {
        for entry in self.dir.list()? {
            if entry.kind == Some(FileKind::Directory) {
                self.dir.dir.remove_dir(entry.name.bytes())?;
            }
        }
        self.dir.dir.unlink(REPORT_NAME.as_bytes())?;
        let Some(name) = path.file_name() else {
            return Ok(());
        };
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            Some(_) | None => Path::new("."),
        };
        StoreDir::open_root(parent)?
            .dir
            .remove_dir(name.as_encoded_bytes())
    }

    /// Begins a step: its line in the report is durable once this returns.
    ///
    /// # Errors
    /// What the system says.
    pub fn begin(&mut self, deed: Deed<'_>, why: Reason<'_>) -> io::Result<Kept> {
        self.steps += 1;
        let number = self.steps;
        let what = match deed {
            Deed::Entry => "entry".to_owned(),
            Deed::Pin => "pin".to_owned(),
            Deed::Tail(at) => format!("tail from byte {at}"),
            Deed::Attributes => "attributes".to_owned(),
            Deed::Seal => "sealed".to_owned(),
            Deed::Moved(to) => format!("moved to {}", shown(to)),
            Deed::Renamed(to) => format!("renamed to {}", shown(to.bytes())),
        };
        let path = shown(why.cipher_path);
        self.tell(&format!("{number:04}\t{what}\t{}\t{path}\n", why.word))?;
        let keeps = matches!(
            deed,
            Deed::Entry | Deed::Pin | Deed::Tail(_) | Deed::Attributes
        );
        let dir = keeps.then(|| self.numbered(number)).transpose()?;
        Ok(Kept { number, dir })
    }

    /// Ends a step with a line in the report; the step was done before.
    pub fn end(&mut self, kept: Kept, outcome: &str) {
        self.holds |= kept
            .dir
            .as_ref()
            .is_some_and(|dir| !dir.list().is_ok_and(|entries| entries.is_empty()));
        // The line before says enough.
        let _told = self.tell(&format!("{:04}\t{outcome}\n", kept.number));
    }

    fn numbered(&self, number: u64) -> io::Result<StoreDir> {
        let name = RawName::new(format!("{number:04}").as_bytes());
        self.dir.dir.make_dir(name.bytes(), 0o700)?;
        self.dir.sync()?;
        self.dir.open_dir(&name)
    }

    fn tell(&mut self, text: &str) -> io::Result<()> {
        write(&self.report, self.report_len, text.as_bytes())?;
        self.report.sync_data()?;
        self.report_len += u64::try_from(text.len()).unwrap_or(u64::MAX);
        Ok(())
    }
}

impl Kept {
    fn dir(&self) -> io::Result<&StoreDir> {
        self.dir.as_ref().ok_or(ErrorKind::InvalidInput.into())
    }

    /// Moves an entry here with all that is in it. A long name's side file is
    /// copied: a conflict copy may still need the one that is there.
    ///
    /// # Errors
    /// What the backing says, `EXDEV` from another file system; the entry is
    /// where it was then, unless only the last step failed, which makes the
    /// move durable.
    pub fn take(&self, from: &StoreDir, entry: &RawName) -> io::Result<()> {
        let dir = self.dir()?;
        if let RawEntry::Long(long) = classify(entry) {
            from.copy_side(&long, dir)?;
        }
        from.move_as_it_is(entry, dir)
    }

    /// Moves the directory's pin here, if there is one.
    ///
    /// # Errors
    /// What the backing says; as of [`Self::take`].
    pub fn take_pin(&self, dir: &StoreDir) -> io::Result<()> {
        let pin = RawName::new(PIN_NAME.as_bytes());
        match dir.stat(&pin) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            found => {
                found?;
                dir.with_owner_access(|| dir.move_as_it_is(&pin, self.dir()?))
            }
        }
    }

    /// Keeps a copy of what a file holds from `at` on; holes stay holes.
    ///
    /// # Errors
    /// What the backing says.
    pub fn copy_tail(&self, file: &StoreFile, at: CipherOff) -> io::Result<()> {
        let dir = self.dir()?;
        let copy = dir.dir.create_file(b"tail", 0o600)?;
        let end = file.stat()?.size;
        let mut piece = vec![0; PIECE];
        let mut from = at;
        while let Some(data) = file.seek_data(from)? {
            let read = file.read_at(&mut piece, data)?;
            if read == 0 {
                break;
            }
            write(&copy, data.get() - at.get(), &piece[..read])?;
            from = CipherOff::new(data.get() + u64::try_from(read).unwrap_or(u64::MAX));
        }
        copy.truncate(end.saturating_sub(at.get()))?;
        copy.sync_all()?;
        dir.sync()
    }

    /// Moves an extended attribute's value here.
    ///
    /// # Errors
    /// What the backing says; the attribute is still there then, or here too.
    pub fn take_attribute(&self, node: &StoreNode, name: &[u8]) -> io::Result<()> {
        let dir = self.dir()?;
        let value = node.get_xattr(name)?;
        // No attribute's name that begins like ours has a slash in it, but
        // this one comes from the backing.
        let file_name: Vec<u8> = name
            .iter()
            .map(|&byte| if byte == b'/' { b'_' } else { byte })
            .collect();
        let file = dir.dir.create_file(&file_name, 0o600)?;
        write(&file, 0, &value)?;
        file.sync_all()?;
        dir.sync()?;
        node.remove_xattr(name)
    }
}

impl StoreDir {
    /// Moves an entry into another directory under the name it has; durable
    /// once this returns.
    ///
    /// # Errors
    /// What the backing says; `EEXIST` if that name is taken there.
    pub fn move_as_it_is(&self, entry: &RawName, to: &Self) -> io::Result<()> {
        self.dir.rename_new(entry.bytes(), &to.dir, entry.bytes())?;
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

    /// Moves an entry home, [`Self::move_as_it_is`], after its side file if it
    /// has a long name.
    ///
    /// # Errors
    /// What the backing says; `EEXIST` if that name is taken there.
    pub fn move_with_side(&self, entry: &RawName, to: &Self) -> io::Result<()> {
        if let RawEntry::Long(long) = classify(entry) {
            self.copy_side(&long, to)?;
        }
        self.move_as_it_is(entry, to)
    }

    /// Copies a long name's side file, whole or not at all; one that cannot be
    /// read is left out. The hash in the entry tells whether it is the right one.
    fn copy_side(&self, long: &LongName, to: &Self) -> io::Result<()> {
        let Ok(bytes) = self.read_side(long) else {
            return Ok(());
        };
        if to.read_side(long).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        let temporary = temporary_name()?;
        let file = to.dir.create_file(temporary.bytes(), 0o600)?;
        write(&file, 0, &bytes)?;
        file.sync_all()?;
        to.settle(&temporary, long.side_name().as_bytes(), RenameMode::Replace)?;
        to.sync()
    }
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).escape_debug().to_string()
}

fn write(file: &FileFd, at: u64, bytes: &[u8]) -> io::Result<()> {
    file.write_at(&[bytes], at).map_err(|(_, error)| error)
}
