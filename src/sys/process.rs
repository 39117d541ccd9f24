//! What keepfs asks of the kernel about processes: leaving a terminal,
//! hardening memory, termination signals, and waiting for another process.
#![allow(
    unsafe_code,
    reason = "mlock, madvise and the signal calls have no safe binding"
)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::mm::{Advice, madvise, mlock};
use rustix::process::{DumpableBehavior, Pid, PidfdFlags, Resource, Rlimit};

/// Whether this process acts as the superuser (effective user 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// Effective user 0: mounts by itself.
    Root,
    /// Anyone else: needs the setuid helper of fuse3.
    User,
}

/// The privilege of this process.
#[must_use]
pub fn privilege() -> Privilege {
    if effective_uid() == 0 {
        Privilege::Root
    } else {
        Privilege::User
    }
}

/// The effective user id; geteuid(2).
#[must_use]
pub fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The effective group id; getegid(2).
#[must_use]
pub fn effective_gid() -> u32 {
    rustix::process::getegid().as_raw()
}

/// Gives memory that is free in this process back to the system, where the C
/// library would keep it; malloc_trim(3).
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer; safe from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// What tells this machine from others: machine-id(5), or the host's name.
#[must_use]
pub fn machine_name() -> Vec<u8> {
    std::fs::read("/etc/machine-id")
        .ok()
        .filter(|id| id.len() >= 32)
        .unwrap_or_else(|| rustix::system::uname().nodename().to_bytes().to_vec())
}

/// Main memory of this machine, in KiB; sysinfo(2).
#[must_use]
#[allow(
    clippy::useless_conversion,
    reason = "the kernel's long has 32 bits on 32-bit machines"
)]
pub fn total_ram_kib() -> u64 {
    let info = rustix::system::sysinfo();
    let unit = u64::from(info.mem_unit.max(1));
    u64::from(info.totalram).saturating_mul(unit) / 1024
}

/// Starts this same program again as `name argument`, with a pipe as its
/// standard input and output and the caller's standard error. Nothing else
/// that is open here is open there: what a caller left open by mistake would
/// stay open as long as the new process lives.
///
/// The running file is meant, even if it was replaced or renamed on disk.
///
/// # Errors
/// Those of close_range(2), fork(2) and execve(2).
pub fn spawn_self(name: &str, argument: &str) -> io::Result<Child> {
    // SAFETY: marks descriptors as close-on-exec; none is closed here.
    let code = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if code != 0 {
        return Err(io::Error::last_os_error());
    }
    Command::new("/proc/self/exe")
        .arg0(name)
        .arg(argument)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
}

/// Gives this process the name that ps(1) shows and killall(1) takes; started
/// through `/proc/self/exe` it would be called `exe`.
///
/// # Errors
/// Those of prctl(2).
pub fn take_name(name: &CStr) -> io::Result<()> {
    rustix::thread::set_name(name)?;
    Ok(())
}

/// Makes this process the leader of a session without a terminal; setsid(2).
///
/// # Errors
/// `EPERM` if it already leads a process group.
pub fn leave_terminal() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// Makes `/` the working directory, so that no other directory is kept busy,
/// and clears the file mode creation mask: the modes a mount creates are
/// decided by its callers.
///
/// # Errors
/// Those of chdir(2).
pub fn settle() -> io::Result<()> {
    rustix::process::chdir("/")?;
    rustix::process::umask(Mode::empty());
    Ok(())
}

/// Points standard input, output and error at `/dev/null`, which lets the
/// terminal and every pipe of the caller go.
///
/// # Errors
/// Those of open(2) and dup2(2).
pub fn release_stdio() -> io::Result<()> {
    let null = rustix::fs::open(
        "/dev/null",
        rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

/// Keeps the memory of this process out of core dumps and of the reach of
/// debuggers run by the same user: `PR_SET_DUMPABLE` 0 and `RLIMIT_CORE` 0.
///
/// # Errors
/// Those of prctl(2) and setrlimit(2).
pub fn forbid_dumps() -> io::Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::process::setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )?;
    Ok(())
}

/// Raises the limit on open files as far as this process may; a daemon holds
/// a descriptor for each file that is open in its mount.
///
/// # Errors
/// Those of setrlimit(2).
pub fn raise_descriptor_limit() -> io::Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    rustix::process::setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )?;
    Ok(())
}

