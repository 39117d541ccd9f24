//! How strong a new passphrase is, by zxcvbn's estimate.

use zxcvbn::zxcvbn;

use super::passphrase::TypedPassphrase;

/// The strength below which a person is warned.
const WARN_BELOW: u8 = 3;

/// A passphrase is weaker than was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the new passphrase has strength {found} of 4, and --require-strength asks for {required}; several random words are stronger"
)]
pub struct TooWeak {
    found: u8,
    required: u8,
}

/// What is known about a passphrase.
struct Estimate {
    /// From 0, guessed at once, to 4, safe.
    strength: u8,
    /// Logarithm to base 10 of the guesses it takes.
    guesses_log10: f64,
}

fn estimate(typed: &TypedPassphrase) -> Estimate {
    // What is no text was made by a machine and has no words to be guessed by.
    typed.text().map_or(
        Estimate {
            strength: 4,
            guesses_log10: 30.0,
        },
        |text| {
            let entropy = zxcvbn(text, &[]);
            Estimate {
                strength: u8::from(entropy.score()),
                guesses_log10: entropy.guesses_log10(),
            }
        },
    )
}

/// Refuses a passphrase weaker than `required`.
///
/// # Errors
/// [`TooWeak`].
pub fn require(typed: &TypedPassphrase, required: u8) -> Result<(), TooWeak> {
    let found = estimate(typed).strength;
    if found < required {
        return Err(TooWeak { found, required });
    }
    Ok(())
}

/// A warning for the person who typed it, if it is weak.
#[must_use]
pub fn warning(typed: &TypedPassphrase) -> Option<String> {
    let estimate = estimate(typed);
    (estimate.strength < WARN_BELOW).then(|| {
        format!(
            "warning: this passphrase is weak (strength {} of 4): about 10^{:.0} guesses find it. \
             Whoever holds the vault can try as long as they like; several random words are better.",
            estimate.strength, estimate.guesses_log10
        )
    })
}
