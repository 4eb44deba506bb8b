"""Ways in which a file may be damaged or odd, each drawn by a generator with a seed."""

from __future__ import annotations

import gzip
import json
import os
import socket
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import nibabel as nib
import yaml

Damage = Callable[[Random, bytes], bytes]

_WORDS = [
    *(b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\0\0\0"),
    *(struct.pack("<f", x) for x in (float("nan"), float("inf"), -1.0, 2.9e9, 1e38, 0.5)),
    *(struct.pack("<I", x) for x in (1, 2**16, 2**24, 2**31 - 1)),
    *(b"\0", b"\n", b"{", b"[", b'"', b"<", b"PK\x03\x04", b"\x1f\x8b"),
]
_NUMBERS = [0, -1, 1, 2, 7, 255, 256, 32767, -32768, 2**31 - 1, 2.9e9, -352.0, 0.5, 1e-9, 1e38]
_SCALARS = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        3,
        0.5,
        1e308,
        -1e-300,
        2**31,
        2**70,
        float("nan"),
        float("inf"),
    ),
    *("", "x", "1", "nan", "../..", "/dev/zero", "a\nb", "\x1b[31m", "\0", "\ud800", "\udcfc", "é"),
    *("x" * 5000, "@" + "9" * 5000, ".hidden", "CON", "1e400", "-0", "2024-13-45", "!!int x"),
]


def bytes_changed(random: Random, content: bytes) -> bytes:
    """Some bytes are others, missing, doubled or cut off."""
    data = bytearray(content)
    for _ in range(random.choice([1, 1, 2, 5, 30])):
        # Headers are where most can go wrong.
        at = random.randrange(min(len(data), random.choice([64, 400, 2**20])) or 1)
        end = at + random.choice([1, 2, 4, 16, 300])
        match random.randrange(5):
            case 0:
                data[at : at + 1] = bytes([random.randrange(256)])
            case 1:
                word = random.choice(_WORDS)
                data[at : at + len(word)] = word
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = data[at:end]
            case _:
                data[at:at] = random.choice(_WORDS)
    return bytes(data)


def cut(random: Random, content: bytes) -> bytes:
    """It ends early."""
    return content[: random.choice([0, 1, 2, 10, random.randrange(len(content) + 1)])]


def more(random: Random, content: bytes) -> bytes:
    """Something follows."""
    return content + random.choice([b"\0" * 9, b"\0" * 2**21, b"junk" * 99, content, b"\xff"])


def other(random: Random, content: bytes) -> bytes:
    """It is something else."""
    texts = ["", "{}", "[]", "null", "1", '"x"', "[" * 5000, "{" * 5000, '{"a":' * 5000, "\ufeff{}"]
    texts += ["a: &a [*a]", "<html>", "NaN", "- " * 5000, "9" * 5000, "a,b\n1\n", "%YAML 9.9\n---"]
    return random.choice(
        [*(text.encode() for text in texts), b"\xff\xfe\0\0", os.urandom(0) + b"\0"]
    )


def tree_changed(random: Random, tree: Any) -> Any:
    """Plain data, a value of which is another, missing, doubled, renamed or nested."""
    tree = json.loads(json.dumps(tree))
    for _ in range(random.choice([1, 1, 1, 2, 4])):
        holder, key = _place(random, tree)
        if holder is None:
            return random.choice([*_SCALARS, [tree], {"a": tree}])
        match random.randrange(6):
            case 0 | 1:
                holder[key] = random.choice(_SCALARS)
            case 2:
                del holder[key]
            case 3:
                holder[key] = random.choice([[holder[key]], {"a": holder[key]}, [], {}, [[]], [{}]])
            case 4 if isinstance(holder, dict):
                holder[str(random.choice(_SCALARS))] = holder.pop(key)
            case 4:
                holder.append(holder[key])
            case _:
                nested: Any = holder[key]
                for _ in range(random.choice([3, 60, 400])):
                    nested = [nested]
                holder[key] = nested
    return tree


def _place(random: Random, tree: Any) -> tuple[Any, Any]:
    """A list or mapping in a tree, and one of its keys; None if there is none."""
    holder, key = None, None
    here = tree
    while isinstance(here, dict | list) and here and (holder is None or random.random() < 0.75):
        holder, key = here, random.choice([*here] if isinstance(here, dict) else range(len(here)))
        here = here[key]
    return holder, key


def written(random: Random, tree: Any) -> bytes:
    """Plain data as JSON, at times with a number of thousands of digits, or a key twice."""
    text = json.dumps(tree).replace('"@99', "99").replace("99" + '"', "99")
    if random.random() < 0.1 and '": ' in text:
        at = text.index('": ')
        start = text.rindex('"', 0, at)
        text = text[:start] + text[start:at] + '": 1, ' + text[start:]
    return text.encode("utf-8", "surrogatepass")


def json_changed(random: Random, content: bytes) -> bytes:
    return written(random, tree_changed(random, json.loads(content)))


def yaml_changed(random: Random, content: bytes) -> bytes:
    # JSON is YAML.
    return written(random, tree_changed(random, yaml.safe_load(content)))


