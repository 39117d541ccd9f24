"""Can each verification fail? Vaults are harmed on purpose; whoever does not notice is wrong."""

import shutil

from report import Broken, say, table
from systems import Keepfs
from trial import Trial, kinds_of

# How far the bytes are apart that change in a file.
FLIPPED_EVERY = 1 << 16
# A byte of the first chunk's ciphertext.
IN_FIRST_CHUNK = 128 + 24 + 3


def backing_files(system):
    return [path for path in system.backing.rglob("*")
            if path.is_file() and not path.is_symlink() and not path.relative_to(system.backing).parts[0].startswith("keepfs.")
            and path.stat().st_size > IN_FIRST_CHUNK + 17]


def flip(system, _before):
    """A bit of every file changes on the backing."""
    for path in backing_files(system):
        flip_byte(path, IN_FIRST_CHUNK)


def flip_byte(path, at):
    with open(path, "r+b", buffering=0) as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


def put_back(system, before):
    """The backing is what it was before the work."""
    shutil.rmtree(system.backing)
    shutil.copytree(before, system.backing, symlinks=True)


def garble(system, _before):
    """Bytes of every file change in the mount, so that everything can be read."""
    system.mount()
    try:
        for path in system.view().rglob("*"):
            if path.is_file() and path.stat().st_size > 16:
                # One alone may be in a block of which nobody has heard that it was written.
                for at in range(5, path.stat().st_size, FLIPPED_EVERY):
                    flip_byte(path, at)
    finally:
        system.unmount()


# What each harm must make a verification say, and whether `check` must find it.
HARMS = (
    (flip, ("lost", "unreadable"), True),
    (put_back, ("lost",), False),
    (garble, ("lost", "wrong"), False),
)


def trial_with(options, kind, harm):
    """What is found after the work, a kill and the harm."""
    home = (options.memory or options.work) / f"prove-{harm.__name__}-{kind.__name__}"
    home.mkdir()
    seed = f"{options.seed} prove"
    trial = Trial(Keepfs(home, home / "vault", options), kind(seed, home))
    try:
        trial.begin()
        shutil.copytree(trial.system.backing, home / "before", symlinks=True)
        trial.work_until(0.6, f"{seed} work", trial.system.kill)
        harm(trial.system, home / "before")
        return trial.look()
    finally:
        trial.remove()


def prove(options):
    """Every load with every harm."""
    missed, rows = [], []
    for kind in kinds_of(options.load):
        for harm, words, check_sees in HARMS:
            try:
                outcome = trial_with(options, kind, harm)
            except (Broken, OSError) as broken:
                missed.append(f"{kind.name}, {harm.__name__}: {broken}")
                continue
            noticed = [word for word in words if getattr(outcome, word)]
            if check_sees and outcome.findings:
                noticed.append("findings")
            rows.append((kind.name, harm.__doc__, ", ".join(noticed) or "NOTHING"))
            if not set(noticed) - {"findings"} or (check_sees and not outcome.findings):
                missed.append(f"{kind.name}: {harm.__doc__} Noticed: {noticed}")
        say(f"{kind.name}: harmed in {len(HARMS)} ways")
    print(table(["load", "harm", "noticed as"], rows))
    for text in missed:
        print(f"NOT NOTICED {text}")
    return {"passed": not missed, "missed": missed, "rows": rows}
