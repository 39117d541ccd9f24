"""What a run found, and how it is told to people and to programs."""

import json
import sys
import time

EXAMPLES = 12


class Broken(Exception):
    """The test itself cannot go on; the text says why."""


class Outcome:
    """What one look at a vault after a cut found. Empty lists mean that all is well."""

    def __init__(self):
        # Bytes that an fsync had promised and that are gone, unreadable ones included.
        self.lost = []
        # What gives an error when it is read.
        self.unreadable = []
        # New files that no fsync had promised and that give an error: by path, which.
        self.never_synced = {}
        # Contents that nobody ever wrote there.
        self.wrong = []
        # What `check` finds beyond files left open.
        self.findings = []
        # Kinds of what `check` notes, none of it a loss.
        self.notes = []

    def bad(self):
        return bool(self.lost or self.unreadable or self.wrong or self.findings)

    def texts(self):
        return [f"{kind}: {text}" for kind in ("lost", "unreadable", "wrong", "findings") for text in getattr(self, kind)]


class Tally:
    """Outcomes of one row of the table."""

    def __init__(self, **labels):
        self.labels = labels
        self.counts = dict.fromkeys(("runs", "lost", "unreadable", "only_new_unreadable", "wrong", "findings", "noted", "acknowledged"), 0)
        self.kinds = {}
        self.examples = []

    def add(self, outcome, acknowledged, where):
        counts = self.counts
        counts["runs"] += 1
        counts["acknowledged"] += acknowledged
        for kind in ("lost", "unreadable", "wrong", "findings"):
            counts[kind] += bool(getattr(outcome, kind))
        counts["only_new_unreadable"] += bool(outcome.never_synced)
        counts["noted"] += bool(outcome.notes)
        for kind in outcome.notes + [text.split(" ")[0] for text in outcome.findings]:
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if outcome.bad() and len(self.examples) < EXAMPLES:
            self.examples.append({"where": where, "what": outcome.texts()[:6]})

    def bad(self):
        return any(self.counts[kind] for kind in ("lost", "unreadable", "wrong", "findings"))

    def plain(self):
        return {**self.labels, **self.counts, "kinds": self.kinds, "examples": self.examples}


class Progress:
    """One line that is overwritten on a terminal, and a line now and then elsewhere."""

    def __init__(self, total):
        self.total = total
        self.began = time.monotonic()
        self.done = 0
        self.told = 0

    def show(self, done, text):
        self.done = done
        now = time.monotonic()
        left = (now - self.began) / max(done, 1) * (self.total - done)
        line = f"  {done}/{self.total} {text}, {left / 60:.0f} min left"
        if sys.stderr.isatty():
            print(f"\r\033[K{line}", end="" if done < self.total else "\n", file=sys.stderr, flush=True)
        elif now - self.told > 20 or done == self.total:
            self.told = now
            print(line, file=sys.stderr, flush=True)


def say(text):
    print(f"  {text}", file=sys.stderr, flush=True)


def table(heads, rows):
    """A Markdown table."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def tallies_table(tallies):
    labels = list(tallies[0].labels)
    heads = labels + ["runs", "acknowledged", "lost fsynced bytes", "unreadable", "never fsynced and unreadable", "contents nobody wrote", "check findings", "files left open"]
    counted = ("runs", "acknowledged", "lost", "unreadable", "only_new_unreadable", "wrong", "findings", "noted")
    rows = [[*(tally.labels[label] for label in labels), *(tally.counts[name] for name in counted)] for tally in tallies]
    return table([head.replace("_", " ") for head in heads], rows)


def write_json(path, result):
    if path:
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