def lines_changed(random: Random, content: bytes) -> bytes:
    """A cell or line of a table is another, missing or there twice."""
    rows = [line.split(b",") for line in content.splitlines()]
    row = random.randrange(len(rows))
    cell = random.randrange(len(rows[row]))
    match random.randrange(5):
        case 0 | 1:
            value = str(random.choice(_SCALARS)).encode("utf-8", "surrogatepass")
            rows[row][cell] = random.choice([value, b'"', b"\xff", b'"a\nb"', b"x" * 200_000])
        case 2:
            del rows[row][cell]
        case 3:
            del rows[row]
        case _:
            rows.insert(row, rows[row])
    return b"\n".join(b",".join(row) for row in rows) + b"\n"


def nifti_changed(random: Random, content: bytes) -> bytes:
    """Fields of the header are others; packed as it was."""
    packed = content[:2] == b"\x1f\x8b"
    content = gzip.decompress(content) if packed else content
    header = nib.Nifti1Header(content[:348], check=False)
    names = [name for name in header.structarr.dtype.names if name not in {"magic", "db_name"}]
    for _ in range(random.choice([1, 1, 2, 4])):
        field = header.structarr[random.choice(names)]
        where = tuple(random.randrange(size) for size in field.shape)
        with suppress(ValueError, OverflowError, TypeError):
            field[where] = random.choice([*_NUMBERS, float("nan"), float("inf")])
    content = header.binaryblock + content[348:]
    if random.random() < 0.2:
        content = bytes_changed(random, content)
    return gzip.compress(content, 1) if packed else content


def png_changed(random: Random, content: bytes) -> bytes:
    """Its size and kind are others, with the right checksum."""
    size = (random.choice([0, 1, 9, 5000, 8192, 32767, 2**31 - 1]) for _ in range(2))
    kind = random.choice([1, 2, 4, 8, 16, 3]), random.choice([0, 2, 3, 4, 6, 7]), 0, 0, 0
    head = b"IHDR" + struct.pack(">IIBBBBB", *size, *kind)
    return content[:12] + head + struct.pack(">I", zlib.crc32(head)) + content[33:]


def jpeg_changed(random: Random, content: bytes) -> bytes:
    """Its size is another."""
    at = content.index(b"\xff\xc0") + 5
    sides = [random.choice([0, 1, 9, 600, 5000, 8192, 32767, 65535]) for _ in range(2)]
    return content[:at] + struct.pack(">HH", *sides) + content[at + 4 :]


def tiff_changed(random: Random, content: bytes) -> bytes:
    """Values of its tags are others."""
    data = bytearray(content)
    start = struct.unpack_from("<I", content, 4)[0]
    count = struct.unpack_from("<H", content, start)[0]
    for _ in range(random.choice([1, 1, 2, 3])):
        at = start + 2 + 12 * random.randrange(count)
        field, form = random.choice(
            [(0, "<H"), (2, "<H"), (4, "<I"), (8, "<I"), (8, "<I"), (8, "<I")]
        )
        value = random.choice([0, 1, 2, 3, 5, 8, 16, 32, 255, 8192, 32767, 65535, 2**31, 2**32 - 1])
        struct.pack_into(form, data, at + field, value & (0xFFFF if form == "<H" else 0xFFFFFFFF))
    return bytes(data)


def bmp_changed(random: Random, content: bytes) -> bytes:
    data = bytearray(content)
    at = random.choice([10, 14, 18, 22, 26, 28, 30, 34, 46])
    struct.pack_into(
        "<i", data, at, random.choice([0, -1, 1, 2, 9, 8192, 32767, 2**31 - 1, -(2**31)])
    )
    return bytes(data)


def model_changed(random: Random, content: bytes) -> bytes:
    """What volseg tells in the header of safetensors, or that header itself, is another."""
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    if random.random() < 0.7:
        told = json_changed(random, header["__metadata__"]["volseg"].encode())
        header["__metadata__"]["volseg"] = told.decode("utf-8", "replace")
    else:
        header = tree_changed(random, header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + size :]


def npy_changed(random: Random, content: bytes) -> bytes:
    """The header of an array is another."""
    size = struct.unpack("<H", content[8:10])[0]
    text = content[10 : 10 + size].decode("latin-1")
    old, new = random.choice(
        [
            *(("(", "(9999999, "), ("<", ">"), ("False", "True"), ("|u1", "|O"), ("<f2", "<f8")),
            *(("1", "99999999999"), ("'descr'", "'x'"), ("{", "{" * 500), ("shape", "shapes")),
        ]
    )
    text = text.replace(old, new, 1)[:size].ljust(size)
    return content[:10] + text.encode("latin-1") + content[10 + size :]


def no_regular_file(random: Random, path: Path) -> None:
    """Put something that is no regular file in the place of one."""
    path.unlink()
    match random.randrange(5):
        case 0:
            os.mkfifo(path)
        case 1:
            path.mkdir()
        case 2:
            path.symlink_to(path.name)
        case 3:
            path.symlink_to("/dev/zero")
        case _:
            with socket.socket(socket.AF_UNIX) as bound, suppress(OSError):
                bound.bind(os.path.relpath(path))
