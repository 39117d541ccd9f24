# Installs what the checks need on a bare Debian 12 with a Rust toolchain;
# sourced by scripts/test. What is there already is left alone.

# command:package
debian_tools=(
    fusermount3:fuse3
    setfattr:attr
    setfacl:acl
    sqlite3:sqlite3
    strace:strace
    git:git
    python3:python3
    tar:tar
    cc:build-essential
    setpriv:util-linux
    useradd:passwd
)

debian_install() {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

install_tools() {
    local missing=() pair
    for pair in "${debian_tools[@]}"; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
    done
    if [ "${#missing[@]}" -gt 0 ]; then
        echo "installing ${missing[*]}"
        debian_install "${missing[@]}"
    fi
    for pair in "${debian_tools[@]}"; do
        command -v "${pair%%:*}" >/dev/null || { echo "still missing: ${pair%%:*}" >&2; return 1; }
    done
    rustup component add rustfmt clippy 2>/dev/null || true
    cargo fmt --version
    cargo clippy --version
    install_crate pjdfstest 0.2.2
    install_crate fsx 0.3.2
    install_crate cargo-deny ""
    install_python
}

# install_crate NAME VERSION: by `cargo install --locked`, if it is not there
install_crate() {
    local name=$1 version=$2
    if command -v "$name" >/dev/null; then
        if [ -z "$version" ] || "$name" --version | grep -qwF "$version"; then
            "$name" --version
            return
        fi
    fi
    cargo install --locked "$name${version:+@$version}"
}

# A python3 with the libraries of scripts/vectors.py; its path in $python.
install_python() {
    local wanted='import cryptography, argon2'
    if python3 -c "$wanted" 2>/dev/null; then
        return
    fi
    debian_install python3-cryptography python3-argon2 python3-venv || true
    if python3 -c "$wanted" 2>/dev/null || /usr/bin/python3 -c "$wanted" 2>/dev/null; then
        return
    fi
    python3 -m venv target/python
    target/python/bin/pip install --quiet cryptography argon2-cffi
}

find_python() {
    local candidate
    for candidate in python3 /usr/bin/python3 target/python/bin/python3; do
        if "$candidate" -c 'import cryptography, argon2' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "no python3 with cryptography and argon2" >&2
    return 1
}
