//! The life of a mount: shown in the table, kept busy, ended by commands and
//! signals, cleaned up after a kill.

use std::fs::{create_dir, read_dir, read_to_string, write};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use keepfs::codec::kdf::Passphrase;
use keepfs::codec::vault::Credential;
use keepfs::mount::{MountPlan, Trust, Writes};
use keepfs::sys::mount::Audience;
use keepfs::sys::process::{Process, Waited};

use crate::harness::*;

/// Unmounts and checks that the daemon is gone at once and left nothing.
#[track_caller]
fn unmount(place: &Place) {
    let daemon = place.daemon();
    place.run(&["unmount", "m"]).done();
    assert!(place.entry().is_none());
    // At most a zombie that nobody has waited for yet.
    if let Some(process) = Process::open(daemon).unwrap() {
        let waited = process.wait(Duration::ZERO).unwrap();
        assert_eq!(waited, Waited::Ended, "the daemon outlived unmount");
    }
}

#[test]
fn what_is_written_is_there_after_a_remount() {
    let place = Place::new();
    place.mount(&[]).done();
    write(place.point().join("letter"), "dear diary").unwrap();
    unmount(&place);
    assert!(!place.point().join("letter").exists());
    place.mount(&[]).done();
    assert_eq!(
        read_to_string(place.point().join("letter")).unwrap(),
        "dear diary"
    );
    unmount(&place);
}

