"""Vectors of names, directories, links, attributes and entries; FORMAT.md sections 7 to 12."""

import keepfs_format as f
from vector_base import ALPHA, BETA, Cases, flip, noise


def name_cases(cases: Cases) -> None:
    keys, here, there = ALPHA.keys, ALPHA.root, noise("another directory", 16)

    def case(name, about, entry, expect="ok", dir_id=here, side=None, **fields):
        if side is not None:
            fields["side"] = side
        cases.add(f"name/{name}", about, expect, keys="alpha", dir_id=dir_id, entry=entry, **fields)

    def good(name, about, plain, dir_id=here):
        entry, side = f.cipher_name(keys, dir_id, plain)
        case(name, about, entry, dir_id=dir_id, side=side or None, plain=plain)

    for length in (1, 15, 16, 31, 32, 47, 48, 63, 64, 79, 80, 95, 96, 111, 112, 127, 128, 143, 144, 254, 255):
        plain = noise(f"name {length}", 2 * length).hex().encode()[:length]
        good(f"length-{length:03}", f"{length} bytes", plain)
    good("text", "an everyday name", b"notes.txt")
    good("other-directory", "the same name elsewhere", b"notes.txt", there)
    good("utf8", "UTF-8", "Käthe Ångström 東京.txt".encode())
    good("raw", "bytes that are not UTF-8", bytes(range(1, 0x2F)) + bytes(range(0x80, 0x90)))
    good("padding-like", "a name that ends like padding", b"name\x80")
    good("three-dots", "not reserved", b"...")
    good("keepfs", "a plain name may be anything", b"keepfs.vault")
    good("newline", "a line feed", b"\n")
    name_bad_short(case, keys, here, there)
    name_bad_long(case, keys, here, there)


def name_bad_short(case, keys: f.Keys, here: bytes, there: bytes) -> None:
    def bad(name, about, entry, expect, **how):
        case(name, about, entry, expect, **how)

    def sealed(padded):
        return f.b64(f.siv_seal(keys["names"], here, padded))

    entry, _ = f.cipher_name(keys, here, b"notes.txt")
    bad("moved", "an entry carried into another directory", entry, "not-authentic", dir_id=there)
    bad("other-vault", "a name of another vault", f.cipher_name(BETA.keys, here, b"notes.txt")[0], "not-authentic")
    changed = ("B" if entry[0] == "A" else "A") + entry[1:]
    bad("first-letter", "its first letter changed", changed, "not-authentic")
    bad("invented", "43 letters that the provider made up", f.b64(noise("invented", 32)), "not-authentic")
    bad("pin-as-name", "a pin record written as a name",
        f.b64(f.pin_record(keys, here, there)), "not-authentic")
    twin = f.loose_b64(f.name_siv(keys, here, b"notes.txt"))
    bad("not-canonical", "the unused bits of the last character are not zero", twin, "not-a-name")
    bad("padded-text", "base64 padding at the end", entry + "=", "not-a-name")
    bad("standard-alphabet", "+ instead of -", "+" + entry[1:], "not-a-name")
    bad("length-42", "one character is missing", entry[:-1], "not-a-name")
    bad("length-44", "one character too many", entry + "A", "not-a-name")
    bad("length-22", "16 bytes, a bare synthetic IV", f.b64(noise("bare", 16)), "not-a-name")
    bad("length-214", "160 bytes, which the long form must hold", f.b64(f.name_siv(keys, here, b"n" * 128)),
        "not-a-name")
    bad("no-padding", "the padding is missing", sealed(b"sixteen letters!"), "bad-padding")
    bad("all-zero", "zeros only", sealed(bytes(16)), "bad-padding")
    bad("wrong-marker", "0x01 instead of 0x80", sealed(b"notes.txt\x01" + bytes(6)), "bad-padding")
    bad("block-too-many", "16 zero bytes more than needed", sealed(f.pad16(b"notes.txt") + bytes(16)), "bad-padding")
    for name, plain in (("empty", b""), ("dot", b"."), ("dot-dot", b".."), ("slash", b"a/b"), ("nul", b"a\0b")):
        bad(f"plain-{name}", "authentic, but no valid name", sealed(f.pad16(plain)), "bad-name")


