//! Floor 0: the two kinds of file names. A [`PlainName`] is what people see;
//! a [`RawName`] is what a listing of the backing returned and proves nothing.

use std::fmt;

/// One valid component of a plain path: 1 to 255 bytes, without `/` and NUL,
/// neither `.` nor `..`. Any other bytes are allowed; UTF-8 is not required.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlainName(Box<[u8]>);

/// Why some bytes are no [`PlainName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// No bytes at all.
    #[error("the name is empty")]
    Empty,
    /// More than [`PlainName::MAX_LEN`] bytes.
    #[error("the name is longer than 255 bytes")]
    TooLong,
    /// Contains `/` or NUL.
    #[error("the name contains a slash or a NUL byte")]
    BadByte,
    /// `.` or `..`.
    #[error("the name is . or ..")]
    Dots,
}

impl PlainName {
    /// Longest name, in bytes; Linux's NAME_MAX.
    pub const MAX_LEN: usize = 255;

    /// Checks the rules above.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn new(bytes: &[u8]) -> Result<Self, BadName> {
        if bytes.is_empty() {
            Err(BadName::Empty)
        } else if bytes.len() > Self::MAX_LEN {
            Err(BadName::TooLong)
        } else if bytes.iter().any(|&b| b == b'/' || b == 0) {
            Err(BadName::BadByte)
        } else if bytes == b"." || bytes == b".." {
            Err(BadName::Dots)
        } else {
            Ok(Self(bytes.into()))
        }
    }

    /// The name's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Never prints the name: no plaintext name enters a log (architecture rule 10).
impl fmt::Debug for PlainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlainName({} bytes)", self.0.len())
    }
}

/// A name as the backing lists it: one directory entry's bytes, unverified.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RawName(Box<[u8]>);

impl RawName {
    /// Wraps the bytes of a directory entry.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The entry's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_obey_their_rules() {
        assert_eq!(PlainName::new(b"").unwrap_err(), BadName::Empty);
        assert_eq!(PlainName::new(b".").unwrap_err(), BadName::Dots);
        assert_eq!(PlainName::new(b"..").unwrap_err(), BadName::Dots);
        assert_eq!(PlainName::new(b"a/b").unwrap_err(), BadName::BadByte);
        assert_eq!(PlainName::new(b"a\0b").unwrap_err(), BadName::BadByte);
        assert_eq!(PlainName::new(&[b'a'; 256]).unwrap_err(), BadName::TooLong);
        for good in [&b"..."[..], b"\xff\xfe", &[b'a'; 255], b" ", b"\n"] {
            assert_eq!(PlainName::new(good).unwrap().bytes(), good);
        }
    }
}
