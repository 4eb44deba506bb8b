"""Which files volseg wrote; no command replaces or removes others.

Files are recognised by name and content, so a folder can be copied or moved, and files of older
versions are recognised too. The results of `infer` are ordinary images; their manifest lists them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from volseg.errors import OutputError, VolsegError
from volseg.files.documents import MOST_BYTES_YAML, open_regular, parse_yaml, read_bytes, read_json
from volseg.files.picture_marks import MARKED, has_mark

#: Ending of the name of our TensorBoard logs, which distinguishes them from those of other
#: programs.
EVENTS_ENDING = ".volseg"
#: Pictures that commands draw, each with a file that the command writes beside it.
PICTURES = {
    "curves.png": "metrics.csv",
    "samples.png": "scores.json",
    "worst.png": "scores.json",
    "calibration.png": "scores.json",
    "comparison.png": "comparison.md",
}
#: Record of `convert`, and its table of time points with shifted dates.
CONVERSION_FILE, TIME_POINTS_FILE = "conversion.json", "time_points.csv"
#: Folder of the records and pictures of `prepare`, beside the folders of the prepared cases.
PREPARATION_FOLDER = "preparation"
#: Folder of the prepared cases among results of `infer --prepare`.
PREPARED_FOLDER = "prepared"
#: End of the name of a table on follow-up, after the name of its page.
FOLLOW_UP_ENDING = "_follow_up.csv"

# First and last bytes of text files.
_TEXTS = {
    "metrics.csv": (b"epoch,step,seconds,learning_rate,train/loss,", b""),
    "scores.csv": (b"case_id,region,dice,iou,precision,recall,hd95_mm,", b""),
    "slices.csv": (b"case_id,region,slice,dice,iou,", b""),
    "calibration.csv": (b"region,temperature,low,high,voxels,", b""),
    "groups.csv": (b"column,value,region,n,n_unscored,", b""),
    "comparison.csv": (b"run,network,region,score,over,n,", b""),
    "pairs.csv": (b"region,first,second,n_patients,", b""),
    "patients.csv": (b"region,patient_id,run,", b""),
    "ranking.csv": (b"place,run,final_rank,", b""),
    "ranking_pairs.csv": (b"ahead,behind,n_patients,", b""),
    "case_ranks.csv": (b"case_id,patient_id,run,rank,", b""),
    FOLLOW_UP_ENDING: (b"patient_id,case_id,time_point,place,", b""),
    "comparison.md": (b"# Comparison\n\n- ", b"not for clinical use.*\n"),
    "channels.csv": (b"channels,region,cases,dice,", b""),
    "channel_shares.csv": (b"case_id,region,method,channel,share", b""),
    TIME_POINTS_FILE: (b"case,patient,date,shifted\n", b""),
    "volumes.csv": (b"case_id,region,volume_ml,voxels,lesions,", b""),
    "job.sh": (b"#!/bin/bash\n# Written by volseg ", b""),
}
# Tables of official protocols, by the first part of their names: first line.
_PROTOCOL_TABLES = {
    "scores": re.compile(rb"case_id,region,[\w.,]+,status\n"),
    "lesions": re.compile(rb"case_id,region,kind,volume_mm3,[\w.,]+\n"),
}
_OF_PROTOCOL = re.compile(r"(scores|lesions)_brats[0-9a-z-]+\.csv")
# Keys of which a JSON file of this name holds at least one, beside the version of volseg; all other
# JSON files that volseg writes are data lists.
_DOCUMENTS = {
    "scores.json": {"cases", "summary"},
    "environment.json": {"versions"},
    "channels.json": {"subsets"},
    "explanations.json": {"cases"},
    CONVERSION_FILE: {"cases"},
}
# Keys of a record of `prepare`.
_RECORD = {"volseg", "preparation", "case_id", "sources", "channels"}
# First and last bytes of the pages of `report`, which may have any name.
_PAGE = (b"<!doctype html>\n<!-- Written by volseg ", b"</html>\n")
_DIGEST, _CASES = "sha256", ("training", "testing")
_JOB = "job_id"
_MODEL = re.compile(rb'.{8}\{"__metadata__":\{"volseg":', re.DOTALL)
_DRAWN = re.compile(rb"\x89PNG.{,64}tEXtSoftware\x00volseg", re.DOTALL)
_CHECKPOINT = re.compile(r"step-\d{8,}\.ckpt")
_SECTIONS = {"labels", "data", "network", "training", "inference"}
_FILE_ENDINGS = re.compile(
    r".*\.(json|csv|md|html?|txt|sh|ya?ml|png|jpe?g|tiff?|bmp|svg|pdf|nii|gz|mgz|dcm|safetensors|ckpt|pt)",
    re.IGNORECASE,
)


def is_ours(path: Path) -> bool:
    """Whether volseg wrote a file, judged by its name and content; False for links."""
    if path.is_symlink():
        return False
    try:
        return _reader_of(path)(path)
    except (OSError, VolsegError):
        return False


def is_checkpoint(name: str) -> bool:
    """Whether a file has the name of a checkpoint of a run."""
    return _CHECKPOINT.fullmatch(name) is not None


def is_log(name: str) -> bool:
    """Whether a file has the name of a TensorBoard log of a run."""
    return name.startswith("events.out.tfevents.") and name.endswith(EVENTS_ENDING)


def check_ours(path: Path, remedy: str = "move it away, or choose another with -o") -> None:
    """Raise OutputError if `path` holds something that volseg did not write."""
    if path.is_symlink():
        raise OutputError(
            f"{path} is a link to {path.readlink()}, which is not replaced",
            remedy=remedy,
            path=path,
        )
    if path.exists() and not is_ours(path):
        raise OutputError(
            f"{path} is there already and volseg did not write it", remedy=remedy, path=path
        )


def check_no_inputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raise OutputError if an output is also an input, under any name or link."""
    read = {identity: path for path in inputs if (identity := _identity(path))}
    for path in outputs:
        if read and _identity(path) in read:
            raise OutputError(
                f"{path} is an input and would be replaced", remedy="use another folder", path=path
            )


