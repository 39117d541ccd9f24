# Vaults and mounts for the end-to-end steps; sourced by scripts/test.
# $work is the working directory, $keepfs the binary, $as the command prefix
# that changes the user (empty array for oneself).

# make_vault NAME [INIT OPTION...]: $work/NAME/{vault,mnt,pass}
make_vault() {
    local home=$work/$1
    shift
    "${as[@]}" mkdir -p "$home/vault" "$home/mnt"
    printf 'a passphrase for tests\n' | "${as[@]}" tee "$home/pass" >/dev/null
    "${as[@]}" "$keepfs" init "$home/vault" --passfile "$home/pass" \
        --kdf-memory 64MiB --kdf-passes 3 "$@" >/dev/null
}

# mount_vault NAME [MOUNT OPTION...]
mount_vault() {
    local home=$work/$1
    shift
    "${as[@]}" "$keepfs" mount "$home/vault" "$home/mnt" --passfile "$home/pass" "$@"
}

# unmount_vault NAME: with a bound; a hung daemon is a failure, not a hang
unmount_vault() {
    local home=$work/$1
    "${as[@]}" timeout 120 "$keepfs" unmount "$home/mnt"
    if mountpoint -q "$home/mnt"; then
        echo "still mounted: $home/mnt" >&2
        return 1
    fi
}

# Nothing of ours may be left: no mount and no daemon of this run.
check_leftovers() {
    local left=0 pid exe
    if grep -F " $work/" /proc/self/mountinfo; then
        echo "left mounted (above)" >&2
        left=1
    fi
    for pid in /proc/[0-9]*; do
        exe=$(readlink "$pid/exe" 2>/dev/null) || continue
        if [ "${exe% (deleted)}" = "$keepfs" ]; then
            echo "left running: ${pid#/proc/} $(tr '\0' ' ' <"$pid/cmdline")" >&2
            left=1
        fi
    done
    return "$left"
}

# Takes off what a failed step left, so that the work directory can go.
clear_leftovers() {
    local point
    awk -v dir="$work/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | sort -r |
        while read -r point; do
            umount -l "$point" 2>/dev/null || fusermount3 -u -z "$point" 2>/dev/null || true
        done
}
