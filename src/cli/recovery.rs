//! Recovery codes between a person and the program: typed in, shown, checked.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal};

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use zeroize::Zeroizing;

use super::passphrase::stdin_line;
use super::say;
use crate::codec::recovery::{
    CombineError, LettersError, RecoveryCode, RecoveryTextError, Share, SplitPlanError, Typed,
};

/// How often a person may mistype.
const ATTEMPTS: usize = 5;
/// Groups in a row.
const ROW: usize = 7;

/// Why there is no recovery code.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// It was typed wrongly.
    #[error("the recovery code or share is wrong: {0}")]
    Text(#[from] RecoveryTextError),
    /// The shares make no code.
    #[error("the shares make no recovery code: {0}")]
    Combine(#[from] CombineError),
    /// The input ended.
    #[error("the input ended before the recovery code did")]
    Ended,
    /// The code cannot be split like that.
    #[error(transparent)]
    Plan(#[from] SplitPlanError),
    /// What was typed back is not what was shown.
    #[error("this is not what was shown; nothing was changed")]
    NotConfirmed,
    /// It cannot be read.
    #[error("cannot read the recovery code: {0}")]
    Io(#[from] io::Error),
}

/// Reads a recovery code, or as many shares as make one, from standard input;
/// on a terminal with prompts, and with another chance after a slip.
///
/// # Errors
/// [`RecoveryError`].
pub fn ask() -> Result<RecoveryCode, RecoveryError> {
    let mut shares: Vec<Share> = Vec::new();
    loop {
        let prompt = match shares.first() {
            None => "Recovery code, or a share of one: ".to_owned(),
            Some(first) => format!(
                "Another share, {} of the {} that are needed: ",
                different(&shares) + 1,
                first.threshold()
            ),
        };
        match typed(&prompt)? {
            Whole::Code(code) => return Ok(code),
            Whole::Share(share) => {
                shares.push(share);
                match Share::combine(&shares) {
                    Ok(code) => return Ok(code),
                    Err(CombineError::TooFew { .. }) => {}
                    Err(error) if io::stdin().is_terminal() => {
                        say(&format!("{error}; try another one\n"))?;
                        shares.pop();
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
}

/// How many shares there are, the same one counted once.
fn different(shares: &[Share]) -> usize {
    let numbers: BTreeSet<u8> = shares.iter().map(Share::number).collect();
    numbers.len()
}

enum Whole {
    Code(RecoveryCode),
    Share(Share),
}

/// One whole code or share, over several lines if need be. A person may
/// mistype: a slip in the last line costs that line, one further back all.
fn typed(prompt: &str) -> Result<Whole, RecoveryError> {
    let person = io::stdin().is_terminal();
    let mut slips = 0;
    // Room for what a person types: it never moves, which would leave a copy.
    let mut text = Zeroizing::new(String::with_capacity(8 * 1024));
    if person {
        say(prompt)?;
    }
    loop {
        let line = stdin_line()?.ok_or(RecoveryError::Ended)?;
        let part = Zeroizing::new(String::from_utf8_lossy(&line).into_owned());
        let begun = text.len();
        if begun + part.len() >= text.capacity() {
            return Err(RecoveryError::Ended);
        }
        text.push_str(&part);
        text.push('\n');
        match Typed::parse(&text) {
            Ok(Typed::Code(code)) => return Ok(Whole::Code(code)),
            Ok(Typed::Share(share)) => return Ok(Whole::Share(share)),
            Ok(Typed::Incomplete { missing }) => {
                if person {
                    say(&match missing {
                        Some(missing) => format!("{missing} groups more: "),
                        None => "Go on: ".to_owned(),
                    })?;
                }
            }
            Err(error) if person && slips + 1 < ATTEMPTS => {
                slips += 1;
                text.truncate(begun);
                let again = if fault_is_behind(&text, &error) {
                    "that line"
                } else {
                    text.clear();
                    "all of it"
                };
                say(&format!("{error}; {again} again: "))?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether a slip is in what was typed after `begun`, which was right so far:
/// not if a group was left short there, or only the sum of all shows it.
fn fault_is_behind(begun: &str, error: &RecoveryTextError) -> bool {
    let letters = begun.chars().filter(char::is_ascii_alphanumeric).count();
    letters % 5 == 0 && !matches!(error, RecoveryTextError::Letters(LettersError::BadSum))
}

/// A code or share in rows, and as a QR code if it is wanted.
#[must_use]
pub fn shown(text: &str, qr: Qr) -> Zeroizing<String> {
    let mut shown = Zeroizing::new(String::with_capacity(16 * 1024));
    let groups: Vec<&str> = text.split('-').collect();
    for row in groups.chunks(ROW) {
        shown.push_str("    ");
        shown.push_str(&Zeroizing::new(row.join("-")));
        shown.push('\n');
    }
    if qr == Qr::Shown {
        // Upper-case letters, digits and hyphens: QR's compact alphabet.
        let code = QrCode::new(text).expect("95 characters fit into a QR code");
        // Light on dark, as most terminals are.
        let drawn = code
            .render::<Dense1x2>()
            .dark_color(Dense1x2::Light)
            .light_color(Dense1x2::Dark)
            .build();
        let drawn = Zeroizing::new(drawn);
        shown.push('\n');
        shown.push_str(&drawn);
        shown.push('\n');
    }
    shown
}

/// Whether a QR code is drawn too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qr {
    /// It is not.
    Omitted,
    /// It is.
    Shown,
}

impl From<bool> for Qr {
    fn from(wanted: bool) -> Self {
        if wanted { Self::Shown } else { Self::Omitted }
    }
}

/// Has a person type two groups of a code back, to be sure it was written down.
///
/// # Errors
/// [`RecoveryError::NotConfirmed`] after several attempts.
pub fn confirm(text: &str) -> Result<(), RecoveryError> {
    let groups: Vec<&str> = text.split('-').collect();
    // Which ones need not be secret, only different from time to time: the
    // sum at the end of the code decides.
    let last = groups.last().copied().unwrap_or_default();
    let pick: usize = last.bytes().map(usize::from).sum();
    let body = groups.len() - 1;
    for at in [pick % (body / 2), body / 2 + pick % (body - body / 2)] {
        let wanted = groups[at];
        let mut right = false;
        for _ in 0..ATTEMPTS {
            say(&format!("Group {} of the code, to be sure: ", at + 1))?;
            let line = stdin_line()?.ok_or(RecoveryError::NotConfirmed)?;
            let typed = String::from_utf8_lossy(&line).trim().to_uppercase();
            if typed.replace('O', "0").replace(['I', 'L'], "1") == wanted {
                right = true;
                break;
            }
            say("That is not it. ")?;
        }
        if !right {
            return Err(RecoveryError::NotConfirmed);
        }
    }
    Ok(())
}
