//! A vault to be attacked, and the answers of keepfs as assertions.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::filled::{backing, check, copy_tree, findings, long};
use crate::harness::*;

/// Bytes before the first slot.
pub(crate) const HEADER: u64 = 128;
/// Bytes of a chunk.
pub(crate) const CHUNK: usize = 4096;
/// Bytes of a full slot: nonce, chunk and tag.
pub(crate) const SLOT: usize = CHUNK + 40;

/// What `keepfs check` says of one object: kind, loss and plain path.
pub(crate) type Found<'a> = (&'a str, &'a str, Option<&'a str>);

/// Lines of text that differ in every file and at every place.
pub(crate) fn lines(of: &str, len: usize) -> String {
    let mut text = String::new();
    for line in 0.. {
        if text.len() >= len {
            break;
        }
        text.push_str(&format!("{of}, line {line:06}\n"));
    }
    text.truncate(len);
    text
}

/// A vault that opens with a key file, with one of everything in it.
pub(crate) struct Victim {
    pub(crate) place: Place,
    /// What each regular file holds.
    whole: BTreeMap<String, String>,
}

impl Victim {
    /// A vault that reads right: a copy of the first one that was made, which
    /// was looked at more closely. `check` proves that nothing got lost.
    #[track_caller]
    pub(crate) fn new() -> Self {
        /// An archive of all but the mount point, and what is in the files.
        static MADE: OnceLock<(Vec<u8>, BTreeMap<String, String>)> = OnceLock::new();
        let (archive, whole) = MADE.get_or_init(|| {
            let made = Self::another();
            let mut pack = Command::new("tar");
            pack.args(["-cSf", "-", "v", "key", "state"]);
            let packed = pack.current_dir(made.place.root()).output().unwrap();
            assert!(packed.status.success());
            (packed.stdout, made.whole)
        });
        let victim = Self {
            place: Place::bare(),
            whole: whole.clone(),
        };
        let mut unpack = Command::new("tar");
        unpack.args(["-xf", "-"]).current_dir(victim.place.root());
        run(&mut unpack, archive).done();
        victim.check_finds(&[]);
        victim
    }

    /// A vault with keys of its own.
    #[track_caller]
    pub(crate) fn another() -> Self {
        let mut victim = Self {
            place: with_key_file(),
            whole: BTreeMap::new(),
        };
        victim.edit(|m| {
            for (name, len) in [("letter", 20_000), ("other", 20_000), ("exact", 8192)] {
                fs::write(m.join(name), lines(name, len)).unwrap();
            }
            for dir in ["box/deep", "chest", "old"] {
                fs::create_dir_all(m.join(dir)).unwrap();
            }
            for name in ["box/inside", "box/deep/bottom", "chest/inside", "old/kept"] {
                fs::write(m.join(name), lines(name, 300)).unwrap();
            }
            fs::rename(m.join("old"), m.join("pinned")).unwrap();
            fs::write(m.join(long()), lines("long", 300)).unwrap();
            symlink("some/where", m.join("link")).unwrap();
            symlink("else/where", m.join("pointer")).unwrap();
            let sparse = File::create(m.join("sparse")).unwrap();
            sparse.set_len(40_000).unwrap();
            for at in [0, 20_480] {
                let text = lines("sparse", CHUNK);
                sparse.write_all_at(text.as_bytes(), at).unwrap();
            }
        });
        victim.remember_contents();
        victim.is_untouched();
        victim
    }

    /// Nothing is wrong with it: every file reads right, `check` is content.
    #[track_caller]
    pub(crate) fn is_untouched(&self) {
        self.opens();
        self.others_read_right(&[]);
        self.check_finds(&[]);
    }

    fn remember_contents(&mut self) {
        let listed = self.run(&["ls", "-R", "--json", "v"]);
        listed.done();
        for line in listed.stdout.lines() {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap();
            if entry["kind"] == "regular file" {
                let path = entry["path"].as_str().unwrap().to_owned();
                let read = self.cat(&path);
                self.whole.insert(path, read.done().stdout.clone());
            }
        }
    }

    /// The owner works in the vault: mounts it, does this, unmounts it.
    #[track_caller]
    pub(crate) fn edit(&mut self, work: impl FnOnce(&Path)) {
        self.edit_with(&[], work);
    }

    /// The same in a mount with these further options.
    #[track_caller]
    pub(crate) fn edit_with(&mut self, options: &[&str], work: impl FnOnce(&Path)) {
        self.mounted(options, work);
        self.whole.clear();
        self.remember_contents();
    }

    /// Something is done in a mount with these further options.
    #[track_caller]
    pub(crate) fn mounted(&self, options: &[&str], work: impl FnOnce(&Path)) {
        let words = [&["mount", "--keyfile", "key", "v", "m"], options].concat();
        self.place.run(&words).done();
        work(&self.place.point());
        self.place.run(&["unmount", "m"]).done();
    }