def name_bad_long(case, keys: f.Keys, here: bytes, there: bytes) -> None:
    plain = b"long " * 30
    entry, side = f.cipher_name(keys, here, plain)

    def bad(name, about, expect, entry=entry, side=side, **how):
        case(f"long-{name}", about, entry, expect, side=side, **how)

    def made(padded):
        siv = f.siv_seal(keys["names"], here, padded)
        return {"entry": f.long_entry(siv), "side": siv}

    bad("moved", "carried into another directory, side file too", "not-authentic", dir_id=there)
    bad("other-side", "the side file of another name", "side-mismatch", side=f.name_siv(keys, here, b"other" * 30))
    bad("side-flipped", "one bit of the side file", "side-mismatch", side=flip(side, 40))
    both = flip(side, 40)
    bad("both-flipped", "one bit of the side file, and the entry made to match", "not-authentic",
        entry=f.long_entry(both), side=both)
    bad("side-cut", "the side file lost a byte", "side-mismatch", side=side[:-1])
    bad("side-extended", "the side file has a byte more", "side-mismatch", side=side + b"\0")
    bad("side-empty", "the side file was emptied", "side-mismatch", side=b"")
    short = bytes(15)
    bad("side-tiny", "a side file of 15 bytes, and the entry made to match", "not-authentic",
        entry=f.long_entry(short), side=short)
    bad("short-name", "a name of 127 bytes in long form", "bad-name", **made(f.pad16(b"n" * 127)))
    bad("short-name-padded", "a name of 100 bytes, padded to the size of a long one", "bad-padding",
        **made(f.pad16(b"n" * 100) + bytes(32)))
    bad("too-long", "a name of 256 bytes", "bad-name", **made(f.pad16(b"n" * 256)))
    bad("slash", "a slash in a long name", "bad-name", **made(f.pad16(b"n" * 100 + b"/" + b"n" * 50)))
    bad("no-padding", "the padding is missing", "bad-padding", **made(b"n" * 144))


def directory_cases(cases: Cases) -> None:
    keys, root = ALPHA.keys, ALPHA.root
    parent = root
    for depth, name in enumerate((b"Documents", b"2024", b"n" * 255, b"\xff", b"keepfs.dir")):
        at = f.place(keys, parent, name)
        cases.add(f"place/depth-{depth + 1}", "the id of a directory below the one before, which is not pinned",
                  keys="alpha", parent=parent, name=name, place=at)
        parent = at
    cases.add("place/other-vault", "the same name in the root of another vault",
              keys="beta", parent=BETA.root, name=b"Documents", place=f.place(BETA.keys, BETA.root, b"Documents"))

    born, now = f.place(keys, root, b"a"), f.place(keys, root, b"b")
    later, nowhere = f.place(keys, root, b"c"), f.place(keys, root, b"d")
    first, second = f.pin_record(keys, now, born), f.pin_record(keys, later, born)

    def case(name, about, at, data, expect="ok", **fields):
        cases.add(f"pin/{name}", about, expect, keys="alpha", place=at, pin=data, **fields)

    case("one", "one record", now, first, dir_id=born, record=0)
    case("two-first", "two records, at the first place", now, first + second, dir_id=born, record=0)
    case("two-second", "two records, at the second place", later, first + second, dir_id=born, record=1)
    case("two-nowhere", "two records, at neither place", nowhere, first + second, "none")
    case("birthplace", "at the place where it was born no record is needed", born, first + second, "none")
    case("two-ids", "two records for one place, with different ids", now,
         first + f.pin_record(keys, now, later), "ambiguous")
    case("repeated", "one record twice", now, first + first, "ambiguous")
    case("repeated-elsewhere", "one record twice, at another place", later, first + first, "none")
    case("first-damaged", "the first record is damaged, the second opens", later, flip(first, 3) + second,
         dir_id=born, record=1)
    case("damaged", "one bit", now, flip(first, 31), "none")
    case("zeros", "32 zero bytes, as a power cut leaves them", now, bytes(32), "none")
    case("name-as-pin", "a cipher name written as a record", now, f.name_siv(keys, now, b"x"), "none")
    case("other-vault", "a record of another vault", now, f.pin_record(BETA.keys, now, born), "none")
    for length in (0, 1, 31, 33, 63, 65, 96):
        data = (first + second + first)[:length]
        case(f"length-{length:02}", f"{length} bytes", now, data, "bad-length")


