//! Reading, writing, mapping; several handles on one file.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::thread;

use crate::mounted::{Vault, pattern};

/// Sizes around every boundary of the format, for a chunk of `chunk` bytes.
fn boundary_sizes(chunk: usize) -> Vec<usize> {
    vec![
        0,
        1,
        chunk - 1,
        chunk,
        chunk + 1,
        2 * chunk,
        17 * chunk + 5,
        (1 << 20) + 3,
    ]
}

#[test]
fn what_is_written_is_read_back_after_a_remount_for_every_boundary_size() {
    for (chunk, argument) in [(4096, "4KiB"), (65536, "64KiB")] {
        let vault = Vault::with(&["--chunk-size", argument]);
        let mounted = vault.mount();
        for size in boundary_sizes(chunk) {
            fs::write(mounted.path(format!("f{size}")), pattern(size, 1)).unwrap();
        }
        let mounted = mounted.remount();
        for size in boundary_sizes(chunk) {
            let path = mounted.path(format!("f{size}"));
            assert_eq!(
                fs::metadata(&path).unwrap().len(),
                u64::try_from(size).unwrap()
            );
            assert!(
                fs::read(&path).unwrap() == pattern(size, 1),
                "{argument} chunks, {size}"
            );
        }
    }
}

#[test]
fn overwriting_a_part_leaves_the_rest() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let mut expected = pattern(100_000, 2);
    fs::write(mounted.path("f"), &expected).unwrap();
    let file = OpenOptions::new()
        .write(true)
        .open(mounted.path("f"))
        .unwrap();
    for (offset, len) in [
        (0, 1),
        (4095, 2),
        (8192, 4096),
        (50_001, 20_000),
        (99_999, 500),
    ] {
        let piece = pattern(len, 3);
        file.write_all_at(&piece, u64::try_from(offset).unwrap())
            .unwrap();
        expected.resize(expected.len().max(offset + len), 0);
        expected[offset..offset + len].copy_from_slice(&piece);
    }
    drop(file);
    let mounted = mounted.remount();
    assert!(fs::read(mounted.path("f")).unwrap() == expected);
}

#[test]
fn appends_by_several_writers_are_all_there_and_whole() {
    const WRITERS: usize = 4;
    const LINES: usize = 500;
    let vault = Vault::new();
    let mounted = vault.mount();
    let path = mounted.path("log");
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let path = &path;
            scope.spawn(move || {
                let mut file = OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(path)
                    .unwrap();
                for line in 0..LINES {
                    file.write_all(format!("writer {writer} line {line:04}\n").as_bytes())
                        .unwrap();
                }
            });
        }
    });
    let mounted = mounted.remount();
    let text = fs::read_to_string(mounted.path("log")).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), WRITERS * LINES);
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), WRITERS * LINES, "no line twice, none torn");
}

#[test]
fn truncation_by_open_and_by_size_is_seen_by_other_handles() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let path = mounted.path("f");
    fs::write(&path, pattern(30_000, 4)).unwrap();
    let reader = File::open(&path).unwrap();
    let writer = OpenOptions::new().write(true).open(&path).unwrap();
    writer.set_len(5_000).unwrap();
    assert_eq!(reader.metadata().unwrap().len(), 5_000);
    writer.set_len(20_000).unwrap();
    let mut bytes = Vec::new();
    (&reader).read_to_end(&mut bytes).unwrap();
    let mut expected = pattern(30_000, 4)[..5_000].to_vec();
    expected.resize(20_000, 0);
    assert!(
        bytes == expected,
        "what was cut off must come back as zeros"
    );
    drop(File::create(&path).unwrap());
    assert_eq!(reader.metadata().unwrap().len(), 0);
}

#[test]
fn shared_mappings_are_written_back() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let path = mounted.path("f");
    let len = 3 * 4096 + 100;
    fs::write(&path, vec![0; len]).unwrap();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    map_and_fill(&file, len, 5);
    drop(file);
    assert!(fs::read(&path).unwrap() == pattern(len, 5));
    let mounted = mounted.remount();
    assert!(fs::read(mounted.path("f")).unwrap() == pattern(len, 5));
}

#[allow(unsafe_code, reason = "mmap")]
fn map_and_fill(file: &File, len: usize, seed: u64) {
    use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping of `len` bytes of a file that has them, unmapped
    // below and referenced by nothing else.
    unsafe {
        let at = mmap(
            std::ptr::null_mut(),
            len,
            protection,
            MapFlags::SHARED,
            file,
            0,
        )
        .unwrap();
        std::slice::from_raw_parts_mut(at.cast::<u8>(), len).copy_from_slice(&pattern(len, seed));
        munmap(at, len).unwrap();
    }
}

