//! The backing changes under a live mount, as a sync client changes it.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::inotify;

use crate::mounted::{Vault, tool, walk};

/// The kernel asks again each time: what is seen late would be seen never.
const AT_ONCE: &[&str] = &["--cache-timeout", "0"];

/// A vault with a file `f`, and what two versions of it look like on the
/// backing, where the first one is.
struct Versions {
    vault: Vault,
    entry: PathBuf,
    one: Vec<u8>,
    two: Vec<u8>,
}

fn first() -> Vec<u8> {
    vec![b'1'; 10_000]
}

fn second() -> Vec<u8> {
    vec![b'2'; 30_000]
}

fn versions() -> Versions {
    let vault = Vault::new();
    let version = |content: &[u8]| {
        fs::write(vault.mount().path("f"), content).unwrap();
        let entry = vault.only_data_file();
        let bytes = fs::read(&entry).unwrap();
        (entry, bytes)
    };
    let (_, two) = version(&second());
    let (entry, one) = version(&first());
    Versions {
        vault,
        entry,
        one,
        two,
    }
}

/// Puts a whole file in place as most clients do.
fn replace(entry: &Path, bytes: &[u8]) {
    let temporary = entry.with_file_name(".syncthing.x.tmp");
    fs::write(&temporary, bytes).unwrap();
    fs::rename(temporary, entry).unwrap();
}

fn sees(file: &Path, content: &[u8]) {
    assert_eq!(
        fs::metadata(file).unwrap().len(),
        u64::try_from(content.len()).unwrap()
    );
    assert!(fs::read(file).unwrap() == content, "a stale page");
}

