//! Attaching a FUSE connection to the mount table and taking it off again:
//! mount(2) and umount2(2) for the superuser, the setuid helper `fusermount3`
//! of libfuse for everyone else.

use std::ffi::{CString, OsStr, OsString};
use std::io::{self, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
};
use serde::{Deserialize, Serialize};

/// The device through which the kernel talks to a FUSE daemon.
pub const FUSE_DEVICE: &str = "/dev/fuse";

/// The type that keepfs mounts show in `/proc/self/mountinfo`.
pub const FS_TYPE: &str = "fuse.keepfs";

/// The subtype: [`FS_TYPE`] without `fuse.`.
const SUBTYPE: &str = "keepfs";

/// The names under which libfuse installs its helper, the current one first.
const HELPERS: [&str; 2] = ["fusermount3", "fusermount"];

/// A restriction that the kernel itself puts on a mount; mount(8), "filesystem
/// independent mount options".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MountFlag {
    /// Nothing can be changed.
    ReadOnly,
    /// No program on it can be run.
    NoExec,
    /// Set-user-ID and set-group-ID bits have no effect.
    NoSuid,
    /// Device nodes have no effect.
    NoDev,
    /// Reading does not update access times.
    NoAtime,
    /// Reading directories does not update access times.
    NoDirAtime,
}

impl MountFlag {
    /// The option's name, for `fusermount3 -o`.
    #[must_use]
    pub const fn option(self) -> &'static str {
        match self {
            Self::ReadOnly => "ro",
            Self::NoExec => "noexec",
            Self::NoSuid => "nosuid",
            Self::NoDev => "nodev",
            Self::NoAtime => "noatime",
            Self::NoDirAtime => "nodiratime",
        }
    }

    /// The option that lifts the restriction, which the helper would otherwise
    /// set by itself; `None` where it does not.
    const fn lifted(self) -> Option<&'static str> {
        match self {
            Self::NoSuid => Some("suid"),
            Self::NoDev => Some("dev"),
            Self::ReadOnly | Self::NoExec | Self::NoAtime | Self::NoDirAtime => None,
        }
    }

    const fn bits(self) -> MountFlags {
        match self {
            Self::ReadOnly => MountFlags::RDONLY,
            Self::NoExec => MountFlags::NOEXEC,
            Self::NoSuid => MountFlags::NOSUID,
            Self::NoDev => MountFlags::NODEV,
            Self::NoAtime => MountFlags::NOATIME,
            Self::NoDirAtime => MountFlags::NODIRATIME,
        }
    }
}

/// Who may use the mount besides the user who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Audience {
    /// The mounting user alone; FUSE's default.
    Owner,
    /// Everyone, as the files' modes allow (`allow_other`).
    Everyone,
}

/// One mount to be made. Permissions are always checked by the kernel
/// (`default_permissions`).
#[derive(Clone, Copy, Debug)]
pub struct MountRequest<'a> {
    /// What mountinfo shows as the source.
    pub source: &'a OsStr,
    /// The directory to mount on: absolute and free of symbolic links.
    pub point: &'a Path,
    /// Restrictions to set.
    pub flags: &'a [MountFlag],
    /// Who may use it.
    pub audience: Audience,
    /// Largest READ, in bytes.
    pub max_read: usize,
}

/// Why a mount was not made or not taken off.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The FUSE device cannot be opened.
    #[error("FUSE is not available: cannot open {FUSE_DEVICE} ({0}){advice}", advice = advice(.0))]
    NoDevice(#[source] io::Error),
    /// No helper of libfuse is installed.
    #[error(
        "fusermount3 is not installed, without which only root can mount; install the package fuse3"
    )]
    NoHelper,
    /// The helper said no; its own words.
    #[error("fusermount3 refused: {0}")]
    HelperRefused(String),
    /// Somebody still uses the mount.
    #[error("the mount is in use")]
    Busy,
    /// A system call failed.
    #[error("{call} failed: {error}")]
    Kernel {
        /// The name of the call.
        call: &'static str,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
}

/// What to do about a FUSE device that does not open.
fn advice(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied {
        "; its users need to read and write it, which the package fuse3 and udev arrange"
    } else {
        "; load the kernel module with: modprobe fuse"
    }
}

impl MountError {
    fn kernel(call: &'static str) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |error| Self::Kernel {
            call,
            error: error.into(),
        }
    }
}

/// How a mount is taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detach {
    /// Only if nobody uses it.
    WhenIdle,
    /// Out of sight at once; gone when its last user is (`MNT_DETACH`).
    Lazily,
}

