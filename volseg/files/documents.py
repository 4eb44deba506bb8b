"""Reading of JSON, YAML and CSV files: regular files of a limited size, into plain data.

A file of another program, or a failing disk, must not hang a command, fill its memory or end it
with a traceback. Readers of other formats open their files by `open_regular` too.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from volseg.errors import VolsegError
from volseg.words import cut, reason, shown

Parsed = TypeVar("Parsed")

#: Size limit of a file that is read at once, in bytes: a data list of some 100,000 cases.
MOST_BYTES = 64 * 2**20
#: Size limit of a YAML file, in bytes; people write these.
MOST_BYTES_YAML = 2**18
_DEEPEST = 50
_LARGEST = 2**63
_KINDS = {
    stat.S_ISFIFO: "a named pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}
# Opening must not wait for another program. Windows lacks O_NONBLOCK, and needs O_BINARY.
_FLAGS = (
    *("O_RDONLY", "O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC"),
    *("O_BINARY", "O_NOINHERIT"),
)


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; a pipe or a device may never end.

    Raises:
        OSError: If it is missing, cannot be read, is not a regular file or has an impossible name.
    """
    check_regular(path)
    number = os.open(path, sum(getattr(os, flag, 0) for flag in _FLAGS))
    try:
        # The file may have been replaced since.
        _check_kind(os.fstat(number).st_mode, path)
        return os.fdopen(number, "rb")
    except BaseException:
        os.close(number)
        raise


def check_regular(path: Path) -> int:
    """Size of a regular file in bytes, for libraries that open by name; OSError if not regular."""
    try:
        found = path.stat()
    except ValueError:  # a NUL, or a character that file names cannot have
        raise OSError(errno.EINVAL, "no file can have this name", shown(str(path))) from None
    _check_kind(found.st_mode, path)
    return found.st_size


def _check_kind(mode: int, path: Path) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    for is_of, kind in _KINDS.items():
        if is_of(mode):
            raise OSError(errno.EINVAL, f"it is {kind}, but a file is expected", str(path))


def read_bytes(path: Path, limit: int = MOST_BYTES) -> bytes:
    """Content of a regular file; OSError if it cannot be read or holds more than `limit` bytes."""
    with open_regular(path) as file:
        content = file.read(limit + 1)
        size = max(os.fstat(file.fileno()).st_size, len(content))
    if size > limit:
        raise OSError(
            errno.EFBIG, f"it holds {size} bytes, but at most {limit} are read", str(path)
        )
    return content


def read_json(
    path: Path,
    error: type[VolsegError],
    where: str = "",
    remedy: str = "correct or replace it",
    limit: int = MOST_BYTES,
) -> Any:
    """Content of a JSON file.

    Args:
        path: The file.
        error: Class of the error that is raised.
        where: Name of the file in errors; empty: its path.
        remedy: What the user can do if it is not JSON.
        limit: Size limit in bytes.

    Raises:
        VolsegError: An `error`, caused by an OSError if the file cannot be read, by a ValueError if
            it is not JSON.
    """
    return _read(path, parse_json, error, (where or str(path), "JSON", remedy), limit)


def read_yaml(
    path: Path,
    error: type[VolsegError],
    where: str = "",
    remedy: str = "correct that line",
    limit: int = MOST_BYTES_YAML,
) -> Any:
    """Content of a YAML file; arguments and errors as in `read_json`."""
    return _read(path, parse_yaml, error, (where or str(path), "YAML", remedy), limit)


def read_table(
    path: Path,
    error: type[VolsegError],
    where: str = "",
    remedy: str = "correct or replace it",
    limit: int = MOST_BYTES,
) -> list[dict[str, str]]:
    """Rows of a CSV file with a header, each as long as the header; errors as in `read_json`."""
    return _read(path, _parse_table, error, (where or str(path), "a CSV table", remedy), limit)


def _read(
    path: Path,
    parse: Callable[[str], Parsed],
    error: type[VolsegError],
    words: tuple[str, str, str],
    limit: int,
) -> Parsed:
    where, kind, remedy = words
    try:
        content = read_bytes(path, limit)
    except OSError as problem:
        raise error(
            f"{where} cannot be read ({reason(problem)})", remedy="check the path"
        ) from problem
    try:
        # Windows editors begin a file with a byte order mark.
        return parse(content.decode("utf-8-sig"))
    except ValueError as problem:
        raise error(f"{where} is not {kind} ({reason(problem)})", remedy=remedy) from problem


def parse_json(text: str) -> Any:
    """Value of a JSON text; ValueError, in one line, if volseg does not accept it.

    Beside invalid JSON, this refuses repeated keys, NaN and infinity, more than 50 levels, integers
    of more than 64 bits and NUL in texts: no file of volseg holds these.
    """
    try:
        content = json.loads(text, object_pairs_hook=_object, parse_constant=_no_number)
    except RecursionError:
        raise ValueError(f"it has more than {_DEEPEST} levels") from None
    _check_plain(content)
    return content