/// Has the kernel make room for so many descriptors at once, as far as they are
/// allowed. Later, while there are threads, each doubling of the table holds the
/// one that opens up for a grace period of RCU: 10 to 20 ms (`expand_fdtable` in
/// fs/file.c of Linux).
///
/// # Errors
/// Those of fcntl(2) with `F_DUPFD_CLOEXEC`: nothing is open as descriptor 2.
pub fn make_room_for_descriptors(count: u16) -> io::Result<()> {
    let allowed = rustix::process::getrlimit(Resource::Nofile).current;
    let allowed = allowed.and_then(|count| u16::try_from(count).ok());
    let last = i32::from(count.min(allowed.unwrap_or(count)).saturating_sub(1));
    let _closed_at_once = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), last)?;
    Ok(())
}

/// Gives up for good the right to gain privileges by executing a program
/// (`PR_SET_NO_NEW_PRIVS`). Not for ordinary users who mount: it disarms the
/// setuid bit of fusermount3.
///
/// # Errors
/// Those of prctl(2).
pub fn forbid_new_privileges() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    Ok(())
}

/// Keeps the pages of `addr .. addr + len` out of swap (mlock(2)) and of core
/// dumps (`MADV_DONTDUMP`). Whole pages are affected; contents are not.
///
/// # Errors
/// `ENOMEM` or `EPERM` where the limit on locked memory (`RLIMIT_MEMLOCK`) is
/// used up. The pages are left out of dumps even then.
pub fn protect_span(addr: usize, len: usize) -> io::Result<()> {
    if len == 0 {
        return Ok(());
    }
    let page = rustix::param::page_size();
    let first = addr - addr % page;
    let len = (addr - first).saturating_add(len);
    let pages: *mut std::ffi::c_void = std::ptr::with_exposed_provenance_mut(first);
    // SAFETY: neither call reads or writes the span or changes its contents
    // or protection; an address that is not mapped ends as ENOMEM.
    let excluded = unsafe { madvise(pages, len, Advice::LinuxDontDump) };
    // SAFETY: as above.
    unsafe { mlock(pages, len) }?;
    excluded?;
    Ok(())
}

/// A signal that asks a mount to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndSignal {
    /// `SIGHUP`
    Hangup,
    /// `SIGINT`
    Interrupt,
    /// `SIGTERM`
    Terminate,
}

impl EndSignal {
    /// The name as kill(1) knows it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hangup => "SIGHUP",
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }
}

/// What to do about a `SIGHUP` that whoever started us had set to "ignore".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InheritedHangup {
    /// Keep ignoring it; what nohup(1) asks for.
    Respect,
    /// Wait for it all the same.
    Override,
}

/// The termination signals, blocked in every thread so that one thread can
/// wait for them in turn.
pub struct EndSignals {
    set: libc::sigset_t,
}

impl EndSignals {
    /// Blocks SIGHUP, SIGINT and SIGTERM for this thread and the threads it
    /// starts afterwards. To be called before any other thread exists.
    ///
    /// # Errors
    /// Those of sigaction(2) and pthread_sigmask(3).
    pub fn block(hangup: InheritedHangup) -> io::Result<Self> {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset initialises the set it is given.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: initialised by the call above, which cannot fail on a valid pointer.
        let mut set = unsafe { set.assume_init() };
        let mut wanted = vec![libc::SIGINT, libc::SIGTERM];
        if hangup == InheritedHangup::Override || !is_ignored(libc::SIGHUP)? {
            wanted.push(libc::SIGHUP);
        }
        for signal in wanted {
            // SAFETY: `set` is an initialised set and `signal` a valid number.
            unsafe { libc::sigaddset(&raw mut set, signal) };
        }
        // SAFETY: `set` is initialised; the old mask is not asked for.
        let code =
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        match code {
            0 => Ok(Self { set }),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }

    /// Blocks until one of the signals arrives; sigwait(3).
    ///
    /// # Errors
    /// Those of sigwait(3).
    pub fn wait(&self) -> io::Result<EndSignal> {
        loop {
            let mut signal = 0;
            // SAFETY: the set is initialised and `signal` is writable.
            let code = unsafe { libc::sigwait(&raw const self.set, &raw mut signal) };
            match (code, signal) {
                (0, libc::SIGHUP) => return Ok(EndSignal::Hangup),
                (0, libc::SIGINT) => return Ok(EndSignal::Interrupt),
                (0, libc::SIGTERM) => return Ok(EndSignal::Terminate),
                (0 | libc::EINTR, _) => {}
                (code, _) => return Err(io::Error::from_raw_os_error(code)),
            }
        }
    }
}

/// Whether the disposition of `signal` is "ignore"; sigaction(2).
fn is_ignored(signal: libc::c_int) -> io::Result<bool> {
    let mut current = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: only queries; the kernel fills `current` when the call succeeds.
    let code = unsafe { libc::sigaction(signal, std::ptr::null(), current.as_mut_ptr()) };
    if code != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: filled by the successful call above.
    Ok(unsafe { current.assume_init() }.sa_sigaction == libc::SIG_IGN)
}

/// Another process, held so that its number cannot come to mean a different
/// one; pidfd_open(2).
pub struct Process {
    pidfd: OwnedFd,
}

/// What waiting for a process found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The process is gone.
    Ended,
    /// The time was over first.
    StillRunning,
}

