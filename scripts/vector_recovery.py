"""Vectors of recovery codes and shares; FORMAT.md section 5.1.

`text` and `share` are what somebody typed, its UTF-8 in hex. `group` is the one
that the refusal names, counted from 1. Every case is held against the reader of
keepfs_recovery before it is written.
"""

import itertools

import keepfs_recovery as r
from vector_base import Cases, flip, noise

CODE, OTHER_CODE = noise("recovery code", 32), noise("other recovery code", 32)


def split(label: str, threshold: int, count: int, set_id: int, code: bytes = CODE) -> "list[r.Share]":
    coefficients = [noise(f"{label} coefficient {power}", 32) for power in range(1, threshold)]
    return r.split(code, coefficients, count, set_id)


def recovery_cases(cases: Cases) -> None:
    def case(name, about, text, expect="ok", **fields):
        found, group = outcome(text)
        if (found, group) != (expect, fields.get("group")):
            raise AssertionError(f"recovery/{name}: {found} {group}, not {expect}")
        cases.add(f"recovery/{name}", about, expect, text=text.encode(), **fields)

    def code(name, about, text, value=CODE):
        if r.read(text) != value:
            raise AssertionError(f"recovery/{name}: another code")
        case(name, about, text, code=value)

    def share(name, about, one, text=""):
        if r.read(text or one.text()) != one:
            raise AssertionError(f"recovery/{name}: another share")
        case(name, about, text or one.text(), threshold=one.threshold, number=one.number, set=f"{one.set:04x}", y=one.y)

    good_codes(code)
    good_shares(share)
    bad_letters(case)
    bad_groups(case)
    bad_wholes(case)
    bad_shares(case)


def outcome(text: str) -> "tuple[str, int | None]":
    try:
        r.read(text)
    except r.Refused as refused:
        return refused.outcome, refused.group
    return "ok", None


def good_codes(code) -> None:
    groups = r.groups_of(r.code_digits(CODE))
    plain, run = "-".join(groups), "".join(groups)
    code("plain", "a code as it is printed", plain)
    code("other", "another one", r.code_text(OTHER_CODE), OTHER_CODE)
    code("zero", "256 bits zero", r.code_text(bytes(32)), bytes(32))
    code("ones", "256 bits one", r.code_text(b"\xff" * 32), b"\xff" * 32)
    counting = bytes(range(32))
    code("counting", "bytes that count, so that their order shows", r.code_text(counting), counting)
    code("first-bit", "only the first bit of R: the last of the first digit", r.code_text(b"\x80" + bytes(31)),
         b"\x80" + bytes(31))
    code("last-bit", "only the last bit of R", r.code_text(bytes(31) + b"\1"), bytes(31) + b"\1")
    code("lower-case", "lower case", plain.lower())
    code("mixed-case", "every second letter in lower case",
         "".join(a + b.lower() for a, b in itertools.zip_longest(plain[::2], plain[1::2], fillvalue="")))
    code("no-hyphens", "one run of 70 letters", run)
    code("spaces", "spaces instead of hyphens", " ".join(groups))
    code("lines", "groups on lines of their own", "\n".join(groups) + "\n")
    code("two-lines", "seven groups a line, ended as Windows does",
         "-".join(groups[:7]) + "\r\n" + "-".join(groups[7:]) + "\r\n")
    code("white-space", "tabs, spaces around hyphens, empty lines, and some before and behind",
         "\n \t" + "\t-  \n\n".join(groups) + " \r\n ")
    code("hyphens", "hyphens before, behind, and two in a row", "-" + "--".join(groups) + "-")
    code("pairs", "groups run together by twos", " ".join(a + b for a, b in zip(groups[::2], groups[1::2])))
    code("one-gap", "one hyphen forgotten", plain[:29] + plain[30:])
    code("long-runs", "a run of 12 letters and one of 58: long runs may end anywhere", run[:12] + " " + run[12:])
    code("short-last", "the last piece may have any length", run[:67] + " " + run[67:])
    look_alikes(code)


def look_alikes(code) -> None:
    """Digits 0 and 1 in turn, so that both stand in every group."""
    text = r.text_of([0, 1] * 26)
    value = r.read(text)
    code("zeros-and-ones", "digits 0 and 1 in turn", text, value)
    for name, zero, one in (("upper", "O", "I"), ("lower", "o", "i"), ("upper-l", "O", "L"), ("lower-l", "0", "l")):
        code(f"look-alikes-{name}", f"{zero} for 0 and {one} for 1",
             text.replace("0", zero).replace("1", one), value)


