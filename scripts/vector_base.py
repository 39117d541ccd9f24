"""What the test vectors share: how a case is written, and two vaults.

A case is a text of `key: value` lines: `kind` names the decoder, `about` says
what is tested, `expect` is `ok` or the check that must fail, bytes are in hex. A
key may repeat.
"""

import keepfs_format as f

CHUNK_LOG2 = 12
GEOMETRY = f.Geometry(CHUNK_LOG2)
C, S = GEOMETRY.chunk, GEOMETRY.slot
PASSPHRASE = "correct horse battery stapl\u00e9".encode()


def noise(label: str, length: int) -> bytes:
    """Bytes without a pattern, the same in every run."""
    out = b""
    while len(out) < length:
        out += f.sha256(f"keepfs vectors {label} {len(out)}".encode())
    return out[:length]


def flip(data: bytes, at: int, bits: int = 1) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :]


def put(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


class Cases:
    def __init__(self):
        self.texts = {}

    def add(self, path: str, about: str, expect: str = "ok", **fields) -> None:
        lines = [f"kind: {path.split('/')[0]}", f"about: {about}", f"expect: {expect}"]
        for key, value in fields.items():
            for one in value if isinstance(value, list) else [value]:
                lines.append(f"{key}: {one.hex() if isinstance(one, bytes) else one}".rstrip())
        name = f"{path}.txt"
        if name in self.texts:
            raise AssertionError(f"two cases are called {path}")
        self.texts[name] = "\n".join(lines) + "\n"


class Vault:
    """A vault with fixed keys, and a key-file slot that opens it cheaply."""

    def __init__(self, name: str):
        self.name = name
        self.keys = f.Keys(noise(f"{name} vault_id", 16), noise(f"{name} vmk", 32))
        self.file = f.vault_file(self.keys, CHUNK_LOG2)
        self.key_file = noise(f"{name} key file", 48)
        self.slot = f.slot(self.parts(), self.keys.vmk, self.file)
        self.root = self.keys["root"]

    def parts(self, kind: int = f.KEY_FILE, tag: str = "key", **other) -> f.SlotParts:
        seed = f"{self.name} slot {tag}"
        other.setdefault("label", b"key file")
        other.setdefault("key_file", self.key_file)
        return f.SlotParts(
            kind, noise(f"{seed} id", 16), noise(f"{seed} salt", 32), noise(f"{seed} nonce", 24), **other
        )


ALPHA, BETA = Vault("alpha"), Vault("beta")