impl Process {
    /// Takes hold of process `pid`; `None` if there is none of that number.
    ///
    /// # Errors
    /// Those of pidfd_open(2) except `ESRCH`.
    pub fn open(pid: u32) -> io::Result<Option<Self>> {
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
            return Ok(None);
        };
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Some(Self { pidfd })),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until the process is gone or `limit` is over.
    ///
    /// # Errors
    /// Those of poll(2).
    pub fn wait(&self, limit: Duration) -> io::Result<Waited> {
        let limit = Timespec::try_from(limit).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut watched = [PollFd::new(&self.pidfd, PollFlags::IN)];
        loop {
            match poll(&mut watched, Some(&limit)) {
                Ok(0) => return Ok(Waited::StillRunning),
                Ok(_) => return Ok(Waited::Ended),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The process and user at the other end of a socket, as the kernel knows
/// them (`SO_PEERCRED`): the peer cannot lie about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Process number in our pid namespace.
    pub pid: u32,
    /// Effective user when the socket was connected or made to listen.
    pub uid: u32,
}

/// Who is at the other end of `stream`; unix(7).
///
/// # Errors
/// Those of getsockopt(2); `NotFound` if the peer has no number in our pid
/// namespace.
pub fn peer(stream: &UnixStream) -> io::Result<Peer> {
    // Read through libc: rustix's UCred cannot hold the pid 0 of a peer in
    // another pid namespace.
    let mut cred = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let size = size_of::<libc::ucred>();
    let mut len = libc::socklen_t::try_from(size).map_err(io::Error::other)?;
    // SAFETY: `cred` and `len` are writable and `len` is the size of `cred`.
    let code = unsafe {
        libc::getsockopt(
            std::os::fd::AsRawFd::as_raw_fd(&stream.as_fd()),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut cred).cast(),
            &raw mut len,
        )
    };
    if code != 0 {
        return Err(io::Error::last_os_error());
    }
    match u32::try_from(cred.pid) {
        Ok(pid) if pid > 0 => Ok(Peer { pid, uid: cred.uid }),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may fail loudly")]
    use super::*;

    #[test]
    fn room_for_descriptors_is_there_before_they_are() {
        let room = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("FDSize:"));
            line.unwrap().trim().parse::<u16>().unwrap()
        };
        make_room_for_descriptors(900).unwrap();
        assert!(room() >= 900);
    }

    #[test]
    fn the_machine_has_a_plausible_amount_of_memory() {
        let kib = total_ram_kib();
        assert!((16 * 1024..1 << 40).contains(&kib), "{kib}");
    }

    #[test]
    fn a_span_inside_a_page_can_be_protected() {
        let bytes = Box::new([7u8; 100]);
        let span = bytes.as_ptr().expose_provenance();
        protect_span(span + 3, 50).unwrap();
        assert!(bytes.iter().all(|&byte| byte == 7));
        protect_span(span, 0).unwrap();
    }

    #[test]
    fn a_span_that_is_not_mapped_is_an_error() {
        assert!(protect_span(1 << 46, 4096).is_err());
    }

    #[test]
    fn waiting_tells_a_running_process_from_an_ended_one() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let held = Process::open(child.id()).unwrap().unwrap();
        assert_eq!(
            held.wait(Duration::from_millis(1)).unwrap(),
            Waited::StillRunning
        );
        child.kill().unwrap();
        assert_eq!(held.wait(Duration::from_secs(20)).unwrap(), Waited::Ended);
        child.wait().unwrap();
        assert!(Process::open(0).unwrap().is_none());
    }

    #[test]
    fn a_socket_knows_its_peer() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let peer = peer(&ours).unwrap();
        assert_eq!(peer.pid, std::process::id());
        assert_eq!(peer.uid, effective_uid());
    }
}