def good_shares(share) -> None:
    two, three, five = split("two", 2, 3, 0xA1B2), split("three", 3, 5, 0x0001), split("five", 5, 7, 0x8000)
    share("share-2-1", "the first share of 2 of 3", two[0])
    share("share-2-3", "the last of them", two[2])
    share("share-3-5", "the last share of 3 of 5; the lowest bit of set", three[4])
    share("share-5-7", "the last share of 5 of 7; the highest bit of set", five[6])
    share("share-set-zero", "set may be zero", two[1]._replace(set=0))
    share("share-set-ones", "and ones", two[1]._replace(set=0xFFFF))
    share("share-y-zero", "y zero", r.Share(2, 1, 0xA1B2, bytes(32)))
    share("share-y-ones", "y ones", r.Share(2, 1, 0xA1B2, b"\xff" * 32))
    share("share-128", "M = 128 sets the last bit of the first digit",
          r.Share(128, 200, 0x1234, noise("share 128", 32)))
    share("share-255", "the largest M and number", r.Share(255, 255, 0xFFFF, noise("share 255", 32)))
    groups = r.groups_of(two[0].digits())
    share("share-lower-case", "lower case", two[0], two[0].text().lower())
    share("share-no-hyphens", "one run of 80 letters", two[0], "".join(groups))
    share("share-lines", "four groups a line", two[0],
          "".join(" ".join(groups[at : at + 4]) + "\n" for at in range(0, 16, 4)))


def other_letter(letter: str, by: int = 7) -> str:
    return r.LETTERS[(r.VALUES[letter] + by) % 32]


def with_letter(groups: "list[str]", group: int, at: int, letter: str) -> str:
    """The text with one letter replaced; groups are counted from 1."""
    old = groups[group - 1]
    return "-".join(groups[: group - 1] + [old[:at] + letter + old[at + 1 :]] + groups[group:])


def with_group(groups: "list[str]", group: int, new: str) -> str:
    return "-".join(groups[: group - 1] + [new] + groups[group:])


def bad_letters(case) -> None:
    groups = r.groups_of(r.code_digits(CODE))

    def letter(name, about, group, text):
        case(f"letter-{name}", about, text, "bad-letter", group=group)

    letter("u", "U is none of the letters", 7, with_letter(groups, 7, 2, "U"))
    letter("u-lower", "nor is u", 7, with_letter(groups, 7, 2, "u"))
    letter("first", "the very first letter", 1, with_letter(groups, 1, 0, "U"))
    letter("last", "the very last letter", 14, with_letter(groups, 14, 4, "*"))
    letter("check", "a check letter", 3, with_letter(groups, 3, 4, "="))
    letter("umlaut", "a letter that is not ASCII", 9, with_letter(groups, 9, 0, "\u00e4"))
    letter("look-alike-cyrillic", "a Cyrillic letter that looks like A", 9, with_letter(groups, 9, 0, "\u0410"))
    letter("in-run", "in a text without hyphens", 10, "".join(groups)[:48] + "!" + "".join(groups)[49:])
    letter("underscores", "underscores do not separate", 2, "_".join(groups))
    letter("two", "two of them: the first is named", 4,
           with_letter(with_letter(groups, 4, 1, "U").split("-"), 11, 1, "U"))
    letter("before-group", "named although an earlier group has a wrong letter", 11,
           with_letter(with_letter(groups, 2, 1, other_letter(groups[1][1])).split("-"), 11, 1, "U"))
    letter("in-short-code", "named although groups are missing", 3, with_letter(groups[:5], 3, 1, "U"))
    letter("behind", "behind a whole code", 15, "-".join(groups) + " (mine)")

    def length(name, about, group, new):
        case(f"length-{name}", about, with_group(groups, group, new), "group-length", group=group)

    length("4", "one letter left out", 6, groups[5][:2] + groups[5][3:])
    length("6", "one letter twice", 6, groups[5][:2] + groups[5][1:])
    length("1", "one letter only", 6, groups[5][:1])
    length("first", "one letter left out of the first group", 1, groups[0][:4])
    length("before-last", "one letter left out of the last group but one", 13, groups[12][1:])
    length("split", "a space in a group", 8, groups[7][:3] + " " + groups[7][3:])
    case("length-9", "two groups run together, and one letter left out",
         "-".join(groups[:4] + [groups[4] + groups[5][1:]] + groups[6:]), "group-length", group=5)
    case("length-two", "two groups of a wrong length: the first is named",
         "-".join(groups[:4] + [groups[4][:4]] + groups[5:9] + [groups[9] + "0"] + groups[10:]),
         "group-length", group=5)
    case("length-before-group", "named although an earlier group has a wrong letter",
         with_group(with_letter(groups, 2, 1, other_letter(groups[1][1])).split("-"), 6, groups[5][:4]),
         "group-length", group=6)


