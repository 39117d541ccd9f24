//! Holes, allocation, and what the file system says about its size.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;

use crate::mounted::{Vault, pattern};

const MIB: u64 = 1 << 20;

fn new_file(path: &std::path::Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .unwrap()
}

/// Data and holes as lseek(2) tells them: (start of data, end of data).
fn data_ranges(file: &File) -> Vec<(u64, u64)> {
    let mut ranges = Vec::new();
    let mut at = 0;
    loop {
        match seek(file, SeekFrom::Data(at)) {
            Ok(start) => {
                let end = seek(file, SeekFrom::Hole(start)).unwrap();
                assert!(start >= at && end > start, "no progress at {at}");
                ranges.push((start, end));
                at = end;
            }
            Err(Errno::NXIO) => return ranges,
            Err(error) => panic!("SEEK_DATA from {at}: {error}"),
        }
    }
}

/// Every byte of `wanted` lies in data; at least `holes` bytes do not.
fn assert_covers(file: &File, wanted: &[(u64, u64)], holes: u64) {
    let ranges = data_ranges(file);
    for (start, end) in wanted {
        let inside = ranges.iter().any(|(s, e)| s <= start && end <= e);
        assert!(
            inside,
            "bytes {start} to {end} are called a hole: {ranges:?}"
        );
    }
    let data: u64 = ranges.iter().map(|(s, e)| e - s).sum();
    let len = file.metadata().unwrap().len();
    assert!(
        len - data >= holes,
        "{data} of {len} bytes are data: {ranges:?}"
    );
}

#[test]
fn a_file_with_gaps_keeps_them_as_holes() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let file = new_file(&mounted.path("f"));
    file.write_all_at(&pattern(8192, 1), 4 * MIB).unwrap();
    file.write_all_at(&pattern(8192, 2), 8 * MIB).unwrap();
    drop(file);
    let mounted = mounted.remount();
    let file = File::open(mounted.path("f")).unwrap();
    assert_covers(
        &file,
        &[(4 * MIB, 4 * MIB + 8192), (8 * MIB, 8 * MIB + 8192)],
        6 * MIB,
    );
    let blocks = file.metadata().unwrap().blocks();
    assert!(blocks * 512 < MIB, "{blocks} blocks are not sparse");
    let mut gap = vec![1; 100_000];
    file.read_exact_at(&mut gap, MIB).unwrap();
    assert!(gap.iter().all(|&b| b == 0));
}

#[test]
fn seek_data_finds_bytes_that_only_the_page_cache_has() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let file = new_file(&mounted.path("f"));
    for piece in [2, 4, 6] {
        file.write_all_at(&pattern(10_000, piece), piece * MIB)
            .unwrap();
        let wanted: Vec<_> = (1..=piece / 2)
            .map(|i| (2 * i * MIB, 2 * i * MIB + 10_000))
            .collect();
        assert_covers(&file, &wanted, 0);
    }
    assert_eq!(
        seek(&file, SeekFrom::Data(6 * MIB + 10_000)),
        Err(Errno::NXIO)
    );
    assert_eq!(seek(&file, SeekFrom::Hole(6 * MIB)), Ok(6 * MIB + 10_000));
}

#[test]
fn many_seeks_at_once_on_dirty_files_do_not_block_each_other() {
    let vault = Vault::new();
    let mounted = vault.mount();
    std::thread::scope(|scope| {
        for thread in 0..24 {
            let path = mounted.path(format!("f{thread}"));
            scope.spawn(move || {
                let file = new_file(&path);
                for round in 0..20 {
                    file.write_all_at(&pattern(5_000, round), round * 100_000)
                        .unwrap();
                    assert_eq!(
                        seek(&file, SeekFrom::Data(round * 100_000)),
                        Ok(round * 100_000)
                    );
                }
            });
        }
    });
}

#[test]
fn punching_a_hole_zeroes_it_and_gives_the_space_back() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let path = mounted.path("f");
    fs::write(&path, pattern(1 << 20, 3)).unwrap();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, mode, 5_000, 900_000).unwrap();
    drop(file);
    let mut expected = pattern(1 << 20, 3);
    expected[5_000..905_000].fill(0);
    assert!(fs::read(&path).unwrap() == expected);
    let mounted = mounted.remount();
    assert!(fs::read(mounted.path("f")).unwrap() == expected);
    let blocks = fs::metadata(mounted.path("f")).unwrap().blocks();
    assert!(blocks * 512 < 400_000, "{blocks} blocks are left");
}

#[test]
fn allocation_grows_the_file_unless_told_to_keep_its_size() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let path = mounted.path("f");
    let file = new_file(&path);
    file.write_all_at(&pattern(1_000, 4), 0).unwrap();
    fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 50_000).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 1_000);
    fallocate(&file, FallocateFlags::empty(), 0, 50_000).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 50_000);
    drop(file);
    let mounted = mounted.remount();
    let mut expected = pattern(1_000, 4);
    expected.resize(50_000, 0);
    assert!(fs::read(mounted.path("f")).unwrap() == expected);
}

#[test]
fn zeroing_a_range_overwrites_it_and_may_grow_the_file() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let file = new_file(&mounted.path("f"));
    file.write_all_at(&pattern(20_000, 5), 0).unwrap();
    let keep = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, keep, 3_000, 9_000).unwrap();
    fallocate(&file, keep, 19_000, 9_000).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 20_000);
    fallocate(&file, FallocateFlags::ZERO_RANGE, 19_500, 2_500).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 22_000);
    drop(file);
    let mut expected = pattern(20_000, 5);
    expected.resize(22_000, 0);
    expected[3_000..12_000].fill(0);
    expected[19_000..].fill(0);
    let mounted = mounted.remount();
    assert!(fs::read(mounted.path("f")).unwrap() == expected);
}

#[test]
fn other_modes_of_fallocate_are_refused_without_a_change() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let file = new_file(&mounted.path("f"));
    file.write_all_at(&pattern(20_000, 6), 0).unwrap();
    for mode in [FallocateFlags::COLLAPSE_RANGE, FallocateFlags::INSERT_RANGE] {
        assert_eq!(fallocate(&file, mode, 4096, 4096), Err(Errno::OPNOTSUPP));
    }
    drop(file);
    assert!(fs::read(mounted.path("f")).unwrap() == pattern(20_000, 6));
}

#[test]
fn statfs_tells_plaintext_figures_and_the_longest_name() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let inside = rustix::fs::statvfs(mounted.path("")).unwrap();
    let outside = rustix::fs::statvfs(vault.backing()).unwrap();
    let bytes = |s: &rustix::fs::StatVfs| u128::from(s.f_frsize) * u128::from(s.f_blocks);
    assert!(bytes(&inside) > 0 && bytes(&inside) <= bytes(&outside));
    assert_eq!(inside.f_namemax, 255);
}

#[test]
fn a_file_too_large_for_the_format_is_refused() {
    let vault = Vault::new();
    let mounted = vault.mount();
    let file = new_file(&mounted.path("f"));
    let error = file.set_len(u64::try_from(i64::MAX).unwrap()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EFBIG));
    assert_eq!(file.metadata().unwrap().len(), 0);
}