def validated(schema: type[BaseModel], content: Any) -> Any:
    """The content of a document, if it fits a schema; ValueError, in one line, if it does not."""
    try:
        schema.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = cut(".".join(map(str, first["loc"])), 80)
        found = "" if isinstance(first["input"], dict | list) else f", got {shown(first['input'])}"
        raise ValueError(f"{place or 'it'}: {cut(first['msg'], 100)}{found}") from None
    return content


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"key {shown(twice)} is there twice")
    return content


def _no_number(name: str) -> Any:
    raise ValueError(f"it holds {name}, which is no number")


def parse_yaml(text: str) -> Any:
    r"""Value of a YAML text; errors as in `parse_json`, and if aliases unfold to too many values.

    Examples:
        >>> parse_yaml("lr: 0.1\nlr: 0.2")
        Traceback (most recent call last):
        ValueError: key 'lr' is there twice, the second time in line 2
    """
    try:
        content = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(reason(error).replace(' in "<unicode string>"', "")) from None
    except RecursionError:
        raise ValueError(f"it has more than {_DEEPEST} levels") from None
    # `!!int x` and the like.
    except (LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"it holds a value that is not of its tag: {reason(error)}") from None
    _check_plain(content)
    return content


class _Loader(yaml.SafeLoader):
    """Loader of plain data; refuses short texts that become large values, and repeated keys."""

    most_nodes = 10_000

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.nodes = self.depth = 0
        self.sizes: dict[int, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        before, is_alias = self.nodes, self.check_event(yaml.AliasEvent)
        self.depth += 1
        if self.depth > _DEEPEST:
            raise ValueError(f"it has more than {_DEEPEST} levels")
        node: Any = super().compose_node(parent, index)
        self.depth -= 1
        # The values of an alias count again; an alias of an unfinished node would contain itself.
        self.nodes += self.sizes.get(id(node), self.most_nodes) if is_alias else 1
        if self.nodes > self.most_nodes:
            line = node.start_mark.line + 1
            raise ValueError(f"line {line} unfolds to more than {self.most_nodes} values")
        if not is_alias:
            self.sizes[id(node)] = self.nodes - before
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        seen: set[tuple[str, str]] = set()
        for key in keys:
            if (key.tag, key.value) in seen:
                line = key.start_mark.line + 1
                raise ValueError(
                    f"key {shown(key.value)} is there twice, the second time in line {line}"
                )
            seen.add((key.tag, key.value))
        return node


def _check_plain(content: Any) -> None:
    """Raise ValueError for content that is not plain data, or that no file of volseg holds."""
    level = [content]
    for _ in range(_DEEPEST):
        _check_values(level)
        level = [
            inner for value in level if isinstance(value, dict | list) for inner in _inner(value)
        ]
        if not level:
            return
    raise ValueError(f"it has more than {_DEEPEST} levels")


def _inner(value: dict[Any, Any] | list[Any]) -> Iterable[Any]:
    return (*value, *value.values()) if isinstance(value, dict) else value


def _check_values(values: Iterable[Any]) -> None:
    for value in values:
        if isinstance(value, str):
            # Nearly all texts are ASCII, and a manifest holds a million.
            if "\0" in value or not value.isascii():
                _check_text(value)
        elif isinstance(value, float):
            if not math.isfinite(value):
                raise ValueError(f"it holds {value}, which is no number")
        elif isinstance(value, int):
            if abs(value) >= _LARGEST:
                raise ValueError(
                    f"it holds an integer of {value.bit_length()} bits, but 64 are read"
                )
        elif value is not None and not isinstance(value, dict | list):
            raise ValueError(f"it holds {shown(value)}, which is no text, number or list")


def _check_text(text: str) -> None:
    if "\0" in text:
        raise ValueError(f"it holds {shown(text)}, a text with NUL")
    if not text.isascii():
        try:
            # File names that are not UTF-8 are written in this way.
            text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise ValueError(f"it holds {shown(text)}, which is half a character") from None


def parse_rows(text: str, delimiters: str = ",") -> list[list[str]]:
    """Rows of a CSV text that are not empty; ValueError, in one line, if it is not CSV.

    Args:
        text: What the file holds.
        delimiters: Candidates; the most frequent one in the first line separates cells.
    """
    first = text.partition("\n")[0]
    delimiter = max(delimiters, key=first.count)
    if "\0" in text:
        raise ValueError("it holds NUL")
    try:
        return [
            row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row
        ]
    except csv.Error as error:
        raise ValueError(str(error)) from None


def read_rows(
    path: Path,
    error: type[VolsegError],
    where: str,
    remedy: str,
    delimiters: str,
) -> list[list[str]]:
    """Rows of a CSV file, of any lengths; see `read_table` and `parse_rows`."""
    parse = partial(parse_rows, delimiters=delimiters)
    return _read(path, parse, error, (where, "a CSV table", remedy), MOST_BYTES)


def _parse_table(text: str) -> list[dict[str, str]]:
    header, *rows = parse_rows(text) or [[]]
    if len(set(header)) < len(header):
        raise ValueError("two of its columns have one name")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise ValueError(f"row {number} has {len(row)} cells, but the header {len(header)}")
    return [dict(zip(header, row, strict=True)) for row in rows]