def bad_groups(case) -> None:
    groups = r.groups_of(r.code_digits(CODE))
    run = "".join(groups)

    def bad(name, about, group, text):
        case(f"group-{name}", about, text, "bad-group", group=group)

    for group in (1, 7, 13, 14):
        for at in range(5):
            # In the first letter of all, 4 of the 5 bits are the kind.
            old = groups[group - 1][at]
            letter = r.LETTERS[r.VALUES[old] ^ 1] if (group, at) == (1, 0) else other_letter(old)
            bad(f"{group}-letter-{at + 1}", f"a wrong letter in group {group}, at {at + 1}", group,
                with_letter(groups, group, at, letter))
    for bit in range(5):
        bad(f"bit-{bit}", f"a letter whose value differs in bit {bit}", 5,
            with_letter(groups, 5, 1, r.LETTERS[r.VALUES[groups[4][1]] ^ 1 << bit]))
    bad("kind-of-share", "a code whose first letter became that of a share", 1,
        with_letter(groups, 1, 0, r.LETTERS[r.VALUES[groups[0][0]] ^ 2]))
    for at in range(4):
        group = next(n for n in range(3, 14) if groups[n][at] != groups[n][at + 1]) + 1
        old = groups[group - 1]
        bad(f"transposed-{at + 1}", f"letters {at + 1} and {at + 2} of group {group} exchanged", group,
            with_group(groups, group, old[:at] + old[at + 1] + old[at] + old[at + 2 :]))
    bad("transposed-far", "the first and the last letter of a group exchanged", 11,
        with_group(groups, 11, groups[10][4] + groups[10][1:4] + groups[10][0]))
    bad("transposed-across", "the last letter of group 4 and the first of group 5 exchanged", 4,
        "-".join(groups[:3] + [groups[3][:4] + groups[4][0], groups[3][4] + groups[4][1:]] + groups[5:]))
    for first, second in ((2, 3), (4, 5), (3, 10), (2, 14), (13, 14)):
        swapped = list(groups)
        swapped[first - 1], swapped[second - 1] = groups[second - 1], groups[first - 1]
        bad(f"exchanged-{first}-{second}", f"groups {first} and {second} exchanged", first, "-".join(swapped))
    bad("left-out", "a whole group left out", 6, "-".join(groups[:5] + groups[6:]))
    bad("two", "two wrong groups: the first is named", 4,
        with_letter(with_letter(groups, 4, 1, other_letter(groups[3][1])).split("-"), 9, 1, other_letter(groups[8][1])))
    bad("letter-left-out", "a letter left out of a text without hyphens", 6, run[:26] + run[27:])
    bad("in-short-code", "named although groups are missing", 3,
        with_letter(groups[:5], 3, 1, other_letter(groups[2][1])))
    zero = r.groups_of(r.code_digits(bytes(32)))
    bad("without-number", "the check of group 1, that of zeros, in group 2", 2, with_group(zero, 2, zero[0]))
    share = r.groups_of(split("two", 2, 3, 0xA1B2)[0].digits())
    for group in (1, 8, 16):
        bad(f"share-{group}", f"a wrong letter in group {group} of a share", group,
            with_letter(share, group, 2, other_letter(share[group - 1][2])))


def cancelling(group: str) -> str:
    """Two wrong letters in a group, chosen so that the check digit still holds:
    a*x + a^2*y is zero for x = a*y."""
    first, second = (r.VALUES[letter] for letter in group[:2])
    return r.letters([first ^ r.times_a(1), second ^ 1]) + group[2:]


