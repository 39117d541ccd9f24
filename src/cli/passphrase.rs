//! Where a passphrase comes from: a file, a program, a systemd credential, a
//! terminal, or a line of standard input. Never an argument, never the
//! environment.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use zeroize::Zeroizing;

use super::args::PassphraseArgs;
use crate::codec::kdf::{EmptyPassphrase, Passphrase};
use crate::mount::launch::unbuffered_stdin;
use crate::sys::terminal::SilentTerminal;

/// Where systemd tells a service about its credentials; systemd.exec(5).
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// A passphrase as it was typed or read, wiped when dropped.
pub struct TypedPassphrase(Zeroizing<Vec<u8>>);

impl TypedPassphrase {
    /// Longest passphrase, in bytes.
    pub const MAX_LEN: usize = 4096;

    /// Whether two of them are the same; for asking twice.
    #[must_use]
    pub fn equals(&self, other: &Self) -> bool {
        use subtle::ConstantTimeEq;
        self.0.ct_eq(&other.0).into()
    }

    /// What was typed, if it is text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The passphrase as keys are derived from it.
    ///
    /// # Errors
    /// It is empty.
    pub fn into_passphrase(mut self) -> Result<Passphrase, EmptyPassphrase> {
        Passphrase::from_bytes(std::mem::take(&mut *self.0))
    }
}

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    /// The first line is empty, or there is none.
    #[error("the passphrase is empty: {0} holds none")]
    Empty(String),
    /// It is longer than any person types.
    #[error("the passphrase is longer than {} bytes", TypedPassphrase::MAX_LEN)]
    TooLong,
    /// It was typed differently the second time.
    #[error("the two passphrases differ; nothing was changed, try again")]
    Differ,
    /// The terminal did not give it.
    #[error("cannot ask for the passphrase on the terminal: {0}")]
    Terminal(#[source] io::Error),
    /// The file cannot be read.
    #[error("cannot read the passphrase file {}: {error}", .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// There is no directory of credentials.
    #[error(
        "--credential {0}: {CREDENTIALS_DIRECTORY} is not set; LoadCredential= in a systemd unit sets it"
    )]
    NoCredentials(String),
    /// Not the name of a credential.
    #[error("--credential {0}: a credential's name has no slash")]
    CredentialName(String),
    /// Standard input cannot be read.
    #[error("cannot read the passphrase from standard input: {0}")]
    Stdin(#[source] io::Error),
    /// The words of `--extpass` are no command.
    #[error("--extpass {0} is not a command: its quotes do not match, or it is empty")]
    NoCommand(String),
    /// The program cannot be run.
    #[error("cannot run the passphrase program {program}: {error}")]
    Program {
        /// Which program.
        program: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The program failed.
    #[error("the passphrase program {program} failed ({status})")]
    ProgramFailed {
        /// Which program.
        program: String,
        /// How it ended.
        status: ExitStatus,
    },
}

/// How often a person is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Once: a wrong one will not open the vault.
    Once,
    /// Twice: nobody else would notice a slip.
    Twice,
}

/// Gets the passphrase from where `words` say.
///
/// # Errors
/// [`PassphraseError`].
pub fn passphrase(words: &PassphraseArgs, ask: Ask) -> Result<TypedPassphrase, PassphraseError> {
    if let Some(path) = &words.passfile {
        return from_file(path);
    }
    if !words.extpass.is_empty() {
        return from_program(&words.extpass);
    }
    if let Some(name) = &words.credential {
        return from_file(&credential_file(name)?);
    }
    if io::stdin().is_terminal() {
        return from_terminal(ask);
    }
    let line = unbuffered_stdin()
        .and_then(first_line)
        .map_err(PassphraseError::Stdin)?;
    finish(line, "standard input")
}

fn from_file(path: &Path) -> Result<TypedPassphrase, PassphraseError> {
    let line = File::open(path)
        .and_then(first_line)
        .map_err(|error| PassphraseError::File {
            path: path.to_owned(),
            error,
        })?;
    finish(line, &path.display().to_string())
}

fn credential_file(name: &str) -> Result<PathBuf, PassphraseError> {
    if name.is_empty() || name.contains('/') || name == ".." {
        return Err(PassphraseError::CredentialName(name.to_owned()));
    }
    match std::env::var_os(CREDENTIALS_DIRECTORY) {
        Some(dir) if !dir.is_empty() => Ok(PathBuf::from(dir).join(name)),
        Some(_) | None => Err(PassphraseError::NoCredentials(name.to_owned())),
    }
}

