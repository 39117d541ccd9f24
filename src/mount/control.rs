//! The socket over which a running daemon tells about itself and about its
//! end. Each mount has one, named after the mount's device number, in a
//! directory that only the mounting user can enter.
//!
//! A client sends one line, `status`, `statistics` or `outcome`; the daemon
//! answers with one line of JSON, the last question only when all is over.

use std::fs::DirBuilder;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::statistics::Statistics;
use super::table::MountEntry;
use crate::sys::process::{self, Process, Waited};

/// Asks for the [`Status`].
const ASK_STATUS: &str = "status";
/// Asks for the [`Statistics`].
const ASK_STATISTICS: &str = "statistics";
/// Asks for the [`Outcome`], once there is one.
const ASK_OUTCOME: &str = "outcome";
/// How long a peer may keep the other waiting for a line it has at hand.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest question or answer, in bytes.
const LINE_MAX: u64 = 64 * 1024;
/// How the sockets' names end.
const SOCKET_SUFFIX: &str = ".sock";
/// How they end, behind the daemon's process number, before they answer.
const UNBORN_SUFFIX: &str = ".new";

/// What a daemon says about its mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's version of keepfs.
    pub version: String,
    /// The vault's path.
    pub vault: String,
    /// The daemon's process number.
    pub pid: u32,
    /// When the mount began to answer: seconds since 1970.
    pub since: u64,
    /// Whether nothing can be changed.
    pub read_only: bool,
    /// Whether files that are not sealed are refused.
    pub strict: bool,
    /// Files open for writing now.
    pub open_for_writing: u64,
    /// Unsealed files met since the mount began.
    pub unsealed_met: u64,
    /// Damaged files met since the mount began.
    pub damaged_met: u64,
    /// Names met that do not authenticate.
    pub undecryptable_names: u64,
    /// Files that could not be sealed.
    pub failed_seals: u64,
}

/// How a mount ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything is on the backing.
    Saved,
    /// Something is not, in words.
    NotSaved(String),
}

/// Why a daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No daemon answers for this mount.
    #[error("no keepfs process answers for this mount")]
    Unreachable,
    /// It ended in the middle of the answer.
    #[error("the keepfs process ended without an answer")]
    Vanished,
    /// Its answer is not understood.
    #[error("the keepfs process gave an answer that this version does not understand")]
    Garbled,
    /// Speaking with it failed.
    #[error("cannot speak with the keepfs process: {0}")]
    Io(#[from] io::Error),
}

/// Where the daemons of user `uid` may have their sockets, the best place
/// first.
fn places(uid: u32) -> Vec<PathBuf> {
    let mut places = Vec::new();
    if uid == 0 {
        places.push("/run/keepfs".into());
    } else {
        if let Some(own) = std::env::var_os("XDG_RUNTIME_DIR")
            && uid == process::effective_uid()
        {
            let own = PathBuf::from(own);
            if own.is_absolute() {
                places.push(own.join("keepfs"));
            }
        }
        places.push(format!("/run/user/{uid}/keepfs").into());
    }
    places.push(format!("/tmp/keepfs-{uid}").into());
    places.dedup();
    places
}

/// Whether `place` is a directory that nobody but user `uid` can enter.
fn is_private(place: &Path, uid: u32) -> bool {
    std::fs::symlink_metadata(place).is_ok_and(|found| {
        found.is_dir() && found.uid() == uid && found.permissions().mode() & 0o077 == 0
    })
}

fn socket_name(device: (u32, u32)) -> String {
    format!("{}-{}{SOCKET_SUFFIX}", device.0, device.1)
}

/// The daemon's end: answers until [`Server::finish`].
pub struct Server {
    socket: Socket,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    outcome: Option<Outcome>,
    waiting: Vec<UnixStream>,
}

