//! Where messages go: to standard error while somebody listens there, to the
//! system's log afterwards. The environment variable `KEEPFS_LOG` sets the
//! level: `error`, `warn` (default), `info`, `debug`.
//!
//! No message carries a plaintext name or contents.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;

use parking_lot::Mutex;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The socket of the system's log; syslog(3).
const SYSLOG: &str = "/dev/log";
/// Facility "daemon", severity "warning"; RFC 3164 section 4.1.1.
const PRIORITY: &str = "<28>";

enum Sink {
    Stderr,
    Syslog(UnixDatagram),
    /// A machine without a log.
    Nowhere,
}

static SINK: Mutex<Sink> = parking_lot::const_mutex(Sink::Stderr);

/// Begins to write messages to standard error.
pub fn start() {
    let filter = EnvFilter::try_from_env("KEEPFS_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    // A second start, in tests, changes nothing.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Lines)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .try_init();
}

/// Writes all further messages to the system's log.
pub fn move_to_syslog() {
    let connect = || {
        let socket = UnixDatagram::unbound()?;
        socket.connect(SYSLOG)?;
        // A log that does not keep up must not hold up the file system.
        socket.set_nonblocking(true)?;
        io::Result::Ok(socket)
    };
    let sink = connect().map_or(Sink::Nowhere, Sink::Syslog);
    *SINK.lock() = sink;
}

/// Hands out one [`Line`] a message.
struct Lines;

impl MakeWriter<'_> for Lines {
    type Writer = Line;

    fn make_writer(&self) -> Line {
        Line(Vec::new())
    }
}

/// One message, gathered until it is whole.
struct Line(Vec<u8>);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let message = String::from_utf8_lossy(&self.0);
        let message = message.trim();
        // Nothing sensible can be done about a message that cannot be written.
        let _ = match &*SINK.lock() {
            Sink::Stderr => writeln!(io::stderr(), "keepfs: {message}"),
            Sink::Syslog(socket) => {
                let pid = std::process::id();
                let line = format!("{PRIORITY}keepfs[{pid}]: {message}");
                socket.send(line.as_bytes()).map(drop)
            }
            Sink::Nowhere => Ok(()),
        };
    }
}
