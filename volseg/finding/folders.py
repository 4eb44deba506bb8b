"""Cases in folders of any known layout; what is left out is named with its reason."""

from __future__ import annotations

import itertools
import logging
import os
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from volseg.cases.case import Case
from volseg.cases.channels import CHANNEL_NAMES, LABEL
from volseg.cases.data_list import read_data_list
from volseg.cases.identity import patient_of
from volseg.cases.layouts import DATA_LIST, Layout, layout_of
from volseg.cases.volume_case import VolumeCase
from volseg.config import CHANNELS
from volseg.errors import ConfigError, DataListError
from volseg.finding import dataset_json as described
from volseg.finding.distinct import Found, distinct
from volseg.finding.finding import Finding, Skipped
from volseg.finding.naming import Naming, of_several_patients
from volseg.finding.own_results import written_by_volseg
from volseg.finding.skipped import no_image, nothing_usable, of_one_case_perhaps, summaries
from volseg.finding.stacks import Wanted, find_stacks, is_mask, missing_channels
from volseg.finding.volumes import LONE_LABEL, NUMBERED, Files, Group, group_volumes
from volseg.images.file_names import is_nifti, is_slice, stem
from volseg.words import cut

logger = logging.getLogger(__name__)

_IMAGE_FOLDERS = ("imagesTr", "imagesTs")
_LABEL_FOLDERS = ("labelsTr", "labelsTs")
_SLICE_DESCRIBED = "2D image; of a data set with a dataset.json, only NIfTI files are read"
_SLICE = "2D image beside NIfTI files; to use such images, give their folder alone"
_TEST_LABELS = "label map of a test case, which is not used"
_WRITTEN = "written by volseg"

_Reader = Callable[[Path], tuple[str, tuple[str, ...]]]


def find_scans(
    path: Path,
    channels: Sequence[str] = CHANNELS,
    fold: int | None = None,
    data_root: Path | None = None,
    required: Sequence[str] | None = None,
    patient_regex: str | None = None,
    naming: Naming | None = None,
) -> Finding:
    """Cases to segment: in a folder, of one case folder, or in a data list.

    Args:
        path: Folder in any layout that `find_cases` knows, or a JSON data list.
        channels: Contrasts that are looked for, and that 2D images of unknown layout hold.
        fold: Only the cases of this fold of a data list.
        data_root: Folder that the paths of a data list start from; None: as the list says.
        required: Those of `channels` that every case must have; None: all.
        patient_regex: As `find_cases` takes it.
        naming: As `find_cases` takes it.

    Raises:
        ConfigError: If `patient_regex` is no regular expression.
        DataListError: If nothing usable is there, or a folder is asked for what only a list has.
    """
    wanted = _wanted(channels, required, patient_regex, naming, labelled=False)
    if path.suffix.lower() != ".json":
        check_list_is_not_needed(path, fold, data_root)
        return _find([path], wanted)
    if patient_regex is not None or naming is not None:
        raise DataListError(
            f"{path} is a data list, which says which files are which channel of which patient",
            remedy="leave --patient-regex, --name and --label-name out",
            path=path,
        )
    listed = read_data_list(path, data_root)
    cases: list[Case] = []
    skipped: list[Skipped] = []
    for case in listed.cases(fold):
        if missing := missing_channels(case.channels, channels, required):
            skipped.append(Skipped(path, _missing(case.case_id, missing), case.case_id))
        else:
            cases.append(case)
    if not cases:
        raise DataListError(nothing_usable(path, skipped))
    return Finding.of(cases, skipped, {case.case_id: DATA_LIST for case in cases})


def check_list_is_not_needed(path: Path, fold: int | None, data_root: Path | None) -> None:
    """Raise DataListError if `path`, which is no data list, is asked for what only a list has."""
    if fold is not None:
        raise DataListError(
            f"{path} is no data list and has no fold {fold}", remedy="give its list", path=path
        )
    if data_root is not None:
        raise DataListError(
            f"{path} is no data list and needs no data root",
            remedy="leave --data-root out",
            path=path,
        )


