"""What may become of a file: cut, longer, a bit, noise, and what a reader of text trips over.

Nothing here knows a format: fields are found by what JSON looks like.
"""

import random
import re
from collections.abc import Callable, Iterator

__all__ = ["KINDS", "mutations"]

_NUMBER = re.compile(rb"(?<=[:,\[ ])-?\d+(?:\.\d+)?(?=[,}\] \n])")
_PAIR = re.compile(rb'"[^"\\]*":\s*(?:"[^"\\]*"|[-\d.]+|true|false|null|\[\])')
_STRING = re.compile(rb'"[^"\\]*"')
_NUMBERS = [
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"9" * 5000,
    b"-1",
    b"-0.0",
    b"1e308",
    b"18446744073709551616",
]
_NESTED = [b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"":' * 100_000]


def _bits(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _noise(rng: random.Random, data: bytes) -> bytes:
    at, size = rng.randrange(len(data)), rng.choice([1, 4, 32, 500])
    return data[:at] + rng.randbytes(len(data[at : at + size])) + data[at + size :]


def _letters(rng: random.Random, data: bytes) -> bytes:
    """Another letter or digit in the place of one: what still is text of the same form."""
    places = [at for at, byte in enumerate(data) if chr(byte) in "0123456789abcdef"]
    if not places:
        return _bits(rng, data)
    at = rng.choice(places)
    return data[:at] + rng.choice(b"0123456789abcdef").to_bytes(1, "big") + data[at + 1 :]


def _put(rng: random.Random, data: bytes, pattern: re.Pattern[bytes], new: bytes) -> bytes:
    found = list(pattern.finditer(data))
    if not found:
        return new
    chosen = rng.choice(found)
    return data[: chosen.start()] + new + data[chosen.end() :]


def _twice(rng: random.Random, data: bytes) -> bytes:
    """A key that is there twice, with two values."""
    pairs = _PAIR.findall(data)
    if not pairs:
        return data + data
    one, other = rng.choice(pairs), rng.choice(pairs)
    again = one.partition(b":")[0] + b":" + other.partition(b":")[2]
    return data.replace(one, rng.choice([again + b"," + one, one + b"," + again]), 1)


KINDS: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "empty": lambda *_: b"",
    "truncated": lambda rng, data: data[: rng.randrange(len(data))],
    "extended": lambda rng, data: data + rng.choice([b"\0", b"\n", b" ", rng.randbytes(64), data]),
    "bits": _bits,
    "letters": _letters,
    "noise": _noise,
    "random bytes": lambda rng, data: rng.randbytes(rng.choice([1, len(data), 5000])),
    "not UTF-8": lambda rng, data: _put(rng, data, _STRING, b'"\xff\xfe\xed\xa0\x80"'),
    "nested": lambda rng, data: _put(
        rng, data, rng.choice([_NUMBER, _STRING, re.compile(rb"\A(?s:.*)\Z")]), rng.choice(_NESTED)
    ),
    "numbers": lambda rng, data: _put(rng, data, _NUMBER, rng.choice(_NUMBERS)),
    "twice": _twice,
}


def mutations(rng: random.Random, data: bytes, kind: str, count: int) -> Iterator[bytes]:
    """Yield up to `count` mutations of a kind, each other than the file."""
    for _ in range(count):
        changed = KINDS[kind](rng, data)
        if changed != data:
            yield changed