/// Mounts as the superuser and returns the connection to the kernel, on which
/// the INIT request is waiting.
///
/// # Errors
/// [`MountError::NoDevice`], or what mount(2) said.
pub fn mount_as_root(request: &MountRequest<'_>) -> Result<OwnedFd, MountError> {
    let device = rustix::fs::open(FUSE_DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| MountError::NoDevice(error.into()))?;
    let point = rustix::fs::open(
        request.point,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(MountError::kernel("open"))?;
    let mut data = format!(
        "fd={},rootmode=40000,user_id={},group_id={},default_permissions,max_read={}",
        device.as_raw_fd(),
        super::process::effective_uid(),
        super::process::effective_gid(),
        request.max_read,
    );
    match request.audience {
        Audience::Owner => {}
        Audience::Everyone => data.push_str(",allow_other"),
    }
    let data = CString::new(data).expect("digits and option names hold no NUL");
    let flags = request
        .flags
        .iter()
        .fold(MountFlags::empty(), |sum, flag| sum | flag.bits());
    // By descriptor: the path cannot be exchanged after it was checked.
    let target = format!("/proc/self/fd/{}", point.as_raw_fd());
    rustix::mount::mount(request.source, target, FS_TYPE, flags, data.as_c_str())
        .map_err(MountError::kernel("mount"))?;
    Ok(device)
}

/// Mounts through the setuid helper and returns the connection to the kernel,
/// on which the INIT request is waiting. The helper hands it over a socket
/// that is its standard input (`_FUSE_COMMFD=0`).
///
/// # Errors
/// [`MountError::NoHelper`], [`MountError::HelperRefused`],
/// [`MountError::NoDevice`], or what a system call said.
pub fn mount_as_user(request: &MountRequest<'_>) -> Result<OwnedFd, MountError> {
    // The helper opens it with our rights; this tells why it could not.
    rustix::fs::open(FUSE_DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| MountError::NoDevice(error.into()))?;
    let options = helper_options(request);
    for helper in HELPERS {
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(MountError::kernel("socketpair"))?;
        let mut command = Command::new(helper);
        command
            .arg("-o")
            .arg(&options)
            .arg("--")
            .arg(request.point)
            .env("_FUSE_COMMFD", "0")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let spawned = command.spawn();
        // Our copy of the helper's end goes with the command; without that,
        // a helper that dies would leave us waiting.
        drop(command);
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(MountError::Kernel {
                    call: "exec",
                    error,
                });
            }
        };
        let received = receive_descriptor(ours.as_fd());
        let words = helper_words(&mut child)?;
        return match received {
            Ok(Some(device)) => Ok(device),
            Ok(None) => Err(MountError::HelperRefused(words.unwrap_or_else(|| {
                "it ended without handing over the connection".to_owned()
            }))),
            Err(error) => Err(MountError::Kernel {
                call: "recvmsg",
                error,
            }),
        };
    }
    Err(MountError::NoHelper)
}

/// The `-o` list for the helper; commas and backslashes in the source are
/// escaped by a backslash, as libfuse reads them.
fn helper_options(request: &MountRequest<'_>) -> OsString {
    let mut list = Vec::new();
    for flag in request.flags {
        list.extend_from_slice(flag.option().as_bytes());
        list.push(b',');
    }
    for flag in [MountFlag::NoSuid, MountFlag::NoDev] {
        if let (false, Some(lifted)) = (request.flags.contains(&flag), flag.lifted()) {
            list.extend_from_slice(lifted.as_bytes());
            list.push(b',');
        }
    }
    match request.audience {
        Audience::Owner => {}
        Audience::Everyone => list.extend_from_slice(b"allow_other,"),
    }
    let max_read = request.max_read;
    list.extend_from_slice(format!("default_permissions,max_read={max_read},subtype=").as_bytes());
    list.extend_from_slice(SUBTYPE.as_bytes());
    list.extend_from_slice(b",fsname=");
    for &byte in request.source.as_bytes() {
        if matches!(byte, b',' | b'\\') {
            list.push(b'\\');
        }
        list.push(byte);
    }
    OsString::from_vec(list)
}

/// Waits for the helper; what it said if it failed, `None` if it did not.
fn helper_words(child: &mut std::process::Child) -> Result<Option<String>, MountError> {
    let mut words = Vec::new();
    let call = |call| move |error| MountError::Kernel { call, error };
    if let Some(stderr) = child.stderr.take() {
        stderr
            .take(64 * 1024)
            .read_to_end(&mut words)
            .map_err(call("read"))?;
    }
    let status = child.wait().map_err(call("wait"))?;
    if status.success() {
        return Ok(None);
    }
    let words = String::from_utf8_lossy(&words);
    let words = words.trim();
    let prefix = HELPERS
        .iter()
        .find_map(|name| words.strip_prefix(name)?.strip_prefix(": "));
    Ok(Some(match prefix.unwrap_or(words) {
        "" => format!("{status}"),
        words => words.to_owned(),
    }))
}

