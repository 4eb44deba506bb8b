"""Files appear whole or not at all; folders that cannot be made are named with a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from volseg.errors import OutputError
from volseg.files.writing import atomic_write, make_folder


def test_a_file_appears_only_when_its_block_ends_well(tmp_path):
    path = tmp_path / "scores.v1.csv"

    def interrupted() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []

    with atomic_write(path) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".csv"
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_there_stays_when_a_write_fails(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("old")

    def full_disk() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(
        OutputError, match=r"cannot write .*scores\.csv \(No space left on device\); give"
    ):
        full_disk()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_made_with_those_above_it_and_may_exist(tmp_path: Path):
    folder = tmp_path / "a" / "b"

    make_folder(folder, "choose another")
    make_folder(folder, "choose another")

    assert folder.is_dir()


@pytest.mark.parametrize(
    ("name", "reason"), [("file", "File exists"), ("file/below", "Not a directory")]
)
def test_a_folder_that_cannot_be_made_is_named_with_the_remedy(tmp_path, name, reason):
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(
        OutputError, match=rf"folder .*{name} cannot be made \({reason}\); choose another with -o"
    ):
        make_folder(tmp_path / name, "choose another with -o")
