"""Patterns of file names that the user gives: for channels, and for label maps."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from volseg.cases.channels import CHANNEL_NAMES, LABEL, channel_of
from volseg.cases.identity import NUMBERED_PATIENT, patient_key, patient_of
from volseg.cases.layouts import OTHER, layout_of
from volseg.errors import ConfigError
from volseg.finding.name_reading import read_name
from volseg.finding.name_words import Reading
from volseg.images.file_names import stem
from volseg.words import cut

# Files in a folder that are one case because their names hold its name.
_LEAST_FILES = 3


@dataclass(frozen=True)
class Naming:
    """Patterns of file names given by the user; a channel with a pattern has no other names.

    Attributes:
        channels: Glob by channel, in which `*` is any text and `?` one character. A glob with `/`
            is compared with the path below the folder, else with the name of the file, with or
            without `.nii.gz`. If several globs match, the glob with most letters counts.
        label: Ending of the names of label maps, without `.nii.gz`, or a glob.

    Raises:
        ConfigError: If a channel has another name in volseg, or a glob is empty.
    """

    channels: Mapping[str, str] = field(default_factory=dict, hash=False)
    label: str | None = None

    def __post_init__(self) -> None:
        for channel, glob in self.channels.items():
            lower = channel.casefold()
            if (known := CHANNEL_NAMES.get(lower, lower)) != lower:
                raise ConfigError(
                    f"channel {channel!r} is called {known!r} here", remedy=f"name {known}"
                )
            if not channel or not glob.strip("*"):
                raise ConfigError(
                    f"--name {channel}={glob} names no files",
                    remedy="give CHANNEL=GLOB, such as t1c='*MPRAGE_GD*'",
                )
        for glob, times in Counter(self.channels.values()).items():
            if times > 1:
                raise ConfigError(
                    f"--name gives {glob} for {times} channels",
                    remedy="give each channel its own glob",
                )
        if self.label is not None and not self.label.strip("*_-. "):
            raise ConfigError(
                f"--label-name {self.label!r} is empty", remedy="give an ending such as _tumor"
            )

    @classmethod
    def parse(cls, names: Sequence[str], label: str | None = None) -> Naming | None:
        """Patterns from `--name CHANNEL=GLOB` and `--label-name`; None without any.

        Raises:
            ConfigError: If a name is not of this form, or a channel is named twice.
        """
        channels: dict[str, str] = {}
        for name in names:
            channel, equals, glob = name.partition("=")
            if not equals:
                raise ConfigError(
                    f"--name is {name!r}, expected CHANNEL=GLOB",
                    remedy="give a name such as t1c='*MPRAGE_GD*'",
                )
            if channel in channels:
                raise ConfigError(
                    f"--name names {channel} twice", remedy="give one glob for each channel"
                )
            channels[channel] = glob
        return cls(channels, label) if channels or label is not None else None

    def by_our_names(self) -> Naming:
        """The patterns with our names of channels, such as `ct` for CT.

        Raises:
            ConfigError: If two channels have the same name then.
        """
        channels: dict[str, str] = {}
        for channel, glob in self.channels.items():
            if (ours := channel_of(channel)) in channels:
                raise ConfigError(
                    f"--name names {ours} twice", remedy="give one glob for each channel"
                )
            channels[ours] = glob
        return replace(self, channels=channels)

    @property
    def globs(self) -> dict[str, str]:
        """Glob by channel or `LABEL`, without the ending `.nii.gz`."""
        globs = {channel: stem(glob) for channel, glob in self.channels.items()}
        if self.label is not None:
            label = stem(self.label)
            globs[LABEL] = label if "*" in label or "?" in label else f"*{label}"
        return globs

    def read(self, path: PurePath, read: Reading) -> Reading:
        """Reading of a file, in which the patterns of the user come before known names.

        Args:
            path: Path relative to the searched folder.
            read: Reading from `read_name`.
        """
        whole = stem(path.name)
        fitting = {content: glob for content, glob in self.globs.items() if _fits(glob, path)}
        if not fitting:
            return self._unless_named_otherwise(read)
        most = max(map(_letters, fitting.values()))
        best = [content for content, glob in fitting.items() if _letters(glob) == most]
        if len(best) > 1:
            return Reading(whole, problem=f"--name and --label-name call it {' and '.join(best)}")
        return Reading(_case(path.name, fitting[best[0]].rpartition("/")[2]), (best[0],))

    def _unless_named_otherwise(self, read: Reading) -> Reading:
        taken = [content for content in read.contents if content in self.globs]
        if not taken:
            return replace(read, other=None) if read.other and read.other[1] in self.globs else read
        option = "--label-name" if taken[0] == LABEL else "--name"
        return Reading(read.case, problem=f"{option} names other files as {taken[0]}")


def of_one_case(read: Mapping[Path, Reading]) -> dict[Path, Reading]:
    """Readings of the files of a folder as one case, named after the folder; or empty.

    The files are one case if no two of them hold the same channel, unless their names agree on a
    case or name several patients. The series of an examination, each named after its protocol, are
    such files. A name without a digit, such as `MRHR`, is no case.
    """
    channels = [one.contents for one in read.values() if one.contents != (LABEL,)]
    cases = {one.case for one in read.values()}
    agreed = len(cases) == 1 and any(re.search(r"\d|^sub-", case) for case in cases)
    if len(read) < 2 or len(set(channels)) < max(1, len(channels)):
        return {}
    if agreed or of_several_patients(cases):
        return {}
    return {path: Reading("", one.contents) for path, one in read.items()}


def of_named_folder(read: Mapping[Path, Reading], folder: str) -> dict[Path, Reading]:
    """Readings as in `of_one_case`, if each name holds the name of the folder; or empty.

    Archives name each series after the patient and the protocol, whose words differ. Two files may
    also be of two examinations, so at least three are needed, each of another channel.
    """
    cases = {one.case.casefold() for one in read.values()}
    whole = re.compile(rf"(?<![a-z0-9]){re.escape(folder)}(?![a-z0-9])", re.IGNORECASE)
    images = [path for path, one in read.items() if one.contents != (LABEL,)]
    if len(images) < _LEAST_FILES or len(cases) < 2 or not re.search(r"\d", folder):
        return {}
    return of_one_case(read) if all(whole.search(path.name) for path in read) else {}


def of_several_patients(cases: Iterable[str]) -> bool:
    """Whether names of cases belong to known patients, and to two or more.

    >>> of_several_patients(["P1", "P2"]), of_several_patients(["MRHR", "MRHR_T1_AX", "P1"])
    (True, False)
    """
    named = [
        case for case in cases if layout_of(case) is not OTHER or NUMBERED_PATIENT.fullmatch(case)
    ]
    return len({patient_key(patient_of(case)) for case in named}) > 1


def why_no_cases(read: Mapping[Path, Reading], naming: Naming) -> str:
    """Why the files of a folder cannot be sorted into cases; "" if they can.

    They cannot if a channel has two files, no case has all channels, and there are more cases than
    files of any channel: the rest of the names then differs from channel to channel.
    """
    files: dict[str, list[Path]] = defaultdict(list)
    held: dict[str, set[str]] = defaultdict(set)
    for path, one in read.items():
        if one.contents != (LABEL,):
            files[one.contents[0]].append(path)
            held[one.case].add(one.contents[0])
    most = max(map(len, files.values()), default=0)
    if (
        most < 2
        or len(held) <= most
        or any(len(of_case) == len(files) for of_case in held.values())
    ):
        return ""
    clashes = []
    for content, paths in files.items():
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        glob = naming.channels.get(content)
        by = f"--name {content}={glob} fits" if glob else f"{content} by its name is"
        clashes.append(f"{by} {cut(paths[0].name, 60)}{more}")
    return (
        f"the rest of the names differs from channel to channel: {', '.join(clashes)}; give "
        "patterns that fit one file each, or a folder for each case"
    )


def _fits(glob: str, path: PurePath) -> bool:
    """Whether a glob fits a file, with or without its ending."""
    pattern = compiled_glob(glob)
    names = (path.with_name(stem(path.name)), path)
    return any(pattern.fullmatch(p.as_posix() if "/" in glob else p.name) for p in names)


def _letters(glob: str) -> int:
    return len(re.sub(r"[*?]", "", glob))


def compiled_glob(glob: str) -> re.Pattern[str]:
    """Regular expression of a glob, in which only `*` and `?` are special."""
    parts = (
        ".*" if sign == "*" else "." if sign == "?" else re.escape(sign)
        for sign in re.split(r"([*?])", glob)
    )
    return re.compile("".join(parts), re.IGNORECASE | re.DOTALL)


def _case(name: str, glob: str) -> str:
    """Rest of a name: the text before the match of the glob, else the text after it."""
    core = glob.strip("*")
    match = re.fullmatch(
        f"(?P<before>.*?)(?:{compiled_glob(core).pattern})(?P<after>.*)", name, re.IGNORECASE
    )
    if match is None:
        return ""
    left = match["before"].strip("_.- ") or stem(match["after"]).strip("_.- ")
    bids = re.match(r"sub-[a-z0-9]+(_ses-[a-z0-9]+)?(?=_|$)", left, re.IGNORECASE)
    read = read_name(left, ())
    return bids[0] if bids else read.case if read.contents else left