def link_cases(cases: Cases) -> None:
    keys, nonce = ALPHA.keys, noise("link nonce", 24)

    def case(name, about, text, expect="ok", **fields):
        if isinstance(text, str):
            text = text.encode()
        cases.add(f"link/{name}", about, expect, keys="alpha", text=text, **fields)

    for length in (1, 2, 3, 17, 727, 3031):
        target = noise(f"target {length}", length).replace(b"\0", b"/")
        case(f"length-{length}", f"{length} bytes", f.link_text(keys, nonce, target), target=target)
    text = f.link_text(keys, nonce, b"../there")
    sealed = nonce + f.xchacha_seal(keys["links"], nonce, b"../there", f.LINK_AD)
    case("relative", "an everyday target", text, target=b"../there")
    case("plain", "a link that was never encrypted", "/etc/passwd", "bad-text")
    case("empty", "no characters", "", "too-short")
    case("bare", "40 bytes: a nonce, a tag, no target", f.link_text(keys, nonce, b""), "not-a-path")
    case("cut", "39 bytes", f.b64(noise("cut", 39)), "too-short")
    case("nul", "a NUL byte", f.link_text(keys, nonce, b"a\0b"), "not-a-path")
    case("cut-byte", "the last byte of the tag is missing", f.b64(sealed[:-1]), "not-authentic")
    case("not-canonical", "unused bits of the last character set", f.loose_b64(sealed[:-1]), "bad-text")
    case("padded", "base64 padding", text + "=", "bad-text")
    case("newline", "a line feed at the end", text + "\n", "bad-text")
    case("flipped", "its first letter changed", ("B" if text[0] == "A" else "A") + text[1:], "not-authentic")
    case("other-vault", "a link of another vault", f.link_text(BETA.keys, nonce, b"../there"), "not-authentic")
    bare = f.b64(nonce + f.xchacha_seal(keys["links"], nonce, b"../there", b""))
    case("no-ad", "sealed without associated data", bare, "not-authentic")


