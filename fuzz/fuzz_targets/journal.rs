#![no_main]

#[path = "../../tests/fuzz_corpus/bodies.rs"]
#[allow(dead_code, reason = "each target uses one body of several")]
mod bodies;

use std::sync::LazyLock;

use keepfs::codec::keys::KeyTree;
use libfuzzer_sys::fuzz_target;

static KEYS: LazyLock<KeyTree> = LazyLock::new(bodies::keys);

fuzz_target!(|input: &[u8]| {
    let _ = bodies::journal(&KEYS, input);
});
