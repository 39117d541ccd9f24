//! Vaults and mounts for tests. A mount that is dropped is taken off; the
//! test fails if the daemon warned, leaked descriptors, hung or left the mount
//! behind.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long anything may take before it counts as hung.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const PASSPHRASE: &str = "correct horse battery staple";

/// The binary under test: `KEEPFS_BIN` if set (for runs as another user who
/// cannot read the build directory), otherwise the one cargo built.
pub(crate) fn keepfs() -> Command {
    let path = std::env::var_os("KEEPFS_BIN").map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_keepfs")),
        PathBuf::from,
    );
    let mut command = Command::new(path);
    // Without a home nothing is remembered outside the test.
    command
        .stdin(Stdio::null())
        .env_remove("HOME")
        .env_remove("XDG_STATE_HOME");
    command
}

/// Runs a tool that the tests need; a missing or failing tool fails the test.
pub(crate) fn tool(name: &str, args: &[&OsStr]) -> String {
    let out = Command::new(name)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{name} is needed by this test: {error}"));
    assert!(
        out.status.success(),
        "{name} failed: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).into_owned()
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Waits until `holds`, at most [`PATIENCE`].
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A vault in a temporary directory of its own.
pub(crate) struct Vault {
    home: TempDir,
}

impl Vault {
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    /// A vault made with extra arguments to `init`.
    pub(crate) fn with(args: &[&str]) -> Self {
        let home = tempfile::Builder::new()
            .prefix("keepfs-test-")
            .tempdir()
            .unwrap();
        let vault = Self { home };
        fs::create_dir(vault.backing()).unwrap();
        fs::create_dir(vault.point()).unwrap();
        fs::write(vault.passfile(), format!("{PASSPHRASE}\n")).unwrap();
        let out = keepfs()
            .arg("init")
            .arg(vault.backing())
            .arg("--passfile")
            .arg(vault.passfile())
            .args(["--kdf-memory", "64MiB", "--kdf-passes", "3"])
            .args(args)
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "init: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        vault
    }

    pub(crate) fn backing(&self) -> PathBuf {
        self.home.path().join("vault")
    }

    pub(crate) fn point(&self) -> PathBuf {
        self.home.path().join("mnt")
    }

    /// Where the ciphertext of a plain path is.
    pub(crate) fn entry(&self, plain: &str) -> PathBuf {
        let out = keepfs()
            .arg("path")
            .arg(format!("{}:{plain}", self.backing().display()))
            .arg("--passfile")
            .arg(self.passfile())
            .output()
            .unwrap();
        assert!(out.status.success(), "{out:?}");
        PathBuf::from(String::from_utf8(out.stdout).unwrap().trim_end())
    }

    pub(crate) fn passfile(&self) -> PathBuf {
        self.home.path().join("pass")
    }

    /// A plain directory beside the vault, for comparisons.
    pub(crate) fn plain_dir(&self) -> PathBuf {
        let path = self.home.path().join("plain");
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// `keepfs mount` in the background form, waited for.
    pub(crate) fn mount_command(&self, passfile: &Path, args: &[&str]) -> Output {
        keepfs()
            .arg("mount")
            .arg(self.backing())
            .arg(self.point())
            .arg("--passfile")
            .arg(passfile)
            .args(args)
            .output()
            .unwrap()
    }

    pub(crate) fn mount(&self) -> Mounted<'_> {
        self.mount_with(&[])
    }

    /// Mounts in the foreground form, so that warnings can be read, and
    /// returns when the mount answers.
    pub(crate) fn mount_with(&self, args: &[&str]) -> Mounted<'_> {
        let log = self.home.path().join("daemon.log");
        let output = File::create(&log).unwrap();
        let child = keepfs()
            .arg("mount")
            .arg(self.backing())
            .arg(self.point())
            .args(["--foreground", "--passfile"])
            .arg(self.passfile())
            .args(args)
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let mut mounted = Mounted {
            vault: self,
            child: Some(child),
            log,
            expected: Vec::new(),
            ended: None,
            killed: false,
        };
        wait_until("the mount answers", || {
            assert!(
                !mounted.has_ended(),
                "the daemon ended early: {}",
                fs::read_to_string(&mounted.log).unwrap_or_default()
            );
            // Not its attributes: the kernel still knows a dead mount's.
            is_mounted(&self.point()) && fs::read_dir(self.point()).is_ok()
        });
        mounted
    }

    /// Every file of the backing, with its content.
    pub(crate) fn backing_files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        walk(&self.backing(), &mut |path| {
            if fs::symlink_metadata(path).unwrap().is_file() {
                files.push((path.to_owned(), fs::read(path).unwrap()));
            }
        });
        files
    }

    /// The one regular file of the backing that holds user data.
    pub(crate) fn only_data_file(&self) -> PathBuf {
        let mut files = self.backing_files();
        files.retain(|(_, bytes)| bytes.starts_with(b"KPF1"));
        assert_eq!(files.len(), 1, "expected one data file in the backing");
        files.remove(0).0
    }
}

/// Calls `visit` on everything below `dir`, without following links.
pub(crate) fn walk(dir: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        visit(&path);
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            walk(&path, visit);
        }
    }
}

pub(crate) fn is_mounted(point: &Path) -> bool {
    let point = point.to_str().unwrap();
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table
        .lines()
        .any(|line| line.split(' ').nth(4) == Some(point))
}