#[test]
fn a_file_replaced_edited_grown_cut_or_deleted_underneath_is_seen_as_it_is() {
    let v = versions();
    for options in [AT_ONCE, &["--cache-timeout", "0", "--no-writeback"]] {
        fs::write(&v.entry, &v.one).unwrap();
        let mounted = v.vault.mount_with(options);
        let file = mounted.path("f");
        sees(&file, &first());
        replace(&v.entry, &v.two);
        sees(&file, &second());
        // In place: cut, then grown.
        fs::write(&v.entry, &v.one).unwrap();
        sees(&file, &first());
        fs::write(&v.entry, &v.two).unwrap();
        sees(&file, &second());
        // Written here, then replaced there.
        fs::write(&file, b"here").unwrap();
        sees(&file, b"here");
        replace(&v.entry, &v.one);
        sees(&file, &first());
        fs::remove_file(&v.entry).unwrap();
        assert_eq!(fs::read(&file).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(fs::read_dir(mounted.path("")).unwrap().count(), 0);
    }
}

#[test]
fn other_bytes_of_the_same_size_and_mtime_are_seen_when_the_file_is_opened() {
    let vault = Vault::new();
    let file = |content: &str| {
        fs::write(vault.mount().path("f"), content).unwrap();
        fs::read(vault.only_data_file()).unwrap()
    };
    let two = file("two");
    file("one");
    let entry = vault.only_data_file();
    let mtime = fs::metadata(&entry).unwrap().modified().unwrap();
    let mounted = vault.mount_with(AT_ONCE);
    let at = mounted.path("f");
    assert_eq!(fs::read_to_string(&at).unwrap(), "one");
    fs::write(&entry, two).unwrap();
    File::options()
        .append(true)
        .open(&entry)
        .unwrap()
        .set_modified(mtime)
        .unwrap();
    assert_eq!(fs::read_to_string(&at).unwrap(), "two");
}

#[test]
fn what_stands_behind_a_sealed_end_is_not_shown_as_zeros() {
    let vault = Vault::new();
    let content = crate::mounted::pattern(4_101, 1);
    fs::write(vault.mount().path("f"), &content).unwrap();
    let entry = vault.only_data_file();
    let mut bytes = fs::read(&entry).unwrap();
    bytes.extend_from_slice(&crate::mounted::pattern(16_402, 2));
    fs::write(&entry, bytes).unwrap();
    // The kernel may have looked at it before, or not.
    assert!(fs::read(vault.mount_with(AT_ONCE).path("f")).unwrap() == content);
    assert!(fs::read(vault.mount().path("f")).unwrap() == content);
    let mounted = vault.mount_with(AT_ONCE);
    let at = mounted.path("f");
    // The backing's length alone does not tell.
    assert!(fs::metadata(&at).unwrap().len() > 4_101);
    assert!(fs::read(&at).unwrap() == content);
    assert_eq!(fs::metadata(&at).unwrap().len(), 4_101);
    let mut file = File::options().append(true).open(&at).unwrap();
    std::io::Write::write_all(&mut file, b"more").unwrap();
    drop(file);
    let mounted = mounted.remount();
    let read = fs::read(mounted.path("f")).unwrap();
    assert!(read == [&content[..], b"more"].concat());
}

#[test]
fn an_open_file_keeps_the_version_it_was_opened_with() {
    let v = versions();
    let mounted = v.vault.mount_with(AT_ONCE);
    let at = mounted.path("f");
    let mut open = File::open(&at).unwrap();
    replace(&v.entry, &v.two);
    sees(&at, &second());
    let mut old = Vec::new();
    open.read_to_end(&mut old).unwrap();
    assert!(old == first(), "not the old version");
}

#[test]
fn what_is_written_while_a_client_sets_the_file_apart_goes_into_the_conflict_copy() {
    let v = versions();
    let mounted = v.vault.mount_with(AT_ONCE);
    let at = mounted.path("f");
    let mut open = OpenOptions::new().append(true).open(&at).unwrap();
    open.write_all(b"before, ").unwrap();
    open.sync_all().unwrap();
    let copy = PathBuf::from(format!(
        "{}.sync-conflict-20261122-101042-ABCDEFG",
        v.entry.display()
    ));
    fs::rename(&v.entry, copy).unwrap();
    replace(&v.entry, &v.two);
    open.write_all(b"after").unwrap();
    drop(open);
    sees(&at, &second());
    let names = fs::read_dir(mounted.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let copies: Vec<PathBuf> = names.filter(|path| *path != at).collect();
    assert_eq!(copies.len(), 1, "{copies:?}");
    sees(&copies[0], &[&first()[..], b"before, after"].concat());
    drop(mounted);
    // Sealed, both of them.
    let strict = v.vault.mount_with(&["--strict"]);
    sees(&strict.path("f"), &second());
}

#[test]
fn a_half_uploaded_file_is_an_error_until_it_has_arrived() {
    let v = versions();
    let half = v.one.len() / 2;
    fs::write(&v.entry, &v.one[..half]).unwrap();
    let mut mounted = v.vault.mount_with(AT_ONCE);
    let at = mounted.path("f");
    assert!(fs::metadata(&at).is_ok());
    assert_eq!(fs::read(&at).unwrap_err().raw_os_error(), Some(libc::EIO));
    fs::write(mounted.path("other"), "x").unwrap();
    let rest = OpenOptions::new().write(true).open(&v.entry).unwrap();
    rest.write_all_at(&v.one[half..], u64::try_from(half).unwrap())
        .unwrap();
    sees(&at, &first());
    mounted.expect_warning("a damaged file was refused");
}

/// A vault with a renamed directory `b` that holds `file`, and its pin and all
/// notes kept aside. Returns where the pin belongs and where it is.
fn without_pin() -> (Vault, PathBuf, PathBuf) {
    let vault = Vault::new();
    let mounted = vault.mount();
    fs::create_dir(mounted.path("a")).unwrap();
    fs::write(mounted.path("a/file"), "inside").unwrap();
    fs::rename(mounted.path("a"), mounted.path("b")).unwrap();
    drop(mounted);
    let mut pins = Vec::new();
    walk(&vault.backing(), &mut |path| {
        if path.ends_with("keepfs.dir") {
            pins.push(path.to_owned());
        }
    });
    let aside = vault.plain_dir().join("pin");
    fs::rename(&pins[0], &aside).unwrap();
    fs::remove_dir_all(vault.backing().join("keepfs.names")).unwrap();
    (vault, pins.remove(0), aside)
}

#[test]
fn a_pin_that_arrives_late_is_found_without_a_listing() {
    let (vault, pin, aside) = without_pin();
    let mut mounted = vault.mount_with(AT_ONCE);
    let file = mounted.path("b/file");
    for _ in 0..2 {
        assert_eq!(fs::read(&file).unwrap_err().kind(), ErrorKind::NotFound);
    }
    fs::rename(&aside, &pin).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "inside");
    // And one that is taken away again.
    fs::rename(&pin, &aside).unwrap();
    assert_eq!(fs::read_dir(mounted.path("b")).unwrap().count(), 0);
    fs::rename(&aside, &pin).unwrap();
    assert_eq!(fs::read_dir(mounted.path("b")).unwrap().count(), 1);
    mounted.expect_warning("entries on the backing do not authenticate and are not shown");
}

#[test]
fn a_note_that_arrives_late_makes_names_show_in_a_directory_that_was_listed() {
    let (vault, pin, aside) = without_pin();
    fs::rename(&aside, &pin).unwrap();
    // Another rename notes what the pin says, and takes it to another place.
    let mounted = vault.mount();
    fs::rename(mounted.path("b"), mounted.path("c")).unwrap();
    drop(mounted);
    let (names, away) = (
        vault.backing().join("keepfs.names"),
        vault.plain_dir().join("names"),
    );
    fs::rename(&names, &away).unwrap();
    let c_pin = pin_below(&vault);
    fs::remove_file(c_pin).unwrap();
    let mut mounted = vault.mount_with(AT_ONCE);
    assert_eq!(fs::read_dir(mounted.path("c")).unwrap().count(), 0);
    fs::rename(&away, &names).unwrap();
    // The notes are looked at once a second.
    crate::mounted::wait_until("the names show", || {
        fs::read_dir(mounted.path("c")).unwrap().count() == 1
    });
    assert_eq!(
        fs::read_to_string(mounted.path("c/file")).unwrap(),
        "inside"
    );
    mounted.expect_warning("entries on the backing do not authenticate and are not shown");
}

fn pin_below(vault: &Vault) -> PathBuf {
    let mut pins = Vec::new();
    walk(&vault.backing(), &mut |path| {
        if path.ends_with("keepfs.dir") {
            pins.push(path.to_owned());
        }
    });
    pins.remove(0)
}

#[test]
fn a_side_file_that_arrives_late_shows_its_name() {
    let vault = Vault::new();
    let long = "l".repeat(200);
    fs::write(vault.mount().path(&long), "x").unwrap();
    let entry = vault.only_data_file();
    let side = PathBuf::from(format!("{}=", entry.display()));
    let aside = vault.plain_dir().join("side");
    fs::rename(&side, &aside).unwrap();
    fs::remove_dir_all(vault.backing().join("keepfs.names")).unwrap();
    let mut mounted = vault.mount_with(AT_ONCE);
    assert_eq!(fs::read_dir(mounted.path("")).unwrap().count(), 0);
    assert_eq!(fs::read_to_string(mounted.path(&long)).unwrap(), "x");
    fs::rename(&aside, &side).unwrap();
    assert_eq!(fs::read_dir(mounted.path("")).unwrap().count(), 1);
    mounted.expect_warning("entries on the backing do not authenticate and are not shown");
}

/// Online-only files stay online only, and listing over a network costs
/// listings.
#[test]
fn listing_and_stat_open_no_file() {
    let vault = Vault::new();
    let mounted = vault.mount();
    for dir in ["", "d", "d/e"] {
        let at = mounted.path(dir);
        fs::create_dir_all(&at).unwrap();
        for name in ["file", &"l".repeat(200)] {
            fs::write(at.join(name), dir).unwrap();
        }
        std::os::unix::fs::symlink("file", at.join("link")).unwrap();
    }
    fs::rename(mounted.path("d"), mounted.path("moved")).unwrap();
    drop(mounted);
    let mounted = vault.mount();
    let watch =
        inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).unwrap();
    let wanted = inotify::WatchFlags::OPEN | inotify::WatchFlags::ACCESS;
    let mut dirs = vec![vault.backing()];
    walk(&vault.backing(), &mut |path| {
        if fs::symlink_metadata(path).unwrap().is_dir() {
            dirs.push(path.to_owned());
        }
    });
    for dir in &dirs {
        inotify::add_watch(&watch, dir, wanted).unwrap();
    }
    let point = mounted.path("");
    tool("ls", &["-lR".as_ref(), point.as_os_str()]);
    tool(
        "find",
        &[
            point.as_os_str(),
            "-printf".as_ref(),
            "%p %s %t %l".as_ref(),
        ],
    );
    let listed = Command::new(env!("CARGO_BIN_EXE_keepfs"))
        .args(["ls", "-lR", "--passfile"])
        .arg(vault.passfile())
        .arg(vault.backing())
        .env_remove("HOME")
        .output()
        .unwrap();
    assert!(listed.status.success());
    let mut buffer = [MaybeUninit::uninit(); 1 << 16];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    let (mut data, mut own) = (Vec::new(), 0);
    while let Ok(event) = events.next() {
        let name = event
            .file_name()
            .map_or(String::new(), |name| name.to_string_lossy().into_owned());
        let is_own = name.starts_with("keepfs") || name.len() == 45 || name.ends_with(".slot");
        if event.events().contains(inotify::ReadFlags::ISDIR) || name.is_empty() {
            continue;
        }
        if is_own {
            own += 1;
        } else {
            data.push(name);
        }
    }
    assert_eq!(data, Vec::<String>::new(), "files of the user were opened");
    assert!(own > 0, "nothing was watched");
}
