//! What can be done about findings. [`plan`] only looks; [`Step::carry_out`]
//! changes one object. Nothing is ever deleted: what is taken out or replaced
//! is kept in a [`Quarantine`] outside the vault.
//!
//! A repair may uncover more: the inside of a directory can be looked at only
//! once its pin is back. So check, plan and carry out again until nothing is
//! left to be done.

use std::fmt;
use std::io;

use super::{Finding, Home, Report, Trouble};
use crate::codec::xattr::{XATTR_PREFIX, XattrOwner};
use crate::name::{PlainName, RawName};
use crate::store::quarantine::{Quarantine, Reason};
use crate::store::{StoreDir, StoreFile, StoreNode};
use crate::types::{Access, DirId, FileKind};
use crate::vault::Vault;
use crate::vault::dir::{DirError, Meaning, VaultDir};
use crate::vault::file::settle::Unfinished;
use crate::vault::file::{File, FileError};

/// Something that will be done to one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Sealed as it stands.
    Seal,
    /// A torn end is copied out and cut off, the rest sealed.
    SealWithoutEnd,
    /// What stands behind its sealed end is copied out and cut off.
    CutExtra,
    /// A directory gets a pin with the id that its names open under.
    Pin {
        /// The id.
        id: DirId,
        /// How many of its names open under it.
        opens: usize,
    },
    /// Exchanged with the other directory that stands at its place.
    Exchange {
        /// The other's path on the backing.
        cipher_path: Vec<u8>,
        /// Its path in plain, where it is known.
        plain_path: Option<Vec<u8>>,
    },
    /// Moved back to the directory it came from.
    MoveHome {
        /// That directory's path on the backing.
        cipher_dir: Vec<u8>,
        /// Its path in plain, when it is back.
        plain_path: Vec<u8>,
    },
    /// Given a new name, since its own is lost.
    NewName {
        /// The name.
        name: PlainName,
    },
    /// Attributes that do not open are taken out.
    DropAttributes,
    /// Taken out of the vault.
    SetAside,
}

impl Remedy {
    /// The word for it in `--json`; never changes.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::SealWithoutEnd => "seal-without-end",
            Self::CutExtra => "cut-extra",
            Self::Pin { .. } => "pin",
            Self::Exchange { .. } => "exchange",
            Self::MoveHome { .. } => "move-home",
            Self::NewName { .. } => "new-name",
            Self::DropAttributes => "drop-attributes",
            Self::SetAside => "set-aside",
        }
    }

    /// Whether something goes into the quarantine.
    fn takes_out(&self) -> bool {
        match self {
            Self::SealWithoutEnd
            | Self::CutExtra
            | Self::Pin { .. }
            | Self::DropAttributes
            | Self::SetAside => true,
            Self::Seal | Self::Exchange { .. } | Self::MoveHome { .. } | Self::NewName { .. } => {
                false
            }
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = super::finding::shown;
        match self {
            Self::Seal => f.write_str("seal it as it stands"),
            Self::SealWithoutEnd => {
                f.write_str("copy its torn end to the quarantine, cut it off, and seal the rest")
            }
            Self::CutExtra => {
                f.write_str("copy what stands behind its end to the quarantine and cut it off")
            }
            Self::Pin { opens, .. } => {
                write!(f, "restore its pin, under which {opens} of its names open")
            }
            Self::Exchange {
                cipher_path,
                plain_path,
            } => {
                let other = shown(plain_path.as_ref().unwrap_or(cipher_path));
                write!(f, "exchange it with {other}, which stands at its place")
            }
            Self::MoveHome { plain_path, .. } => {
                write!(
                    f,
                    "move it back to where it came from: {}",
                    shown(plain_path)
                )
            }
            Self::NewName { name } => write!(f, "give it the name {}", shown(name.bytes())),
            Self::DropAttributes => {
                f.write_str("move the attributes that do not open to the quarantine")
            }
            Self::SetAside => f.write_str("move it to the quarantine"),
        }
    }
}

/// Why a step was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// It is not there any more.
    #[error("it is gone")]
    Gone,
    /// A directory.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The backing or the quarantine.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One object and what will be done to it.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its path on the backing.
    pub cipher_path: Vec<u8>,
    /// Its path in plain, where it is known.
    pub plain_path: Option<Vec<u8>>,
    /// The word for what is wrong.
    pub why: &'static str,
    /// What will be done.
    pub remedy: Remedy,
}

/// An object found again by its path on the backing.
enum Spot {
    Root(VaultDir),
    Entry {
        parent: VaultDir,
        entry: RawName,
        /// `None` where it does not open.
        name: Option<PlainName>,
        kind: Option<FileKind>,
    },
}

