# What tests/programs/decode and encode share. Sourced with $here, the top of the sources, $keepfs,
# the program, and $work, a directory to work in; $secret is what opens the vault at hand,
# and $also_needed a line that Python must understand.
# shellcheck shell=bash disable=SC2154
decoder=$here/scripts/decode.py trees=$here/tests/programs/decode_tree.py
export XDG_STATE_HOME=$work/state PYTHONDONTWRITEBYTECODE=1
mnt=$work/mnt server=

say() { printf '  %s\n' "$*"; }
fail() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

clean_up() {
    if [ -n "$server" ]; then kill -KILL "$server" 2>/dev/null || true; fi
    if mountpoint -q "$mnt"; then "$keepfs" unmount "$mnt" || fusermount3 -u -z "$mnt" || true; fi
}
trap clean_up EXIT

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 /usr/bin/python3 "$here/target/python/bin/python3"}; do
        if "$candidate" - 2>/dev/null <<PYTHON
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
try:
    import cryptography.hazmat.primitives.kdf.argon2
except ImportError:
    import argon2
${also_needed:-}
PYTHON
        then echo "$candidate"; return; fi
    done
    fail "no python3 with cryptography 38 and Argon2id${also_needed:+ and: $also_needed}"
}
python=$(find_python)

mounted() { # VAULT COMMAND...
    "$keepfs" mount "${secret[@]}" "$1" "$mnt" || fail "cannot mount $1"
    shift
    "$@"
    "$keepfs" unmount "$mnt"
}
tree() { "$python" "$trees" "$@"; }
agree() { tree compare "$@" >"$work/null" || { cat "$work/null" >&2; fail "the trees differ"; }; }

mkdir -p "$mnt"
printf 'correct horse battery\n' >"$work/pass"
head -c 300 /dev/zero >"$work/key"
