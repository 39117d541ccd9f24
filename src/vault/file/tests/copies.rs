//! What a sync client finds that does not know of the journal.

use super::journal::{apply, base, sequences};
use super::*;

#[test]
fn a_copy_taken_between_two_changes_has_no_damaged_chunk() {
    for ops in sequences() {
        let world = World::journalled();
        world.with("f", &base());
        let file = world.sealed("f");
        for (seed, &op) in ops.iter().enumerate() {
            apply(&file, op, seed).unwrap_or_else(|error| panic!("{ops:?}, {op:?}: {error}"));
            world.put("copy", &world.bytes("f"));
            let (copy, _) = world.try_open("copy", Access::Read).unwrap();
            let mut read = Vec::new();
            let result = copy.read(off(0), 64 * C, &mut read);
            assert!(result.is_ok(), "{ops:?} after {op:?}: {result:?}");
        }
    }
}