def xattr_cases(cases: Cases) -> None:
    keys, file_id, dir_id = ALPHA.keys, noise("file", 16), ALPHA.root
    owners = {"file": file_id, "dir": dir_id}

    def names(case, about, raw, expect="ok", owner="file", owner_id=None, **fields):
        raw = raw.encode() if isinstance(raw, str) else raw
        cases.add(f"xattr-name/{case}", about, expect, keys="alpha", owner=owner,
                  id=owner_id or owners[owner], raw=raw, **fields)

    def values(case, about, raw, expect="ok", owner="file", owner_id=None, attr=b"comment", **fields):
        cases.add(f"xattr-value/{case}", about, expect, keys="alpha", owner=owner,
                  id=owner_id or owners[owner], name=attr, raw=raw, **fields)

    for length in (1, 15, 16, 159):
        attr = (b"xdg.origin.url" * 12)[:length]
        for owner, owner_id in owners.items():
            names(f"{owner}-{length}", f"a name of {length} bytes", f.xattr_name(keys, owner_id, attr), owner=owner,
                  name=attr)
    good = f.xattr_name(keys, file_id, b"comment")
    names("other-file", "copied from another file", good, "not-authentic", owner_id=noise("other file", 16))
    names("prefix", "not written by keepfs", "user.comment", "foreign")
    names("other-namespace", "not in user.", "trusted.keepfs." + good[12:], "foreign")
    names("bare-prefix", "nothing behind the prefix", "user.keepfs.", "not-authentic")
    names("padded", "base64 padding", good + "=", "bad-text")
    siv = f.siv_seal(keys["xattr-names"], file_id, f.pad16(b"comment"))
    names("not-canonical", "unused bits of the last character set", "user.keepfs." + f.loose_b64(siv), "bad-text")
    names("cut", "one byte less", "user.keepfs." + f.b64(siv[:-1]), "not-authentic")
    names("flipped", "one letter changed", good[:12] + ("B" if good[12] == "A" else "A") + good[13:], "not-authentic")
    names("file-name", "a file's cipher name", "user.keepfs." + f.cipher_name(keys, dir_id, b"comment")[0],
          "not-authentic", owner="dir")
    bent = "user.keepfs." + f.b64(f.siv_seal(keys["xattr-names"], file_id, b"comment\x01" + bytes(8)))
    names("bad-padding", "0x01 instead of 0x80", bent, "bad-padding")
    names("empty", "authentic, but empty", f.xattr_name(keys, file_id, b""), "bad-name")
    names("nul", "authentic, with a NUL byte", f.xattr_name(keys, file_id, b"a\0b"), "bad-name")
    names("too-long", "authentic, 160 bytes, which no writer would fit", f.xattr_name(keys, file_id, b"a" * 160),
          "bad-name")

    nonce = noise("xattr nonce", 24)
    for length in (0, 1, 4096):
        value = noise(f"value {length}", length)
        for owner, owner_id in owners.items():
            values(f"{owner}-{length}", f"{length} bytes",
                   f.xattr_value(keys, owner_id, b"comment", nonce, value), owner=owner, value=value)
    raw = f.xattr_value(keys, file_id, b"comment", nonce, b"hello")
    values("other-name", "moved to another attribute", raw, "not-authentic", attr=b"author")
    values("with-prefix", "the name in the AD has no user. prefix",
           f.xattr_value(keys, file_id, b"user.comment", nonce, b"hello"), "not-authentic")
    values("other-file", "copied from another file", raw, "not-authentic", owner_id=noise("other file", 16))
    values("other-vault", "of another vault", f.xattr_value(BETA.keys, file_id, b"comment", nonce, b"hello"),
           "not-authentic")
    values("flipped", "one bit", flip(raw, 24), "not-authentic")
    values("cut", "one byte less", raw[:-1], "not-authentic")
    values("short", "39 bytes", raw[:39], "too-short")
    values("none", "no bytes", b"", "too-short")


