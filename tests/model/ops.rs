//! The operations, and how they are drawn: few names and sizes around chunk
//! boundaries, so that operations meet.

use proptest::prelude::*;

/// A directory, by its index among those that exist.
pub(crate) type DirPick = usize;

/// One operation. Objects are named by a directory and one of [`NAMES`].
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Create(DirPick, usize),
    Mkdir(DirPick, usize),
    Symlink(DirPick, usize, usize),
    Link((DirPick, usize), (DirPick, usize)),
    Unlink(DirPick, usize),
    Rmdir(DirPick, usize),
    Rename((DirPick, usize), (DirPick, usize), Mode),
    Write(DirPick, usize, Size, Size, u8),
    Truncate(DirPick, usize, Size),
    OpenTruncate(DirPick, usize),
    Punch(DirPick, usize, Size, Size),
    ZeroRange(DirPick, usize, Size, Size, bool),
    Read(DirPick, usize, Size, Size),
    Copy((DirPick, usize), (DirPick, usize), Size, Size, Size),
    SetXattr(DirPick, usize, usize, usize),
    RemoveXattr(DirPick, usize, usize),
    /// Keep a handle on a file over later operations.
    Hold(DirPick, usize),
    WriteHeld(Size, Size, u8),
    ReadHeld(Size, Size),
    Release,
    /// The first of the two rounds in which that is done.
    AnnounceIdle,
    SealIdle,
    Remount,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Mode {
    Replace,
    NoReplace,
    Exchange,
}

/// A size or offset: whole chunks, plus or minus some bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) chunks: u64,
    pub(crate) bytes: i64,
}

impl Size {
    pub(crate) fn get(self, chunk: usize) -> u64 {
        (self.chunks * chunk as u64).saturating_add_signed(self.bytes)
    }
}

/// Names in use, short and long, valid UTF-8 and not.
pub(crate) const NAMES: usize = 6;

pub(crate) fn name(pick: usize) -> Vec<u8> {
    match pick {
        0 => b"a".to_vec(),
        1 => b"b.txt".to_vec(),
        2 => b"\xff\xfe\x01 name".to_vec(),
        3 => vec![b'm'; 127],
        4 => vec![b'l'; 128],
        _ => vec![b'x'; 255],
    }
}

fn size() -> impl Strategy<Value = Size> {
    (
        0..6_u64,
        prop_oneof![Just(0_i64), Just(-1), Just(1), -200..5000_i64],
    )
        .prop_map(|(chunks, bytes)| Size { chunks, bytes })
}

fn object() -> impl Strategy<Value = (DirPick, usize)> {
    (0..4_usize, 0..NAMES)
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        4 => Just(Mode::Replace),
        1 => Just(Mode::NoReplace),
        2 => Just(Mode::Exchange),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => object().prop_map(|(d, n)| Op::Create(d, n)),
        4 => object().prop_map(|(d, n)| Op::Mkdir(d, n)),
        1 => (object(), 0..4_usize).prop_map(|((d, n), t)| Op::Symlink(d, n, t)),
        2 => (object(), object()).prop_map(|(a, b)| Op::Link(a, b)),
        2 => object().prop_map(|(d, n)| Op::Unlink(d, n)),
        2 => object().prop_map(|(d, n)| Op::Rmdir(d, n)),
        6 => (object(), object(), mode()).prop_map(|(a, b, m)| Op::Rename(a, b, m)),
        10 => (object(), size(), size(), any::<u8>())
            .prop_map(|((d, n), at, len, seed)| Op::Write(d, n, at, len, seed)),
        5 => (object(), size()).prop_map(|((d, n), s)| Op::Truncate(d, n, s)),
        1 => object().prop_map(|(d, n)| Op::OpenTruncate(d, n)),
        3 => (object(), size(), size()).prop_map(|((d, n), at, len)| Op::Punch(d, n, at, len)),
        2 => (object(), size(), size(), any::<bool>())
            .prop_map(|((d, n), at, len, keep)| Op::ZeroRange(d, n, at, len, keep)),
        4 => (object(), size(), size()).prop_map(|((d, n), at, len)| Op::Read(d, n, at, len)),
        2 => (object(), object(), size(), size(), size())
            .prop_map(|(a, b, x, y, len)| Op::Copy(a, b, x, y, len)),
        2 => (object(), 0..3_usize, 0..3_usize)
            .prop_map(|((d, n), x, v)| Op::SetXattr(d, n, x, v)),
        1 => (object(), 0..3_usize).prop_map(|((d, n), x)| Op::RemoveXattr(d, n, x)),
        2 => object().prop_map(|(d, n)| Op::Hold(d, n)),
        3 => (size(), size(), any::<u8>()).prop_map(|(at, len, s)| Op::WriteHeld(at, len, s)),
        2 => (size(), size()).prop_map(|(at, len)| Op::ReadHeld(at, len)),
        1 => Just(Op::Release),
        1 => Just(Op::AnnounceIdle),
        1 => Just(Op::SealIdle),
        2 => Just(Op::Remount),
    ]
}

pub(crate) fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..60)
}

/// Deterministic bytes that are not zero.
pub(crate) fn bytes(seed: u8, len: u64) -> Vec<u8> {
    (0..len)
        .map(|i| ((i.wrapping_mul(31) >> 3) as u8 ^ seed) | 1)
        .collect()
}

pub(crate) fn target(pick: usize) -> Vec<u8> {
    match pick {
        0 => b"a".to_vec(),
        1 => b"../b.txt".to_vec(),
        2 => vec![b't'; 700],
        _ => b"\xff/\x80".to_vec(),
    }
}

pub(crate) fn xattr_name(pick: usize) -> Vec<u8> {
    [&b"user.one"[..], b"user.two.three", b"user.\xc3\xa4"][pick].to_vec()
}

pub(crate) fn xattr_value(pick: usize) -> Vec<u8> {
    [Vec::new(), b"value".to_vec(), vec![7; 300]][pick].clone()
}