def find_cases(
    folders: Sequence[Path],
    channels: Sequence[str] | None = None,
    required: Sequence[str] | None = None,
    patient_regex: str | None = None,
    naming: Naming | None = None,
) -> Finding:
    """Find the cases in folders, at any depth, by the names of files; nothing is renamed.

    Known are the names of BraTS 2017 to 2025 (a folder for each case, or all files in one), of BIDS
    and public cohorts, files called by their channel in a folder called as the case, MSD, and
    nnU-Net. A folder may be that of one case. Where there are no NIfTI cases, 2D images are slices
    of cases, as `find_stacks` sorts them. Results and pictures that volseg wrote there are left
    out. No image is opened, but files of cases that bear one name are compared: copies are left
    out, and different cases are called by their paths.

    Args:
        folders: Where to look. Of a case found twice, the first counts.
        channels: Contrasts that are looked for, in the order wanted in `Case.images`; of 2D images
            of unknown layout, what they hold. None: the four of BraTS; of 2D images, as their
            layout says, else one called "image".
        required: Those of `channels` that every case must have; a case then lists those that it
            has. None: all.
        patient_regex: Is searched for in the names of files, without their ending, or with a `/` in
            it in their paths below the folder and its name; its group called `patient`, or the
            first one, or the whole match is the patient. Where no file of a volume names one, the
            name of the case and its folders, joined by `_`, may.
        naming: Which names volumes have that are not known.

    Returns:
        Cases sorted by id; files and folders left out, each with its reason.

    Raises:
        ConfigError: If `patient_regex` is no regular expression.
        DataListError: If a folder does not exist or holds no usable case, or `naming` fits no file.
    """
    return _find(folders, _wanted(channels, required, patient_regex, naming))


def _wanted(
    channels: Sequence[str] | None,
    required: Sequence[str] | None,
    patient_regex: str | None,
    naming: Naming | None,
    *,
    labelled: bool = True,
) -> Wanted:
    for channel in (*(channels or ()), *(required or ())):
        if CHANNEL_NAMES.get(channel, channel) != channel:
            ours = CHANNEL_NAMES[channel]
            raise DataListError(
                f"channel {channel!r} is called {ours!r} here", remedy=f"ask for {ours}"
            )
    known = {*CHANNELS, *(channels or ())}
    for channel in naming.channels if naming else ():
        if channel not in known:
            raise ConfigError(
                f"--name says which files are {channel}, which is not looked for",
                remedy="name it with --channels too, or leave it out",
            )
    try:
        patient = None if patient_regex is None else re.compile(patient_regex)
    except re.error as error:
        raise ConfigError(
            f"patient regex {patient_regex!r} is no regular expression ({error})",
            remedy="correct it",
        ) from None
    return Wanted(
        None if channels is None else tuple(channels),
        None if required is None else tuple(required),
        patient,
        labelled,
        naming,
    )


def _find(folders: Sequence[Path], wanted: Wanted) -> Finding:
    found: list[Found] = []
    named: set[str] = set()
    skipped: list[Skipped] = []
    notes: list[str] = []
    for folder in folders:
        search = _Search(wanted)
        search.search(Path(os.path.normpath(folder.absolute())))
        skipped += search.all_skipped()
        notes += search.notes
        if not search.cases:
            _check_naming(wanted, search.named, [folder])
            raise DataListError(nothing_usable(folder, search.all_skipped()))
        found += search.cases
        named |= search.named
    _check_naming(wanted, named, folders)
    kept, skipped, more = distinct(found, skipped)
    notes = list(dict.fromkeys([*notes, *more]))
    for note in notes:
        logger.info("%s", note)
    layout_of = {one.case.case_id: one.layout for one in kept}
    cases = [one.case for one in kept]
    return Finding.of(cases, skipped, layout_of, notes)


def _check_naming(wanted: Wanted, named: Collection[str], folders: Sequence[Path]) -> None:
    """Raise DataListError if what the user says of names fits no file."""
    for content, glob in wanted.naming.globs.items() if wanted.naming else ():
        if content in named or (content == LABEL and not wanted.labelled):
            continue
        option = f"--label-name {glob}" if content == LABEL else f"--name {content}={glob}"
        where = ", ".join(map(str, folders))
        part = "" if "*" in glob else f", as '*{glob}*' if it is a part of names"
        raise DataListError(
            f"{option} fits the name of no file below {where}", remedy=f"correct it{part}"
        )


@dataclass(frozen=True)
class _Place:
    """Folder of a case or of several, the folder around the case, whether the first is its own."""

    home: Path
    container: Path
    own: bool = False


