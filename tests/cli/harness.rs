//! A temporary vault with a mount point, and the command run on them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The passphrase of every vault here.
pub(crate) const PASSPHRASE: &str = "correct horse";

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The exit codes, spelled out once more: a promise to scripts.
pub(crate) mod code {
    pub(crate) const DONE: i32 = 0;
    pub(crate) const FAILURE: i32 = 1;
    pub(crate) const USAGE: i32 = 2;
    pub(crate) const NOT_A_VAULT: i32 = 3;
    pub(crate) const VAULT_DAMAGED: i32 = 4;
    pub(crate) const NEEDS_NEWER: i32 = 5;
    pub(crate) const WRONG_PASSPHRASE: i32 = 6;
    pub(crate) const NO_PASSPHRASE: i32 = 7;
    pub(crate) const VAULT_IN_USE: i32 = 8;
    pub(crate) const MOUNT_POINT: i32 = 9;
    pub(crate) const FUSE_MISSING: i32 = 10;
    pub(crate) const MOUNT_REFUSED: i32 = 11;
    pub(crate) const NOT_MOUNTED: i32 = 12;
    pub(crate) const BUSY: i32 = 13;
    pub(crate) const NOT_SAVED: i32 = 14;
    pub(crate) const NOT_EMPTY: i32 = 15;
    pub(crate) const KDF_COST: i32 = 16;
    pub(crate) const BACKING: i32 = 17;
    pub(crate) const KEY_FILE: i32 = 18;
    pub(crate) const SLOT_DAMAGED: i32 = 19;
    pub(crate) const NO_SUCH_SLOT: i32 = 20;
    pub(crate) const WEAK_PASSPHRASE: i32 = 21;
    pub(crate) const BAD_RECOVERY: i32 = 22;
    pub(crate) const NOT_CONFIRMED: i32 = 23;
    pub(crate) const DAMAGE_FOUND: i32 = 24;
    pub(crate) const NO_SUCH_OBJECT: i32 = 26;
    pub(crate) const NOT_ALL_COPIED: i32 = 27;
    pub(crate) const NOT_RESOLVED: i32 = 28;
}

/// How a run of the command ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    fn new(output: &Output) -> Self {
        Self {
            code: output.status.code().expect("not killed by a signal"),
            stdout: String::from_utf8(output.stdout.clone()).unwrap(),
            stderr: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }

    /// Ended with `code`, and said each of `words` on standard error.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, words: &[&str]) -> &Self {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        for word in words {
            assert!(
                self.stderr.contains(word),
                "no {word:?} in: {}",
                self.stderr
            );
        }
        assert_eq!(self.stdout, "", "results of a failed command");
        // One line, in words: no panic, no Debug dump.
        for ugly in ["panicked", "Error {", "Err(", "Os {", "RUST_BACKTRACE"] {
            assert!(!self.stderr.contains(ugly), "{}", self.stderr);
        }
        self
    }

    /// Ended well and without a warning.
    #[track_caller]
    pub(crate) fn done(&self) -> &Self {
        assert_eq!(self.code, code::DONE, "{}{}", self.stdout, self.stderr);
        assert_eq!(self.stderr, "", "a warning");
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        self.done();
        serde_json::from_str(&self.stdout).expect("JSON")
    }
}

/// The program under test.
pub(crate) fn program() -> PathBuf {
    assert_cmd::cargo::cargo_bin!("keepfs").to_owned()
}

/// Whether the tests run as root.
pub(crate) fn is_root() -> bool {
    keepfs::sys::process::effective_uid() == 0
}

/// Prepares a run of the command in a clean environment.
pub(crate) fn keepfs(words: &[&str]) -> Command {
    let mut command = Command::new(program());
    command
        .args(words)
        .env_remove("KEEPFS_LOG")
        .env_remove("CREDENTIALS_DIRECTORY")
        .env_remove("XDG_STATE_HOME")
        .env_remove("HOME")
        .stdin(Stdio::null());
    command
}

/// Runs a prepared command with `input` on its standard input.
#[track_caller]
pub(crate) fn run(command: &mut Command, input: &[u8]) -> Ran {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses early does not read.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input);
    Ran::new(&child.wait_with_output().unwrap())
}

/// A temporary directory with room for a vault `v` and a mount point `m`.
/// Whatever is still mounted below it at the end is taken off.
pub(crate) struct Place {
    base: tempfile::TempDir,
}

impl Place {
    /// An empty mount point; no vault yet.
    pub(crate) fn bare() -> Self {
        let base = tempfile::tempdir().unwrap();
        let place = Self { base };
        std::fs::create_dir(place.point()).unwrap();
        place
    }

    /// A vault, made as cheaply as the format allows, and a mount point.
    pub(crate) fn new() -> Self {
        let place = Self::bare();
        let input = format!("{PASSPHRASE}\n");
        run(&mut place.command(CHEAP_INIT), input.as_bytes()).json_free_done();
        place
    }

