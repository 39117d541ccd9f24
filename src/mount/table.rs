//! What the kernel says is mounted: `/proc/self/mountinfo`, proc(5).

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::sys::mount::FS_TYPE;

/// One line of the mount table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountEntry {
    /// Number of the mount, as `/proc/PID/fdinfo` gives it.
    pub id: u64,
    /// Device number of the file system: major, minor.
    pub device: (u32, u32),
    /// Where it is mounted.
    pub point: PathBuf,
    /// Options of the mount itself.
    pub options: String,
    /// Type, with the subtype after a dot.
    pub fs_type: String,
    /// What is mounted.
    pub source: OsString,
    /// Options of the file system.
    pub super_options: String,
}

impl MountEntry {
    /// Whether keepfs serves it.
    #[must_use]
    pub fn is_keepfs(&self) -> bool {
        self.fs_type == FS_TYPE
    }

    /// Whether nothing can be changed through it.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        let lists = [&self.options, &self.super_options];
        lists.iter().any(|list| list.split(',').any(|o| o == "ro"))
    }

    /// The user who made a FUSE mount (`user_id=`).
    #[must_use]
    pub fn owner(&self) -> Option<u32> {
        let mut options = self.super_options.split(',');
        options.find_map(|option| option.strip_prefix("user_id=")?.parse().ok())
    }

    /// Parses one line; `None` if it has not the form of proc(5).
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ');
        let id = number(fields.next()?)?;
        fields.next()?;
        let (major, minor) = std::str::from_utf8(fields.next()?).ok()?.split_once(':')?;
        let device = (major.parse().ok()?, minor.parse().ok()?);
        fields.next()?;
        let point = PathBuf::from(unescape(fields.next()?));
        let options = text(fields.next()?);
        fields.find(|field| *field == b"-")?;
        Some(Self {
            id,
            device,
            point,
            options,
            fs_type: text(fields.next()?),
            source: unescape(fields.next()?),
            super_options: text(fields.next().unwrap_or_default()),
        })
    }
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field).into_owned()
}

/// Undoes the kernel's `\ooo` escapes of blanks and backslashes.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = (byte == b'\\')
            .then(|| after.get(..3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match escaped {
            Some(value) => {
                bytes.push(value);
                rest = &after[3..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes)
}

/// Every mount this process can see, the latest last.
///
/// # Errors
/// Those of reading `/proc/self/mountinfo`.
pub fn read() -> io::Result<Vec<MountEntry>> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    Ok(table
        .split(|&byte| byte == b'\n')
        .filter_map(MountEntry::parse)
        .collect())
}

/// The topmost mount exactly at `point`, an absolute path without symbolic
/// links. An automount trigger waiting there does not count.
///
/// # Errors
/// As [`read`].
pub fn at(point: &Path) -> io::Result<Option<MountEntry>> {
    let is_here = |entry: &MountEntry| entry.point == point && entry.fs_type != "autofs";
    Ok(read()?.into_iter().rev().find(is_here))
}

/// `point` made absolute and free of symbolic links without asking the file
/// system that may be mounted there, which may be dead: only its parent is
/// resolved, and the last component is taken as written unless it is a link.
///
/// # Errors
/// Those of realpath(3) for the parent; `InvalidInput` where the path ends in
/// `..`.
pub fn resolve(point: &Path) -> io::Result<PathBuf> {
    match std::fs::canonicalize(point) {
        Ok(resolved) => Ok(resolved),
        // Dead, or another user's mount that refuses us: the table still knows it.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotConnected | io::ErrorKind::PermissionDenied
            ) =>
        {
            let name = point.file_name().ok_or(io::ErrorKind::InvalidInput)?;
            let parent = match point.parent() {
                Some(parent) if parent.as_os_str() != OsStr::new("") => parent,
                _ => Path::new("."),
            };
            Ok(std::fs::canonicalize(parent)?.join(name))
        }
        Err(error) => Err(error),
    }
}

/// `path` for a person to read: control characters and bytes that are no
/// UTF-8 escaped.
#[must_use]
pub fn printable(path: &OsStr) -> String {
    let mut printed = String::new();
    for chunk in path.as_bytes().utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter.is_control() || is_format(letter) {
                printed.extend(letter.escape_default());
            } else {
                printed.push(letter);
            }
        }
        for byte in chunk.invalid() {
            printed.push_str(&format!("\\x{byte:02x}"));
        }
    }
    printed
}

/// Characters that show nothing themselves and change how others are shown or
/// ordered: Unicode's general category Cf, and its two separators of lines.
fn is_format(letter: char) -> bool {
    matches!(
        letter,
        '\u{ad}'
            | '\u{600}'..='\u{605}'
            | '\u{61c}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{890}'..='\u{891}'
            | '\u{8e2}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{110bd}'
            | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0001}'
            | '\u{e0020}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may fail loudly")]
    use super::*;

    #[test]
    fn a_line_of_the_table_is_understood() {
        let line = br"57 29 0:49 / /mnt/my\040vault rw,nosuid,nodev,noatime shared:3 master:1 - fuse.keepfs /srv/a\134b rw,user_id=1000,group_id=1000,default_permissions";
        let entry = MountEntry::parse(line).unwrap();
        assert_eq!(entry.id, 57);
        assert_eq!(entry.device, (0, 49));
        assert_eq!(entry.point, Path::new("/mnt/my vault"));
        assert_eq!(entry.source, r"/srv/a\b");
        assert_eq!(entry.owner(), Some(1000));
        assert!(entry.is_keepfs());
        assert!(!entry.is_read_only());
    }

    #[test]
    fn a_line_without_optional_fields_is_understood() {
        let line = b"22 1 254:0 / / ro,relatime - ext4 /dev/root ro";
        let entry = MountEntry::parse(line).unwrap();
        assert_eq!(entry.fs_type, "ext4");
        assert_eq!(entry.owner(), None);
        assert!(entry.is_read_only());
    }

    #[test]
    fn broken_lines_are_passed_over() {
        for line in [
            &b""[..],
            b"x",
            b"1 2 3 / / rw - ext4 a rw",
            b"1 2 0:3 / / rw ext4 a rw",
        ] {
            assert_eq!(MountEntry::parse(line), None);
        }
    }

    #[test]
    fn the_root_and_proc_are_in_the_table() {
        assert!(
            at(Path::new("/proc"))
                .unwrap()
                .is_some_and(|e| e.fs_type == "proc")
        );
        assert!(at(Path::new("/proc/self/nothing")).unwrap().is_none());
    }

    #[test]
    fn paths_are_printed_without_control_characters() {
        assert_eq!(
            printable(OsStr::from_bytes(b"/a\nb\xff\xc3\xa4")),
            "/a\\nb\\xff\u{e4}"
        );
        // Nothing may turn the order of what is shown around.
        let turned = printable(OsStr::new("a\u{202e}gpj.exe\u{2066}\u{200b}"));
        assert_eq!(turned, "a\\u{202e}gpj.exe\\u{2066}\\u{200b}");
    }
}
