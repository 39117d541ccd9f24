//! Taking a table of fixed fields apart.

/// A cursor over bytes. The caller has checked that the fields it takes are
/// no longer than what is there.
pub(in crate::codec) struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    pub(in crate::codec) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next `N` bytes.
    pub(in crate::codec) fn take<const N: usize>(&mut self) -> &'a [u8; N] {
        let (part, rest) = self
            .0
            .split_first_chunk()
            .expect("the total length was checked against the table");
        self.0 = rest;
        part
    }

    /// The next `len` bytes.
    pub(in crate::codec) fn take_slice(&mut self, len: usize) -> &'a [u8] {
        let (part, rest) = self
            .0
            .split_at_checked(len)
            .expect("the total length was checked against the table");
        self.0 = rest;
        part
    }

    /// A little-endian u16.
    pub(in crate::codec) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(*self.take())
    }

    /// A little-endian u32.
    pub(in crate::codec) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(*self.take())
    }

    /// A little-endian u64.
    pub(in crate::codec) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(*self.take())
    }

    /// How many bytes are left.
    pub(in crate::codec) fn left(&self) -> usize {
        self.0.len()
    }
}
