"""SQLite with settings that are safe against a power cut. Each transaction counts; the
counter of every commit that returned must be there."""

import os
import random
import sqlite3
import zlib

from child import Child, Load

ROWS = 600


class Database(Load):
    """One database in one journal mode."""

    group = "sqlite"
    name = mode = ""

    def __init__(self, seed, _home):
        super().__init__()
        self.seed = seed
        self.expected = self.began_at = 0

    def connect(self, top):
        # A long wait for a lock would only hide that somebody holds one.
        base = sqlite3.connect(top / "data.db", timeout=1, isolation_level=None)
        base.execute(f"PRAGMA journal_mode = {self.mode}")
        # In the rollback mode FULL does not sync the directory after the journal is gone.
        base.execute("PRAGMA synchronous = EXTRA")
        # A checkpoint every few transactions: that is when the file itself is overwritten.
        base.execute("PRAGMA wal_autocheckpoint = 40")
        return base

    def lay_out(self, top):
        pick = random.Random(f"{self.seed} rows")
        base = self.connect(top)
        base.execute("CREATE TABLE counter (number INTEGER PRIMARY KEY)")
        base.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, body BLOB, sum INTEGER)")
        base.execute("BEGIN")
        for number in range(ROWS):
            base.execute("INSERT INTO item VALUES (?, ?, ?)", self.item(pick, number))
        base.execute("COMMIT")
        base.close()

    @staticmethod
    def item(pick, number):
        body = pick.randbytes(int(2 ** pick.uniform(4, 13)))
        return number, body, zlib.crc32(body)

    def start(self, top, seed):
        def work(done):
            pick = random.Random(seed)
            number = self.expected
            try:
                base = self.connect(top)
                while True:
                    number += 1
                    base.execute("BEGIN IMMEDIATE")
                    base.execute("INSERT INTO counter VALUES (?)", (number,))
                    for _ in range(pick.randrange(1, 12)):
                        base.execute("INSERT OR REPLACE INTO item VALUES (?, ?, ?)", self.item(pick, pick.randrange(ROWS)))
                    base.execute("COMMIT")
                    done(number)
            except sqlite3.Error as error:
                raise OSError(5, f"{error}") from error

        self.children = [Child(work)]
        self.children[0].steps = self.began_at = self.expected

    def acknowledged(self):
        return self.children[0].steps - self.began_at

    def verify(self, top, outcome):
        """In a process of its own: should the mount die, a mapping of SQLite's kills."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            try:
                os.write(writer, self.look(top).encode()[:60000])
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, encoding="utf-8") as answers:
            answer = answers.read()
        os.waitpid(pid, 0)
        kind, _, text = answer.partition(" ")
        acknowledged, promised = self.children[0].steps, self.children[0].promised()
        if kind == "error":
            # SQLITE_IOERR and its extended codes.
            if int(text.split(" ")[0]) & 0xFF == 10:
                outcome.unreadable.append(f"sqlite: {text}")
            outcome.lost.append(f"sqlite: {text}")
        elif kind != "highest":
            outcome.lost.append(f"sqlite: {text or 'the process that looked was killed'}")
        elif not promised <= int(text) <= acknowledged + 1:
            outcome.lost.append(f"sqlite: transactions to {text} are there, {promised} were committed")
        else:
            self.expected = int(text)
            self.set_aside_journal(top / "data.db-journal", outcome)

    @staticmethod
    def set_aside_journal(journal, outcome):
        """A rollback journal is synced before its first bytes say what it is: one without them
        was promised nothing, and SQLite leaves it alone. Any other it has played back and removed."""
        try:
            with open(journal, "rb") as file:
                if file.read(8) == bytes(8):
                    outcome.never_synced[journal] = "a rollback journal that was never synced"
        except OSError:
            # Gone, as it should be; or for `check` to tell.
            pass

    def look(self, top):
        try:
            base = self.connect(top)
            whole = base.execute("PRAGMA integrity_check").fetchall()
            if whole != [("ok",)]:
                return f"bad integrity_check says {whole[:3]}"
            count, highest = base.execute("SELECT count(*), coalesce(max(number), 0) FROM counter").fetchone()
            if count != highest:
                return f"bad {count} transactions are there of {highest}"
            rows = base.execute("SELECT id, body, sum FROM item").fetchall()
            if len(rows) != ROWS:
                return f"bad {len(rows)} items are there of {ROWS}"
            for number, body, checksum in rows:
                if zlib.crc32(body) != checksum:
                    return f"bad item {number} has other bytes"
            base.close()
            return f"highest {highest}"
        except sqlite3.Error as error:
            return f"error {error.sqlite_errorcode} {error}"


class Wal(Database):
    name = "SQLite, WAL"
    mode = "WAL"


class Rollback(Database):
    name = "SQLite, rollback"
    mode = "DELETE"