def entry_cases(cases: Cases) -> None:
    keys, here = ALPHA.keys, ALPHA.root
    short = {n: f.cipher_name(keys, here, b"n" * n)[0] for n in (9, 20, 40, 127)}
    long, _ = f.cipher_name(keys, here, b"l" * 200)
    ct = short[9]

    def case(name, raw, what, bases=(), about="classified without a key"):
        raw = raw.encode() if isinstance(raw, str) else raw
        cases.add(f"entry/{name}", about, raw=raw, **{"class": what},
                  base=[f"{form} {length}" for form, length in bases])

    only = [("short", 43)]
    for length, entry in short.items():
        bases = [("short", n) for n in (171, 150, 128, 107, 86, 64, 43) if n < len(entry) and f.is_b64(entry[:n])]
        case(f"short-{len(entry)}", entry, "short", bases, "a short entry; `base` is what is tried if it fails")
    case("long", long, "long")
    case("side", long + "=", "side-file")
    case("side-copy", long + "= (conflicted copy 2024-05-01 100203)", "internal")
    case("long-copy", long + " (1)", "other", [("long", 44)])
    for name, suffix in {
        "syncthing": ".sync-conflict-20240501-100203-ABCDEFG",
        "nextcloud": " (conflicted copy 2024-05-01 100203)",
        "dropbox": " (laptop's conflicted copy 2024-05-01)",
        "rclone": ".conflict1",
        "google": " (1)",
        "unknown": "?",
        "not-utf8": b"\xff",
    }.items():
        suffix = suffix if isinstance(suffix, bytes) else suffix.encode()
        case(f"copy-{name}", ct.encode() + suffix, "other", only)
    onedrive = ct + "-home-safeBackup-0001"
    case("copy-that-looks-short", onedrive, "short", only, "a suffix that leads from 43 characters to 64")
    case("copy-longest-first", short[40] + ".conflict2", "other",
         [("short", n) for n in (86, 64, 43) if f.is_b64(short[40][:n])])
    looks = "keepfs" + f.b64(noise("lucky", 32))[6:]
    case("short-keepfs", looks, "short", about="a short entry that begins with keepfs by chance")
    for name in ("keepfs.vault", "keepfs.slots", "keepfs.dir", "keepfs.rm-00112233", "keepfs", "keepfs (1).dir",
                 "keepfs.sync-conflict-20240501-100203-ABCDEFG.vault", "keepfs_conflict-20240501-100203.dir",
                 "~keepfs-00112233445566778899aabbccddeeff.tmp", "keepfsX"):
        case("internal-" + "".join(c if c.isalnum() else "-" for c in name), name, "internal")
    for name, raw in {
        "nfs": ".nfs000000000123", "fuse-hidden": ".fuse_hidden0001", "syncthing": f".syncthing.{ct}.tmp",
        "syncthing-windows": f"~syncthing~{ct}.tmp", "nextcloud": f".{ct}.~1a2b3c", "rclone": f"{ct}.1a2b3c4d.partial",
        "onedrive": f"{ct}.partial", "stfolder": ".stfolder", "stversions": ".stversions", "stignore": ".stignore",
        "sync-db": ".sync_0123456789ab.db-wal", "sync-db-windows": "._sync_0123456789ab.db",
        "csync": ".csync_journal.db", "owncloud-log": ".owncloudsync.log.1", "dropbox": ".dropbox",
        "dropbox-cache": ".dropbox.cache", "dropbox-attr": ".dropbox.attr",
        "seafile": f"{ct}~", "seafile-backup": f"{ct}.sbak", "pcloud": f"{ct}.part", "nextcloud-online": f"{ct}.nextcloud",
        "owncloud-online": f"{ct}.owncloud", "rclone-link": f"{ct}.rclonelink", "resilio": f"{ct}.!sync",
        "resilio-part": f"{ct}.SyncPart", "insync": f".~{ct}.insyncdl", "unison": f".unison.{ct}.0123abcd.unison.tmp",
        "mega": ".getxfer.1.mega", "rsync": f".{ct}.a1B2c3", "rsync-dir": ".~tmp~", "google": ".tmp.driveupload",
    }.items():
        bases = only if raw.startswith(ct) else []
        case(f"temporary-{name}", raw, "temporary", bases)
    for name, raw in {"text": "README.txt", "one-letter": "a", "dot": ".DS_Store", "equals": "=", "long-cut": long[:-1],
                      "capital": "Keepfs.vault", "length-42": ct[:-1], "raw": bytes(range(1, 47)), "dropbox-like": ".dropboxes",
                      "nextcloud-like": ".name~1a", "nextcloud-nothing": "..~a", "rsync-like": "..abcdef", "rsync-five": ".name.abcde", "nextcloud-not-hex": ".name.~xyz",
                      "syncthing-like": ".syncthing.name"}.items():
        case(f"foreign-{name}", raw, "other")
    hashed = f.sha256(f.name_siv(keys, here, b"l" * 200))
    case("long-not-canonical", "=" + f.loose_b64(hashed), "other")


