//! Memory that holds key bytes: on the heap, so that a move leaves no copy
//! behind, and wiped when dropped.

use zeroize::Zeroize;

/// `N` secret bytes. Wiped on drop; can be neither copied, compared nor
/// printed, and only `codec` can look inside.
pub struct Secret<const N: usize>(Box<[u8; N]>);

/// Where secret bytes lie, so that they can be locked into memory and kept
/// out of core dumps. It gives no access to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySpan {
    /// Address of the first byte.
    pub addr: usize,
    /// Number of bytes.
    pub len: usize,
}

impl<const N: usize> Secret<N> {
    /// A secret that `fill` writes in place; `fill` starts from zeros.
    ///
    /// # Errors
    /// What `fill` reports; what it had written is wiped.
    pub(in crate::codec) fn try_make<E>(
        fill: impl FnOnce(&mut [u8; N]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut secret = Self(Box::new([0; N]));
        fill(&mut secret.0)?;
        Ok(secret)
    }

    /// A secret that `fill` writes in place; `fill` starts from zeros.
    pub(in crate::codec) fn make(fill: impl FnOnce(&mut [u8; N])) -> Self {
        let mut secret = Self(Box::new([0; N]));
        fill(&mut secret.0);
        secret
    }

    /// The bytes. Copies made of them must be wiped by whoever makes them.
    pub(in crate::codec) fn bytes(&self) -> &[u8; N] {
        &self.0
    }

    /// Where the bytes lie.
    #[must_use]
    pub fn span(&self) -> MemorySpan {
        MemorySpan {
            addr: self.0.as_ptr().addr(),
            len: N,
        }
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Overwrites what functions that have returned left on the stack below the
/// caller: hashes and ciphers leave copies of keys there, which whatever is
/// built there next would carry on to the heap.
#[inline(never)]
pub(in crate::codec) fn wipe_stack() {
    let mut room = [0u8; 64 * 1024];
    room.zeroize();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_in_place_and_says_where_it_lies() {
        let secret = Secret::<32>::make(|bytes| bytes.fill(7));
        assert_eq!(secret.bytes(), &[7; 32]);
        let span = secret.span();
        assert_eq!(span.len, 32);
        assert_eq!(span.addr, secret.bytes().as_ptr().addr());
        let moved = secret;
        assert_eq!(moved.span(), span);
    }

    #[test]
    fn a_failing_fill_yields_no_secret() {
        let made: Result<Secret<4>, &str> = Secret::try_make(|_| Err("no"));
        assert_eq!(made.err(), Some("no"));
    }
}