class _Search:
    """Cases below one folder, and what was left out."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.channels = wanted.channels or CHANNELS
        self.required = self.channels if wanted.required is None else wanted.required
        self.cases: list[Found] = []
        self.skipped: list[Skipped] = []
        self.strays: list[tuple[str, Path]] = []
        self.slices: list[Path] = []
        self.volumes: list[Path] = []
        self.top = Path()
        self.notes: list[str] = []
        self.named: set[str] = set()
        self.is_nifti = False

    def search(self, top: Path) -> None:
        """Look through `top` and the folders below it, in an order that no locale changes."""
        if not top.is_dir():
            found = "is a file" if top.exists() else "does not exist"
            raise DataListError(f"{top} {found}", remedy="give a folder of scans")
        self.top = top
        if top.name in _IMAGE_FOLDERS and (top.parent / described.FILE_NAME).is_file():
            self._search_described(top.parent, (top.name,))
        else:
            self._walk(top)
            self._add_volumes()
            self._add_slices(top)

    def _walk(self, top: Path) -> None:
        for folder, folders, files in os.walk(top, followlinks=True, onerror=self._unreadable):
            here = Path(folder)
            folders[:] = [name for name in _visible(folders) if not self._is_loop(here / name)]
            self._leave_out_written(here, folders, files)
            if described.FILE_NAME in files:
                files.remove(described.FILE_NAME)
                parts = [name for name in _IMAGE_FOLDERS if name in folders]
                done = self._search_described(here, parts)
                folders[:] = [name for name in folders if name not in done]
            for path in (here / name for name in _visible(files)):
                if is_nifti(path.name):
                    self.volumes.append(path)
                elif is_slice(path.name):
                    self.slices.append(path)
                else:
                    self.strays.append((no_image(path.name), path))

    def _add_volumes(self) -> None:
        naming = self.wanted.naming
        found = group_volumes(self.volumes, self.top, self.channels, naming)
        self.strays += found.strays
        self.skipped += found.refused
        self.notes += found.notes
        self.named |= found.held
        apart = self._read_apart(found.groups)
        for group in found.groups:
            if group.home in apart:
                continue
            files = [path.name for paths in group.files.values() for path in paths]
            layout = layout_of(group.case_id, files)
            place = _Place(group.home, group.container, own=group.container != group.home)
            self._add(group.case_id, group.files, layout, place)
        if naming is not None and not self.cases and self.slices:
            raise DataListError(
                f"--name and --label-name are for NIfTI files, and {self.top} holds 2D images",
                remedy="leave them out",
            )

    def _read_apart(self, groups: Sequence[Group]) -> set[Path]:
        """Folders whose files were read as several cases and may be one, which leaves them out."""
        beside: dict[Path, dict[str, list[str]]] = defaultdict(dict)
        for group in groups:
            channels = [name for name, paths in group.files.items() if name != LABEL for _ in paths]
            beside[group.home][group.case_id] = channels
        apart: set[Path] = set()
        for home, cases in beside.items():
            held = list(itertools.chain(*cases.values()))
            single = len(held) == len(cases) and len(set(held)) > 1
            once = len(cases) > 1 and len(set(held)) == len(held)
            perhaps_one = (single or once) and not of_several_patients(cases)
            if perhaps_one and all(map(self._lacks, cases.values())):
                apart.add(home)
                self.skipped.append(of_one_case_perhaps(home, len(held), len(cases)))
        self.is_nifti |= bool(apart)
        return apart

    def _lacks(self, held: Sequence[str]) -> bool:
        return bool(missing_channels(held, self.channels, self.required))

    def _leave_out_written(self, here: Path, folders: list[str], files: list[str]) -> None:
        """Take what volseg wrote out of the names in a folder: the next run would segment it."""
        # Masks of a folder called so are no images, and may be meant as label maps.
        written = {name for name in written_by_volseg(here, files) if not is_mask(here / name)}
        self.strays += [(_WRITTEN, here / name) for name in sorted(written & {*folders, *files})]
        for names in (folders, files):
            names[:] = [name for name in names if name not in written]

    def _add_slices(self, top: Path) -> None:
        """Cases of 2D images, unless these are previews of NIfTI files or drawn from them."""
        if self.is_nifti:
            self.strays += [(_SLICE, path) for path in self.slices]
            return
        found = find_stacks(self.slices, top, self.wanted)
        self.cases += [
            Found(case, layout, case.place if len(case.images) > 1 else case.place.parent, top, top)
            for case, layout in found.cases
        ]
        self.skipped += found.skipped
        self.strays += found.strays
        self.notes += found.notes

    def all_skipped(self) -> list[Skipped]:
        """What was left out; files left out for one reason, side by side, are one entry."""
        return self.skipped + summaries(self.strays)

    def _unreadable(self, error: OSError) -> None:
        reason = f"folder cannot be read ({error.strerror or error})"
        self.skipped.append(Skipped(Path(error.filename), reason))

    def _is_loop(self, folder: Path) -> bool:
        loop = folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())
        if loop:
            self.skipped.append(Skipped(folder, "link to a folder that it lies in"))
        return loop

    def _sort(self, paths: Iterable[Path], read: _Reader) -> Mapping[str, Files]:
        """Files of a described data set by case and content; those not known become strays."""
        cases: dict[str, Files] = defaultdict(lambda: defaultdict(list))
        for path in paths:
            if not is_nifti(path.name):
                known = is_slice(path.name)
                self.strays.append((_SLICE_DESCRIBED if known else no_image(path.name), path))
                continue
            case_id, contents = read(path)
            if not contents:
                self.strays.append((NUMBERED, path))
            for content in contents:
                cases[case_id][content].append(path)
        return cases

    def _search_described(self, folder: Path, parts: Sequence[str]) -> Sequence[str]:
        """Cases in `imagesTr` and `imagesTs`; returns the names of the folders that are done."""
        file = folder / described.FILE_NAME
        images = {part: self._files_in(folder / part) for part in parts}
        names = [path.name for paths in images.values() for path in paths if is_nifti(path.name)]
        self.is_nifti |= bool(names)
        try:
            description = described.read_description(file, names)
        except DataListError as error:
            self.skipped.append(Skipped(file, str(error)))
            return ()
        if missing := [name for name in self.required if name not in description.channels]:
            found = ", ".join(description.channels)
            reason = f"names the channels {cut(found, 100)}, but not {', '.join(missing)}"
            self.skipped.append(Skipped(file, reason))
            return (*_IMAGE_FOLDERS, *_LABEL_FOLDERS)
        for part, paths in images.items():
            labels = self._files_in(folder / part.replace("images", "labels"))
            if part == "imagesTs":
                self.strays += [(_TEST_LABELS, path) for path in labels]
                labels = []
            named = self._sort([*paths, *labels], description.read_name)
            place = _Place(folder, folder)
            for case_id, contents in named.items():
                self._add(case_id, contents, description.layout, place, description.labels)
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
        contents: Files,
        layout: Layout,
        place: _Place,
        labels: str | None = None,
    ) -> None:
        """Keep a case that is complete and clear, else name what is wrong with it.

        Args:
            case_id: The case.
            contents: Its files.
            layout: How they are named.
            place: Where they lie.
            labels: Label scheme, where a `dataset.json` tells it.
        """
        if set(contents) == {LABEL}:
            self.strays += [(LONE_LABEL, path) for path in contents[LABEL]]
            return
        self.is_nifti = True
        files = {content: paths[0] for content, paths in contents.items()}
        patients = self._patients(case_id, files.values(), place)
        problem = _problem(case_id, contents, self.channels, self.required)
        if problem or len(patients) != 1:
            problem = problem or self._no_patient(case_id, patients)
            shown = place.home if place.own else next(iter(files.values()))
            self.skipped.append(Skipped(shown, problem, case_id))
            return
        label = tuple(contents.pop(LABEL, ()))
        files = {channel: path for channel, path in files.items() if channel != LABEL}
        # One file under several channels is 4D: it stays whole, in its own order.
        whole = len(set(files.values())) < len(files)
        channels = tuple(files if whole else (c for c in self.channels if c in files))
        images = tuple(dict.fromkeys(files[channel] for channel in channels))
        scheme = labels if label else None
        case = VolumeCase(case_id, patients[0], images, channels, label, scheme)
        given = self.wanted.patient is not None
        self.cases.append(Found(case, layout, place.home, place.container, self.top, given))

    def _patients(self, case_id: str, files: Iterable[Path], place: _Place) -> list[str]:
        """The patient by the pattern of the user, else by the name; several if files differ."""
        if self.wanted.patient is None:
            return [patient_of(case_id)]
        above = self.top.parent
        paths = [file.relative_to(above).parent / stem(file.name) for file in files]
        joined = "_".join(place.home.relative_to(above).parts)
        for names in (paths, [PurePath(case_id)], [PurePath(joined)]):
            found = {patient for name in names if (patient := self.wanted.patient_of(name))}
            if found:
                return sorted(found)
        return []

    def _no_patient(self, case_id: str, patients: Sequence[str]) -> str:
        assert self.wanted.patient is not None
        pattern = repr(self.wanted.patient.pattern)
        if not patients:
            return (
                f"case {case_id}: no patient is found in the name by {pattern}; correct the pattern"
            )
        found = ", ".join(patients)
        return f"case {case_id}: its files name as patient {found}; correct the pattern"


def _visible(names: Iterable[str]) -> list[str]:
    """Names that are not hidden, in an order that no locale changes."""
    return sorted(name for name in names if not name.startswith("."))


def _problem(
    case_id: str, contents: Files, channels: Sequence[str], required: Sequence[str]
) -> str | None:
    if missing := missing_channels(contents, channels, required):
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
