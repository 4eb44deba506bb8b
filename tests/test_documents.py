"""The door for JSON, YAML and CSV: what is read is plain data, all else is a short sentence."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from volseg.errors import ConfigError
from volseg.files.documents import (
    check_regular,
    open_regular,
    parse_json,
    parse_rows,
    parse_yaml,
    read_bytes,
    read_json,
    read_table,
    read_yaml,
)
from volseg.words import cut, listed, reason, shown

READERS = {"json": read_json, "yaml": read_yaml, "csv": read_table}

# Each level holds the one before it nine times: 400 bytes for 400 million values.
ALIASES = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
)
MERGED = "a0: &a0 {x: 1, y: 2}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 9)
)


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def bound_socket(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(path))
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize(
    ("make", "found"),
    [
        (pipe, "it is a named pipe, but a file is expected"),
        (bound_socket, "it is a socket, but a file is expected"),
        (folder, "Is a directory"),
        (lambda _: Path("/dev/zero"), "it is a device, but a file is expected"),
        (lambda path: path, "No such file or directory"),
        (lambda path: path.with_name("x" * 300), "File name too long"),
        (lambda path: path / "\0", "no file can have this name"),
        (lambda path: path / "\ud800", "no file can have this name"),
    ],
)
def test_only_regular_files_are_opened(tmp_path, monkeypatch, kind, make, found):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigError, match=rf"cannot be read \({found}\); check the path$"):
        READERS[kind](make(tmp_path / "file"), ConfigError)


def test_a_file_that_becomes_a_pipe_while_it_is_opened_is_not_waited_for(tmp_path, monkeypatch):
    path = tmp_path / "scan.nii"
    path.write_bytes(b"1")
    looked = path.stat()
    path.unlink()
    pipe(path)
    monkeypatch.setattr(Path, "stat", lambda _: looked)
    assert stat.S_ISREG(path.stat().st_mode)

    with pytest.raises(OSError, match="named pipe"):
        open_regular(path)


def test_a_link_to_a_file_is_one(tmp_path):
    (tmp_path / "file").write_bytes(b"12")
    (tmp_path / "link").symlink_to(tmp_path / "file")

    assert check_regular(tmp_path / "link") == 2
    assert read_bytes(tmp_path / "link") == b"12"


@pytest.mark.parametrize("kind", READERS)
def test_a_file_above_the_limit_is_refused_before_it_is_read(tmp_path, kind):
    path = tmp_path / "file"
    path.touch()
    os.truncate(path, 2**40)

    with pytest.raises(ConfigError, match=r"holds 1099511627776 bytes, but at most 9 are read\);"):
        READERS[kind](path, ConfigError, limit=9)


@pytest.mark.parametrize("kind", READERS)
def test_a_file_of_another_encoding_is_named_with_the_remedy(tmp_path, kind):
    path = tmp_path / "file"
    path.write_bytes("Müller,1".encode("latin-1"))

    with pytest.raises(ConfigError, match=r"^that list is not .*utf-8.*; save it as UTF-8$"):
        READERS[kind](path, ConfigError, "that list", "save it as UTF-8")


@pytest.mark.parametrize("kind", READERS)
def test_a_mark_that_editors_of_windows_write_first_is_no_matter(tmp_path, kind):
    path = tmp_path / "file"
    path.write_bytes(b'\xef\xbb\xbf"a"\n1')
    if kind != "csv":
        path.write_bytes(b'\xef\xbb\xbf"a"')

    assert READERS[kind](path, ConfigError) == ([{"a": "1"}] if kind == "csv" else "a")


@pytest.mark.parametrize("parse", [parse_json, parse_yaml])
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[" * 100_000, "more than 50 levels"),
        ("[" * 60 + "]" * 60, "more than 50 levels"),
        ("1" * 5000, "Exceeds the limit"),
        ("1" * 30, "an integer of 97 bits, but 64 are read"),
        ('["\\u0000"]', "a text with NUL"),
        ('{"a": "\\ud800"}', "half a character"),
        ('{"a": 1, "b": 2, "a": 1}', "key 'a' is there twice"),
    ],
)
def test_what_neither_format_may_hold(parse, text, found):
    with pytest.raises(ValueError, match=found) as caught:
        parse(text)
    assert len(str(caught.value)) < 250
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["NaN", "[-Infinity]", "1e999"])
def test_json_holds_numbers_only(text):
    with pytest.raises(ValueError, match="which is no number"):
        parse_json(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (ALIASES, "unfolds to more than 10000 values"),
        (MERGED, "unfolds to more than 10000 values"),
        ("a: &a [*a]", "line 1 unfolds to more than"),
        ("a: [" + "1, " * 60_000 + "]", "unfolds to more than 10000 values"),
        ("a: 1\nb:\n  c: 1\n  c: 2", "key 'c' is there twice, the second time in line 4"),
        ("a: .nan", "nan, which is no number"),
        ("a: 2024-05-06", "which is no text, number or list"),
        ("a: 2024-13-45", "month must be in"),
        ("a: !!set {b}", "which is no text, number or list"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: !!int x", "invalid literal"),
        ("a: !!float ''", "a value that is not of its tag"),
        ("{[a]: b}", "unhashable key"),
        ("a: [1,\nb: 2", "line 2"),
    ],
)
def test_yaml_that_is_refused(text, found):
    with pytest.raises(ValueError, match=found) as caught:
        parse_yaml(text)
    assert len(str(caught.value)) < 250


def test_an_alias_in_its_place_is_read():
    text = "one: &one {a: 1, b: [2]}\ntwo: *one\nthree:\n  <<: *one\n  a: 3"

    assert parse_yaml(text) == {
        "one": {"a": 1, "b": [2]},
        "two": {"a": 1, "b": [2]},
        "three": {"a": 3, "b": [2]},
    }


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a,a\n1,2\n", "two of its columns have one name"),
        ("a,b\n1,2\n3\n", "row 3 has 1 cells, but the header 2"),
        ("a,b\n1,\0\n", "it holds NUL"),
        (f"a\n{'x' * 200_000}\n", "field larger than field limit"),
    ],
)
def test_a_table_that_is_refused(tmp_path, text, found):
    (tmp_path / "table.csv").write_text(text)

    with pytest.raises(ConfigError, match=rf"table\.csv is not a CSV table \({found}"):
        read_table(tmp_path / "table.csv", ConfigError)


def test_a_table_without_rows_or_header(tmp_path):
    (tmp_path / "table.csv").write_text("\n")

    assert read_table(tmp_path / "table.csv", ConfigError) == []


def test_cells_are_parted_by_what_the_first_line_holds_most_often():
    assert parse_rows('a;"b;c"\n\n1;2,5\n', ",;\t") == [["a", "b;c"], ["1", "2,5"]]


def test_a_quoted_value_is_one_short_line():
    deep: list[object] = []
    for _ in range(2000):
        deep = [deep]

    for value in ("x" * 10_000, "a\nb" * 50, list(range(10_000)), {"k" * 500: "v" * 500}, deep):
        assert len(shown(value)) <= 100
        assert "\n" not in shown(value)
    assert shown({"a": [1, None]}) == "{'a': [1, None]}"
    assert cut("a\n\n  b", 10) == "a b"
    assert cut(" " * 90 + "b", 10) == "..."


def test_a_reason_is_what_the_system_or_the_library_says():
    assert reason(FileNotFoundError(2, "No such file", "name")) == "No such file"
    assert reason(OSError("120 bytes written of 900")) == "120 bytes written of 900"
    assert reason(MemoryError()) == "MemoryError"


def test_of_many_problems_ten_are_listed():
    text = listed("it is wrong:", [f"problem {number}" for number in range(12)])

    assert text.splitlines()[1] == "  problem 0"
    assert text.splitlines()[10:] == ["  problem 9", "  and 2 more"]
    assert listed("it is wrong:", ["once"]) == "it is wrong:\n  once"
