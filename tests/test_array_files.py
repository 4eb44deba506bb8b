"""Arrays of a cache entry are those that were written, or the entry is none."""

from __future__ import annotations

import json

import numpy as np
import pytest

from volseg.errors import DataListError
from volseg.training.cache.array_files import is_whole, mapped, write_arrays
from volseg.training.cache.cases import _read_meta, _write_meta


@pytest.mark.parametrize("shape", [(3, 4, 5), (0, 2), (1,), (2, 0, 7)])
def test_what_is_written_is_mapped(tmp_path, shape):
    array = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)

    forms = write_arrays(tmp_path, {"a": array})

    assert is_whole(tmp_path / "a.npy", forms["a"])
    assert np.array_equal(mapped(tmp_path / "a.npy", forms["a"]), array)
    assert np.array_equal(np.load(tmp_path / "a.npy"), array)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"<i2", b">i2"), (b"(3, 4", b"(4, 3"), (b"False", b"True "), (b"{", b"["), (b"\x93", b"\0")],
)
def test_another_header_is_seen(tmp_path, old, new):
    forms = write_arrays(tmp_path, {"a": np.zeros((3, 4), np.int16)})
    content = (tmp_path / "a.npy").read_bytes()
    assert content.count(old) == 1
    (tmp_path / "a.npy").write_bytes(content.replace(old, new))

    assert not is_whole(tmp_path / "a.npy", forms["a"])


def test_a_file_that_is_shorter_or_longer_is_seen(tmp_path):
    forms = write_arrays(tmp_path, {"a": np.zeros((3, 4), np.int16)})
    content = (tmp_path / "a.npy").read_bytes()

    for changed in (content[:-1], content + b"\0", b""):
        (tmp_path / "a.npy").write_bytes(changed)
        assert not is_whole(tmp_path / "a.npy", forms["a"])


def test_a_changed_number_in_what_an_entry_says_of_itself_is_seen(tmp_path):
    path = tmp_path / "meta.json"
    meta = {"affine": [[1.5, 0.1], [0, 1]], "forms": {"a": ("<i2", (3, 4))}}
    _write_meta(path, meta)
    assert _read_meta(path) == json.loads(json.dumps(meta))

    for text in (path.read_text().replace("1.5", "2.5"), "[]", "{}", '{"sha256": null}'):
        path.write_text(text)
        with pytest.raises(DataListError, match="is damaged"):
            _read_meta(path)
