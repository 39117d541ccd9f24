//! What conflict copies are called; FORMAT.md, section 12.
//!
//! Sync clients keep both versions of a file by appending to the name of one.
//! The copy is shown as
//!
//! ```text
//! stem || " [conflict " || client and time, if known || tag || "]" || ext
//! tag = first 8 hexadecimal digits of SHA-256(entry)
//! ```
//!
//! Text from the backing never becomes part of a plain name: through a suffix
//! `.conf` the provider could choose an extension. Of dates only digits pass.

mod forms;

use sha2::{Digest, Sha256};

use self::forms::{FORMS, Part};
use crate::name::{PlainName, RawName};

/// What every shown name of a copy contains before its tag.
const MARK: &[u8] = b" [conflict ";
/// Hexadecimal digits of a tag.
const TAG_LEN: usize = 8;
/// Longest extension that is kept where the whole name would be too long.
const LONGEST_KEPT_EXT: usize = 64;

/// A program that makes conflict copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// Syncthing
    Syncthing,
    /// Nextcloud and ownCloud
    Nextcloud,
    /// Dropbox
    Dropbox,
    /// `rclone bisync`
    Rclone,
    /// The OneDrive client for Linux
    OneDrive,
    /// Google Drive
    GoogleDrive,
    /// Seafile
    Seafile,
    /// pCloud
    PCloud,
    /// Unison
    Unison,
    /// Resilio Sync
    Resilio,
}

impl Client {
    /// Its name in shown names; lower case, without spaces.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Syncthing => "syncthing",
            Self::Nextcloud => "nextcloud",
            Self::Dropbox => "dropbox",
            Self::Rclone => "rclone",
            Self::OneDrive => "onedrive",
            Self::GoogleDrive => "google-drive",
            Self::Seafile => "seafile",
            Self::PCloud => "pcloud",
            Self::Unison => "unison",
            Self::Resilio => "resilio",
        }
    }
}

/// What the suffix of a conflict copy says of it; nothing of it is proof.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The client whose form the suffix has.
    pub client: Option<Client>,
    /// `YYYY-MM-DD` or `YYYY-MM-DD HH:MM`, in the zone of the client's
    /// choice; digits, not necessarily a date.
    pub when: Option<String>,
}

impl Origin {
    /// Takes a suffix, which must have one of the known forms as a whole.
    #[must_use]
    pub fn of(suffix: &[u8]) -> Self {
        for (client, form) in FORMS {
            let mut date = Date::default();
            if fits(form, suffix, &mut date) {
                return Self {
                    client: Some(*client),
                    when: date.shown(),
                };
            }
        }
        Self::default()
    }
}

/// Digits of a date as they were met.
#[derive(Default)]
struct Date {
    day: Option<[u8; 8]>,
    clock: Option<[u8; 6]>,
}

impl Date {
    fn shown(&self) -> Option<String> {
        let text = |digits: &[u8]| String::from_utf8_lossy(digits).into_owned();
        let [y1, y2, y3, y4, m1, m2, d1, d2] = self.day?;
        let day = text(&[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2]);
        Some(match self.clock {
            Some([h1, h2, m1, m2, ..]) => {
                format!("{day} {}", text(&[h1, h2, b':', m1, m2]))
            }
            None => day,
        })
    }
}

/// Whether `text` as a whole has the form `parts`.
fn fits(parts: &[Part], text: &[u8], date: &mut Date) -> bool {
    let Some((part, rest)) = parts.split_first() else {
        return text.is_empty();
    };
    let after = |len: usize, all: fn(&u8) -> bool| {
        let (run, left) = text.split_at_checked(len)?;
        run.iter().all(all).then_some((run, left))
    };
    let left = match *part {
        Part::Text(wanted) => text.strip_prefix(wanted.as_bytes()),
        Part::Any => {
            return (0..=text.len()).any(|len| fits(rest, &text[len..], date));
        }
        Part::Digits(len) => after(len, u8::is_ascii_digit).map(|(_, left)| left),
        Part::Number => after_number(text),
        Part::Counter => match text.strip_prefix(b" ") {
            Some(number) => after_number(number),
            None => Some(text),
        },
        Part::Code(len) => {
            after(len, |b| b.is_ascii_uppercase() || b.is_ascii_digit()).map(|(_, left)| left)
        }
        Part::Day => dashed::<10>(text).map(|([y1, y2, y3, y4, _, m1, m2, _, d1, d2], left)| {
            date.day = Some([y1, y2, y3, y4, m1, m2, d1, d2]);
            left
        }),
        Part::CompactDay => after(8, u8::is_ascii_digit).map(|(run, left)| {
            date.day = run.try_into().ok();
            left
        }),
        Part::Clock => after(6, u8::is_ascii_digit).map(|(run, left)| {
            date.clock = run.try_into().ok();
            left
        }),
        Part::DashedClock => dashed::<8>(text).map(|([h1, h2, _, m1, m2, _, s1, s2], left)| {
            date.clock = Some([h1, h2, m1, m2, s1, s2]);
            left
        }),
    };
    left.is_some_and(|left| fits(rest, left, date))
}

