//! The backing changes under a live mount whose kernel would believe what it
//! knows for an hour. New ciphertext comes from a second device: a copy of the
//! vault with a mount of its own.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::mounted::{Mounted, Vault, is_root, keepfs, pattern, tool, wait_until, walk};

const FOR_AN_HOUR: &[&str] = &["--cache-timeout", "3600"];

/// A vault with a directory `d` that holds the file `f` and the file `gone`.
fn vault() -> Vault {
    let vault = Vault::new();
    let mounted = vault.mount();
    fs::create_dir(mounted.path("d")).unwrap();
    fs::write(mounted.path("d/f"), pattern(10_000, 1)).unwrap();
    fs::write(mounted.path("d/gone"), "x").unwrap();
    drop(mounted);
    vault
}

/// Runs `change` on another device that has the same vault.
fn elsewhere(vault: &Vault, change: impl FnOnce(&Mounted<'_>)) -> Vault {
    let other = Vault::new();
    fs::remove_dir_all(other.backing()).unwrap();
    let (from, to) = (vault.backing(), other.backing());
    tool("cp", &["-a".as_ref(), from.as_ref(), to.as_ref()]);
    change(&other.mount());
    other
}

/// Where the ciphertext of a plain path is, below the backing.
fn below(vault: &Vault, plain: &str) -> PathBuf {
    let path = vault.entry(plain);
    let relative = path.strip_prefix(vault.backing()).map(Path::to_owned);
    relative.unwrap_or(path)
}

/// Brings an entry of another device as most clients do.
fn bring(from: &Vault, to: &Vault, entry: &Path) {
    let target = to.backing().join(entry);
    let temporary = target.with_file_name(".syncthing.x.tmp");
    fs::copy(from.backing().join(entry), &temporary).unwrap();
    fs::rename(temporary, target).unwrap();
}

/// The content of `d/f` on another device after it was written there.
fn version(vault: &Vault, len: usize, seed: u64) -> Vec<u8> {
    let other = elsewhere(vault, |there| {
        fs::write(there.path("d/f"), pattern(len, seed)).unwrap();
    });
    fs::read(other.backing().join(below(&other, "d/f"))).unwrap()
}

fn sees(file: &Path, len: usize, seed: u64) {
    wait_until("the other length shows", || {
        fs::metadata(file).is_ok_and(|m| m.len() == u64::try_from(len).unwrap())
    });
    wait_until("the other bytes show", || {
        fs::read(file).is_ok_and(|bytes| bytes == pattern(len, seed))
    });
}

fn sealed(mounted: &Mounted<'_>) {
    wait_until("no file is open any more", || {
        match mounted.open_data_files() {
            Some(files) => files.is_empty(),
            // An ordinary user's daemon does not let others look.
            None => mounted.status()["open_for_writing"] == 0,
        }
    });
}

#[test]
fn a_file_changed_underneath_is_seen_long_before_the_cache_timeout() {
    let vault = vault();
    let entry = below(&vault, "d/f");
    let gone = below(&vault, "d/gone");
    let on_backing = vault.backing().join(&entry);
    let (grown, cut, back) = (
        version(&vault, 70_000, 2),
        version(&vault, 300, 3),
        version(&vault, 10_000, 4),
    );
    let other = elsewhere(&vault, |there| {
        fs::write(there.path("d/f"), pattern(20_000, 5)).unwrap();
        fs::write(there.path("d/new"), "new").unwrap();
    });
    let mounted = vault.mount_with(FOR_AN_HOUR);
    let file = mounted.path("d/f");
    sees(&file, 10_000, 1);
    assert!(!mounted.path("d/new").exists());
    assert!(mounted.path("d/gone").exists());
    let listed = || fs::read_dir(mounted.path("d")).unwrap().count();
    assert_eq!(listed(), 2);
    // In place.
    for (bytes, len, seed) in [(&grown, 70_000, 2), (&cut, 300, 3), (&back, 10_000, 4)] {
        fs::write(&on_backing, bytes).unwrap();
        sees(&file, len, seed);
    }
    bring(&other, &vault, &entry);
    sees(&file, 20_000, 5);
    bring(&other, &vault, &below(&other, "d/new"));
    wait_until("a new file shows", || mounted.path("d/new").exists());
    assert_eq!(listed(), 3);
    fs::remove_file(vault.backing().join(gone)).unwrap();
    wait_until("a removed file is gone", || {
        !mounted.path("d/gone").exists()
    });
    assert_eq!(listed(), 2);
    // Written here, then there.
    fs::write(&file, pattern(10, 6)).unwrap();
    sealed(&mounted);
    bring(&other, &vault, &entry);
    sees(&file, 20_000, 5);
    // Removed here, then brought again.
    fs::remove_file(&file).unwrap();
    assert!(!file.exists());
    bring(&other, &vault, &entry);
    sees(&file, 20_000, 5);
    fs::remove_file(&on_backing).unwrap();
    wait_until("it is gone", || !file.exists());
}

#[test]
fn a_directory_moved_or_removed_underneath_is_seen_long_before_the_cache_timeout() {
    let vault = vault();
    let old = below(&vault, "d");
    let other = elsewhere(&vault, |there| {
        fs::rename(there.path("d"), there.path("e")).unwrap();
    });
    let new = below(&other, "e");
    let mounted = vault.mount_with(FOR_AN_HOUR);
    sees(&mounted.path("d/f"), 10_000, 1);
    assert!(!mounted.path("e").exists());
    let (from, to) = (vault.backing().join(&old), vault.backing().join(&new));
    fs::rename(from, &to).unwrap();
    wait_until("the old name is gone", || !mounted.path("d/f").exists());
    wait_until("the new name is there", || mounted.path("e").exists());
    // Its pin comes afterwards; what the kernel does not find until then it
    // takes for absent.
    for name in ["f", "gone", "nothing"] {
        let _found_or_not = mounted.path("e").join(name).exists();
    }
    bring(&other, &vault, &new.join("keepfs.dir"));
    sees(&mounted.path("e/f"), 10_000, 1);
    wait_until("all of it is there", || mounted.path("e/gone").exists());
    assert_eq!(fs::read_dir(mounted.path("e")).unwrap().count(), 2);
    fs::remove_dir_all(to).unwrap();
    wait_until("it is gone", || !mounted.path("e").exists());
}

#[test]
fn a_note_that_arrives_late_heals_before_the_cache_timeout() {
    let vault = vault();
    let other = elsewhere(&vault, |there| {
        fs::rename(there.path("d"), there.path("e")).unwrap();
    });
    let new = below(&other, "e");
    let (from, to) = (below(&vault, "d"), vault.backing().join(&new));
    fs::rename(vault.backing().join(from), &to).unwrap();
    let mounted = vault.mount_with(FOR_AN_HOUR);
    assert!(!mounted.path("e/f").exists());
    let names = "keepfs.names";
    assert!(!vault.backing().join(names).exists());
    fs::create_dir(vault.backing().join(names)).unwrap();
    for note in fs::read_dir(other.backing().join(names)).unwrap() {
        bring(
            &other,
            &vault,
            &Path::new(names).join(note.unwrap().file_name()),
        );
    }
    sees(&mounted.path("e/f"), 10_000, 1);
}

#[test]
fn a_change_under_an_open_file_is_seen_as_soon_as_it_is_closed() {
    let vault = vault();
    let on_backing = vault.backing().join(below(&vault, "d/f"));
    let longer = version(&vault, 70_000, 2);
    let mounted = vault.mount_with(FOR_AN_HOUR);
    let file = mounted.path("d/f");
    let open = File::open(&file).unwrap();
    fs::write(on_backing, longer).unwrap();
    let len = || fs::metadata(&file).unwrap().len();
    for _ in 0..50 {
        assert_eq!(len(), 10_000);
    }
    drop(open);
    sees(&file, 70_000, 2);
}

/// Every file here is open while it is made, written, renamed and described:
/// a name that the kernel is told to forget would show as deleted.
#[test]
fn own_changes_never_look_like_changes_underneath() {
    let vault = Vault::new();
    let mounted = vault.mount_with(FOR_AN_HOUR);
    let mut open = Vec::new();
    for round in 0..300_u32 {
        let (made, final_name) = (format!("made{round}"), mounted.path(format!("f{round}")));
        let made = mounted.path(made);
        let mut file = File::create_new(&made).unwrap();
        file.write_all(&round.to_le_bytes()).unwrap();
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&made, mode).unwrap();
        fs::rename(&made, &final_name).unwrap();
        if round % 3 == 0 {
            file.sync_all().unwrap();
        }
        fs::create_dir(mounted.path(format!("d{round}"))).unwrap();
        if round % 2 == 0 {
            fs::remove_dir(mounted.path(format!("d{round}"))).unwrap();
        }
        open.push((file, final_name));
    }
    for round in 0..20 {
        // Long enough that whoever follows the backing waits again, and is
        // woken in the middle of what happens here.
        std::thread::sleep(std::time::Duration::from_millis(60));
        let name = mounted.path(format!("slow{round}"));
        open.push((File::create_new(&name).unwrap(), name));
    }
    for (file, name) in &open {
        let fd = std::os::fd::AsRawFd::as_raw_fd(file);
        let shown = fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
        assert_eq!(&shown, name);
        assert_eq!(
            fs::metadata(name).unwrap().ino(),
            file.metadata().unwrap().ino()
        );
    }
}