def check_names_folder(path: Path, remedy: str) -> None:
    """Raise OutputError if a folder that must be made is named like a file."""
    if not path.is_dir() and _FILE_ENDINGS.fullmatch(path.name):
        raise OutputError(
            f"{path} is named like a file, but a folder is expected", remedy=remedy, path=path
        )


def _identity(path: Path) -> tuple[int, int] | None:
    """Identity of a file, equal for all its names; None if there is no such file."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _reader_of(path: Path) -> Callable[[Path], bool]:
    """The function that recognises whether the file at `path` is ours."""
    if _text_name(path) in _TEXTS:
        return _is_text
    if _OF_PROTOCOL.fullmatch(path.name):
        return _is_protocol_table
    if path.name in _DOCUMENTS:
        return _is_document
    if path.name == _JOB:
        return _is_job
    if is_checkpoint(path.name):
        return Path.is_file
    readers = {
        ".json": _is_record if path.parent.name == PREPARATION_FOLDER else is_data_list,
        ".yaml": _is_config,
        ".safetensors": _is_model,
        ".png": _is_picture,
        **dict.fromkeys(MARKED, has_mark),
        ".html": _is_page,
    }
    return readers.get(path.suffix.lower(), lambda _: False)


def _text_name(path: Path) -> str:
    """Name by which the texts know a file: that of a table on follow-up begins as its page's."""
    return FOLLOW_UP_ENDING if path.name.endswith(FOLLOW_UP_ENDING) else path.name


def _is_text(path: Path) -> bool:
    return _lies_between(path, *_TEXTS[_text_name(path)])


def _is_page(path: Path) -> bool:
    return _lies_between(path, *_PAGE)


def _lies_between(path: Path, begin: bytes, end: bytes) -> bool:
    """Whether a file has this begin and this end."""
    with open_regular(path) as file:
        return file.read(len(begin)) == begin and (not end or file.read().endswith(end))


def _is_protocol_table(path: Path) -> bool:
    with open_regular(path) as file:
        line = file.readline(10_000)
    return _PROTOCOL_TABLES[path.name.partition("_")[0]].fullmatch(line) is not None


def _is_job(path: Path) -> bool:
    return read_bytes(path, 100).strip().isdigit() and is_ours(path.with_name("job.sh"))


def data_list_text(content: Mapping[str, Any]) -> str:
    """Text of a data list, a line for each case, with a digest that shows later edits."""
    text = _lines(content)
    return text.replace("{\n", f"{{\n{_seal(text)}", 1)


def is_data_list(path: Path) -> bool:
    """Whether a file is a data list that volseg wrote and nobody changed.

    Lists of older versions have no digest; they are recognised by their form.
    """
    if path.is_symlink():
        return False
    try:
        text = read_bytes(path).decode()
        content = read_json(path, OutputError)
    except (OSError, ValueError, VolsegError):
        return False
    if not isinstance(content, dict) or content.get("volseg") != 1 or "training" not in content:
        return False
    seal = content.pop(_DIGEST, None)
    return text == (_lines(content) if seal is None else data_list_text(content))


def _lines(content: Mapping[str, Any]) -> str:
    lines = [
        f"{json.dumps(key)}: "
        f"{_array(value) if key in _CASES and isinstance(value, list) else json.dumps(value)}"
        for key, value in content.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _array(entries: list[Any]) -> str:
    return "[" + ",".join(f"\n{json.dumps(entry)}" for entry in entries) + "]"


def _seal(text: str) -> str:
    return f'"{_DIGEST}": "{hashlib.sha256(text.encode()).hexdigest()}",\n'


def _is_document(path: Path) -> bool:
    """Whether it names volseg at the top, or among its versions as older documents do."""
    content = read_json(path, OutputError)
    if not isinstance(content, dict) or not content.keys() & _DOCUMENTS[path.name]:
        return False
    versions = content.get("versions")
    of_versions: Any = versions.get("volseg") if isinstance(versions, dict) else None
    return isinstance(content.get("volseg", of_versions), str | int)


def _is_record(path: Path) -> bool:
    """Whether it is the record of a prepared case, of the case that its name says."""
    content = read_json(path, OutputError)
    return (
        isinstance(content, dict) and content.keys() >= _RECORD and content["case_id"] == path.stem
    )


def _is_config(path: Path) -> bool:
    """Whether it is a config with all options that `write_config` wrote and nobody changed."""
    text = read_bytes(path, MOST_BYTES_YAML).decode("utf-8", "replace")
    try:
        content = parse_yaml(text)
    except ValueError:
        return False
    written = yaml.safe_dump(content, sort_keys=False)
    return isinstance(content, dict) and content.keys() >= _SECTIONS and written == text


def _is_model(path: Path) -> bool:
    with open_regular(path) as file:
        return _MODEL.match(file.read(100)) is not None


def _is_picture(path: Path) -> bool:
    with open_regular(path) as file:
        return _DRAWN.match(file.read(200)) is not None