impl Spot {
    fn find(vault: &Vault, cipher_path: &[u8]) -> Result<Self, RepairError> {
        let mut parent = vault.root_dir();
        let mut parts = cipher_path.split(|&byte| byte == b'/').peekable();
        if cipher_path.is_empty() {
            return Ok(Self::Root(parent));
        }
        while let Some(part) = parts.next() {
            let entry = RawName::new(part);
            let meaning = parent.meaning_of(vault, &entry)?.ok_or(RepairError::Gone)?;
            let name = match meaning {
                Meaning::Object { name, .. } => Some(name),
                Meaning::Undecryptable
                | Meaning::NoSideFile
                | Meaning::WrongSideFile
                | Meaning::ConflictCopy { .. }
                | Meaning::SideFile
                | Meaning::OrphanedSideFile
                | Meaning::Internal
                | Meaning::Leftover
                | Meaning::ClientTemp
                | Meaning::Foreign => None,
            };
            if parts.peek().is_none() {
                let kind = parent.store().stat(&entry)?.kind();
                return Ok(Self::Entry {
                    parent,
                    entry,
                    name,
                    kind,
                });
            }
            parent = parent.open_child(vault, &name.ok_or(RepairError::Gone)?)?;
        }
        Err(RepairError::Gone)
    }

    /// The directory at this path, without its pin.
    fn unpinned_dir(&self, vault: &Vault) -> Result<VaultDir, RepairError> {
        match self {
            Self::Root(dir) => Ok(dir.clone()),
            Self::Entry { parent, name, .. } => {
                let name = name.as_ref().ok_or(RepairError::Gone)?;
                Ok(parent.open_child_unpinned(vault, name)?)
            }
        }
    }

    fn file(&self, access: Access) -> Result<StoreFile, RepairError> {
        match self {
            Self::Root(_) => Err(RepairError::Gone),
            Self::Entry { parent, entry, .. } => Ok(parent.store().open_file(entry, access)?),
        }
    }

    fn node(&self) -> Result<StoreNode, RepairError> {
        Ok(match self {
            Self::Root(dir) => dir.store().itself()?,
            Self::Entry { parent, entry, .. } => parent.store().node(entry)?,
        })
    }
}

/// What can be done about the findings of a full check, in the order in which
/// it should be. `more` are ids that a directory without a pin may have.
/// What cannot be read, and what does no harm, is left alone.
#[must_use]
pub fn plan(vault: &Vault, report: &Report, more: &[DirId]) -> Vec<Step> {
    let groups = report
        .findings
        .chunk_by(|a, b| a.cipher_path == b.cipher_path);
    let lost_dirs = lost_dirs(vault, report);
    let mut steps: Vec<Step> = Vec::new();
    for group in groups {
        // Exchanged already, by the step for the other one.
        let comes_with_another = steps.iter().any(|step| {
            matches!(&step.remedy, Remedy::Exchange { cipher_path, .. } if *cipher_path == group[0].cipher_path)
        });
        if comes_with_another {
            continue;
        }
        let Ok(spot) = Spot::find(vault, &group[0].cipher_path) else {
            continue;
        };
        let planner = Planner {
            vault,
            report,
            more,
            lost_dirs: &lost_dirs,
            spot: &spot,
        };
        for (finding, remedy) in planner.remedies(group) {
            steps.push(Step {
                cipher_path: finding.cipher_path.clone(),
                plain_path: finding.plain_path.clone(),
                why: finding.trouble.word(),
                remedy,
            });
        }
    }
    steps
}

/// A directory in which nothing opens.
struct LostDir<'a> {
    place: DirId,
    cipher: &'a [u8],
    plain: &'a Option<Vec<u8>>,
}

fn lost_dirs<'a>(vault: &Vault, report: &'a Report) -> Vec<LostDir<'a>> {
    let lost = report.findings.iter().filter(|finding| {
        matches!(
            finding.trouble,
            Trouble::NothingOpens { .. } | Trouble::BadPin(_)
        )
    });
    lost.filter_map(|finding| {
        let spot = Spot::find(vault, &finding.cipher_path).ok()?;
        Some(LostDir {
            place: spot.unpinned_dir(vault).ok()?.place(),
            cipher: &finding.cipher_path,
            plain: &finding.plain_path,
        })
    })
    .collect()
}

struct Planner<'a> {
    vault: &'a Vault,
    report: &'a Report,
    more: &'a [DirId],
    lost_dirs: &'a [LostDir<'a>],
    spot: &'a Spot,
}