/// The descriptor that comes with the next message; `None` at the end of the
/// stream.
fn receive_descriptor(socket: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0u8; 1];
    rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut byte)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )
    })?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
            return Ok(descriptors.next());
        }
    }
    Ok(None)
}

/// Takes the mount at `point` off the mount table, without following a
/// symbolic link there.
///
/// # Errors
/// [`MountError::Busy`], or what umount2(2) said.
pub fn unmount_as_root(point: &Path, how: Detach) -> Result<(), MountError> {
    let flags = match how {
        Detach::WhenIdle => UnmountFlags::NOFOLLOW,
        Detach::Lazily => UnmountFlags::NOFOLLOW | UnmountFlags::DETACH,
    };
    match rustix::mount::unmount(point, flags) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::BUSY) => Err(MountError::Busy),
        Err(error) => Err(MountError::kernel("umount")(error)),
    }
}

/// Takes the mount at `point` off through the setuid helper, which allows it
/// to the user who made the mount.
///
/// # Errors
/// [`MountError::Busy`], [`MountError::NoHelper`],
/// [`MountError::HelperRefused`], or what a system call said.
pub fn unmount_as_user(point: &Path, how: Detach) -> Result<(), MountError> {
    for helper in HELPERS {
        let mut command = Command::new(helper);
        command.arg("-u");
        match how {
            Detach::WhenIdle => {}
            Detach::Lazily => {
                command.arg("-z");
            }
        }
        let spawned = command
            .arg("--")
            .arg(point)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(MountError::Kernel {
                    call: "exec",
                    error,
                });
            }
        };
        return match helper_words(&mut child)? {
            None => Ok(()),
            // The helper never sets a locale: this is strerror(EBUSY).
            Some(words) if words.ends_with("Device or resource busy") => Err(MountError::Busy),
            Some(words) => Err(MountError::HelperRefused(words)),
        };
    }
    Err(MountError::NoHelper)
}

/// Writes what the kernel still holds for the mount at `point` through to its
/// daemon; syncfs(2).
///
/// # Errors
/// Those of open(2) and syncfs(2), which include a write that failed earlier
/// and that nobody was told about.
pub fn sync(point: &Path) -> io::Result<()> {
    let root = rustix::fs::open(
        point,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    rustix::fs::syncfs(root)?;
    Ok(())
}

/// The device number (major, minor) of what `path` leads to, from what the
/// kernel knows already: no request goes to a FUSE daemon; statx(2).
///
/// # Errors
/// Those of statx(2).
pub fn device_of(path: &Path) -> io::Result<(u32, u32)> {
    let stat = rustix::fs::statx(
        CWD,
        path,
        AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT,
        StatxFlags::TYPE,
    )?;
    Ok((stat.stx_dev_major, stat.stx_dev_minor))
}

/// Whether no daemon answers any more for the FUSE mount at `point`: asks it for
/// the root's attributes past every cache (`AT_STATX_FORCE_SYNC`).
#[must_use]
pub fn is_dead(point: &Path) -> bool {
    let flags = AtFlags::STATX_FORCE_SYNC | AtFlags::NO_AUTOMOUNT;
    let answer = rustix::fs::statx(CWD, point, flags, StatxFlags::BASIC_STATS);
    answer.is_err_and(|error| error == rustix::io::Errno::NOTCONN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>(
        source: &'a str,
        flags: &'a [MountFlag],
        audience: Audience,
    ) -> MountRequest<'a> {
        MountRequest {
            source: OsStr::new(source),
            point: Path::new("/nowhere"),
            flags,
            audience,
            max_read: 4096,
        }
    }

    #[test]
    fn a_source_with_commas_stays_one_option() {
        let options = helper_options(&request(
            r"/a,b\c",
            &[MountFlag::NoSuid, MountFlag::NoDev],
            Audience::Owner,
        ));
        assert_eq!(
            options,
            r"nosuid,nodev,default_permissions,max_read=4096,subtype=keepfs,fsname=/a\,b\\c"
        );
    }

    #[test]
    fn restrictions_that_are_not_asked_for_are_lifted() {
        let options = helper_options(&request("v", &[MountFlag::ReadOnly], Audience::Everyone));
        assert_eq!(
            options,
            "ro,suid,dev,allow_other,default_permissions,max_read=4096,subtype=keepfs,fsname=v"
        );
    }

    #[test]
    fn devices_are_told_apart() {
        let root = device_of(Path::new("/")).ok();
        let proc = device_of(Path::new("/proc")).ok();
        assert!(root.is_some() && proc.is_some());
        assert_ne!(root, proc);
    }

    #[test]
    fn a_socket_that_closes_hands_over_nothing() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair of sockets");
        drop(theirs);
        let received = receive_descriptor(ours.as_fd()).expect("the end of a stream is no error");
        assert!(received.is_none());
    }
}
