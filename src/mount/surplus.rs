//! Memory of objects that the kernel has forgotten, given back to the system.

use crate::sys::process;
use crate::view::View;

/// Fewer objects than this are not worth the effort.
const WORTH_IT: u64 = 10_000;

/// How many objects were known at most since memory was last given back.
#[derive(Debug, Default)]
pub(super) struct Surplus {
    most: u64,
}

impl Surplus {
    /// To be called now and then: when most of what was known is forgotten, its
    /// memory goes back.
    pub(super) fn give_back(&mut self, view: &View) {
        if self.is_due(view.status().inodes) {
            view.shrink();
            process::give_back_memory();
        }
    }

    fn is_due(&mut self, known: u64) -> bool {
        if self.most < WORTH_IT || known > self.most / 2 {
            self.most = self.most.max(known);
            return false;
        }
        self.most = known;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_once_when_most_is_forgotten() {
        let mut surplus = Surplus::default();
        let due = [
            (9_000, false),
            (1, false),
            (50_000, false),
            (30_000, false),
            (25_000, true),
            (24_000, false),
            (12_000, true),
            (6_000, true),
            (1, false),
        ];
        for (known, expected) in due {
            assert_eq!(surplus.is_due(known), expected, "{known}");
        }
    }
}
