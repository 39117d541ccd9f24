# What the scripts share that drive the program with other programs' help; sourced from the
# top of the tree, after scripts/lib/install.sh.

# find_keepfs PROFILE: the program in $keepfs, as given in $KEEPFS_BIN; else a release, built
# from what stands here, or for `debug` the newest that is built, of whatever profile
find_keepfs() {
    local target=${CARGO_TARGET_DIR:-target} built
    keepfs=${KEEPFS_BIN:-}
    if [ -z "$keepfs" ] && [ "$1" != release ]; then
        for built in "$target/release/keepfs" "$target/debug/keepfs"; do
            if [ -x "$built" ] && { [ -z "$keepfs" ] || [ "$built" -nt "$keepfs" ]; }; then keepfs=$built; fi
        done
    fi
    if [ -z "$keepfs" ]; then
        case "$1" in
            release) cargo build --locked --release >&2 ;;
            *) cargo build --locked >&2 ;;
        esac
        keepfs=$target/$1/keepfs
    fi
    keepfs=$(realpath "$keepfs")
}

# need COMMAND:PACKAGE...: installs from Debian what is missing, if root runs this
need() {
    local missing=() pair
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
    done
    if [ "${#missing[@]}" -gt 0 ]; then
        if [ "$(id -u)" -ne 0 ]; then
            echo "missing, and only root can install: ${missing[*]}" >&2
            exit 1
        fi
        debian_install "${missing[@]}" >&2
    fi
}

# unmount_below DIR: what is still mounted there, the upper mounts first
unmount_below() {
    local point
    awk -v dir="$1/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | tac |
        while read -r point; do
            echo "still mounted: $point" >&2
            fusermount3 -u -z "$point" 2>/dev/null || umount -l "$point" || true
        done
}

# run_stoppable COMMAND...: a signal goes to it as well, so that it ends in order
run_stoppable() {
    "$@" &
    local child=$!
    trap 'kill -TERM "$child" 2>/dev/null || true; wait "$child" || true; exit 130' INT TERM
    wait "$child"
}