impl Server {
    /// Starts to answer for the mount with this device number; `status` and
    /// `statistics` are called for each question.
    ///
    /// # Errors
    /// The last reason why no place would take the socket.
    pub fn start(
        device: (u32, u32),
        status: impl Fn() -> Status + Send + 'static,
        statistics: impl Fn() -> Statistics + Send + 'static,
    ) -> io::Result<Self> {
        let (listener, socket) = listen(&socket_name(device))?;
        let shared = Arc::new(Mutex::new(Shared::default()));
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                for client in listener.incoming().flatten() {
                    // A client that is gone or talks nonsense is its own affair.
                    if let Err(error) = answer(client, &status, &statistics, &theirs) {
                        tracing::debug!(%error, "a question over the control socket failed");
                    }
                }
            })?;
        Ok(Self { socket, shared })
    }

    /// Tells everyone who waits how the mount ended and takes the socket away.
    pub fn finish(self, outcome: &Outcome) {
        self.socket.remove();
        let mut shared = self.shared.lock();
        shared.outcome = Some(outcome.clone());
        for mut client in shared.waiting.drain(..) {
            // Whoever stopped waiting misses nothing.
            let _ = write_line(&mut client, outcome);
        }
    }
}

/// A socket's file.
struct Socket {
    path: PathBuf,
    /// Device and inode.
    id: (u64, u64),
}

impl Socket {
    /// Listens, and only then takes the name, so that nobody who looks for
    /// sockets of the dead finds one that does not answer yet.
    fn listen(place: &Path, name: &str) -> io::Result<(UnixListener, Self)> {
        let unborn = place.join(format!("{name}.{}{UNBORN_SUFFIX}", std::process::id()));
        let path = place.join(name);
        // Left by an earlier process of our number.
        let _ = std::fs::remove_file(&unborn);
        let listener = UnixListener::bind(&unborn)?;
        let named = std::fs::symlink_metadata(&unborn).and_then(|found| {
            // A socket of our device number is stale: the kernel gave the
            // number to us.
            std::fs::rename(&unborn, &path)?;
            Ok((found.dev(), found.ino()))
        });
        match named {
            Ok(id) => Ok((listener, Self { path, id })),
            Err(error) => {
                let _ = std::fs::remove_file(&unborn);
                Err(error)
            }
        }
    }

