"""Recovery codes and shares; written from docs/FORMAT.md section 5.1 alone.

Like keepfs_format it shares nothing with the Rust code but the document. The
standard library is enough. There is a reader too, so that every vector is held
against the rules before it is written.
"""

import hashlib
import typing

# ------------------------------------------------------------------ letters

LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CODE, SHARE = 0, 1
DIGITS = {CODE: 52, SHARE: 60}
VALUES = {letter: value for value, letter in enumerate(LETTERS)}
VALUES.update({letter.lower(): value for letter, value in list(VALUES.items())})
VALUES.update({letter: 0 for letter in "Oo"})
VALUES.update({letter: 1 for letter in "IiLl"})
BETWEEN = " \t\r\n-"


def digits_of(*fields: "tuple[int, int]") -> "list[int]":
    """The digits of fields of (width, value), most significant bit first."""
    number = total = 0
    for width, value in fields:
        number, total = number << width | value, total + width
    return [number >> at & 31 for at in range(total - 5, -1, -5)]


def check_digit(four: "list[int]", group: int) -> int:
    """a*s0 + a^2*s1 + a^3*s2 + a^4*s3 + a^5*group, by Horner's rule."""
    sum_so_far = 0
    for digit in [group, *reversed(four)]:
        sum_so_far = times_a(sum_so_far ^ digit)
    return sum_so_far


def times_a(digit: int) -> int:
    doubled = digit << 1
    return doubled ^ 0b100101 if doubled & 32 else doubled


def letters_hash(digits: "list[int]") -> bytes:
    return hashlib.sha256(b"keepfs v1 letters" + bytes(digits)).digest()