/// Bytes that the daemon has read so far, from the backing or the kernel;
/// `None` for an ordinary user, whose daemon does not let others look.
fn bytes_read_by(mounted: &Mounted<'_>) -> Option<u64> {
    let io = match fs::read_to_string(format!("/proc/{}/io", mounted.pid())) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return None,
        io => io.unwrap(),
    };
    let line = io.lines().find(|line| line.starts_with("rchar:")).unwrap();
    line.split(' ').nth(1).unwrap().parse().ok()
}

#[test]
fn cached_pages_are_kept_over_changes_of_our_own() {
    let vault = Vault::new();
    let mounted = vault.mount_with(FOR_AN_HOUR);
    let path = mounted.path("file");
    let len = 4 << 20;
    fs::write(&path, pattern(len, 1)).unwrap();
    sealed(&mounted);
    let inode = fs::metadata(&path).unwrap().ino();
    // What the first opening finds is what the last closing left.
    let before = bytes_read_by(&mounted);
    for round in 0..5_u8 {
        assert_eq!(fs::read(&path).unwrap().len(), len);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[round], 0).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        drop(file);
        sealed(&mounted);
        File::open(&path)
            .unwrap()
            .set_modified(std::time::SystemTime::now())
            .unwrap();
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    }
    match (before, bytes_read_by(&mounted)) {
        (Some(before), Some(after)) => {
            let read = after - before;
            assert!(read < 2 << 20, "{read} bytes were read again");
        }
        (before, after) => assert!(before == after && !is_root()),
    }
}