impl Planner<'_> {
    /// What is to be done about all findings of one object: nothing while a
    /// part of it cannot be read, and nothing besides taking it out.
    fn remedies<'f>(&self, group: &'f [Finding]) -> Vec<(&'f Finding, Remedy)> {
        let mut found = Vec::new();
        for finding in group {
            if matches!(finding.trouble, Trouble::Unreadable(_)) {
                return Vec::new();
            }
            if let Some(remedy) = self.remedy(&finding.trouble) {
                found.push((finding, remedy));
            }
        }
        if let Some(out) = found.iter().find(|(_, r)| *r == Remedy::SetAside).cloned() {
            return vec![out];
        }
        // Several findings of one file may have the same remedy.
        let mut seen: Vec<&'static str> = Vec::new();
        found.retain(|(_, remedy)| {
            let new = !seen.contains(&remedy.word());
            seen.push(remedy.word());
            new
        });
        found
    }

    fn remedy(&self, trouble: &Trouble) -> Option<Remedy> {
        match trouble {
            Trouble::Directory(_) | Trouble::NothingOpens { .. } | Trouble::BadPin(_) => {
                Some(self.for_directory())
            }
            Trouble::NameDoesNotOpen => Some(self.home().unwrap_or(Remedy::SetAside)),
            Trouble::NoSideFile | Trouble::WrongSideFile => self.home().or_else(|| self.new_name()),
            Trouble::LeftOpen | Trouble::Longer | Trouble::Chunks(_) => {
                Some(self.for_file().unwrap_or(Remedy::SetAside))
            }
            Trouble::WrongSeal | Trouble::File(_) | Trouble::Link(_) => Some(Remedy::SetAside),
            Trouble::Attribute(_) => Some(Remedy::DropAttributes),
            Trouble::Unreadable(_)
            | Trouble::IdlePin
            | Trouble::ConflictCopy { .. }
            | Trouble::OrphanedSideFile
            | Trouble::Leftover
            | Trouble::ClientTemp
            | Trouble::Foreign => None,
        }
    }

    fn for_directory(&self) -> Remedy {
        self.found_directory().unwrap_or(Remedy::SetAside)
    }

    fn found_directory(&self) -> Option<Remedy> {
        let known = self.report.homes.iter().map(|home| home.id);
        let places = self.lost_dirs.iter().map(|lost| lost.place);
        let more: Vec<DirId> = known
            .chain(places)
            .chain(self.more.iter().copied())
            .collect();
        let dir = self.spot.unpinned_dir(self.vault).ok()?;
        let found = dir.find_id(self.vault, &more).ok()??;
        let stands_there = self.lost_dirs.iter().find(|lost| {
            lost.place != dir.place() && dir.belongs_at(self.vault, lost.place, found.id)
        });
        Some(match stands_there {
            Some(lost) => Remedy::Exchange {
                cipher_path: lost.cipher.to_vec(),
                plain_path: lost.plain.clone(),
            },
            None => Remedy::Pin {
                id: found.id,
                opens: found.opens,
            },
        })
    }

    /// The directory that an entry was carried out of, if its name is free there.
    fn home(&self) -> Option<Remedy> {
        let Spot::Entry { parent, entry, .. } = self.spot else {
            return None;
        };
        self.report.homes.iter().find_map(|home| {
            let dir = home.open(self.vault)?;
            let name = dir.name_of_stray(self.vault, entry, parent.store())?;
            // A second one is a copy, or an older version put back.
            dir.store().stat(entry).is_err().then(|| {
                let slash = if home.plain.is_empty() {
                    &b""[..]
                } else {
                    b"/"
                };
                Remedy::MoveHome {
                    cipher_dir: home.cipher.clone(),
                    plain_path: [&home.plain, slash, name.bytes()].concat(),
                }
            })
        })
    }

    fn new_name(&self) -> Option<Remedy> {
        let Spot::Entry { entry, .. } = self.spot else {
            return None;
        };
        let mark = entry.bytes().get(1..13)?;
        let name = [b"keepfs-lost-name-", mark].concat();
        let name = PlainName::new(&name).ok()?;
        Some(Remedy::NewName { name })
    }

    /// Whether a file can be brought to an end as it stands.
    fn for_file(&self) -> Result<Remedy, RepairError> {
        let (file, _) = File::open(self.vault, self.spot.file(Access::Read)?)?;
        if file.says_open() {
            return Ok(match file.unfinished()? {
                Unfinished::Whole => Remedy::Seal,
                Unfinished::TornFrom { .. } => Remedy::SealWithoutEnd,
                Unfinished::Damaged => Remedy::SetAside,
            });
        }
        let front = File::open_to_sealed_end(self.vault, self.spot.file(Access::Read)?)?;
        Ok(match front {
            Some(_) => Remedy::CutExtra,
            None => Remedy::SetAside,
        })
    }
}