def bad_wholes(case) -> None:
    groups, others = r.groups_of(r.code_digits(CODE)), r.groups_of(r.code_digits(OTHER_CODE))
    share = r.groups_of(split("two", 2, 3, 0xA1B2)[0].digits())
    sibling = r.groups_of(split("two", 2, 3, 0xA1B2)[1].digits())

    def wrong_sum(name, about, parts):
        case(f"sum-{name}", about, "-".join(parts), "bad-sum")

    wrong_sum("mixed", "groups of two codes, half and half", groups[:7] + others[7:])
    wrong_sum("mixed-one", "one group of another code", groups[:4] + others[4:5] + groups[5:])
    wrong_sum("of-other", "the last group of another code", groups[:13] + others[13:])
    wrong_sum("two-letters", "two wrong letters in a group that its check digit does not notice",
              groups[:5] + [cancelling(groups[5])] + groups[6:])
    wrong_sum("two-letters-last", "the same in the group of the sum", groups[:13] + [cancelling(groups[13])])
    wrong_sum("mixed-shares", "groups of two shares of a set", share[:9] + sibling[9:])

    def incomplete(name, about, text):
        case(f"cut-{name}", about, text, "incomplete")

    case("empty", "nothing typed", "", "incomplete")
    case("blank", "white space and hyphens", " \n--\t", "incomplete")
    for count in (1, 7, 12, 13):
        incomplete(str(count), f"a code after group {count}", "-".join(groups[:count]))
    for count in (1, 14, 15):
        incomplete(f"share-{count}", f"a share after group {count}", "-".join(share[:count]))
    incomplete("letter", "the first letter of a code", groups[0][0])
    incomplete("in-group", "a code after two letters of group 9", "-".join(groups[:8] + [groups[8][:2]]))
    incomplete("last-letter", "the last letter is missing", "-".join(groups)[:-1])
    incomplete("hyphen", "cut behind a hyphen", "-".join(groups[:13]) + "-")
    incomplete("run", "69 letters without a hyphen", "".join(groups)[:-1])
    incomplete("share-last-letter", "the last letter of a share is missing", "-".join(share)[:-1])

    def too_long(name, about, text):
        case(f"long-{name}", about, text, "too-long")

    fifteenth = r.letters([1, 2, 3, 4, r.check_digit([1, 2, 3, 4], 14)])
    too_long("letter", "one letter more", "-".join(groups) + "0")
    too_long("group", "one group more, with a check digit", "-".join(groups + [fifteenth]))
    too_long("twice", "a code typed twice", "-".join(groups * 2))
    too_long("run", "71 letters without a hyphen", "".join(groups) + "0")
    too_long("before-group", "said although a letter is wrong",
             with_letter(groups, 4, 1, other_letter(groups[3][1])) + "-00000")
    too_long("share-letter", "a share and one letter more", "-".join(share) + "0")
    too_long("shares", "two shares in one text", "-".join(share) + "\n" + "-".join(sibling))
    too_long("share-sum", "a code with the digits of a share", r.text_of(r.digits_of((4, r.CODE), (296, 1))))

    def unknown(name, about, text):
        case(f"kind-{name}", about, text, "unknown-kind")

    for kind in (2, 3, 8, 15):
        unknown(str(kind), f"kind {kind} is not defined, in the length of a code",
                r.text_of(r.digits_of((4, kind), (256, int.from_bytes(CODE, "big")))))
    unknown("2-share", "kind 2 in the length of a share", r.text_of(r.digits_of((4, 2), (296, 1))))
    unknown("2-longer", "kind 2, longer than a share", r.text_of(r.digits_of((4, 2), (396, 1))))
    unknown("2-shorter", "kind 2, shorter than a code", r.text_of(r.digits_of((4, 2), (136, 1))))


def bad_shares(case) -> None:
    good = split("two", 2, 3, 0xA1B2)[0]

    def bad(name, about, digits):
        case(f"share-bad-{name}", about, r.text_of(digits), "bad-share")

    bad("threshold-1", "M = 1 would be the code itself", good._replace(threshold=1).digits())
    bad("threshold-0", "M = 0", good._replace(threshold=0).digits())
    bad("number-0", "x = 0 would be the code itself", good._replace(number=0).digits())
    for bit in range(8):
        bad(f"tail-{bit}", f"bit {bit} behind y is not zero", good.digits(tail=1 << bit))
    bad("tail-ones", "no bit behind y is zero", good.digits(tail=0xFF))