#[test]
fn what_only_the_page_cache_has_survives_changes_underneath() {
    let vault = vault();
    let entry = below(&vault, "d/f");
    let on_backing = vault.backing().join(&entry);
    let mounted = vault.mount_with(FOR_AN_HOUR);
    let path = mounted.path("d/f");
    let writer = OpenOptions::new().write(true).open(&path).unwrap();
    let ours = pattern(2 << 20, 7);
    let mut shown = 0;
    for (round, piece) in ours.chunks(64 << 10).enumerate() {
        let at = u64::try_from(round * (64 << 10)).unwrap();
        writer.write_all_at(piece, at).unwrap();
        // The client looks after its own: times, modes, a neighbour.
        let touched = File::options().append(true).open(&on_backing).unwrap();
        touched.set_modified(std::time::UNIX_EPOCH).unwrap();
        let neighbour = on_backing.with_file_name(".syncthing.y.tmp");
        fs::write(&neighbour, "x").unwrap();
        fs::remove_file(neighbour).unwrap();
        shown += fs::metadata(&path).unwrap().len();
    }
    assert!(shown > 0);
    assert!(fs::read(&path).unwrap() == ours);
    drop(writer);
    let mounted = mounted.remount();
    assert!(fs::read(mounted.path("d/f")).unwrap() == ours);
}

