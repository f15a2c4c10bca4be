"""Ways to damage a file, as downloads, editors and spreadsheets do, and as attackers would."""

from __future__ import annotations

import gzip
import random
import re
from collections.abc import Callable

Files = dict[str, bytes]
_NUMBER = re.compile(rb"-?\d+")
_NASTY = (
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r\n", b"\r", b"\n\n", b"\t", b"|",
    b"||", b'"', b"\\", b"{", b"}", b"[", b"]", b"<", b">", b"&", b"&x;", b"!", b":", b",", b";",
    b"+", b"null", b"NaN", b"1e999", b"true", b"{}", b"[]", b'""', b"\xc2\x85", b"\xe2\x80\xa8",
    b"\x0b", b"\x1a", b"\x1c", "İ".encode(), "𝒳".encode(), "é".encode("latin-1"),
    "e\u0301".encode(), b"\\ud800", b"\\u0000", b"A" * 10_000, b"[" * 2_000, b"<a>" * 2_000,
    b'<!DOCTYPE a [<!ENTITY x "xx"><!ENTITY y "&x;&x;">]>', b"../../etc/passwd",
)  # fmt: skip
_NUMBERS = (
    b"0", b"-1", b"1", b"999999999", b"99999999999999999999999", b"1.5", b"1e5", b"", b"x", b"007",
    "٣".encode(), "²".encode(), b"9" * 5_000,
)  # fmt: skip


def damaged(files: Files, rng: random.Random) -> Files:
    """A copy of files with one to four damages, most of them in one file."""
    result = dict(files)
    name = rng.choice(list(result))
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        if rng.random() < 0.1:
            name = rng.choice(list(result))
        result[name] = rng.choice(_DAMAGES)(result[name], rng)
    if len(result) > 1 and rng.random() < 0.03:
        del result[rng.choice(list(result))]
    if len(result) == 1 and rng.random() < 0.05:
        name = next(iter(result))
        packed = gzip.compress(result.pop(name), mtime=0)
        # The name of a single file is how formats are told apart: it stays the first part.
        result[name if rng.random() < 0.5 else name + ".gz"] = (
            packed if rng.random() < 0.5 else rng.choice(_DAMAGES)(packed, rng)
        )
    return result


def _flip(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _insert(content: bytes, rng: random.Random) -> bytes:
    at = rng.choice((0, len(content), rng.randint(0, len(content))))
    return content[:at] + rng.choice(_NASTY) + content[at:]


def _delete(content: bytes, rng: random.Random) -> bytes:
    at = rng.randint(0, len(content))
    return content[:at] + content[at + rng.choice((1, 1, 2, 8, 64)) :]


def _truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randint(0, len(content))]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    begin = rng.randint(0, len(content))
    piece = content[begin : begin + rng.randint(0, 200)]
    at = rng.randint(0, len(content))
    return content[:at] + piece * rng.choice((1, 1, 2, 20)) + content[at:]


def _number(content: bytes, rng: random.Random) -> bytes:
    numbers = list(_NUMBER.finditer(content))
    if not numbers:
        return _flip(content, rng)
    match = rng.choice(numbers)
    changed = rng.choice((*_NUMBERS, b"%d" % (int(match[0][:20]) + rng.choice((-1, 1, 7)))))
    return content[: match.start()] + changed + content[match.end() :]


def _lines(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    if len(lines) < 2:
        return _repeat(content, rng)
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    way = rng.randrange(4)
    if way == 0:
        lines[a], lines[b] = lines[b], lines[a]
    elif way == 1:
        lines.insert(b, lines[a])
    elif way == 2:
        del lines[a]
    else:
        lines[a : a + 2] = [b"".join(lines[a : a + 2]).replace(b"\n", b"")]
    return b"".join(lines)


def _columns(content: bytes, rng: random.Random) -> bytes:
    lines = content.split(b"\n")
    at = rng.randrange(len(lines))
    separator = rng.choice((b"\t", b"|", b",", b" ", b";", b":"))
    cells = lines[at].split(separator)
    a, b = rng.randrange(len(cells)), rng.randrange(len(cells))
    way = rng.randrange(4)
    if way == 0:
        cells[a], cells[b] = cells[b], cells[a]
    elif way == 1:
        del cells[a]
    elif way == 2:
        cells.insert(b, cells[a])
    else:
        cells[a] = rng.choice((b"", b" ", rng.choice(_NASTY)))
    lines[at] = separator.join(cells)
    return b"\n".join(lines)


def _encoding(content: bytes, rng: random.Random) -> bytes:
    try:
        text = content.decode("utf-8")
        return text.encode(rng.choice(("utf-16", "latin-1", "utf-8-sig", "utf-32", "cp1252")))
    except UnicodeError:
        return content[::-1]


def _line_ends(content: bytes, rng: random.Random) -> bytes:
    return content.replace(b"\n", rng.choice((b"\r\n", b"\r", b"\n\n", b"")))


def _swap_quotes(content: bytes, rng: random.Random) -> bytes:
    """A value of another kind where one in quotes stood."""
    parts = content.split(b'"')
    if len(parts) < 3:
        return _insert(content, rng)
    at = rng.randrange(1, len(parts) - 1)
    value = rng.choice((b"null", b"[]", b"{}", b"1", b"true", b'"x"', b"[[]]", b"[null]"))
    return b'"'.join(parts[:at]) + value + b'"'.join(parts[at + 1 :])


_DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip, _flip, _insert, _insert, _delete, _truncate, _repeat, _number, _number, _lines, _lines,
    _columns, _columns, _columns, _encoding, _line_ends, _swap_quotes,
)  # fmt: skip
