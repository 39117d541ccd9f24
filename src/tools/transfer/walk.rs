//! One entry copied; hard links; when a directory is done.

use std::sync::Arc;

use super::contents::{Told, Written};
use super::tree::{Attribute, Attributes, Begin, Listing, Look, Tree, TreeError};
use super::{Compare, Engine, Existing, Job, Linked, Privileges, Run, Task, Trouble};
use crate::name::PlainName;
use crate::sys::fs::Stat;
use crate::tools::kind_in_words;
use crate::types::{FileKind, RenameMode};

/// What became of an object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Copied,
    Skipped,
}

/// What the target has in an object's place.
enum Standing {
    Absent,
    Equal,
    /// Something that may be replaced.
    Other,
}

type JobOf<S, T> = Job<<S as Tree>::Dir, <T as Tree>::Dir>;

impl<S: Tree, T: Tree> Engine<'_, S, T> {
    pub(super) fn task(&self, task: Task<S::Dir, T::Dir>) {
        let Task { job, name } = task;
        if !self.is_stopped()
            && let Err(trouble) = self.entry(&job, &name)
        {
            self.report(&job.path_of(&name), trouble);
        }
        self.release(job);
    }

    fn entry(&self, job: &Arc<JobOf<S, T>>, name: &PlainName) -> Result<(), Trouble> {
        let found = self.source.find(&job.source, name);
        let item = found.map_err(Trouble::Source)?.ok_or(Trouble::Changed)?;
        if item.kind() == Some(FileKind::Directory) {
            return self.directory(job, name, item);
        }
        let outcome = if item.nlink > 1 {
            match self.linked(job, name, &item)? {
                Some(outcome) => outcome,
                None => return Ok(()),
            }
        } else {
            self.object(job, name, &item)?
        };
        if outcome == Outcome::Skipped {
            self.counts.lock().skipped += 1;
        }
        Ok(())
    }

    /// Opens or makes the directory `name` on both sides; what is in it
    /// becomes tasks.
    fn directory(
        &self,
        job: &Arc<JobOf<S, T>>,
        name: &PlainName,
        item: Stat,
    ) -> Result<(), Trouble> {
        let source = self.source.open_dir(&job.source, name);
        let source = source.map_err(Trouble::Source)?;
        // What cannot be read does not appear in the target.
        let listing = self.source.list(&source).map_err(Trouble::Source)?;
        let target = match &job.target {
            Some(dir) => self.target_dir(dir, name)?,
            None => None,
        };
        let child = Arc::new(Job {
            parent: Some(Arc::clone(job)),
            path: job.path_of(name),
            source,
            target: target.map(Arc::new),
            look: Some(item),
        });
        self.enter(&child, listing);
        self.release(child);
        Ok(())
    }

    fn target_dir(&self, dir: &T::Dir, name: &PlainName) -> Result<Option<T::Dir>, Trouble> {
        let there = self.target.find(dir, name).map_err(Trouble::Target)?;
        let kind = there.map(|there| there.kind());
        match (kind, self.how.run) {
            (None, Run::Dry) => return Ok(None),
            (None, Run::Real) => self.target.make_dir(dir, name).map_err(Trouble::Target)?,
            (Some(Some(FileKind::Directory)), _) => {}
            (Some(other), _) => return Err(Trouble::OtherKind(kind_in_words(other))),
        }
        let opened = match (kind, self.how.run) {
            (Some(_), Run::Real) => self.target.open_target(dir, name),
            (None, _) | (_, Run::Dry) => self.target.open_dir(dir, name),
        };
        opened.map(Some).map_err(Trouble::Target)
    }

    /// Makes the entries of a directory tasks.
    pub(super) fn enter(&self, job: &Arc<JobOf<S, T>>, listing: Listing) {
        self.counts.lock().directories += 1;
        if listing.lost > 0 {
            self.report(&job.path, Trouble::NamesLost(listing.lost));
        }
        // Directories first, so that files are taken off the stack before them.
        let (dirs, others): (Vec<_>, Vec<_>) = listing
            .entries
            .into_iter()
            .partition(|(_, kind)| *kind == Some(FileKind::Directory));
        let task = |(name, _)| Task {
            job: Arc::clone(job),
            name,
        };
        self.tasks
            .push(dirs.into_iter().chain(others).map(task).collect());
    }

    /// Gives a reference to a directory back; the last one finishes it, and
    /// then perhaps its parent.
    pub(super) fn release(&self, job: Arc<JobOf<S, T>>) {
        let mut last = Arc::into_inner(job);
        while let Some(mut job) = last {
            if !self.is_stopped() {
                self.finish_dir(&job);
            }
            last = job.parent.take().and_then(Arc::into_inner);
        }
    }

    /// All that is in the directory is there: now it gets its own look, the
    /// times above all, which every new entry would have changed.
    fn finish_dir(&self, job: &JobOf<S, T>) {
        let (Some(dir), Some(stat), Run::Real) = (&job.target, &job.look, self.how.run) else {
            return;
        };
        let attributes = match self.source.dir_attributes(&job.source) {
            Ok(attributes) => self.known(&job.path, attributes),
            Err(error) => {
                self.report(&job.path, Trouble::Source(error));
                Vec::new()
            }
        };
        match self.target.dress_dir(dir, &Look::new(stat, attributes)) {
            Ok(lost) => self.without(&job.path, lost),
            Err(error) => self.report(&job.path, Trouble::Target(error)),
        }
    }

    /// The attributes that could be read; of the others it is told.
    fn known(&self, path: &[PlainName], attributes: Attributes) -> Vec<Attribute> {
        self.without(path, attributes.lost);
        attributes.found
    }

    fn without(&self, path: &[PlainName], lost: Vec<TreeError>) {
        for error in lost {
            self.report(path, Trouble::Attribute(error));
        }
    }

    /// Copies an object with several names: the first that comes as an object,
    /// the others as names of it. `None` if this one has to wait for the first.
    fn linked(
        &self,
        job: &Arc<JobOf<S, T>>,
        name: &PlainName,
        item: &Stat,
    ) -> Result<Option<Outcome>, Trouble> {
        let key = (item.dev, item.ino);
        let first = {
            let mut links = self.links.lock();
            match links.get_mut(&key) {
                Some(Linked::Busy(waiting)) => {
                    waiting.push(Task {
                        job: Arc::clone(job),
                        name: name.clone(),
                    });
                    return Ok(None);
                }
                Some(Linked::Done(path)) => Some(path.clone()),
                None => {
                    links.insert(key, Linked::Busy(Vec::new()));
                    None
                }
            }
        };
        if let Some(first) = first {
            return self.link(job, name, &first).map(Some);
        }
        let result = self.object(job, name, item);
        let mut links = self.links.lock();
        let waiting = match &result {
            Ok(_) => links.insert(key, Linked::Done(job.path_of(name))),
            // The next name tries again, and fails under its own path.
            Err(_) => links.remove(&key),
        };
        drop(links);
        if let Some(Linked::Busy(waiting)) = waiting {
            self.tasks.push(waiting);
        }
        result.map(Some)
    }

    /// Gives the object at `first` in the target the name `name` too.
    fn link(
        &self,
        job: &JobOf<S, T>,
        name: &PlainName,
        first: &[PlainName],
    ) -> Result<Outcome, Trouble> {
        let (Some(dir), Some((first_name, parents))) = (&job.target, first.split_last()) else {
            self.counts.lock().hard_links += 1;
            return Ok(Outcome::Copied);
        };
        let far = self.walk(parents, &job.path).map_err(Trouble::Target)?;
        let from = far.as_ref().unwrap_or(dir);
        let key = |stat: Stat| (stat.dev, stat.ino);
        let object = self.target.find(from, first_name);
        let object = object.map_err(Trouble::Target)?.map(key);
        let there = self.target.find(dir, name).map_err(Trouble::Target)?;
        let mode = match there {
            None => RenameMode::NoReplace,
            Some(there) if Some(key(there)) == object => return Ok(Outcome::Skipped),
            Some(there) => self.may_replace(there.kind())?,
        };
        if self.how.run == Run::Real {
            let draft = self.target.begin(dir, Begin::Link(from, first_name));
            let draft = draft.map_err(Trouble::Target)?;
            self.place(dir, &draft, name, mode)?;
        }
        self.counts.lock().hard_links += 1;
        Ok(Outcome::Copied)
    }

    /// Opens a directory of the target; `None` if it is the one at `here`.
    fn walk(
        &self,
        path: &[PlainName],
        here: &[PlainName],
    ) -> Result<Option<Arc<T::Dir>>, TreeError> {
        let Some(root) = self.root.as_ref().filter(|_| path != here) else {
            return Ok(None);
        };
        let mut dir = Arc::clone(root);
        for name in path {
            dir = Arc::new(self.target.open_dir(&dir, name)?);
        }
        Ok(Some(dir))
    }

    /// Copies anything that is no directory.
    fn object(&self, job: &JobOf<S, T>, name: &PlainName, item: &Stat) -> Result<Outcome, Trouble> {
        let kind = item.kind().ok_or(Trouble::UnknownKind)?;
        let is_device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
        if is_device && self.how.privileges == Privileges::Drop {
            return Err(Trouble::Device);
        }
        let size = match kind {
            FileKind::Regular => item.size,
            FileKind::Directory
            | FileKind::Symlink
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharDevice
            | FileKind::BlockDevice => 0,
        };
        let mut told = Told::new(self.progress, size);
        if let Some(dir) = &job.target {
            let mode = match self.standing(job, dir, name, item)? {
                Standing::Equal => return Ok(Outcome::Skipped),
                Standing::Absent => RenameMode::NoReplace,
                Standing::Other => self.may_replace(Some(kind))?,
            };
            if self.how.run == Run::Real {
                self.make(job, dir, name, item, mode, &mut told)?;
            }
        }
        match kind {
            FileKind::Regular => {
                self.counts.lock().files += 1;
                self.counts.lock().bytes += size;
            }
            FileKind::Symlink => self.counts.lock().symlinks += 1,
            FileKind::Directory
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharDevice
            | FileKind::BlockDevice => self.counts.lock().special += 1,
        }
        Ok(Outcome::Copied)
    }

    /// Whether what stands in the way may be replaced.
    fn may_replace(&self, kind: Option<FileKind>) -> Result<RenameMode, Trouble> {
        match (kind, self.how.existing) {
            (Some(FileKind::Directory), _) => Err(Trouble::OtherKind(kind_in_words(kind))),
            (_, Existing::Keep) => Err(Trouble::Differs),
            (_, Existing::Replace) => Ok(RenameMode::Replace),
        }
    }

    /// What the target has under that name.
    fn standing(
        &self,
        job: &JobOf<S, T>,
        dir: &T::Dir,
        name: &PlainName,
        item: &Stat,
    ) -> Result<Standing, Trouble> {
        let there = self.target.find(dir, name).map_err(Trouble::Target)?;
        let Some(there) = there else {
            return Ok(Standing::Absent);
        };
        if there.kind() == Some(FileKind::Directory) {
            return Err(Trouble::OtherKind(kind_in_words(there.kind())));
        }
        let equal = there.kind() == item.kind()
            && match item.kind() {
                Some(FileKind::Regular) => {
                    (there.size, there.mtime) == (item.size, item.mtime)
                        && self.same_contents(job, dir, name, item.size)?
                }
                Some(FileKind::Symlink) => {
                    let wanted = self.source.read_link(&job.source, name);
                    let wanted = wanted.map_err(Trouble::Source)?;
                    let found = self.target.read_link(dir, name);
                    found.is_ok_and(|found| found == wanted)
                }
                Some(FileKind::CharDevice | FileKind::BlockDevice) => there.rdev == item.rdev,
                Some(FileKind::Directory | FileKind::Fifo | FileKind::Socket) => true,
                None => false,
            };
        Ok(if equal {
            Standing::Equal
        } else {
            Standing::Other
        })
    }

    /// Whether two files of one size are equal, as far as was asked.
    fn same_contents(
        &self,
        job: &JobOf<S, T>,
        dir: &T::Dir,
        name: &PlainName,
        size: u64,
    ) -> Result<bool, Trouble> {
        if self.how.compare == Compare::Times {
            return Ok(true);
        }
        let from = self.source.open_file(&job.source, name);
        let from = from.map_err(Trouble::Source)?;
        match self.target.open_file(dir, name) {
            Ok(to) => self.same_bytes(&from, &to, size),
            Err(_) => Ok(false),
        }
    }

    /// Makes an object without a name, gives it its look, then its name.
    fn make(
        &self,
        job: &JobOf<S, T>,
        dir: &T::Dir,
        name: &PlainName,
        item: &Stat,
        mode: RenameMode,
        told: &mut Told<'_>,
    ) -> Result<(), Trouble> {
        let bare = |begun: Result<T::Draft, TreeError>| {
            let draft = begun.map_err(Trouble::Target)?;
            Ok(Written {
                draft,
                stat: *item,
                attributes: Attributes::default(),
            })
        };
        let made = match item.kind() {
            Some(FileKind::Regular) => {
                let from = self.source.open_file(&job.source, name);
                self.write_copy(&from.map_err(Trouble::Source)?, dir, told)
            }
            Some(FileKind::Symlink) => {
                let target = self.source.read_link(&job.source, name);
                let target = target.map_err(Trouble::Source)?;
                bare(self.target.begin(dir, Begin::Symlink(&target)))
            }
            Some(
                FileKind::Fifo
                | FileKind::Socket
                | FileKind::CharDevice
                | FileKind::BlockDevice
                | FileKind::Directory,
            )
            | None => {
                let (mode, rdev) = (item.mode, item.rdev);
                bare(self.target.begin(dir, Begin::Node { mode, rdev }))
            }
        }?;
        let path = job.path_of(name);
        let mut look = Look::new(&made.stat, self.known(&path, made.attributes));
        if self.how.privileges == Privileges::Drop {
            look.drop_set_id();
        }
        match self.target.dress(dir, &made.draft, &look) {
            Ok(lost) => self.without(&path, lost),
            Err(error) => {
                self.discard(dir, &made.draft);
                return Err(Trouble::Target(error));
            }
        }
        self.place(dir, &made.draft, name, mode)
    }

    /// Gives a whole object its name, or removes it.
    fn place(
        &self,
        dir: &T::Dir,
        draft: &T::Draft,
        name: &PlainName,
        mode: RenameMode,
    ) -> Result<(), Trouble> {
        self.target
            .finish(dir, draft, name, mode)
            .map_err(Trouble::Target)
            .inspect_err(|_| self.discard(dir, draft))
    }
}