    /// Takes the file away, unless the name is another daemon's by now: the
    /// kernel gives a device number out again as soon as its mount is gone.
    fn remove(&self) {
        let ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.id);
        if ours {
            // Already gone is as good; the next daemon cleans up the rest.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A socket of that name in the first place that takes it.
fn listen(name: &str) -> io::Result<(UnixListener, Socket)> {
    let uid = process::effective_uid();
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for place in places(uid) {
        if let Err(error) = DirBuilder::new().mode(0o700).create(&place)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            last = error;
            continue;
        }
        if !is_private(&place, uid) {
            last = io::ErrorKind::PermissionDenied.into();
            continue;
        }
        sweep(&place);
        match Socket::listen(&place, name) {
            Ok(listening) => return Ok(listening),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Removes the sockets of daemons that were killed.
fn sweep(place: &Path) {
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = path.to_string_lossy();
        let unborn = name.strip_suffix(UNBORN_SUFFIX).and_then(|name| {
            let (_, pid) = name.rsplit_once('.')?;
            pid.parse().ok()
        });
        let never_born = unborn.is_some_and(|pid| matches!(Process::open(pid), Ok(None)));
        let is_socket = name.ends_with(SOCKET_SUFFIX);
        if never_born {
            let _ = std::fs::remove_file(&path);
        } else if is_socket
            && UnixStream::connect(&path)
                .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        {
            // Somebody else may have swept it already.
            let _ = std::fs::remove_file(&path);
        }
    }
}

fn answer(
    mut client: UnixStream,
    status: &impl Fn() -> Status,
    statistics: &impl Fn() -> Statistics,
    shared: &Mutex<Shared>,
) -> io::Result<()> {
    let peer = process::peer(&client)?;
    if peer.uid != 0 && peer.uid != process::effective_uid() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut question = String::new();
    BufReader::new((&client).take(LINE_MAX)).read_line(&mut question)?;
    match question.trim_end() {
        ASK_STATUS => write_line(&mut client, &status()),
        ASK_STATISTICS => write_line(&mut client, &statistics()),
        ASK_OUTCOME => {
            let mut shared = shared.lock();
            match &shared.outcome {
                Some(outcome) => write_line(&mut client, outcome),
                None => {
                    // The empty line says: you are on the list.
                    client.write_all(b"\n")?;
                    shared.waiting.push(client);
                    Ok(())
                }
            }
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn write_line(client: &mut UnixStream, what: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    client.write_all(&line)
}

/// A connection to the daemon of a mount.
struct Connection {
    stream: BufReader<UnixStream>,
    pid: u32,
}

impl Connection {
    /// Connects to the daemon that serves `entry` and asks it `question`.
    fn open(entry: &MountEntry, question: &str) -> Result<Self, ControlError> {
        let uid = entry.owner().ok_or(ControlError::Unreachable)?;
        for place in places(uid) {
            if !is_private(&place, uid) {
                continue;
            }
            let Ok(mut stream) = UnixStream::connect(place.join(socket_name(entry.device))) else {
                continue;
            };
            let peer = process::peer(&stream)?;
            if peer.uid != uid {
                continue;
            }
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.write_all(format!("{question}\n").as_bytes())?;
            return Ok(Self {
                stream: BufReader::new(stream),
                pid: peer.pid,
            });
        }
        Err(ControlError::Unreachable)
    }

    fn read_line(&mut self) -> Result<String, ControlError> {
        let mut line = String::new();
        match (&mut self.stream).take(LINE_MAX).read_line(&mut line) {
            Ok(0) => Err(ControlError::Vanished),
            Ok(_) => Ok(line),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                Err(ControlError::Vanished)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// What the daemon of the mount `entry` says about it. The process number is
/// the kernel's word.
///
/// # Errors
/// [`ControlError`].
pub fn status(entry: &MountEntry) -> Result<Status, ControlError> {
    let mut connection = Connection::open(entry, ASK_STATUS)?;
    let line = connection.read_line()?;
    let status: Status = serde_json::from_str(&line).map_err(|_| ControlError::Garbled)?;
    Ok(Status {
        pid: connection.pid,
        ..status
    })
}

/// What the daemon of the mount `entry` says of the requests it served.
///
/// # Errors
/// [`ControlError`]; an older daemon knows no answer.
pub fn statistics(entry: &MountEntry) -> Result<Statistics, ControlError> {
    let line = Connection::open(entry, ASK_STATISTICS)?.read_line()?;
    serde_json::from_str(&line).map_err(|_| ControlError::Garbled)
}

/// Waits for the end of a daemon; made before the mount is taken off.
pub struct Watch {
    connection: Connection,
    process: Option<Process>,
}

impl Watch {
    /// Registers with the daemon of the mount `entry`.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn new(entry: &MountEntry) -> Result<Self, ControlError> {
        let mut connection = Connection::open(entry, ASK_OUTCOME)?;
        let process = Process::open(connection.pid)?;
        match connection.read_line()?.as_str() {
            "\n" => Ok(Self {
                connection,
                process,
            }),
            _ => Err(ControlError::Vanished),
        }
    }

    /// Blocks until the daemon has told its outcome and is gone; `slow` is
    /// called once if that takes more than a few seconds.
    ///
    /// # Errors
    /// [`ControlError::Vanished`] if it ended without telling.
    pub fn wait(mut self, slow: impl FnOnce()) -> Result<Outcome, ControlError> {
        let mut slow = Some(slow);
        let line = loop {
            match self.connection.read_line() {
                Err(ControlError::Io(error))
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    if let Some(slow) = slow.take() {
                        slow();
                    }
                }
                other => break other?,
            }
        };
        let outcome = serde_json::from_str(&line).map_err(|_| ControlError::Garbled)?;
        if let Some(process) = &self.process {
            while process.wait(PATIENCE)? == Waited::StillRunning {}
        }
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may fail loudly")]
    use super::*;

    #[test]
    fn only_a_directory_of_ones_own_is_private() {
        let place = tempfile::tempdir().unwrap();
        let uid = process::effective_uid();
        let allow = |mode| std::fs::set_permissions(place.path(), PermissionsExt::from_mode(mode));
        allow(0o700).unwrap();
        assert!(is_private(place.path(), uid));
        assert!(!is_private(place.path(), uid + 1));
        for open in [0o750, 0o701, 0o777] {
            allow(open).unwrap();
            assert!(!is_private(place.path(), uid), "{open:o}");
        }
        allow(0o700).unwrap();
        let link = place.path().join("link");
        std::os::unix::fs::symlink(place.path(), &link).unwrap();
        assert!(!is_private(&link, uid));
    }

    #[test]
    fn stale_sockets_are_swept_and_live_ones_stay() {
        let place = tempfile::tempdir().unwrap();
        let (stale, live) = (place.path().join("0-1.sock"), place.path().join("0-2.sock"));
        let other = place.path().join("other");
        std::fs::write(&other, b"").unwrap();
        drop(UnixListener::bind(&stale).unwrap());
        let _live = UnixListener::bind(&live).unwrap();
        sweep(place.path());
        assert!(!stale.exists() && live.exists() && other.exists());
    }

    #[test]
    fn no_sweep_takes_the_socket_of_a_daemon_that_is_just_starting() {
        let temp = tempfile::tempdir().unwrap();
        let place = temp.path();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            // Ours in here: dropped also if an assertion fails.
            let stop = stop;
            scope.spawn(move || {
                while let Err(std::sync::mpsc::TryRecvError::Empty) = stopped.try_recv() {
                    sweep(place);
                }
            });
            for round in 0..2000 {
                let name = socket_name((0, round % 7));
                let (_listener, socket) = Socket::listen(place, &name).unwrap();
                assert!(UnixStream::connect(&socket.path).is_ok(), "round {round}");
                socket.remove();
                assert!(!socket.path.exists());
            }
            drop(stop);
        });
    }

    #[test]
    fn a_daemon_that_ends_late_leaves_the_socket_of_its_successor() {
        let place = tempfile::tempdir().unwrap();
        let (_first, old) = Socket::listen(place.path(), "0-9.sock").unwrap();
        let (_second, new) = Socket::listen(place.path(), "0-9.sock").unwrap();
        old.remove();
        assert!(UnixStream::connect(&new.path).is_ok());
        new.remove();
        assert!(!new.path.exists());
    }

    #[test]
    fn a_client_is_told_the_outcome_even_if_it_asks_late() {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let status = || -> Status { panic!("nobody asked for the status") };
        let (early, early_server) = UnixStream::pair().unwrap();
        (&early).write_all(b"outcome\n").unwrap();
        answer(early_server, &status, &Statistics::default, &shared).unwrap();
        let server = Server {
            socket: Socket {
                path: "/nonexistent".into(),
                id: (0, 0),
            },
            shared: Arc::clone(&shared),
        };
        server.finish(&Outcome::NotSaved("disk full".to_owned()));
        let (late, late_server) = UnixStream::pair().unwrap();
        (&late).write_all(b"outcome\n").unwrap();
        answer(late_server, &status, &Statistics::default, &shared).unwrap();
        let (mut heard_early, mut heard_late) = (String::new(), String::new());
        (&early).read_to_string(&mut heard_early).unwrap();
        (&late).read_to_string(&mut heard_late).unwrap();
        assert_eq!(heard_early, format!("\n{heard_late}"));
        assert!(heard_late.contains("disk full"), "{heard_late}");
    }
}
