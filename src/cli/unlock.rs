//! Where a passphrase comes from: a file, a program, a terminal, or the first
//! line of standard input. Never an argument, never the environment.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use zeroize::Zeroizing;

use super::args::PassphraseArgs;
use crate::mount::launch::{TypedPassphrase, unbuffered_stdin};

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    /// The first line is empty, or there is none.
    #[error("the passphrase is empty; {0} must hold it in the first line")]
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

/// A first line without its end.
enum Line {
    Whole(Zeroizing<Vec<u8>>),
    TooLong,
}

/// Reads up to the end of the first line, not further, into one buffer that
/// never moves.
fn first_line(mut source: impl Read) -> io::Result<Line> {
    let mut line = Zeroizing::new(Vec::with_capacity(TypedPassphrase::MAX_LEN + 2));
    let mut byte = Zeroizing::new([0u8; 1]);
    loop {
        match source.read(&mut *byte) {
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
        Line::Whole(line) if line.is_empty() => Err(PassphraseError::Empty(source.to_owned())),
        Line::Whole(line) if line.len() > TypedPassphrase::MAX_LEN => Err(PassphraseError::TooLong),
        Line::Whole(line) => Ok(TypedPassphrase::new(line)),
        Line::TooLong => Err(PassphraseError::TooLong),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may fail loudly")]
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<u8>, PassphraseError> {
        finish(first_line(bytes).unwrap(), "a test").map(TypedPassphrase::into_bytes)
    }

    fn extpass(words: &[&str]) -> Result<Vec<u8>, PassphraseError> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        from_program(&words).map(TypedPassphrase::into_bytes)
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
