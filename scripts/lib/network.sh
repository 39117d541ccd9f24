# What scripts/bench-network and scripts/test-network share; sourced by them, from the
# top of the tree. Leaves $keepfs, $work and a trap that takes down what is left.

. scripts/lib/install.sh

# find_keepfs PROFILE: the program in $keepfs, as given or the newest that is built, else
# built as PROFILE
find_keepfs() {
    local target=${CARGO_TARGET_DIR:-target} built
    keepfs=${KEEPFS_BIN:-}
    if [ -z "$keepfs" ]; then
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

install_network_tools() {
    local missing=() pair
    for pair in sshfs:sshfs rclone:rclone gocryptfs:gocryptfs fusermount3:fuse3 python3:python3; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
    done
    if [ ! -x /usr/lib/openssh/sftp-server ] && [ ! -x /usr/lib/sftp-server ]; then
        missing+=(openssh-sftp-server)
    fi
    if [ "${#missing[@]}" -gt 0 ]; then
        if [ "$(id -u)" -ne 0 ]; then
            echo "missing, and only root can install: ${missing[*]}" >&2
            exit 1
        fi
        debian_install "${missing[@]}" >&2
    fi
}

# Takes down what lies in $work and is still mounted, the upper mounts first.
finish_network() {
    local status=$? point
    awk -v dir="$work/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | tac |
        while read -r point; do
            echo "still mounted: $point" >&2
            fusermount3 -u -z "$point" || true
        done
    rm -rf --one-file-system "$work"
    exit "$status"
}

make_work() {
    work=$(mktemp -d "${TMPDIR:-/tmp}/keepfs-network.XXXXXX")
    trap finish_network EXIT
    export PYTHONDONTWRITEBYTECODE=1
}

# run_stoppable COMMAND...: a signal goes to it as well, so that it ends in order
run_stoppable() {
    "$@" &
    local child=$!
    trap 'kill -TERM "$child" 2>/dev/null || true; wait "$child" || true; exit 130' INT TERM
    wait "$child"
}