/// A served mount.
pub(crate) struct Mounted<'v> {
    vault: &'v Vault,
    child: Option<Child>,
    log: PathBuf,
    expected: Vec<&'static str>,
    ended: Option<ExitStatus>,
    killed: bool,
}

impl<'v> Mounted<'v> {
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.vault.point().join(name)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Warnings whose line contains `text` do not fail the test.
    pub(crate) fn expect_warning(&mut self, text: &'static str) {
        self.expected.push(text);
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(self.child.as_ref().unwrap());
        rustix::process::kill_process(pid, signal).unwrap();
    }

    fn has_ended(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.as_mut().unwrap().try_wait().unwrap();
        }
        self.ended.is_some()
    }

    /// Waits for the daemon to end by itself; returns its status.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_until("the daemon ends", || self.has_ended());
        self.ended.unwrap()
    }

    /// Waits for the end of a daemon that was killed; what a clean end calls
    /// for is not checked, and the dead mount stays for the next to clear.
    pub(crate) fn expect_killed(mut self) {
        assert!(!self.wait().success());
        self.killed = true;
    }

    /// Unmounts and checks everything that dropping checks.
    pub(crate) fn unmount(self) {
        drop(self);
    }

    pub(crate) fn remount(self) -> Mounted<'v> {
        let vault = self.vault;
        self.unmount();
        vault.mount()
    }

    /// What `keepfs status` says of this mount.
    pub(crate) fn status(&self) -> serde_json::Value {
        let asked = keepfs()
            .args(["status", "--json"])
            .arg(self.vault.point())
            .output()
            .unwrap();
        let all: serde_json::Value = serde_json::from_slice(&asked.stdout).unwrap();
        all["mounts"][0].clone()
    }

    /// Regular files of the backing that the daemon has open.
    pub(crate) fn open_data_files(&self) -> Option<Vec<PathBuf>> {
        let backing = self.vault.backing();
        // The vault's own file stays open: it carries the lock. So does the
        // journal until it was empty for a while.
        let is_journal = |path: &Path| {
            let name = path.file_name().map(|name| name.as_encoded_bytes());
            name.is_some_and(|name| name.starts_with(b"~keepfs-journal-"))
        };
        let lock = fs::metadata(backing.join("keepfs.vault")).ok()?.ino();
        let fds = fs::read_dir(format!("/proc/{}/fd", self.pid())).ok()?;
        let links = fds.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
        Some(
            links
                .filter(|path| path.starts_with(&backing) && !is_journal(path))
                .filter(|path| fs::metadata(path).is_ok_and(|m| m.is_file() && m.ino() != lock))
                .collect(),
        )
    }

    fn complaints(&self) -> Vec<String> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines()
            .filter(|line| {
                ["WARN", "ERROR", "panicked"]
                    .iter()
                    .any(|word| line.contains(word))
            })
            .filter(|line| {
                line.contains("panicked") || !self.expected.iter().any(|text| line.contains(text))
            })
            .map(str::to_owned)
            .collect()
    }

    /// Takes the mount off; what went wrong, if anything.
    fn end(&mut self) -> Result<(), String> {
        let mut wrong = Vec::new();
        if !self.has_ended() {
            // RELEASE comes after close(2) has returned, and what waits in the
            // journal goes to its place after that, on a busy disk too.
            let end = Instant::now() + PATIENCE;
            // A request that is still on its way may open one for a moment.
            let mut open = self.open_data_files();
            while open.as_ref().is_some_and(|f| !f.is_empty()) && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
                open = self.open_data_files();
            }
            match open {
                Some(open) if !open.is_empty() => {
                    let log = fs::read_to_string(&self.log).unwrap_or_default();
                    wrong.push(format!("leaked: {open:?}; the daemon's log:\n{log}"));
                }
                Some(_) => {}
                None => eprintln!("not checked for leaks: /proc/PID/fd is root's to read"),
            }
            let mut unmount = keepfs()
                .arg("unmount")
                .arg(self.vault.point())
                .spawn()
                .unwrap();
            let end = Instant::now() + PATIENCE;
            while !self.has_ended() || unmount.try_wait().unwrap().is_none() {
                let refused = unmount
                    .try_wait()
                    .unwrap()
                    .is_some_and(|status| !status.success());
                if refused || Instant::now() > end {
                    let why = if refused { "unmounting failed" } else { "hung" };
                    wrong.push(format!("{why}; detached by the watchdog"));
                    let _killed = unmount.kill();
                    let _detached = Command::new("fusermount3")
                        .args(["-u", "-z"])
                        .arg(self.vault.point())
                        .status();
                    let _killed = self.child.as_mut().unwrap().kill();
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            let _reaped = unmount.wait();
        }
        let status = self.child.as_mut().unwrap().wait().unwrap();
        if !status.success() {
            wrong.push(format!("the daemon ended with {status}"));
        }
        if is_mounted(&self.vault.point()) {
            wrong.push("the mount was left behind".to_owned());
            let _detached = Command::new("fusermount3")
                .args(["-u", "-z"])
                .arg(self.vault.point())
                .status();
        }
        wrong.extend(self.complaints());
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(wrong.join("\n"))
        }
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        if self.killed {
            return;
        }
        let outcome = self.end();
        if let Err(wrong) = outcome {
            if std::thread::panicking() {
                eprintln!("and the mount: {wrong}");
            } else {
                panic!("{wrong}");
            }
        }
    }
}

/// Bytes that look random and never repeat within any file a test writes.
pub(crate) fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
