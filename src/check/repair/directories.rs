//! Directories whose pin is lost or that stand in another's place, and the
//! places that entries were carried away from.

use std::collections::HashMap;
use std::io;

use super::remedy::Stated;
use super::{Remedy, Spot, Step};
use crate::check::{Finding, Home, Report, Trouble};
use crate::codec::entry::{RawEntry, classify};
use crate::name::{PlainName, RawName};
use crate::types::DirId;
use crate::vault::Vault;
use crate::vault::dir::{Identity, PinStanding, VaultDir};

/// What is known of the directories of a vault.
pub(super) struct Directories<'a> {
    vault: &'a Vault,
    homes: Vec<&'a Home>,
    lost: Vec<Lost<'a>>,
    stated: &'a [DirId],
    /// What was found out about directories in which not everything opens, by
    /// path on the backing.
    looked_at: HashMap<Vec<u8>, Option<Remedy>>,
}

/// A directory in which nothing opens.
struct Lost<'a> {
    place: DirId,
    cipher: &'a [u8],
    plain: &'a Option<Vec<u8>>,
}

impl<'a> Directories<'a> {
    pub(super) fn of(vault: &'a Vault, report: &'a Report, stated: &'a [DirId]) -> Self {
        let mut homes: Vec<&Home> = report.homes.iter().collect();
        homes.sort_by(|a, b| a.cipher.cmp(&b.cipher));
        let nothing_opens = report.findings.iter().filter(|finding| {
            matches!(
                finding.trouble,
                Trouble::NothingOpens { .. } | Trouble::BadPin(_)
            )
        });
        let lost = nothing_opens.filter_map(|finding| {
            let spot = Spot::find(vault, &finding.cipher_path).ok()?;
            Some(Lost {
                place: spot.unpinned_dir(vault).ok()?.place(),
                cipher: &finding.cipher_path,
                plain: &finding.plain_path,
            })
        });
        Self {
            vault,
            homes,
            lost: lost.collect(),
            stated,
            looked_at: HashMap::new(),
        }
    }

    /// What to do about a directory whose pin is damaged or in which nothing
    /// opens; `None` if it cannot be looked at.
    pub(super) fn remedy(&mut self, spot: &Spot, cipher_path: &[u8]) -> Option<Remedy> {
        let dir = spot.unpinned_dir(self.vault).ok()?;
        match self.identity(&dir).ok()? {
            Identity::NeedsNone => Some(Remedy::DropPin),
            Identity::Unknown => Some(Remedy::SetAside),
            known @ (Identity::Stated(..) | Identity::Guessed(..)) => {
                Some(self.pin(&dir, cipher_path, known))
            }
        }
    }

    /// What to do about the directory of an entry that does not open, if that
    /// has no pin and all that does not open in it shares an id of its own.
    pub(super) fn of_stray(&mut self, stray: &Finding) -> Option<Step> {
        let path = stray.cipher_path.as_slice();
        let end = path.iter().rposition(|&byte| byte == b'/')?;
        let parent = path[..end].to_vec();
        if !self.looked_at.contains_key(&parent) {
            let remedy = self.of_mixed(&parent);
            self.looked_at.insert(parent.clone(), remedy);
        }
        let remedy = self.looked_at.get(&parent)?.clone()?;
        let home = self.homes.iter().find(|home| home.cipher == parent);
        Some(Step {
            plain_path: home.map(|home| home.plain.clone()),
            cipher_path: parent,
            why: stray.trouble.word(),
            remedy,
        })
    }

    fn of_mixed(&self, path: &[u8]) -> Option<Remedy> {
        let spot = Spot::find(self.vault, path).ok()?;
        match spot
            .open_dir(self.vault)
            .ok()?
            .pin_standing(self.vault)
            .ok()?
        {
            PinStanding::Used => return None,
            PinStanding::Absent | PinStanding::Elsewhere => {}
        }
        let dir = spot.unpinned_dir(self.vault).ok()?;
        match self.identity(&dir).ok()? {
            Identity::NeedsNone | Identity::Unknown => None,
            known @ (Identity::Stated(..) | Identity::Guessed(..)) => {
                // Its own names are here too: what is another's are strays.
                let remedy = self.pin(&dir, path, known);
                (!remedy.takes_out()).then_some(remedy)
            }
        }
    }

    fn identity(&self, dir: &VaultDir) -> Result<Identity, crate::vault::dir::DirError> {
        let known = self.homes.iter().map(|home| home.id);
        let places = self.lost.iter().map(|lost| lost.place);
        let guesses: Vec<DirId> = known.chain(places).collect();
        dir.identity(self.vault, self.stated, &guesses)
    }

    /// A pin, unless the id is another directory's.
    fn pin(&self, dir: &VaultDir, cipher_path: &[u8], known: Identity) -> Remedy {
        let (id, opens, stated) = match known {
            Identity::Stated(id, opens) => (id, opens, Stated::Stated),
            Identity::Guessed(id, opens) => (id, opens, Stated::OnlyByItsNames),
            Identity::NeedsNone | Identity::Unknown => return Remedy::SetAside,
        };
        if stated == Stated::OnlyByItsNames {
            let stands_there = self.lost.iter().find(|lost| {
                lost.cipher != cipher_path && dir.belongs_at(self.vault, lost.place, id)
            });
            if let Some(lost) = stands_there {
                return Remedy::Exchange {
                    cipher_path: lost.cipher.to_vec(),
                    plain_path: lost.plain.clone(),
                };
            }
            let other = |home: &&&Home| home.id == id && home.cipher != cipher_path;
            if let Some(home) = self.homes.iter().find(other) {
                return Remedy::SetAsideCopy {
                    of: home.plain.clone(),
                };
            }
        }
        Remedy::Pin { id, opens, stated }
    }

    /// The one directory that an entry was carried out of, if its name is free
    /// there.
    pub(super) fn home_of(&self, parent: &VaultDir, entry: &RawName) -> Option<Remedy> {
        let side_is_here = match classify(entry) {
            RawEntry::Long(long) => parent.store().read_side(&long).is_ok(),
            RawEntry::Short(_)
            | RawEntry::SideFile(_)
            | RawEntry::Internal
            | RawEntry::ClientTemp
            | RawEntry::Other => true,
        };
        let mut fitting = self.homes.iter().filter_map(|home| {
            let name = if side_is_here {
                parent.name_under(self.vault, entry, home.id)
            } else {
                home.open(self.vault)?
                    .name_under(self.vault, entry, home.id)
            };
            Some((home, name?))
        });
        let (home, name): (_, PlainName) = fitting.next()?;
        // Ids are not unique; of two places that fit neither is chosen.
        if fitting.next().is_some() {
            return None;
        }
        let free = home.open(self.vault)?.store().stat(entry);
        match free {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let slash = if home.plain.is_empty() {
                    &b""[..]
                } else {
                    b"/"
                };
                Some(Remedy::MoveHome {
                    cipher_dir: home.cipher.clone(),
                    plain_path: [&home.plain, slash, name.bytes()].concat(),
                })
            }
            // A second one is a copy, or an older version put back.
            Ok(_) | Err(_) => None,
        }
    }
}

impl Home {
    fn open(&self, vault: &Vault) -> Option<VaultDir> {
        Spot::find(vault, &self.cipher).ok()?.open_dir(vault).ok()
    }
}