#[test]
fn direct_io_reads_and_writes() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let path = mounted.path("f");
    let direct = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).unwrap();
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(direct);
    let file = options.open(&path).unwrap();
    // Aligned to a page inside a larger buffer, as O_DIRECT may demand.
    let mut buffer = vec![0_u8; 4 * 4096];
    let start = buffer.as_ptr().align_offset(4096);
    buffer[start..start + 8192].copy_from_slice(&pattern(8192, 6));
    file.write_all_at(&buffer[start..start + 8192], 4096)
        .unwrap();
    buffer.fill(0xff);
    file.read_exact_at(&mut buffer[start..start + 8192], 4096)
        .unwrap();
    assert!(buffer[start..start + 8192] == pattern(8192, 6));
    drop(file);
    let mut expected = vec![0; 4096];
    expected.extend(pattern(8192, 6));
    assert!(fs::read(&path).unwrap() == expected);
}

#[test]
fn a_file_deleted_while_open_lives_until_it_is_closed() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let path = mounted.path("f");
    let mut options = OpenOptions::new();
    let mut file = options
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    file.write_all(&pattern(10_000, 7)).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(!path.exists());
    file.write_all(&pattern(10_000, 8)).unwrap();
    file.sync_all().unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    assert!(bytes == [pattern(10_000, 7), pattern(10_000, 8)].concat());
    assert_eq!(rustix::fs::fstat(&file).unwrap().st_nlink, 0);
    drop(file);
    mounted.unmount();
    let left = vault.backing_files();
    assert!(
        left.iter().all(|(_, bytes)| !bytes.starts_with(b"KPF1")),
        "the backing is empty"
    );
}

#[test]
fn copy_file_range_copies_inside_and_across_files() {
    let vault = Vault::new();
    let mounted = vault.mount();
    fs::write(mounted.path("a"), pattern(200_000, 9)).unwrap();
    let from = File::open(mounted.path("a")).unwrap();
    let to = File::create(mounted.path("b")).unwrap();
    let (mut at, mut into) = (1_000, 500);
    let mut left = 150_000;
    while left > 0 {
        let n = rustix::fs::copy_file_range(&from, Some(&mut at), &to, Some(&mut into), left);
        let n = n.unwrap();
        assert!(n > 0, "the source is longer than that");
        left -= n;
    }
    drop((from, to));
    let mut expected = vec![0; 500];
    expected.extend_from_slice(&pattern(200_000, 9)[1_000..151_000]);
    assert!(fs::read(mounted.path("b")).unwrap() == expected);
}

#[test]
fn fsync_makes_the_backing_complete_while_the_file_stays_open() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let mut file = File::create(mounted.path("f")).unwrap();
    file.write_all(&pattern(50_000, 10)).unwrap();
    file.sync_all().unwrap();
    let stored = fs::metadata(vault.only_data_file()).unwrap().len();
    assert_eq!(stored, 128 + 12 * (4096 + 40) + 40 + 50_000 % 4096);
    drop(file);
}

#[test]
fn without_the_writeback_cache_everything_works_too() {
    let vault = Vault::new();
    let mounted = vault.mount_with(&["--no-writeback"]);
    let file = File::create(mounted.path("f")).unwrap();
    for piece in [3_u64, 1, 0, 2] {
        file.write_all_at(&pattern(5_000, piece), piece * 5_000)
            .unwrap();
    }
    drop(file);
    let expected: Vec<u8> = (0..4).flat_map(|piece| pattern(5_000, piece)).collect();
    assert!(fs::read(mounted.path("f")).unwrap() == expected);
    let mounted = mounted.remount();
    assert!(fs::read(mounted.path("f")).unwrap() == expected);
}

#[test]
fn locks_are_kept_between_programs_of_this_machine() {
    use rustix::fs::{FlockOperation, flock};
    let vault = Vault::new();
    let mounted = vault.mount();
    let one = File::create(mounted.path("f")).unwrap();
    let two = File::open(mounted.path("f")).unwrap();
    flock(&one, FlockOperation::LockExclusive).unwrap();
    let refused = flock(&two, FlockOperation::NonBlockingLockExclusive);
    assert_eq!(refused, Err(rustix::io::Errno::WOULDBLOCK));
    flock(&one, FlockOperation::Unlock).unwrap();
    flock(&two, FlockOperation::NonBlockingLockExclusive).unwrap();
}

#[test]
fn a_file_is_no_terminal_and_has_no_ioctls() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let file = File::create(mounted.path("f")).unwrap();
    let answer = rustix::termios::tcgetattr(&file);
    assert_eq!(answer.err(), Some(rustix::io::Errno::NOTTY));
}