#[test]
fn what_is_lost_when_too_much_happens_is_seen_all_the_same() {
    let vault = vault();
    let entry = below(&vault, "d/f");
    let other = elsewhere(&vault, |there| {
        fs::write(there.path("d/f"), pattern(20_000, 5)).unwrap();
        fs::write(there.path("d/new"), "new").unwrap();
    });
    let new = below(&other, "d/new");
    let gone = vault.backing().join(below(&vault, "d/gone"));
    let mounted = vault.mount_with(FOR_AN_HOUR);
    sees(&mounted.path("d/f"), 10_000, 1);
    assert!(mounted.path("d/gone").exists() && !mounted.path("d/new").exists());
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    mounted.signal(Signal::STOP);
    for at in 0..=limit / 2 {
        let file = vault.backing().join(format!(".syncthing.{at}.tmp"));
        File::create(&file).unwrap();
        fs::remove_file(file).unwrap();
    }
    bring(&other, &vault, &entry);
    bring(&other, &vault, &new);
    fs::remove_file(gone).unwrap();
    mounted.signal(Signal::CONT);
    sees(&mounted.path("d/f"), 20_000, 5);
    wait_until("a new file shows", || mounted.path("d/new").exists());
    wait_until("a removed file is gone", || {
        !mounted.path("d/gone").exists()
    });
}

/// In a user namespace of its own the daemon has as many watches as we say.
#[test]
fn where_inotify_is_not_to_be_had_the_mount_works_as_before_and_says_so_once() {
    for (limit, said) in [
        ("max_inotify_instances", "changes made underneath are seen"),
        ("max_inotify_watches", "in some directories, changes made"),
    ] {
        let vault = vault();
        let other = elsewhere(&vault, |there| {
            fs::write(there.path("d/f"), pattern(20_000, 5)).unwrap();
        });
        let entry = below(&vault, "d/f");
        let log = vault.plain_dir().join("log");
        let script = format!(
            "set -e
            echo 0 > /proc/sys/user/{limit}
            $KEEPFS mount --foreground --cache-timeout 1 --passfile $PASS $VAULT $POINT 2> $LOG &
            until test -e $POINT/d/f; do sleep 0.05; done
            mkdir $POINT/e; cat $POINT/d/f | wc -c
            cp $NEW $VAULT/.syncthing.z.tmp; mv $VAULT/.syncthing.z.tmp $VAULT/$ENTRY
            until test $(stat -c %s $POINT/d/f) = 20000; do sleep 0.05; done
            $KEEPFS unmount $POINT
            wait"
        );
        let out = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
            .env("KEEPFS", keepfs().get_program())
            .env("PASS", vault.passfile())
            .env("VAULT", vault.backing())
            .env("POINT", vault.point())
            .env("ENTRY", &entry)
            .env("NEW", other.backing().join(&entry))
            .env("LOG", &log)
            .env_remove("HOME")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let log = fs::read_to_string(log).unwrap_or_default();
        assert!(out.status.success(), "{out:?}\n{log}");
        assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), "10000");
        assert_eq!(log.matches(said).count(), 1, "{log}");
        walk(&vault.backing(), &mut |path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(!log.contains(name) || name.starts_with("keepfs"), "{log}");
        });
    }
}