    /// Runs the command with the right key file.
    #[track_caller]
    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        self.place.run(&[words, &["--keyfile", "key"]].concat())
    }

    /// Prints a file.
    #[track_caller]
    pub(crate) fn cat(&self, plain: &str) -> Ran {
        self.run(&["cat", &format!("v:{plain}")])
    }

    /// Where it is on the backing, while names still open.
    pub(crate) fn at(&self, plain: &str) -> PathBuf {
        backing(&self.place, plain)
    }

    /// What the file held when the owner was last at work.
    pub(crate) fn text(&self, plain: &str) -> &str {
        &self.whole[plain]
    }

    /// A copy of the whole backing as it is now, and what is in it.
    pub(crate) fn keep(&self) -> Kept {
        let dir = tempfile::tempdir_in(self.place.root()).unwrap();
        copy_tree(&self.place.vault(), &dir.path().join("v"));
        Kept { dir }
    }

    // ---- at open ----

    /// The vault unlocks, lists and mounts.
    #[track_caller]
    pub(crate) fn opens(&self) {
        self.run(&["ls", "v"]).done();
        self.mounted(&[], |_| ());
    }

    /// It neither lists nor mounts, with this code and these words.
    #[track_caller]
    pub(crate) fn opens_not(&self, code: i32, words: &[&str]) {
        self.run(&["ls", "v"]).failed(code, words);
        self.run(&["mount", "v", "m"]).failed(code, words);
        self.run(&["check", "v"]).failed(code, words);
    }

    // ---- at read ----

    /// The file reads as this text.
    #[track_caller]
    pub(crate) fn reads(&self, plain: &str, text: &str) {
        let read = self.cat(plain);
        assert_eq!(read.code, code::DONE, "{}", read.stderr);
        assert!(read.stdout == text, "another text of {plain}");
    }

    /// The file is refused, after so many bytes of what it held.
    #[track_caller]
    pub(crate) fn refuses(&self, plain: &str, after: usize) {
        let read = self.cat(plain);
        assert_eq!(read.code, code::DAMAGE_FOUND, "{plain}: {}", read.stderr);
        assert_eq!(read.stdout.len(), after, "bytes of {plain}");
        assert!(
            read.stdout == self.text(plain)[..after],
            "wrong plaintext of {plain}"
        );
        assert!(
            read.stderr.contains(&format!("keepfs: {plain}: ")),
            "{}",
            read.stderr
        );
    }

    /// There is nothing of that name.
    #[track_caller]
    pub(crate) fn is_gone(&self, plain: &str) {
        let first = plain.split('/').next().unwrap();
        self.cat(plain).failed(code::NO_SUCH_OBJECT, &[first]);
    }

    /// Every regular file but these reads as it did.
    #[track_caller]
    pub(crate) fn others_read_right(&self, but: &[&str]) {
        assert!(self.whole.len() >= 8);
        for (plain, text) in &self.whole {
            if !but.contains(&plain.as_str()) {
                self.reads(plain, text);
            }
        }
    }

    /// The names in a directory.
    #[track_caller]
    pub(crate) fn names(&self, plain: &str) -> Vec<String> {
        let listed = self.run(&["ls", &format!("v:{plain}")]);
        listed.done();
        listed.stdout.lines().map(str::to_owned).collect()
    }

    /// In a mount with `--strict` the file is refused; everywhere else there it
    /// reads as before.
    #[track_caller]
    pub(crate) fn strict_refuses(&self, plain: &str) {
        self.mounted(&["--strict"], |m| {
            let error = fs::read(m.join(plain)).expect_err("refused under --strict");
            assert_eq!(error.raw_os_error(), Some(libc::EIO), "{error}");
            let fine = ["letter", "other", "exact", "sparse"];
            for other in fine.iter().filter(|other| **other != plain) {
                assert!(fs::read_to_string(m.join(other)).unwrap() == self.text(other));
            }
        });
    }

    // ---- at check ----

    /// `check` finds exactly this, and ends as the gravest of it asks.
    #[track_caller]
    pub(crate) fn check_finds(&self, expected: &[Found<'_>]) {
        let (code, report) = check(&self.place, &[]);
        let found = findings(&report);
        let mut found: Vec<Found<'_>> = found
            .iter()
            .map(|(kind, loss, plain)| (kind.as_str(), loss.as_str(), plain.as_deref()))
            .collect();
        found.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected);
        let lost = expected.iter().any(|(_, loss, _)| *loss != "nothing");
        let wanted = if lost { code::DAMAGE_FOUND } else { code::DONE };
        assert_eq!(code, wanted, "{report}");
    }
}

/// A former state of the backing, as its keeper has it.
pub(crate) struct Kept {
    dir: tempfile::TempDir,
}

impl Kept {
    /// The same object in the former state.
    pub(crate) fn of(&self, victim: &Victim, now: &Path) -> PathBuf {
        let below = now.strip_prefix(victim.place.vault()).unwrap();
        self.dir.path().join("v").join(below)
    }

    /// Puts one object, or all of it, back.
    pub(crate) fn put_back(&self, victim: &Victim, now: &Path) {
        remove(now);
        copy_tree(&self.of(victim, now), now);
    }
}

/// Removes whatever is there.
pub(crate) fn remove(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

/// Exchanges two objects on the backing.
pub(crate) fn exchange(a: &Path, b: &Path) {
    let aside = a.with_file_name("aside");
    fs::rename(a, &aside).unwrap();
    fs::rename(b, a).unwrap();
    fs::rename(aside, b).unwrap();
}

/// Where slot `index` begins.
pub(crate) fn slot_at(index: u64) -> u64 {
    HEADER + index * u64::try_from(SLOT).unwrap()
}

/// Full slot `index` of a file.
pub(crate) fn slot(path: &Path, index: u64) -> Vec<u8> {
    let mut bytes = vec![0; SLOT];
    let file = File::open(path).unwrap();
    file.read_exact_at(&mut bytes, slot_at(index)).unwrap();
    bytes
}

/// Writes over part of a file.
pub(crate) fn put(path: &Path, at: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

/// Gives a file other bytes, in place.
pub(crate) fn splice(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Runs a tool with these words; its output.
#[track_caller]
pub(crate) fn tool(program: &str, words: &[&str], on: &Path) -> String {
    let mut command = Command::new(program);
    let ran = run(command.args(words).arg(on), b"");
    ran.done();
    ran.stdout
}