impl Home {
    fn open(&self, vault: &Vault) -> Option<VaultDir> {
        match Spot::find(vault, &self.cipher).ok()? {
            Spot::Root(dir) => Some(dir),
            Spot::Entry { parent, name, .. } => parent.open_child(vault, &name?).ok(),
        }
    }
}

impl Step {
    /// Whether it needs a quarantine.
    #[must_use]
    pub fn takes_out(&self) -> bool {
        self.remedy.takes_out()
    }

    /// Does it, durably.
    ///
    /// # Errors
    /// What the backing says; the object is as it was then, or repaired in part.
    pub fn carry_out(&self, vault: &Vault, quarantine: &Quarantine) -> Result<(), RepairError> {
        let spot = Spot::find(vault, &self.cipher_path)?;
        let why = Reason {
            word: self.why,
            cipher_path: &self.cipher_path,
        };
        match &self.remedy {
            Remedy::Seal | Remedy::SealWithoutEnd => {
                let (file, _) = File::open(vault, spot.file(Access::ReadWrite)?)?;
                if let Unfinished::TornFrom { at, .. } = file.unfinished()? {
                    quarantine.copy_tail(&*file.store()?, at, why)?;
                }
                file.seal_as_found()?;
            }
            Remedy::CutExtra => {
                let store = spot.file(Access::ReadWrite)?;
                let front = File::open_to_sealed_end(vault, store)?.ok_or(RepairError::Gone)?;
                quarantine.copy_tail(&*front.store()?, front.sealed_end(), why)?;
                front.cut_to_sealed_end()?;
            }
            Remedy::Pin { id, .. } => {
                let dir = spot.unpinned_dir(vault)?;
                quarantine.copy_pin(dir.store(), why)?;
                dir.restore_pin(vault, *id)?;
            }
            Remedy::Exchange { cipher_path, .. } => {
                let other = Spot::find(vault, cipher_path)?;
                let (parent, entry) = spot.entry()?;
                let (other_parent, other_entry) = other.entry()?;
                parent.exchange_as_they_are(entry, other_parent, other_entry)?;
            }
            Remedy::MoveHome { cipher_dir, .. } => {
                let (parent, entry) = spot.entry()?;
                let home = Spot::find(vault, cipher_dir)?.open_dir(vault)?;
                parent.move_with_side(entry, home.store())?;
            }
            Remedy::NewName { name } => {
                let Spot::Entry { parent, entry, .. } = &spot else {
                    return Err(RepairError::Gone);
                };
                parent.name_anew(vault, entry, name)?;
            }
            Remedy::DropAttributes => drop_attributes(vault, &spot, quarantine, why)?,
            Remedy::SetAside => {
                let (parent, entry) = spot.entry()?;
                quarantine.take(parent, entry, why)?;
            }
        }
        Ok(())
    }
}

impl Spot {
    fn entry(&self) -> Result<(&StoreDir, &RawName), RepairError> {
        match self {
            Self::Root(_) => Err(RepairError::Gone),
            Self::Entry { parent, entry, .. } => Ok((parent.store(), entry)),
        }
    }

    fn open_dir(&self, vault: &Vault) -> Result<VaultDir, RepairError> {
        match self {
            Self::Root(dir) => Ok(dir.clone()),
            Self::Entry { parent, name, .. } => {
                let name = name.as_ref().ok_or(RepairError::Gone)?;
                Ok(parent.open_child(vault, name)?)
            }
        }
    }
}

fn drop_attributes(
    vault: &Vault,
    spot: &Spot,
    quarantine: &Quarantine,
    why: Reason<'_>,
) -> Result<(), RepairError> {
    let is_dir = match spot {
        Spot::Root(_) => true,
        Spot::Entry { kind, .. } => *kind == Some(FileKind::Directory),
    };
    let owner = if is_dir {
        XattrOwner::Dir(spot.open_dir(vault)?.id())
    } else {
        let (file, _) = File::open(vault, spot.file(Access::Read)?)?;
        XattrOwner::File(file.keys().file_id())
    };
    let node = spot.node()?;
    let keys = vault.keys();
    for name in node.list_xattrs()? {
        if !name.starts_with(XATTR_PREFIX.as_bytes()) {
            continue;
        }
        let value = node.get_xattr(&name)?;
        let opened = keys
            .open_xattr_name(owner, &name)
            .and_then(|plain| keys.open_xattr_value(owner, &plain, &value));
        if opened.is_err() {
            quarantine.take_attribute(&node, &name, why)?;
        }
    }
    Ok(())
}