def copy_cases(cases: Cases) -> None:
    """What conflict copies are shown as; the parts of each are stated by hand."""
    short = f.cipher_name(ALPHA.keys, ALPHA.root, b"report.odt")[0].encode()

    def case(name, of, suffix, words, stem, ext, about):
        of, stem, ext, suffix = (x if isinstance(x, bytes) else x.encode() for x in (of, stem, ext, suffix))
        tag = f.sha256(short + suffix).hex()[:8]
        shown = stem + f" [conflict {words}{tag}]".encode() + ext
        assert len(shown) <= 255
        cases.add(f"copy/{name}", about, entry=short + suffix, of=of, suffix=suffix, shown=shown)

    day, both = "2024-05-01 ", "2024-05-01 10:02 "
    for name, suffix, words in (
            ("syncthing", ".sync-conflict-20240501-100203-ABCDEFG", "syncthing " + both),
            ("nextcloud", " (conflicted copy 2024-05-01 100203)", "nextcloud " + both),
            ("nextcloud-user", " (conflicted copy ann 2024-05-01 100203)", "nextcloud " + both),
            ("owncloud", "_conflict-20240501-100203", "nextcloud " + both),
            ("dropbox", " (laptop's conflicted copy 2024-05-01)", "dropbox " + day),
            ("dropbox-case", " (Case Conflict)", "dropbox "),
            ("syncthing-old", ".sync-conflict-20240501-100203", "syncthing " + both),
            ("nextcloud-case", " (case clash from 2024-05-01 100203)", "nextcloud " + both),
            ("owncloud-user", "_conflict_ann-20240501-100203", "nextcloud " + both),
            ("dropbox-nameless", " (conflicted copy 2024-05-01 2)", "dropbox " + day),
            ("dropbox-german", " (In Konflikt stehende Kopie von Laptop 2024-05-01)", "dropbox " + day),
            ("dropbox-german-host", " (Laptops in Konflikt stehende Kopie 2024-05-01)", "dropbox " + day),
            ("dropbox-french", " (Copie en conflit de portable 2024-05-01)", "dropbox " + day),
            ("dropbox-spanish", " (Copia conflictiva de casa 2024-05-01 3)", "dropbox " + day),
            ("dropbox-selective", " (Selective Sync Conflict 1)", "dropbox "),
            ("dropbox-unicode", " (Unicode Encoding Conflict)", "dropbox "),
            ("rclone", ".conflict12", "rclone "), ("rclone-path", ".path1", "rclone "), ("rclone-dots", "..path2", "rclone "),
            ("onedrive", "-home-safeBackup-0001", "onedrive "), ("google", " (1)", "google-drive "),
            ("seafile", " (SFConflict ann 2024-05-01-10-02-03)", "seafile " + both),
            ("seafile-nobody", " (SFConflict 2024-05-01-10-02-03)", "seafile " + both),
            ("seafile-timeless", " (SFConflict ann)", "seafile "),
            ("seafile-older", " (ann 2024-05-01-10-02-03)", "seafile " + both),
            ("seafile-oldest", " (2024-05-01-10-02-03)", "seafile " + both),
            ("pcloud", " [conflicted]", "pcloud "), ("pcloud-round", " (conflicted 2)", "pcloud "),
            ("pcloud-tight", "(conflicted)", "pcloud "), ("pcloud-dot", ".conflicted", "pcloud "),
            ("unison", " (conflict_on_2024-05-01)", "unison " + day),
            ("unison-number", " (conflict #2_on_2024-05-01)", "unison " + day),
            ("unison-deleted", " (conflict #2_on_2024-05-01_was_deleted)", "unison " + day),
            ("resilio", ".Conflict", "resilio "), ("resilio-number", ".Conflict2", "resilio "),
            ("unknown", ".conf", ""), ("behind-a-form", " (1).conf", ""), ("syncthing-lower", ".sync-conflict-20240501-100203-abcdefg", ""),
            ("no-suffix", "", ""), ("not-utf8", b"\xff\n", "")):
        case(name, "report.odt", suffix, words, "report", ".odt", "client and time, where the suffix as a whole has a known form")
    for name, of, stem, ext in (("two-dots", "a.tar.gz", "a.tar", ".gz"), ("leading-dot", ".bashrc", ".bashrc", ""),
                                ("trailing-dot", "end.", "end.", ""), ("no-dot", "plain", "plain", ""),
                                ("of-a-copy", "x [conflict 00000000].c", "x [conflict 00000000]", ".c")):
        case(name, of, " (1)", "google-drive ", stem, ext, "where the mark goes")
    room = 255 - len(" [conflict google-drive 01234567]")
    case("long-stem", "n" * 250 + ".c", " (1)", "google-drive ", "n" * (room - 2), ".c", "the stem is shortened")
    case("long-ext", "n." + "e" * 250, " (1)", "google-drive ", "n", "", "an extension of more than 64 bytes is dropped")
    case("kept-ext", "n" * 180 + "." + "e" * 63, " (1)", "google-drive ", "n" * (room - 64), "." + "e" * 63, "one of 64 is kept")
    wide = "\u00e4" * 125
    case("characters", wide, " (1)", "google-drive ", wide[:room // 2], "", "whole characters in names that are UTF-8")
    raw = b"\xc3\xa4" * 125 + b"\xff"
    case("bytes", raw, " (1)", "google-drive ", raw[:room], "", "bytes in names that are not")
