"""What the journal costs: each work with and without it, turn by turn in one run."""

import io
import json
import random
import statistics
import subprocess
import tarfile
import time

from report import Broken, Progress, table
from systems import Keepfs, demand, run
from writer import contents

# A ratio of speeds, with the journal to without, that is wanted; nothing is asserted of it.
WORKS = {
    "random 4 KiB overwrites": 0.8,
    "the same, fsync each": 0.9,
    "untar of 5000 small files": 0.97,
    "sequential writes, new file": 0.97,
    "bulk overwrite": None,
}
MODES = {"journal": [], "none": ["--no-journal"]}


def make_tar(path):
    pick = random.Random("tar")
    with tarfile.open(path, "w") as archive:
        for number in range(5000):
            entry = tarfile.TarInfo(f"tree/{number // 25}/file{number}")
            entry.size = int(2 ** pick.uniform(6, 13.5))
            archive.addfile(entry, io.BytesIO(contents(f"tar {number}", entry.size)))


def fio(file, *arguments):
    """Bytes a second, the last fsync included."""
    done = run(["fio", "--name=work", f"--filename={file}", "--ioengine=psync", "--fallocate=none", "--thread",
                "--end_fsync=1", "--output-format=json", *arguments], patience=600)
    if done.returncode != 0:
        raise Broken(f"fio ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    write = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]["write"]
    return write["io_bytes"] / (write["runtime"] / 1000)


def untar(system, archive):
    """Files a second, until all of it is on the backing's disk."""
    began = time.monotonic()
    demand(["tar", "-xf", archive, "-C", system.point])
    demand(["sync", "-f", system.point])
    demand(["sync", "-f", system.backing])
    return 5000 / (time.monotonic() - began)


def measure(home, options, mode, archive):
    """All works in a fresh vault."""
    home.mkdir()
    system = Keepfs(home, home / "vault", options)
    plain = system.mount_command
    system.mount_command = lambda: [*plain()[:2], *MODES[mode], *plain()[2:]]
    system.init()
    system.mount()
    speeds = {}

    def again():
        # What was written before is sealed, and the caches of the mount are empty.
        system.unmount()
        subprocess.run(["sync", "-f", home], check=True)
        system.mount()

    try:
        small, large = system.point / "small", system.point / "large"
        fio(small, "--rw=write", "--bs=1m", "--size=256m")
        again()
        speeds["random 4 KiB overwrites"] = fio(small, "--rw=randwrite", "--bs=4k", "--size=256m", "--overwrite=1")
        again()
        speeds["the same, fsync each"] = fio(small, "--rw=randwrite", "--bs=4k", "--size=256m", "--overwrite=1",
                                             "--fsync=1", "--runtime=4", "--time_based")
        again()
        speeds["untar of 5000 small files"] = untar(system, archive)
        again()
        speeds["sequential writes, new file"] = fio(large, "--rw=write", "--bs=1m", "--size=1g")
        again()
        speeds["bulk overwrite"] = fio(large, "--rw=write", "--bs=1m", "--size=1g", "--overwrite=1")
        system.unmount()
    finally:
        system.detach()
        demand(["rm", "-rf", "--one-file-system", home])
    return speeds


def shown(work, speed):
    if "untar" in work:
        return f"{speed:.0f} files/s"
    return f"{speed / 4096:.0f} IOPS" if "4 KiB" in work or "each" in work else f"{speed / 1e6:.0f} MB/s"


def cost(options):
    help_text = run([options.keepfs, "mount", "--help"]).stdout
    modes = [mode for mode, words in MODES.items() if all(word in help_text for word in words)]
    missing = []
    if "none" not in modes:
        missing.append("this keepfs has no `mount --no-journal`: there is nothing to compare with, and no ratio")
    archive = options.work / "small.tar"
    make_tar(archive)
    places = {"disk": options.work, "tmpfs": options.memory}
    if not options.memory:
        missing.append("/dev/shm cannot be written: nothing was measured in memory")
        del places["tmpfs"]
    speeds = {}
    progress = Progress(options.rounds * len(places) * len(modes))
    for number in range(options.rounds):
        for place, directory in places.items():
            # Neither is always the first.
            for mode in modes if number % 2 == 0 else modes[::-1]:
                for work, speed in measure(directory / f"cost-{number}-{mode}", options, mode, archive).items():
                    speeds.setdefault((place, work, mode), []).append(speed)
                progress.show(progress.done + 1, "rounds of work")
    rows, result = [], []
    for place in places:
        for work, wanted in WORKS.items():
            medians = {mode: statistics.median(speeds[place, work, mode]) for mode in modes}
            ratio = medians["journal"] / medians["none"] if "none" in medians else None
            rows.append([place, work, shown(work, medians["journal"]), shown(work, medians["none"]) if ratio else "-",
                         f"{ratio:.2f}" if ratio else "-", wanted or "stated"])
            result.append({"place": place, "work": work, "wanted": wanted, "ratio": ratio, "medians": medians,
                           "all": {mode: speeds[place, work, mode] for mode in modes}})
    print(table(["backing", "work", "as mounted by default", "--no-journal", "ratio", "wanted"], rows))
    for text in missing:
        print(f"\nMISSING {text}")
    return {"passed": not missing, "missing": missing, "rounds": options.rounds, "works": result}
