//! Journals that a crash left, brought into their files. FORMAT.md, journal.
//!
//! A slot is written only where the slot in place is one that this journal
//! replaced, or none at all, and a file is touched only if its header is one
//! that this journal knows. So replaying is idempotent, and a journal that is
//! old, or another device's, does no harm.

use std::fmt;
use std::io;

use super::find::{Found, is_not_ours};
use super::scan::{Story, stories};
use super::teller::{Teller, Told};
use crate::codec::journal::{JournalError, JournalHead};
use crate::name::RawName;
use crate::store::StoreFile;
use crate::store::journal::JournalFile;
use crate::sys::fs::is_not_regular;
use crate::sys::process::machine_name;
use crate::types::Access;
use crate::vault::Vault;

/// Which journals are replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Those written on this machine: another one's may be a copy of one that
    /// is being written there.
    ThisMachines,
    /// All.
    Anybodys,
}

/// What became of one journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Everything in it is in its place.
    Replayed {
        /// Files that were changed.
        files: usize,
    },
    /// Some of it does not fit what stands there now.
    Left {
        /// Files that were changed.
        files: usize,
        /// Files that were left alone.
        left: usize,
    },
    /// A mount is writing it.
    InUse,
    /// It was written on another machine.
    Elsewhere,
    /// It does not open.
    Unreadable(JournalError),
    /// It is not for us to open, or not even a file.
    Unopened(io::ErrorKind),
}

/// One journal and what became of it.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Its name in the vault's root.
    pub name: RawName,
    /// What became of it.
    pub fate: Fate,
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It has the form of a journal's: ASCII.
        let name = String::from_utf8_lossy(self.name.bytes());
        match self.fate {
            Fate::Replayed { files } => write!(
                f,
                "{name}: {files} files brought to their last state after a crash"
            ),
            Fate::Left { files, left } => write!(
                f,
                "{name}: {files} files brought to their last state, {left} were changed \
                 elsewhere meanwhile and left alone; keepfs check shows more"
            ),
            Fate::InUse => write!(f, "{name} is being written by another mount"),
            Fate::Elsewhere => write!(
                f,
                "{name} belongs to a mount on another machine; if that machine is lost, \
                 keepfs check --repair brings it in"
            ),
            Fate::Unreadable(error) => write!(f, "{name}: {error}"),
            Fate::Unopened(why) => write!(f, "{name} cannot be opened as a journal: {why}"),
        }
    }
}

impl Vault {
    /// Whether there is any journal, of whatever mount.
    ///
    /// # Errors
    /// The backing's.
    pub fn has_journals(&self) -> io::Result<bool> {
        Ok(!self.root.journals()?.is_empty())
    }

    /// Brings what journals hold into the files. The caller has the vault to
    /// itself, and may write.
    ///
    /// # Errors
    /// The backing's; what was not done is done by the next replay.
    pub fn replay_journals(&self, whose: Whose) -> io::Result<Vec<Replay>> {
        let mut replays = Vec::new();
        for name in self.root.journals()? {
            let fate = self.replay_journal(&name, whose)?;
            if matches!(fate, Fate::Replayed { .. }) {
                self.root.remove_journal(&name)?;
                self.root.sync()?;
            }
            replays.push(Replay { name, fate });
        }
        Ok(replays)
    }

    /// Brings what one journal holds into the files; it stays where it is.
    ///
    /// # Errors
    /// As for [`Self::replay_journals`].
    pub fn replay_journal(&self, name: &RawName, whose: Whose) -> io::Result<Fate> {
        let journal = match self.root.open_journal(name, Access::ReadWrite) {
            Ok(Some(journal)) => journal,
            Ok(None) => return Ok(Fate::InUse),
            // Whoever can put something there must not be able to refuse mounts.
            Err(error) if is_not_regular(&error) || is_not_ours(&error) => {
                return Ok(Fate::Unopened(error.kind()));
            }
            Err(error) => return Err(error),
        };
        let bytes = journal.file().read_head(JournalHead::LEN)?;
        let head = match self.keys.open_journal_head(&bytes) {
            Ok(head) => head,
            // Killed before its first byte was written.
            Err(JournalError::NotAJournal)
                if bytes.len() < JournalHead::LEN || bytes.iter().all(|&byte| byte == 0) =>
            {
                return Ok(Fate::Replayed { files: 0 });
            }
            Err(error) => return Ok(Fate::Unreadable(error)),
        };
        let ours = head.host == self.keys.host_tag(&machine_name());
        if !ours && whose == Whose::ThisMachines {
            return Ok(Fate::Elsewhere);
        }
        self.bring_in(&head, &journal)
    }

    fn bring_in(&self, head: &JournalHead, journal: &JournalFile) -> io::Result<Fate> {
        // What a killed process wrote may be in memory only.
        journal.file().sync_data()?;
        let stories = stories(&self.keys, self.geometry(), head, journal.file())?;
        let (mut files, mut left) = (0, 0);
        for (index, story) in stories.iter().enumerate() {
            let emptied = stories[index + 1..]
                .iter()
                .any(|later| later.base.file_id == story.base.file_id && later.empties());
            match self.tell(story, emptied, journal.file())? {
                Told::Settled => {}
                // It was not emptied after all, or has something in it since.
                Told::Left | Told::Unclear if story.is_in_the_making() => {}
                Told::Left if story.empties() => {}
                Told::Changed => files += 1,
                Told::Left | Told::Unclear => left += 1,
            }
        }
        Ok(match left {
            0 => Fate::Replayed { files },
            left => Fate::Left { files, left },
        })
    }

    /// Brings one file to its last state; if it was to be `emptied` after that, and
    /// was, that is for the story of its emptying to tell.
    fn tell(&self, story: &Story, emptied: bool, journal: &StoreFile) -> io::Result<Told> {
        let file = match self.find(story)? {
            Found::File(file) => file,
            Found::Gone => {
                tracing::warn!(file_id = %story.base.file_id, "the journal tells of a file that is gone");
                return Ok(Told::Settled);
            }
            Found::Unclear => return Ok(Told::Unclear),
        };
        Teller::new(self, story, journal, file).tell(self, emptied)
    }
}
