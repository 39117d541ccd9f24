//! Who keeps a mount busy: a look through `/proc` that sends the mount itself
//! no request.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::table::printable;
use crate::sys::mount::device_of;

/// How a process uses a mount; the strongest hint first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// Its working directory lies there.
    WorkingDirectory,
    /// Its root directory lies there.
    Root,
    /// It runs a program from there.
    Program,
    /// It has a file or directory open there.
    OpenFile,
    /// It has a file mapped into memory from there.
    Mapping,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WorkingDirectory => "working directory",
            Self::Root => "root directory",
            Self::Program => "running program",
            Self::OpenFile => "open file",
            Self::Mapping => "mapped file",
        })
    }
}

/// A process that uses a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its name, as ps(1) shows it; control characters escaped.
    pub name: String,
    /// The first way found in which it uses the mount.
    pub how: Use,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {}, {})", self.name, self.pid, self.how)
    }
}

/// The processes that use the file system with this device number (major,
/// minor), by number. Those of other users are seen by root alone.
#[must_use]
pub fn find(device: (u32, u32)) -> Vec<Holder> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if let Some(how) = use_of(&entry.path(), device) {
            found.insert(
                pid,
                Holder {
                    pid,
                    name: name_of(&entry.path()),
                    how,
                },
            );
        }
    }
    found.into_values().collect()
}

/// How the process at `/proc/PID` uses the device, if it does.
fn use_of(process: &Path, device: (u32, u32)) -> Option<Use> {
    let leads_there = |path: PathBuf| device_of(&path).is_ok_and(|found| found == device);
    let links = [
        ("cwd", Use::WorkingDirectory),
        ("root", Use::Root),
        ("exe", Use::Program),
    ];
    for (link, how) in links {
        if leads_there(process.join(link)) {
            return Some(how);
        }
    }
    let descriptors = std::fs::read_dir(process.join("fd"))
        .into_iter()
        .flatten()
        .flatten();
    for descriptor in descriptors {
        if leads_there(descriptor.path()) {
            return Some(Use::OpenFile);
        }
    }
    let maps = std::fs::read(process.join("maps")).unwrap_or_default();
    let wanted = format!("{:02x}:{:02x}", device.0, device.1);
    let mapped = maps.split(|&byte| byte == b'\n').any(|line| {
        let mut fields = line.split(|&byte| byte == b' ');
        fields.nth(3) == Some(wanted.as_bytes())
    });
    mapped.then_some(Use::Mapping)
}

fn name_of(process: &Path) -> String {
    let name = std::fs::read(process.join("comm")).unwrap_or_default();
    match name.trim_ascii_end() {
        b"" => "a process".to_owned(),
        name => printable(OsStr::from_bytes(name)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may fail loudly")]
    use super::*;

    #[test]
    fn a_process_is_found_by_its_working_directory() {
        let holders = find(device_of(Path::new("/proc/self/cwd")).unwrap());
        let me = holders
            .iter()
            .find(|holder| holder.pid == std::process::id());
        assert_eq!(me.unwrap().how, Use::WorkingDirectory);
    }

    #[test]
    fn a_process_is_found_by_a_file_it_has_open() {
        let _held = std::fs::File::open("/proc/self/status").unwrap();
        let holders = find(device_of(Path::new("/proc/self/status")).unwrap());
        let me = holders
            .iter()
            .find(|holder| holder.pid == std::process::id());
        assert_eq!(me.unwrap().how, Use::OpenFile);
    }

    #[test]
    fn an_unknown_device_has_no_holders() {
        assert_eq!(find((4095, 1_048_575)), []);
    }
}
