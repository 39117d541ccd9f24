"""SIGKILL of the daemon at random moments."""

import random
import time

from report import Broken, Progress, Tally, say, tallies_table
from systems import Keepfs
from trial import LOADS, Trial

# A vault lives through several kills: what one left, the next one meets.
KILLS_PER_VAULT = 4
# Directories of failed vaults that are kept to be looked at.
KEPT = 5


class Kills:
    """The vault of each load, and what was found in all of them."""

    def __init__(self, options):
        self.options = options
        self.kinds = [kind for group in options.load for kind in LOADS[group]]
        self.tallies = {kind.name: Tally(load=kind.name) for kind in self.kinds}
        self.vaults = {}
        self.made = []
        self.broken = []
        self.kept = self.killed_again = 0

    def fresh(self, kind, number):
        # On disk and in memory in turn: where fsync costs nothing, more of the time is spent writing.
        places = [self.options.work, self.options.memory or self.options.work]
        home = places[len(self.made) % 2] / f"kill-{number}"
        self.made.append(home)
        home.mkdir()
        seed = f"{self.options.seed} {number}"
        trial = Trial(Keepfs(home, home / "vault", self.options), kind(seed, home))
        self.vaults[kind] = (trial, 0)
        trial.begin()

    def run(self):
        total = self.options.kills
        progress = Progress(total)
        try:
            for number in range(total):
                # Group by group, and within each in turn.
                group = self.options.load[number % len(self.options.load)]
                turns = LOADS[group]
                kind = turns[number // len(self.options.load) % len(turns)]
                try:
                    self.one(kind, number)
                except (Broken, OSError) as broken:
                    self.broken.append(f"{kind.name}, run {number}: {broken}")
                    say(f"FAILED {self.broken[-1]}")
                    self.give_up(kind)
                progress.show(number + 1, self.state())
        finally:
            for trial, _ in self.vaults.values():
                trial.clean_up()
        return self.result()

    def state(self):
        sums = {kind: sum(tally.counts[kind] for tally in self.tallies.values()) for kind in ("lost", "unreadable", "findings")}
        return f"kills; runs with bytes lost {sums['lost']}, unreadable {sums['unreadable']}, findings {sums['findings']}"

    def one(self, kind, number):
        pick = random.Random(f"{self.options.seed} {number} moment")
        if kind not in self.vaults:
            self.fresh(kind, number)
        trial, used = self.vaults[kind]
        shortest, longest = self.options.seconds
        trial.work_until(pick.uniform(shortest, longest), f"{self.options.seed} {number} work", trial.system.kill)
        while pick.random() < 0.3:
            self.kill_while_mounting(trial.system, pick.uniform(0, 0.06))
        outcome = trial.look()
        self.tallies[kind.name].add(outcome, trial.load.acknowledged(), f"run {number}, {trial.system.home.name}")
        if outcome.bad():
            self.give_up(kind)
        elif used + 1 == KILLS_PER_VAULT:
            trial.remove()
            del self.vaults[kind]
        else:
            self.vaults[kind] = (trial, used + 1)

    def kill_while_mounting(self, system, seconds):
        """Whatever a mount does to put things right, it may be killed in the midst of it."""
        self.killed_again += 1
        system.spawn()
        time.sleep(seconds)
        system.kill()
        system.detach()

    def give_up(self, kind):
        """The vault is not worked on any further; a few are kept."""
        trial, _ = self.vaults.pop(kind, (None, 0))
        if trial is None:
            return
        trial.clean_up()
        self.kept += 1
        if self.kept > KEPT:
            trial.remove()

    def result(self):
        tallies = list(self.tallies.values())
        print(tallies_table(tallies))
        print(f"\n{sum(tally.counts['runs'] for tally in tallies)} kills, and {self.killed_again} more while mounting")
        for tally in tallies:
            for example in tally.examples[:3]:
                print(f"{tally.labels['load']}: {example['where']}: " + "; ".join(example["what"][:3]))
        return {
            "passed": not self.broken and not any(tally.bad() for tally in tallies),
            "loads": [tally.plain() for tally in tallies],
            "killed_while_mounting": self.killed_again,
            "broken": self.broken,
        }
