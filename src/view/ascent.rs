//! The way from an object upward to the root.

use crate::types::Ino;

/// Notices on the way from an object upward that it leads in a circle: others
/// moved a directory into one that was inside it, and only one of the two has
/// been looked up since.
#[derive(Debug)]
pub(super) struct Ascent {
    /// Passed once; looked for again on the next steps, as many as before.
    mark: Option<Ino>,
    steps: u64,
    until: u64,
}

impl Ascent {
    /// At the bottom.
    #[must_use]
    pub(super) const fn new() -> Self {
        Self {
            mark: None,
            steps: 0,
            until: 64,
        }
    }

    /// Passes `ino`; `false` if that happened before.
    pub(super) fn passes(&mut self, ino: Ino) -> bool {
        if self.mark == Some(ino) {
            return false;
        }
        self.steps += 1;
        if self.steps == self.until {
            self.mark = Some(ino);
            self.until *= 2;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

    use super::*;

    #[test]
    fn a_way_upward_that_leads_in_a_circle_ends() {
        for (before, around) in [(0, 1), (0, 2), (5, 3), (1000, 1), (63, 64), (10, 5000)] {
            let mut ascent = Ascent::new();
            let circle = (0..around).cycle().map(|n| before + n);
            let mut way = (0..before).chain(circle).map(|n| Ino::new(n + 2));
            let steps = way.by_ref().position(|ino| !ascent.passes(ino));
            assert!(steps.unwrap() < 50_000, "{before} and {around}");
        }
        let mut ascent = Ascent::new();
        assert!((2..200_000).all(|n| ascent.passes(Ino::new(n))));
    }
}