#[test]
fn the_table_shows_type_source_and_restrictions() {
    let place = Place::new();
    place.mount(&[]).done();
    let entry = place.entry().unwrap();
    assert_eq!(entry.fs_type, "fuse.keepfs");
    assert_eq!(entry.source, place.vault().as_os_str());
    for option in ["rw", "nosuid", "nodev", "noatime"] {
        assert!(
            entry.options.split(',').any(|o| o == option),
            "{}",
            entry.options
        );
    }
    assert!(entry.super_options.contains("default_permissions"));
    unmount(&place);
    place
        .mount(&["-o", r"fsname=my\,name,noexec,ro,nofail,_netdev,x-a.b=c"])
        .done();
    let entry = place.entry().unwrap();
    assert_eq!(entry.source, "my,name");
    for option in ["ro", "noexec"] {
        assert!(
            entry.options.split(',').any(|o| o == option),
            "{}",
            entry.options
        );
    }
    let status = place.status();
    assert_eq!(status["source"], "my,name");
    assert_eq!(status["vault"], place.vault().to_str().unwrap());
    assert_eq!(status["read_only"], true);
    let denied = write(place.point().join("new"), "").unwrap_err();
    assert_eq!(denied.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    unmount(&place);
}

#[test]
fn status_tells_about_the_mount() {
    let place = Place::new();
    place.mount(&["--strict"]).done();
    let status = place.status();
    assert_eq!(status["alive"], true);
    assert_eq!(status["strict"], true);
    assert_eq!(status["read_only"], false);
    assert_eq!(status["open_for_writing"], 0);
    assert_eq!(status["damaged_met"], 0);
    assert!(status["since"].as_str().unwrap().ends_with('Z'));
    assert!(status.get("statistics").is_none());
    let file = std::fs::File::create(place.point().join("open")).unwrap();
    assert_eq!(place.status()["open_for_writing"], 1);
    let stats = place.run(&["status", "--stats", "--json", "m"]).json();
    let operations = &stats["mounts"][0]["statistics"]["operations"];
    let creates = operations.as_array().unwrap().iter();
    let creates: Vec<_> = creates.filter(|one| one["name"] == "create").collect();
    assert_eq!(creates.len(), 1);
    assert_eq!(creates[0]["count"], 1);
    assert!(creates[0]["total_ns"].as_u64().unwrap() > 0);
    let shown = place.run(&["status", "--stats", "m"]);
    assert!(shown.stdout.contains("99% <") && shown.stdout.contains("\n  create "));
    drop(file);
    wait_for("the file is closed", || {
        place.status()["open_for_writing"] == 0
    });
    let all = place.run(&["status"]);
    all.done();
    assert!(
        all.stdout.contains(place.point().to_str().unwrap()),
        "{}",
        all.stdout
    );
    unmount(&place);
}

#[test]
fn the_daemon_lets_go_of_terminal_directory_and_descriptors() {
    let place = Place::new();
    // A descriptor left open by the caller: reading from it ends only when
    // nobody holds its other end.
    let script = format!(
        "exec 7>&1; echo '{PASSPHRASE}' | '{}' mount v m >/dev/null 2>&1",
        program().display()
    );
    let mut shell = Command::new("sh");
    let ran = run(shell.args(["-c", &script]).current_dir(place.root()), b"");
    ran.done();
    let daemon = place.daemon();
    let link = |name: &str| std::fs::read_link(format!("/proc/{daemon}/{name}"));
    if is_root() {
        assert_eq!(link("cwd").unwrap().to_str(), Some("/"));
        for fd in ["fd/0", "fd/1", "fd/2"] {
            assert_eq!(link(fd).unwrap().to_str(), Some("/dev/null"));
        }
    } else {
        // Closed to debuggers, the same user included.
        assert_eq!(
            link("cwd").unwrap_err().kind(),
            std::io::ErrorKind::PermissionDenied
        );
    }
    let stat = read_to_string(format!("/proc/{daemon}/stat")).unwrap();
    let after_name: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let (session, terminal) = (after_name[3], after_name[4]);
    assert_eq!(session, daemon.to_string(), "leads a session");
    assert_eq!(terminal, "0", "has no terminal");
    let limits = read_to_string(format!("/proc/{daemon}/limits")).unwrap_or_default();
    if is_root() {
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core"))
            .unwrap();
        assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
        let status = read_to_string(format!("/proc/{daemon}/status")).unwrap();
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
        let locked = status
            .lines()
            .find(|line| line.starts_with("VmLck"))
            .unwrap();
        assert!(
            !locked.contains(" 0 kB"),
            "keys are locked in memory: {locked}"
        );
    }
    let owner = std::fs::metadata(format!("/proc/{daemon}/mem"))
        .unwrap()
        .uid();
    assert_eq!(owner, 0, "not dumpable");
    let cmdline = std::fs::read(format!("/proc/{daemon}/cmdline")).unwrap();
    assert_eq!(cmdline, b"keepfs\0__daemon\0");
    let name = read_to_string(format!("/proc/{daemon}/comm")).unwrap();
    assert_eq!(name, "keepfs\n");
    unmount(&place);
}

#[test]
fn a_vault_is_mounted_once_on_a_machine() {
    let place = Place::new();
    place.mount(&[]).done();
    place
        .mount(&[])
        .failed(code::VAULT_IN_USE, &["already mounted at"]);
    std::fs::create_dir(place.root().join("m2")).unwrap();
    let second = place.unlock(&["mount", "v", "m2"]);
    second.failed(code::VAULT_IN_USE, &["in use"]);
    assert!(
        std::fs::read_dir(place.root().join("m2"))
            .unwrap()
            .next()
            .is_none()
    );
    unmount(&place);
    place.mount(&[]).done();
    unmount(&place);
}

#[test]
fn who_keeps_a_mount_busy_is_named() {
    let place = Place::new();
    place.mount(&[]).done();
    let mut sleeper = Command::new("sleep")
        .arg("60")
        .current_dir(place.point())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = format!("sleep (pid {}", sleeper.id());
    place
        .run(&["unmount", "m"])
        .failed(code::BUSY, &[&pid, "working directory", "--lazy"]);
    assert!(place.entry().is_some());
    let daemon = place.daemon();
    place.run(&["unmount", "--lazy", "m"]).done();
    assert!(place.entry().is_none());
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    wait_for_end(daemon);
    place.mount(&[]).done();
    unmount(&place);
}

#[test]
fn a_file_left_open_keeps_a_mount_busy() {
    let place = Place::new();
    place.mount(&[]).done();
    let file = std::fs::File::create(place.point().join("open")).unwrap();
    place
        .run(&["unmount", "m"])
        .failed(code::BUSY, &["open file"]);
    drop(file);
    unmount(&place);
}

#[test]
fn others_can_unmount_as_cleanly() {
    let place = Place::new();
    let mut tools = vec![vec!["fusermount3", "-u"]];
    if is_root() {
        tools.push(vec!["umount"]);
    }
    for tool in tools {
        place.mount(&[]).done();
        let daemon = place.daemon();
        write(place.point().join("file"), tool.concat()).unwrap();
        let ended = Command::new(tool[0])
            .args(&tool[1..])
            .arg(place.point())
            .status();
        assert!(ended.unwrap().success(), "{tool:?}");
        wait_for_end(daemon);
        place.mount(&["--strict"]).done();
        let read = read_to_string(place.point().join("file")).unwrap();
        assert_eq!(read, tool.concat(), "sealed, and what was written");
        unmount(&place);
    }
}

#[test]
fn signals_unmount_cleanly() {
    let place = Place::new();
    for name in ["TERM", "INT", "HUP"] {
        place.mount(&[]).done();
        let daemon = place.daemon();
        write(place.point().join("file"), name).unwrap();
        signal(daemon, name);
        wait_for_end(daemon);
        assert!(place.entry().is_none(), "{name}");
        place.mount(&["--strict"]).done();
        assert_eq!(read_to_string(place.point().join("file")).unwrap(), name);
        unmount(&place);
    }
}

#[test]
fn a_second_signal_detaches_a_busy_mount() {
    let place = Place::new();
    place.mount(&[]).done();
    let daemon = place.daemon();
    let path = place.point().join("file");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(b"kept").unwrap();
    // The first finds the mount busy and leaves it. Signals of one kind that
    // come together count as one: they are sent until the second is heard.
    wait_for("the mount is out of sight", || {
        signal(daemon, "TERM");
        place.entry().is_none()
    });
    file.write_all(b" whole").unwrap();
    drop(file);
    wait_for_end(daemon);
    place.mount(&["--strict"]).done();
    assert_eq!(read_to_string(&path).unwrap(), "kept whole");
    unmount(&place);
}

#[test]
fn a_dead_mount_is_reported_and_cleaned_up() {
    let place = Place::new();
    let kill = || {
        place.mount(&[]).done();
        let daemon = place.daemon();
        signal(daemon, "KILL");
        wait_for_end(daemon);
        assert!(place.entry().is_some(), "the kernel keeps a dead mount");
    };
    kill();
    let status = place.status();
    assert_eq!(status["alive"], false);
    assert!(status["pid"].is_null());
    let text = place.run(&["status", "m"]);
    assert!(text.stdout.contains("dead"), "{}", text.stdout);
    place.run(&["unmount", "m"]).done();
    assert!(place.entry().is_none());
    kill();
    // The lock went with the process; the dead mount goes with the next one.
    place.mount(&[]).done();
    assert_eq!(place.status()["alive"], true);
    unmount(&place);
}

#[test]
fn in_the_foreground_the_command_ends_with_the_mount() {
    let place = Place::new();
    std::fs::write(place.root().join("key"), PASSPHRASE).unwrap();
    let words = ["mount", "--foreground", "--passfile", "key", "v", "m"];
    let mut foreground = place
        .command(&words)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("the mount answers", || {
        place.entry().is_some() && place.status()["alive"] == true
    });
    assert_eq!(place.daemon(), foreground.id());
    write(place.point().join("file"), "text").unwrap();
    place.run(&["unmount", "m"]).done();
    assert_eq!(foreground.wait().unwrap().code(), Some(code::DONE));
    place
        .unlock(&["mount", "-f", "v", "nosuch"])
        .failed(code::MOUNT_POINT, &[]);
    let wrong = run(&mut place.command(&["mount", "-f", "v", "m"]), b"wrong\n");
    wrong.failed(code::WRONG_PASSPHRASE, &[]);
}

#[test]
fn a_mount_over_files_must_be_asked_for() {
    let place = Place::new();
    write(place.point().join("hidden"), "below").unwrap();
    place.mount(&[]).failed(code::MOUNT_POINT, &["not empty"]);
    place.mount(&["-o", "nonempty"]).done();
    assert!(!place.point().join("hidden").exists());
    unmount(&place);
    assert_eq!(
        read_to_string(place.point().join("hidden")).unwrap(),
        "below"
    );
}

#[test]
fn as_a_helper_of_mount_it_takes_what_mount_passes() {
    let place = Place::new();
    std::fs::write(place.root().join("key"), PASSPHRASE).unwrap();
    let helper = place.root().join("mount.keepfs");
    std::os::unix::fs::symlink(program(), &helper).unwrap();
    let list = "rw,nosuid,nodev,noatime,nofail,_netdev,x-systemd.requires=a,passfile=key";
    let run_helper = |words: &[&str]| {
        let mut command = Command::new(&helper);
        run(command.args(words).current_dir(place.root()), b"")
    };
    run_helper(&["v", "m", "-f", "-o", list]).done();
    assert!(place.entry().is_none(), "a fake mount mounts nothing");
    run_helper(&["v", "m", "-n", "-v", "-o", list, "-t", "fuse.keepfs"]).done();
    assert!(place.entry().is_some());
    unmount(&place);
    run_helper(&["v", "m", "-o", "nosuch"]).failed(code::USAGE, &["nosuch"]);
    run_helper(&["v", "m", "-s", "-o", "nosuch,passfile=key"]).done();
    unmount(&place);
}

#[test]
fn a_mount_nobody_waits_for_is_taken_off_again() {
    let place = Place::new();
    let plan = MountPlan {
        vault: place.vault(),
        point: place.point(),
        source: "test".into(),
        flags: Vec::new(),
        audience: Audience::Owner,
        cache_timeout: Duration::ZERO,
        followed_timeout: Duration::ZERO,
        overwrites: keepfs::mount::Overwrites::Journalled,
        writes: Writes::Gathered,
        trust: Trust::Lenient,
        slots: keepfs::vault::SlotChoice::Any,
    };
    let mut daemon = place
        .command(&["__daemon"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // As if the command had been interrupted.
    drop(daemon.stdout.take());
    let mut pipe = daemon.stdin.take().unwrap();
    let passphrase = Passphrase::from_bytes(PASSPHRASE.into()).unwrap();
    let secret = Credential::Passphrase(passphrase).to_pipe();
    let len = u32::try_from(secret.len()).unwrap();
    pipe.write_all(&len.to_le_bytes()).unwrap();
    pipe.write_all(&secret).unwrap();
    pipe.write_all(&serde_json::to_vec(&plan).unwrap()).unwrap();
    drop(pipe);
    assert_eq!(daemon.wait().unwrap().code(), Some(code::FAILURE));
    assert!(place.entry().is_none());
}

#[test]
fn what_cannot_be_written_is_said_at_unmount() {
    if !is_root() {
        eprintln!("passed over: only root can mount a small tmpfs");
        return;
    }
    let place = Place::bare();
    std::fs::create_dir(place.vault()).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=512k", "none"])
        .arg(place.vault())
        .status();
    assert!(mounted.unwrap().success());
    place.unlock(CHEAP_INIT).done();
    place.mount(&[]).done();
    let daemon = place.daemon();
    // A shared mapping of a sparse file: the kernel takes the writes, nobody
    // is told, and there is no room for them.
    let script = "import mmap, os, sys\n\
        fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\n\
        os.ftruncate(fd, 4 << 20)\n\
        mmap.mmap(fd, 4 << 20)[:] = b'x' * (4 << 20)\n";
    let wrote = Command::new("python3")
        .args(["-c", script])
        .arg(place.point().join("large"))
        .status();
    assert!(wrote.unwrap().success());
    place
        .run(&["unmount", "m"])
        .failed(code::NOT_SAVED, &["not everything", "still mounted"]);
    assert!(place.entry().is_some(), "room can still be made");
    // Said once; what was lost is lost, and the mount can be given up.
    place.run(&["unmount", "m"]);
    wait_for_end(daemon);
    assert!(place.entry().is_none());
}

#[test]
fn a_mount_that_is_bound_elsewhere_lives_on_there() {
    if !is_root() {
        println!("passed over: only root makes bind mounts");
        return;
    }
    let place = Place::new();
    place.unlock(&["mount", "v", "m"]).done();
    std::fs::write(place.point().join("file"), "text").unwrap();
    let other = place.root().join("other");
    std::fs::create_dir(&other).unwrap();
    let bound = std::process::Command::new("mount")
        .arg("--bind")
        .args([place.point(), other.clone()])
        .status();
    assert!(bound.unwrap().success());
    let ran = place.run(&["unmount", "m"]);
    assert_eq!(ran.code, code::DONE, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("still mounted elsewhere"),
        "{}",
        ran.stderr
    );
    assert_eq!(std::fs::read(other.join("file")).unwrap(), b"text");
    place.run(&["unmount", "other"]).done();
}

#[test]
fn the_kernel_is_told_how_much_to_read_and_to_collect() {
    for (chunks, max_read) in [("4KiB", "max_read=262144"), ("1MiB", "max_read=1048576")] {
        let place = Place::bare();
        place
            .unlock(&[CHEAP_INIT, &["--chunk-size", chunks]].concat())
            .done();
        place.mount(&[]).done();
        let entry = place.entry().unwrap();
        let options: Vec<_> = entry.super_options.split(',').collect();
        assert!(options.contains(&max_read), "{}", entry.super_options);
        let (major, minor) = entry.device;
        let knob = |name: &str| {
            let path = format!("/sys/class/bdi/{major}:{minor}/{name}");
            read_to_string(path).unwrap().trim().to_owned()
        };
        // Only root may, and a container's root may not.
        if is_root() && rustix::fs::access("/sys/class/bdi", rustix::fs::Access::WRITE_OK).is_ok() {
            assert_eq!(
                (knob("read_ahead_kb"), knob("max_ratio")),
                ("2048".into(), "10".into())
            );
        }
        unmount(&place);
    }
}

/// What is over a network looks like FUSE here: a vault in a vault.
#[test]
fn a_backing_of_which_the_kernel_tells_nothing_new_is_not_followed() {
    let place = with_key_file();
    let with_key = |words: &[&str]| {
        place.run(&[words, &["--keyfile", "key"]].concat()).done();
    };
    let follows = |point: &str| {
        let status = place.run(&["status", "--json", point]).json();
        let threads = format!("/proc/{}/task", status["mounts"][0]["pid"]);
        read_dir(threads).unwrap().any(|thread| {
            let name = read_to_string(thread.unwrap().path().join("comm"));
            name.is_ok_and(|name| name == "watch\n")
        })
    };
    with_key(&["mount", "v", "m"]);
    wait_for("a local backing is followed", || follows("m"));
    with_key(&["init", "m/v"]);
    create_dir(place.root().join("inner")).unwrap();
    with_key(&["mount", "m/v", "inner"]);
    assert!(!follows("inner"));
    place.run(&["unmount", "inner"]).done();
    place.run(&["unmount", "m"]).done();
}