fn from_program(words: &[String]) -> Result<TypedPassphrase, PassphraseError> {
    let words = match words {
        [one] => shell_words::split(one).map_err(|_| PassphraseError::NoCommand(one.clone()))?,
        many => many.to_vec(),
    };
    let Some((program, arguments)) = words.split_first() else {
        return Err(PassphraseError::NoCommand(String::new()));
    };
    let failed = |error| PassphraseError::Program {
        program: program.clone(),
        error,
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut output = child.stdout.take().expect("spawned with a pipe");
    let line = first_line(&mut output);
    // The rest is read too: a program must not die of a closed pipe.
    let rest = io::copy(&mut output, &mut io::sink());
    let status = child.wait().map_err(failed)?;
    if !status.success() {
        return Err(PassphraseError::ProgramFailed {
            program: program.clone(),
            status,
        });
    }
    let line = rest.and(line).map_err(failed)?;
    finish(line, &format!("the output of {program}"))
}

fn from_terminal(ask: Ask) -> Result<TypedPassphrase, PassphraseError> {
    // Held over both questions, and from before the first: nothing typed ahead shows.
    let _silent = SilentTerminal::begin().map_err(PassphraseError::Terminal)?;
    let first = prompt(match ask {
        Ask::Once => "Passphrase: ",
        Ask::Twice => "New passphrase: ",
    })?;
    if ask == Ask::Twice && !first.equals(&prompt("The same again: ")?) {
        return Err(PassphraseError::Differ);
    }
    Ok(first)
}

fn prompt(text: &str) -> Result<TypedPassphrase, PassphraseError> {
    let typed = rpassword::prompt_password(text).map_err(PassphraseError::Terminal)?;
    finish(
        Line::Whole(Zeroizing::new(typed.into_bytes())),
        "your answer",
    )
}

/// The next line of standard input, at most as long as a passphrase; `None`
/// at the end of input.
///
/// # Errors
/// Those of read(2); `InvalidData` where it is longer.
pub(super) fn stdin_line() -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    match first_line(unbuffered_stdin()?)? {
        Line::Whole(line) => Ok(Some(line)),
        Line::End => Ok(None),
        Line::TooLong => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// A first line without its end.
enum Line {
    Whole(Zeroizing<Vec<u8>>),
    /// Nothing, not even the end of a line.
    End,
    TooLong,
}

/// Reads up to the end of the first line, not further, into one buffer that
/// never moves.
fn first_line(mut source: impl Read) -> io::Result<Line> {
    let mut line = Zeroizing::new(Vec::with_capacity(TypedPassphrase::MAX_LEN + 2));
    let mut byte = Zeroizing::new([0u8; 1]);
    loop {
        match source.read(&mut *byte) {
            Ok(0) if line.is_empty() => return Ok(Line::End),
            Ok(0) => break,
            Ok(_) if *byte == *b"\n" => break,
            Ok(_) if line.len() == line.capacity() => return Ok(Line::TooLong),
            Ok(_) => line.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    // A file written on Windows.
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Line::Whole(line))
}

fn finish(line: Line, source: &str) -> Result<TypedPassphrase, PassphraseError> {
    match line {
        Line::End => Err(PassphraseError::Empty(source.to_owned())),
        Line::Whole(line) if line.is_empty() => Err(PassphraseError::Empty(source.to_owned())),
        Line::Whole(line) if line.len() > TypedPassphrase::MAX_LEN => Err(PassphraseError::TooLong),
        Line::Whole(line) => Ok(TypedPassphrase(line)),
        Line::TooLong => Err(PassphraseError::TooLong),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may fail loudly")]
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<u8>, PassphraseError> {
        finish(first_line(bytes).unwrap(), "a test").map(bytes_of)
    }

    fn extpass(words: &[&str]) -> Result<Vec<u8>, PassphraseError> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        from_program(&words).map(bytes_of)
    }

    fn bytes_of(typed: TypedPassphrase) -> Vec<u8> {
        typed.0.to_vec()
    }

    #[test]
    fn passphrases_are_compared_by_all_their_bytes() {
        let typed = |bytes: &[u8]| TypedPassphrase(Zeroizing::new(bytes.to_vec()));
        assert!(typed(b"same").equals(&typed(b"same")));
        assert!(!typed(b"same").equals(&typed(b"Same")));
        assert!(!typed(b"same").equals(&typed(b"same ")));
    }

    #[test]
    fn a_credential_is_one_name_in_its_directory() {
        for name in ["", "a/b", "..", "/etc/passwd"] {
            assert!(matches!(
                credential_file(name),
                Err(PassphraseError::CredentialName(_))
            ));
        }
    }

    #[test]
    fn only_the_first_line_counts_without_its_end() {
        assert_eq!(read(b"secret\nrest").unwrap(), b"secret");
        assert_eq!(read(b"secret\r\nrest").unwrap(), b"secret");
        assert_eq!(read(b" a b \xff").unwrap(), b" a b \xff");
    }

    #[test]
    fn nothing_is_read_past_the_first_line() {
        let mut source = &b"one\ntwo\n"[..];
        assert!(first_line(&mut source).is_ok());
        assert_eq!(source, b"two\n");
    }

    #[test]
    fn empty_and_endless_lines_are_refused() {
        assert!(matches!(read(b""), Err(PassphraseError::Empty(_))));
        assert!(matches!(read(b"\nx"), Err(PassphraseError::Empty(_))));
        let longest = vec![b'x'; TypedPassphrase::MAX_LEN];
        assert_eq!(read(&longest).unwrap(), longest);
        let mut longer = longest;
        longer.push(b'x');
        assert!(matches!(read(&longer), Err(PassphraseError::TooLong)));
        assert!(matches!(
            first_line(io::repeat(b'x')).unwrap(),
            Line::TooLong
        ));
    }

    #[test]
    fn one_extpass_is_split_like_a_shell_and_several_are_verbatim() {
        assert_eq!(extpass(&["printf '%s' 'a  b'"]).unwrap(), b"a  b");
        assert_eq!(extpass(&["printf", "%s", "a  'b"]).unwrap(), b"a  'b");
    }

    #[test]
    fn a_program_that_fails_gives_no_passphrase() {
        assert!(matches!(
            extpass(&["sh -c 'echo secret; exit 3'"]),
            Err(PassphraseError::ProgramFailed { .. })
        ));
        assert!(matches!(
            extpass(&["/nonexistent/program"]),
            Err(PassphraseError::Program { .. })
        ));
        assert!(matches!(
            extpass(&["an 'open quote"]),
            Err(PassphraseError::NoCommand(_))
        ));
        assert!(matches!(extpass(&[""]), Err(PassphraseError::NoCommand(_))));
    }
}