def sum_of(digits: "list[int]") -> "list[int]":
    return [byte // 8 for byte in letters_hash(digits)[:4]]


def groups_of(digits: "list[int]") -> "list[str]":
    """Groups as they are written, the one of the sum included."""
    whole = digits + sum_of(digits)
    fours = [whole[at : at + 4] for at in range(0, len(whole), 4)]
    return [letters(four + [check_digit(four, group)]) for group, four in enumerate(fours)]


def letters(digits: "list[int]") -> str:
    return "".join(LETTERS[digit] for digit in digits)


def text_of(digits: "list[int]") -> str:
    return "-".join(groups_of(digits))

# --------------------------------------------------------- codes and shares

class Share(typing.NamedTuple):
    threshold: int
    number: int
    set: int
    y: bytes

    def digits(self, tail: int = 0) -> "list[int]":
        return digits_of(
            (4, SHARE), (8, self.threshold), (8, self.number), (16, self.set), (256, int.from_bytes(self.y, "big")),
            (8, tail),
        )

    def text(self) -> str:
        return text_of(self.digits())


def code_digits(code: bytes) -> "list[int]":
    return digits_of((4, CODE), (256, int.from_bytes(code, "big")))


def code_text(code: bytes) -> str:
    return text_of(code_digits(code))

# ------------------------------------------------------------------- shares

def times(left: int, right: int) -> int:
    """The product in GF(2^8) with z^8 + z^4 + z^3 + z^2 + 1."""
    product = 0
    while right:
        if right & 1:
            product ^= left
        left, right = left << 1, right >> 1
        if left & 0x100:
            left ^= 0b100011101
    return product


def inverse(value: int) -> int:
    return next(other for other in range(1, 256) if times(value, other) == 1)


def split(code: bytes, coefficients: "list[bytes]", count: int, set_id: int) -> "list[Share]":
    """Shares 1 to `count`. The coefficients are those of x, x^2 and so on, 32
    bytes each, so there is one fewer than shares are needed."""
    def value(constant: int, others: "tuple[int, ...]", x: int) -> int:
        total = 0
        for coefficient in reversed((constant, *others)):
            total = times(total, x) ^ coefficient
        return total

    columns = list(zip(code, zip(*coefficients)))
    return [
        Share(len(coefficients) + 1, x, set_id, bytes(value(constant, others, x) for constant, others in columns))
        for x in range(1, count + 1)
    ]


def interpolate(shares: "list[Share]") -> bytes:
    """f(0) of every byte, from shares of different numbers."""
    code = bytes(32)
    for one in shares:
        weight = 1
        for other in shares:
            if other.number != one.number:
                weight = times(weight, times(other.number, inverse(other.number ^ one.number)))
        code = bytes(total ^ times(weight, byte) for total, byte in zip(code, one.y))
    return code

# ------------------------------------------------------------------ reading

class Refused(Exception):
    """The outcome's name, and the group it names, counted from 1."""

    def __init__(self, outcome: str, group: "int | None" = None):
        super().__init__(outcome, group)
        self.outcome, self.group = outcome, group


def typed_digits(text: str) -> "list[int]":
    """The digits of a typed text. A piece that is too short, or has a letter
    too many, is refused if another follows it; long runs need no separators."""
    for separator in BETWEEN:
        text = text.replace(separator, " ")
    digits, before = [], 5
    for piece in text.split():
        if before != 5 and before < 10:
            raise Refused("group-length", (len(digits) - before) // 5 + 1)
        for letter in piece:
            if letter not in VALUES:
                raise Refused("bad-letter", len(digits) // 5 + 1)
            digits.append(VALUES[letter])
        before = len(piece)
    return digits


def checked_digits(text: str) -> "list[int]":
    """The digits without checks and sum."""
    typed = typed_digits(text)
    if not typed:
        raise Refused("incomplete")
    kind = typed[0] >> 1
    if kind not in DIGITS:
        raise Refused("unknown-kind")
    groups = DIGITS[kind] // 4 + 1
    if len(typed) > groups * 5:
        raise Refused("too-long")
    fives = [typed[at : at + 5] for at in range(0, len(typed) // 5 * 5, 5)]
    for group, five in enumerate(fives):
        if check_digit(five[:4], group) != five[4]:
            raise Refused("bad-group", group + 1)
    if len(typed) < groups * 5:
        raise Refused("incomplete")
    whole = [digit for five in fives for digit in five[:4]]
    if sum_of(whole[:-4]) != whole[-4:]:
        raise Refused("bad-sum")
    return whole[:-4]


def read(text: str) -> "bytes | Share":
    """R of a code, or a share."""
    digits = checked_digits(text)
    number = 0
    for digit in digits:
        number = number << 5 | digit
    if len(digits) == DIGITS[CODE]:
        return number.to_bytes(33, "big")[1:]
    body = number.to_bytes(38, "big")
    # 300 bits are 37 bytes and a half: the kind is the low half of the first.
    share = Share(body[1], body[2], int.from_bytes(body[3:5], "big"), body[5:37])
    if share.threshold < 2 or share.number == 0 or body[37] != 0:
        raise Refused("bad-share")
    return share


def combine(shares: "list[Share]") -> bytes:
    """R, from shares in the order in which they came."""
    first, by_number = shares[0], {}
    for share in shares:
        if (share.set, share.threshold) != (first.set, first.threshold):
            raise Refused("other-set")
        if by_number.setdefault(share.number, share) != share:
            raise Refused("same-number")
    if len(by_number) < first.threshold:
        raise Refused("too-few")
    return interpolate(list(by_number.values())[: first.threshold])


def self_test() -> None:
    """Both fields: z and a generate every element but zero."""
    products = [1]
    for _ in range(255):
        products.append(times(products[-1], 2))
    if products[8] != 0b11101 or len(set(products)) != 255 or products[255] != 1:
        raise AssertionError("z does not have order 255")
    powers = [1]
    for _ in range(31):
        powers.append(times_a(powers[-1]))
    if len(set(powers)) != 31 or powers[31] != 1:
        raise AssertionError("a does not have order 31")