    /// The directory with everything, without symbolic links.
    pub(crate) fn root(&self) -> PathBuf {
        self.base.path().canonicalize().unwrap()
    }

    pub(crate) fn vault(&self) -> PathBuf {
        self.root().join("v")
    }

    pub(crate) fn point(&self) -> PathBuf {
        self.root().join("m")
    }

    /// The only slot file.
    pub(crate) fn slot(&self) -> PathBuf {
        let slots = std::fs::read_dir(self.vault().join("keepfs.slots")).unwrap();
        let mut slots = slots.map(|slot| slot.unwrap().path());
        let slot = slots.next().unwrap();
        assert_eq!(slots.next(), None);
        slot
    }

    /// The file of one slot.
    pub(crate) fn slot_named(&self, id: &str) -> PathBuf {
        self.vault().join(format!("keepfs.slots/{id}.slot"))
    }

    /// Prepares the command, run inside this place.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = keepfs(words);
        command
            .current_dir(self.root())
            .env("XDG_STATE_HOME", self.root().join("state"));
        command
    }

    /// Runs the command inside this place without input.
    #[track_caller]
    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        run(&mut self.command(words), b"")
    }

    /// Runs the command inside this place with the passphrase on its standard
    /// input.
    #[track_caller]
    pub(crate) fn unlock(&self, words: &[&str]) -> Ran {
        run(
            &mut self.command(words),
            format!("{PASSPHRASE}\n").as_bytes(),
        )
    }

    /// Mounts with these further words.
    #[track_caller]
    pub(crate) fn mount(&self, words: &[&str]) -> Ran {
        self.unlock(&[&["mount", "v", "m"], words].concat())
    }

    /// This place's line in the mount table.
    pub(crate) fn entry(&self) -> Option<keepfs::mount::table::MountEntry> {
        keepfs::mount::table::at(&self.point()).unwrap()
    }

    /// What `keepfs status` says about the mount.
    #[track_caller]
    pub(crate) fn status(&self) -> serde_json::Value {
        self.run(&["status", "--json", "m"]).json()["mounts"][0].clone()
    }

    /// The daemon's process number.
    #[track_caller]
    pub(crate) fn daemon(&self) -> u32 {
        let pid = self.status()["pid"].as_u64().unwrap();
        u32::try_from(pid).unwrap()
    }

    /// Kills the process that serves the mount and takes the dead mount off.
    /// The vault is free once this returns.
    pub(crate) fn kill(&self) {
        let daemon = self.daemon();
        signal(daemon, "KILL");
        wait_for_end(daemon);
        let off = Command::new("umount").arg("-l").arg(self.point()).status();
        assert!(off.unwrap().success() || !is_root());
    }
}

impl Ran {
    #[track_caller]
    fn json_free_done(&self) {
        self.done();
        assert!(self.stdout.contains("fingerprint"), "{}", self.stdout);
    }
}

/// A vault that opens with the key file `key`, which costs nothing.
pub(crate) fn with_key_file() -> Place {
    let place = Place::bare();
    std::fs::write(place.root().join("key"), "the first key file").unwrap();
    place.run(&["init", "--keyfile", "key", "v"]).done();
    place
}

/// `keepfs init v`, as cheaply as the format allows.
pub(crate) const CHEAP_INIT: &[&str] = &["init", "--kdf-memory", "64MiB", "--kdf-passes", "3", "v"];

impl Drop for Place {
    fn drop(&mut self) {
        for entry in keepfs::mount::table::read().into_iter().flatten().rev() {
            if entry.point.starts_with(self.root()) {
                let how = keepfs::sys::mount::Detach::Lazily;
                // Cleaning up after a failed test.
                let _ = keepfs::mount::unmount::detach(&entry.point, how);
            }
        }
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends a signal by its name as kill(1) knows it.
pub(crate) fn signal(pid: u32, name: &str) {
    let pid = pid.to_string();
    let sent = Command::new("kill")
        .args(["-s", name, &pid])
        .status()
        .unwrap();
    assert!(sent.success());
}

/// Waits until there is no process of that number.
#[track_caller]
pub(crate) fn wait_for_end(pid: u32) {
    let process = keepfs::sys::process::Process::open(pid).unwrap();
    if let Some(process) = process {
        let waited = process.wait(PATIENCE).unwrap();
        assert_eq!(waited, keepfs::sys::process::Waited::Ended);
    }
}

/// Every file below `dir` with its contents: to prove that nothing changed.
pub(crate) fn snapshot(dir: &Path) -> std::collections::BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = std::collections::BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                open.push(entry.path());
            }
            let bytes = kind.is_file().then(|| std::fs::read(entry.path()).unwrap());
            found.insert(entry.path(), bytes);
        }
    }
    found
}
