# What scripts/bench-network and scripts/test-network share; sourced by them, from the
# top of the tree. Leaves $keepfs, $work and a trap that takes down what is left.

. scripts/lib/install.sh
. scripts/lib/program.sh

install_network_tools() {
    local server=()
    if [ ! -x /usr/lib/openssh/sftp-server ] && [ ! -x /usr/lib/sftp-server ]; then
        server=(sftp-server:openssh-sftp-server)
    fi
    need sshfs:sshfs rclone:rclone gocryptfs:gocryptfs fusermount3:fuse3 python3:python3 "${server[@]}"
}

finish_network() {
    local status=$?
    unmount_below "$work"
    rm -rf --one-file-system "$work"
    exit "$status"
}

make_work() {
    work=$(mktemp -d "${TMPDIR:-/tmp}/keepfs-network.XXXXXX")
    trap finish_network EXIT
    export PYTHONDONTWRITEBYTECODE=1
}
