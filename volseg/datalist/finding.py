"""Cases in folders of any known layout; what is left out is named with its reason."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from volseg.config import CHANNELS
from volseg.datalist import described
from volseg.datalist.case import Case, Finding, Skipped
from volseg.datalist.listing import read_data_list
from volseg.datalist.names import (
    CHANNEL_NAMES,
    LABEL,
    family_of,
    is_nifti,
    patient_of,
    read_name,
    read_numbered_name,
)
from volseg.errors import DataListError

DATA_LIST = "data list"
_IMAGE_FOLDERS = ("imagesTr", "imagesTs")
_LABEL_FOLDERS = ("labelsTr", "labelsTs")
_NOT_NIFTI = "not .nii or .nii.gz"
_UNKNOWN = "the name ends in no known channel (such as t1n, t1c, t2w, t2f) and not in seg"
_NUMBERED = "a numbered channel, but no dataset.json says which"
_LONE_LABEL = "label map without images"
_TEST_LABELS = "label map of a test case, which is not used"

# Files of a case by what they hold; a 4D file stands under each of its channels.
_Files = dict[str, list[Path]]
_Reader = Callable[[Path], tuple[str, tuple[str, ...]]]


def find_scans(
    path: Path,
    channels: Sequence[str] = CHANNELS,
    fold: int | None = None,
    data_root: Path | None = None,
) -> Finding:
    """Cases to segment: in a folder, of one case folder, or in a data list.

    Args:
        path: Folder in any layout that `find_cases` knows, or a JSON data list.
        channels: Contrasts that every case must have.
        fold: Only the cases of this fold of a data list.
        data_root: Folder that the paths of a data list start from; None: as the list says.

    Raises:
        DataListError: If nothing usable is there, or a folder is asked for what only a list has.
    """
    if path.suffix.lower() != ".json":
        check_list_is_not_needed(path, fold, data_root)
        return find_cases([path], channels)
    listed = read_data_list(path, data_root)
    cases: list[Case] = []
    skipped: list[Skipped] = []
    for case in listed.cases(fold):
        if missing := [channel for channel in channels if channel not in case.channels]:
            skipped.append(Skipped(path, _missing(case.case_id, missing), case.case_id))
        else:
            cases.append(case)
    if not cases:
        raise DataListError(_nothing(path, skipped))
    return Finding.of(cases, skipped, {case.case_id: DATA_LIST for case in cases})


def check_list_is_not_needed(path: Path, fold: int | None, data_root: Path | None) -> None:
    """Raise DataListError if `path`, which is no data list, is asked for what only a list has."""
    if fold is not None:
        raise DataListError(f"{path} is no data list and has no fold {fold}; give its list")
    if data_root is not None:
        raise DataListError(f"{path} is no data list and needs no data root; leave --data-root out")


def find_cases(folders: Sequence[Path], channels: Sequence[str] = CHANNELS) -> Finding:
    """Find the cases in folders, at any depth, by the names of files; nothing is renamed.

    Known are the names of BraTS 2017 to 2025 (a folder for each case, or all files in one), files
    called by their channel in a folder called as the case, MSD, and nnU-Net. A folder may be that
    of one case. No image is opened.

    Args:
        folders: Where to look. Of a case found twice, the first counts.
        channels: Contrasts that every case must have, in the order wanted in `Case.images`.

    Returns:
        Cases sorted by id; files and folders left out, each with its reason.

    Raises:
        DataListError: If a folder does not exist or holds no usable case.
    """
    for channel in channels:
        if CHANNEL_NAMES.get(channel, channel) != channel:
            known = CHANNEL_NAMES[channel]
            raise DataListError(f"channel {channel!r} is called {known!r} here; ask for {known}")
    cases: dict[str, Case] = {}
    layout_of: dict[str, str] = {}
    skipped: list[Skipped] = []
    for folder in folders:
        search = _Search(channels)
        search.search(Path(os.path.normpath(folder.absolute())))
        skipped += search.all_skipped()
        if not search.cases:
            raise DataListError(_nothing(folder, search.all_skipped()))
        for case, layout in search.cases:
            first = cases.setdefault(case.case_id, case)
            layout_of.setdefault(case.case_id, layout)
            if first.images != case.images:
                skipped.append(_duplicate(case, first))
    return Finding.of(cases.values(), dict.fromkeys(skipped), layout_of)


class _Search:
    """Cases below one folder, and what was left out."""

    def __init__(self, channels: Sequence[str]) -> None:
        self.channels = channels
        self.cases: list[tuple[Case, str]] = []
        self.skipped: list[Skipped] = []
        self.strays: list[tuple[str, Path]] = []

    def search(self, top: Path) -> None:
        """Look through `top` and the folders below it, in an order that no locale changes."""
        if not top.is_dir():
            found = "is a file" if top.exists() else "does not exist"
            raise DataListError(f"{top} {found}; give a folder of scans")
        if top.name in _IMAGE_FOLDERS and (top.parent / described.FILE_NAME).is_file():
            self._search_described(top.parent, (top.name,))
            return
        for path, folders, files in os.walk(top, followlinks=True, onerror=self._unreadable):
            here = Path(path)
            folders[:] = [name for name in _visible(folders) if not self._is_loop(here / name)]
            if described.FILE_NAME in files:
                files.remove(described.FILE_NAME)
                parts = [name for name in _IMAGE_FOLDERS if name in folders]
                done = self._search_described(here, parts)
                folders[:] = [name for name in folders if name not in done]
            named = self._sort([here / name for name in _visible(files)], self._read_name)
            for case_id, contents in named.items():
                file_names = [path.name for paths in contents.values() for path in paths]
                home = here if len(named) == 1 else None
                self._add(case_id, contents, family_of(case_id, file_names), home=home)

    def all_skipped(self) -> list[Skipped]:
        """What was left out; files left out for one reason, side by side, are one entry."""
        return self.skipped + _summaries(self.strays)

    def _unreadable(self, error: OSError) -> None:
        reason = f"folder cannot be read ({error.strerror})"
        self.skipped.append(Skipped(Path(error.filename), reason))

    def _is_loop(self, folder: Path) -> bool:
        loop = folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())
        if loop:
            self.skipped.append(Skipped(folder, "link to a folder that it lies in"))
        return loop

    def _read_name(self, path: Path) -> tuple[str, tuple[str, ...]]:
        case_id, contents = read_name(path.name, self.channels)
        return case_id or path.parent.name, contents

    def _sort(self, paths: Iterable[Path], read: _Reader) -> Mapping[str, _Files]:
        """Files by case and content; those that no reader knows become strays."""
        cases: dict[str, _Files] = defaultdict(lambda: defaultdict(list))
        for path in paths:
            if not is_nifti(path.name):
                self.strays.append((_NOT_NIFTI, path))
                continue
            case_id, contents = read(path)
            if not contents:
                reason = _NUMBERED if read_numbered_name(path.name) else _UNKNOWN
                self.strays.append((reason, path))
            for content in contents:
                cases[case_id][content].append(path)
        return cases

    def _search_described(self, folder: Path, parts: Sequence[str]) -> Sequence[str]:
        """Cases in `imagesTr` and `imagesTs`; returns the names of the folders that are done."""
        file = folder / described.FILE_NAME
        images = {part: self._files_in(folder / part) for part in parts}
        try:
            names = [path.name for paths in images.values() for path in paths]
            description = described.read_description(file, list(filter(is_nifti, names)))
        except DataListError as error:
            self.skipped.append(Skipped(file, str(error)))
            return ()
        if missing := [name for name in self.channels if name not in description.channels]:
            found = ", ".join(description.channels)
            reason = f"names the channels {found}, but not {', '.join(missing)}"
            self.skipped.append(Skipped(file, reason))
            return (*_IMAGE_FOLDERS, *_LABEL_FOLDERS)
        for part, paths in images.items():
            labels = self._files_in(folder / part.replace("images", "labels"))
            if part == "imagesTs":
                self.strays += [(_TEST_LABELS, path) for path in labels]
                labels = []
            named = self._sort([*paths, *labels], description.read_name)
            for case_id, contents in named.items():
                self._add(case_id, contents, description.layout, labels=description.labels)
        return (*_IMAGE_FOLDERS, *_LABEL_FOLDERS)

    def _files_in(self, folder: Path) -> list[Path]:
        try:
            return [folder / name for name in _visible(path.name for path in folder.iterdir())]
        except FileNotFoundError:
            return []
        except OSError as error:
            self._unreadable(error)
            return []

    def _add(
        self,
        case_id: str,
        contents: _Files,
        layout: str,
        labels: str | None = None,
        home: Path | None = None,
    ) -> None:
        """Keep a case that is complete and clear, else name what is wrong with it.

        Args:
            case_id: The case.
            contents: Its files.
            layout: How they are named.
            labels: Label scheme, where a `dataset.json` tells it.
            home: Folder of this case alone, to be shown if the case is left out.
        """
        if set(contents) == {LABEL}:
            self.strays += [(_LONE_LABEL, path) for path in contents[LABEL]]
            return
        if problem := _problem(case_id, contents, self.channels):
            first = next(iter(contents.values()))[0]
            self.skipped.append(Skipped(home or first, problem, case_id))
            return
        label = contents.pop(LABEL, [None])[0]
        files = {channel: paths[0] for channel, paths in contents.items()}
        # One file under several channels is 4D: it stays whole, in its own order.
        whole = len(set(files.values())) < len(files)
        channels = tuple(files) if whole else tuple(self.channels)
        images = tuple(dict.fromkeys(files[channel] for channel in channels))
        scheme = labels if label else None
        case = Case(case_id, patient_of(case_id), images, channels, label, scheme)
        self.cases.append((case, layout))


def _visible(names: Iterable[str]) -> list[str]:
    """Names that are not hidden, in an order that no locale changes."""
    return sorted(name for name in names if not name.startswith("."))


def _problem(case_id: str, contents: _Files, channels: Sequence[str]) -> str | None:
    if missing := [channel for channel in channels if channel not in contents]:
        return _missing(case_id, missing)
    for content in (*channels, LABEL):
        paths = contents.get(content, [])
        if len(paths) > 1:
            what = content if content == LABEL else f"channel {content}"
            names = ", ".join(path.name for path in paths)
            return f"case {case_id}: {len(paths)} files for {what}: {names}; keep one"
    return None


def _missing(case_id: str, channels: Sequence[str]) -> str:
    return f"case {case_id}: missing channel {', '.join(channels)}; complete the case"


def _duplicate(case: Case, first: Case) -> Skipped:
    reason = f"case {case.case_id} is also in {first.images[0].parent}, which is used"
    return Skipped(case.images[0].parent, reason)


def _nothing(path: Path, skipped: Sequence[Skipped]) -> str:
    if not skipped:
        return f"{path} holds no scans; give a folder of NIfTI files (.nii, .nii.gz)"
    found = "; ".join(f"{entry.path}: {entry.reason}" for entry in skipped[:3])
    more = f"; and {len(skipped) - 3} more" if len(skipped) > 3 else ""
    return f"{path} holds no usable case: {found}{more}"


def _summaries(strays: Sequence[tuple[str, Path]]) -> list[Skipped]:
    """One entry for files with one reason and ending, in a folder or in folders side by side."""
    kinds = [(reason, "" if is_nifti(p.name) else p.suffix.lower(), p) for reason, p in strays]
    folders = defaultdict(set)
    for reason, ending, path in kinds:
        folders[reason, ending, path.parent.parent].add(path.parent)
    entries = defaultdict(list)
    for reason, ending, path in kinds:
        beside = len(folders[reason, ending, path.parent.parent]) > 1
        entries[reason, ending, path.parent.parent if beside else path.parent].append(path)
    return [
        Skipped(paths[0], reason)
        if len(paths) == 1
        else Skipped(home, f"{len(paths)} files, such as {paths[0].relative_to(home)}: {reason}")
        for (reason, _, home), paths in entries.items()
    ]