def recovery_set_cases(cases: Cases) -> None:
    def case(name, about, texts, expect="ok", **fields):
        found = set_outcome(texts)
        if found != fields.get("code", expect):
            raise AssertionError(f"recovery-set/{name}: {found}, not {expect}")
        cases.add(f"recovery-set/{name}", about, expect, share=[text.encode() for text in texts], **fields)

    def good(name, about, shares, code=CODE):
        case(name, about, [share.text() for share in shares], code=code)

    def bad(name, about, shares, expect):
        case(name, about, [share.text() for share in shares], expect)

    good_sets(good)
    two = split("two", 2, 3, 0xA1B2)
    case("typed", "lower case, no hyphens, a line feed behind",
         [two[0].text().lower(), two[2].text().replace("-", "") + "\n"], code=CODE)
    bad_sets(bad)


def set_outcome(texts: "list[str]") -> "bytes | str":
    try:
        return r.combine([r.read(text) for text in texts])
    except r.Refused as refused:
        return refused.outcome


def good_sets(good) -> None:
    two, three, five = split("two", 2, 3, 0xA1B2), split("three", 3, 5, 0x0001), split("five", 5, 7, 0x8000)
    for pair in itertools.combinations(two, 2):
        numbers = [share.number for share in pair]
        good(f"2-of-3-{numbers[0]}-{numbers[1]}", f"shares {numbers[0]} and {numbers[1]} of 2 of 3", pair)
    good("2-of-3-all", "one more than needed", two)
    good("2-of-3-reversed", "in another order", two[::-1])
    good("2-of-3-twice", "one share twice, then another: it counts once", [two[0], two[0], two[1]])
    good("2-of-3-twice-late", "a share again after there were enough", [two[0], two[1], two[0]])
    good("2-of-2", "both of two", split("two of two", 2, 2, 0x0000))
    for numbers in itertools.combinations(range(1, 6), 3):
        name = "-".join(str(number) for number in numbers)
        good(f"3-of-5-{name}", "three of five", [three[number - 1] for number in numbers])
    good("3-of-5-order", "three of five, in no order", [three[3], three[0], three[4]])
    good("3-of-5-all", "all five", three)
    good("5-of-7-first", "the first five of seven", five[:5])
    good("5-of-7-last", "the last five", five[2:])
    good("5-of-7-order", "five of seven, in no order", [five[n] for n in (6, 1, 4, 0, 3)])
    good("5-of-7-six", "one more than needed", [five[n] for n in (5, 2, 6, 0, 1, 3)])
    good("5-of-7-all", "all seven, one of them twice", [*five, five[3]])
    many = split("many", 3, 255, 0xFFFF)
    good("3-of-255", "numbers up to 255", [many[254], many[0], many[127]])
    good("zero", "a code of zeros", split("zero", 3, 3, 0x1234, bytes(32)), bytes(32))
    good("ones", "a code of ones", split("ones", 3, 3, 0x1234, b"\xff" * 32), b"\xff" * 32)
    flat = r.split(CODE, [bytes(32)], 2, 0x5555)
    good("flat", "a coefficient may be zero by chance: y is R in every share", flat)


def bad_sets(bad) -> None:
    two, three, five = split("two", 2, 3, 0xA1B2), split("three", 3, 5, 0x0001), split("five", 5, 7, 0x8000)
    bad("few-1-of-2", "one share of 2 of 3", two[:1], "too-few")
    bad("few-same", "one share twice is still one", [two[1], two[1]], "too-few")
    bad("few-2-of-3", "two shares of 3 of 5", three[1:3], "too-few")
    bad("few-4-of-5", "four shares of 5 of 7", five[3:], "too-few")
    bad("few-4-of-5-twice", "four shares of 5 of 7, one of them twice", [*five[:4], five[2]], "too-few")
    later = split("two later", 2, 3, 0xA1B3)
    bad("other-set", "shares of two sets of one code", [two[0], later[1]], "other-set")
    bad("other-set-same-number", "shares of two sets with one number", [two[0], later[0]], "other-set")
    bad("other-set-late", "two of three, then one of another set",
        [three[0], three[1], split("three later", 3, 5, 0x0101)[2]], "other-set")
    bad("other-set-code", "shares of two codes", [two[0], split("two other", 2, 3, 0x2B1A, OTHER_CODE)[1]], "other-set")
    bad("other-threshold", "one set number but another M: not made together",
        [two[0], split("three", 3, 5, 0xA1B2)[1]], "other-set")
    bad("same-number", "one number and set, another y", [two[0], two[0]._replace(y=flip(two[0].y, 31))], "same-number")
    bad("same-number-late", "the same, after another share", [three[3], three[0], three[3]._replace(y=three[1].y)],
        "same-number")