/// What follows one digit or more.
fn after_number(text: &[u8]) -> Option<&[u8]> {
    let len = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (len > 0).then(|| &text[len..])
}

/// `N` bytes that end with two digits, two more before a dash before those,
/// and digits before another, and what follows them.
fn dashed<const N: usize>(text: &[u8]) -> Option<([u8; N], &[u8])> {
    let (run, left) = text.split_first_chunk::<N>()?;
    let dashes = [N - 3, N - 6];
    let fits = |(at, byte): (usize, &u8)| {
        if dashes.contains(&at) {
            *byte == b'-'
        } else {
            byte.is_ascii_digit()
        }
    };
    run.iter().enumerate().all(fits).then_some((*run, left))
}

/// What ends the shown name of a copy: which entry it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyTag([u8; TAG_LEN]);

impl CopyTag {
    /// The tag of an entry of the backing.
    #[must_use]
    pub fn of(entry: &RawName) -> Self {
        let digest: [u8; 32] = Sha256::digest(entry.bytes()).into();
        let mut tag = [0; TAG_LEN];
        for (digits, byte) in tag.as_chunks_mut::<2>().0.iter_mut().zip(digest) {
            *digits = [hex(byte >> 4), hex(byte & 0x0f)];
        }
        Self(tag)
    }

    /// The tags in a name of the form of a copy's; none in all others. More
    /// than one if the name that was copied had that form already.
    pub fn in_name(name: &PlainName) -> impl Iterator<Item = Self> + '_ {
        let name = name.bytes();
        (0..name.len()).filter_map(|at| {
            let inside = name[at..].strip_prefix(MARK)?;
            let end = inside.iter().position(|&byte| byte == b']')?;
            let tag: [u8; TAG_LEN] = *inside[..end].last_chunk()?;
            let lower_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            tag.iter().all(lower_hex).then_some(Self(tag))
        })
    }
}

/// One lower-case hexadecimal digit.
fn hex(nibble: u8) -> u8 {
    match nibble {
        0..=9 => b'0' + nibble,
        _ => b'a' + (nibble - 10),
    }
}

/// The name under which `entry`, a copy of `name` with `suffix` behind it, is
/// shown. Of at most 255 bytes; total.
#[must_use]
pub fn shown_name(name: &PlainName, entry: &RawName, suffix: &[u8]) -> PlainName {
    let origin = Origin::of(suffix);
    let mut mark = MARK.to_vec();
    let words = [origin.client.map(Client::name), origin.when.as_deref()];
    for word in words.into_iter().flatten() {
        mark.extend_from_slice(word.as_bytes());
        mark.push(b' ');
    }
    mark.extend_from_slice(&CopyTag::of(entry).0);
    mark.push(b']');
    let (mut stem, mut ext) = split(name.bytes());
    if stem.len() + mark.len() + ext.len() > PlainName::MAX_LEN {
        if ext.len() > LONGEST_KEPT_EXT {
            ext = b"";
        }
        let room = PlainName::MAX_LEN - mark.len() - ext.len();
        stem = &stem[..room.min(stem.len())];
        if let (Ok(_), Err(cut)) = (str::from_utf8(name.bytes()), str::from_utf8(stem)) {
            stem = &stem[..cut.valid_up_to()];
        }
    }
    PlainName::new(&[stem, &mark, ext].concat()).expect("parts of a name and a short mark")
}

/// The name before and from its last `.`, unless that is its first or last
/// byte.
fn split(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|&byte| byte == b'.') {
        Some(dot) if dot > 0 && dot + 1 < name.len() => name.split_at(dot),
        Some(_) | None => (name, b""),
    }
}

#[cfg(test)]
mod tests;
