//! A sign of life on the terminal while something takes long.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How long nothing is shown.
const PATIENCE: Duration = Duration::from_secs(1);

/// A bar with bytes, rate and the time that remains.
#[must_use]
pub fn bytes_bar(total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let template = "{bar:30} {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} to go";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// Shows a spinner with the time that passed, from the second second on, until
/// it is dropped; nothing where standard error is no terminal.
pub struct Waiting {
    end: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Waiting {
    /// Begins to wait for what `words` say.
    #[must_use]
    pub fn begin(words: &'static str) -> Self {
        if !io::stderr().is_terminal() {
            return Self {
                end: None,
                thread: None,
            };
        }
        let (end, ended) = mpsc::channel::<()>();
        let shown = move || {
            if let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(PATIENCE) {
                let spinner = ProgressBar::new_spinner().with_message(words);
                if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ... {elapsed}") {
                    spinner.set_style(style);
                }
                spinner.enable_steady_tick(Duration::from_millis(100));
                // The sender never sends: this returns when it is dropped.
                let _ended = ended.recv();
                spinner.finish_and_clear();
            }
        };
        let thread = thread::Builder::new().name("spinner".to_owned());
        Self {
            end: Some(end),
            // Without a thread there is no spinner, and nothing else changes.
            thread: thread.spawn(shown).ok(),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            // A spinner that panicked has nothing to say.
            let _spinner = thread.join();
        }
    }
}
