//! What the kernel believes for longer than `--cache-timeout`, as changes
//! underneath are told.

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant, UNIX_EPOCH};

use crate::mounted::{Mounted, Vault, keepfs, pattern, wait_until};

/// Longer than nothing of ours may have changed, and than the cache timeout.
const REST: Duration = Duration::from_millis(1_500);

/// A vault with the files `d/f0`, `d/f1`, ..., and a mount that believes all of it.
fn believing(vault: &Vault, files: usize) -> Mounted<'_> {
    let mounted = vault.mount();
    fs::create_dir(mounted.path("d")).unwrap();
    for number in 0..files {
        fs::write(mounted.path(format!("d/f{number}")), pattern(5_000, 1)).unwrap();
    }
    let mounted = mounted.remount();
    for _ in 0..3 {
        look(&mounted, files);
        sleep(REST);
    }
    look(&mounted, files);
    mounted
}

fn look(mounted: &Mounted<'_>, files: usize) {
    for number in 0..files {
        fs::metadata(mounted.path(format!("d/f{number}"))).unwrap();
    }
}

/// Requests that ask for a name or for attributes.
fn asked(vault: &Vault) -> u64 {
    let out = keepfs()
        .args(["status", "--json", "--stats"])
        .arg(vault.point())
        .output()
        .unwrap();
    let all: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let operations = all["mounts"][0]["statistics"]["operations"].clone();
    operations
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["name"] == "lookup" || one["name"] == "getattr")
        .map(|one| one["count"].as_u64().unwrap())
        .sum()
}

fn wait_for(what: &str, changed: impl Fn() -> bool) {
    let began = Instant::now();
    wait_until(what, changed);
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{what}: not told"
    );
}

#[test]
fn what_rests_is_not_asked_for_again_after_the_cache_timeout() {
    let vault = Vault::new();
    let mounted = believing(&vault, 40);
    let before = asked(&vault);
    sleep(REST);
    look(&mounted, 40);
    let more = asked(&vault) - before;
    assert!(more < 10, "{more} requests for what was known");
}

#[test]
fn every_change_underneath_is_told_where_the_kernel_would_believe_for_a_minute() {
    let vault = Vault::new();
    let mounted = believing(&vault, 8);
    let on_backing = |plain| vault.entry(&format!("d/{plain}"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let len = |plain| fs::metadata(mounted.path(plain)).map_or(0, |found| found.len());
    assert_eq!(mode(&mounted.path("d/f0")), 0o644);
    fs::set_permissions(on_backing("f0"), Permissions::from_mode(0o600)).unwrap();
    wait_for("its mode", || mode(&mounted.path("d/f0")) == 0o600);

    let early = UNIX_EPOCH + Duration::from_secs(1_000_000);
    let file = File::options().write(true).open(on_backing("f1")).unwrap();
    file.set_times(FileTimes::new().set_modified(early))
        .unwrap();
    wait_for("its mtime", || {
        fs::metadata(mounted.path("d/f1")).unwrap().mtime() == 1_000_000
    });

    // Written by somebody who does not close it, and cut by path.
    let grown = File::options().write(true).open(on_backing("f2")).unwrap();
    grown.write_all_at(&[7; 4_136], 5_000 + 128 + 80).unwrap();
    wait_for("its new length", || len("d/f2") > 5_000);
    rustix::fs::ftruncate(
        File::options().write(true).open(on_backing("f3")).unwrap(),
        128 + 4_136 + 40,
    )
    .unwrap();
    wait_for("its shorter length", || len("d/f3") == 4_096);

    fs::remove_file(on_backing("f4")).unwrap();
    wait_for("that it is gone", || !mounted.path("d/f4").exists());

    let dir = on_backing("f6").parent().unwrap().to_owned();
    fs::set_permissions(&dir, Permissions::from_mode(0o700)).unwrap();
    wait_for("the directory's mode", || mode(&mounted.path("d")) == 0o700);
    drop(grown);
}

#[test]
fn of_more_directories_than_are_followed_none_is_believed_wrongly() {
    const MANY: usize = 1_200;
    let vault = Vault::new();
    let mounted = vault.mount();
    for number in 0..MANY {
        fs::create_dir(mounted.path(format!("d{number}"))).unwrap();
        fs::write(mounted.path(format!("d{number}/f")), "x").unwrap();
    }
    let mounted = mounted.remount();
    let file = |number: usize| mounted.path(format!("d{number}/f"));
    for _ in 0..3 {
        for number in 0..MANY {
            fs::metadata(file(number)).unwrap();
        }
        sleep(REST);
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let mut left = 0o600;
    for number in (0..MANY).step_by(100) {
        assert_ne!(mode(&file(number)), left);
        let entry = vault.entry(&format!("d{number}/f"));
        fs::set_permissions(entry, Permissions::from_mode(left)).unwrap();
        wait_for("its mode", || mode(&file(number)) == left);
        left ^= 0o040;
    }
}
