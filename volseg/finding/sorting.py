"""Files of a folder sorted into cases, with a reason for each case that cannot be used."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from volseg.cases.channels import LABEL
from volseg.cases.identity import patient_of
from volseg.cases.layouts import Layout, layout_of
from volseg.cases.volume_case import VolumeCase
from volseg.config import CHANNELS
from volseg.errors import DataListError
from volseg.finding.finding import Skipped
from volseg.finding.listing import DataSet, Listing
from volseg.finding.naming import of_several_patients
from volseg.finding.people import Found
from volseg.finding.skipped import no_image, of_one_case_perhaps, summaries
from volseg.finding.stacks import find_stacks
from volseg.finding.volume_readings import NUMBERED
from volseg.finding.volumes import LONE_LABEL, Files, Group, group_volumes
from volseg.finding.wanted import Wanted, lacking, missing_channels
from volseg.images.file_names import is_nifti, is_slice, stem
from volseg.words import cut

_SLICE_DESCRIBED = "2D image; of a data set with a dataset.json, only NIfTI files are read"
_SLICE = "2D image beside NIfTI files; to use such images, give their folder alone"
_TEST_LABELS = "label map of a test case, which is not used"


@dataclass(frozen=True)
class _Place:
    """Folder of a case, the folder around the case, and whether no other case shares the first."""

    home: Path
    container: Path
    own: bool = False


class Sorting:
    """Cases in the files of one folder, and left-out files.

    Attributes:
        cases: Cases that were found.
        notes: Odd facts of the cases.
        named: Channels and `LABEL`, as far as any file has their name.
    """

    def __init__(self, listing: Listing, wanted: Wanted) -> None:
        self.wanted = wanted
        self.channels = wanted.channels or CHANNELS
        self.required = self.channels if wanted.required is None else wanted.required
        self.cases: list[Found] = []
        self.notes: list[str] = []
        self.named: set[str] = set()
        self._listing = listing
        self._skipped = list(listing.skipped)
        self._strays = list(listing.strays)
        self._is_nifti = listing.is_described
        for data_set in listing.data_sets:
            self._add_data_set(data_set)
        self._add_volumes()
        self._add_slices()

    @property
    def skipped(self) -> list[Skipped]:
        """Left-out files and cases; sibling files with the same reason share an entry."""
        return self._skipped + summaries(self._strays)

    def _add_data_set(self, data_set: DataSet) -> None:
        """Add the cases in `imagesTr` and `imagesTs` of a data set."""
        description = data_set.description
        if missing := [name for name in self.required if name not in description.channels]:
            found = ", ".join(description.channels)
            reason = f"names the channels {cut(found, 100)}, but not {', '.join(missing)}"
            self._skipped.append(Skipped(description.path, reason))
            return
        place = _Place(data_set.folder, data_set.folder)
        for part, (paths, labels) in data_set.parts.items():
            used = labels
            if part == "imagesTs":
                self._strays += [(_TEST_LABELS, path) for path in labels]
                used = []
            for case_id, contents in self._described([*paths, *used], data_set).items():
                self._add(case_id, contents, description.layout, place, description.labels)

    def _described(self, paths: Iterable[Path], data_set: DataSet) -> Mapping[str, Files]:
        """Files of a data set by case and content; unknown files become strays."""
        cases: dict[str, Files] = defaultdict(lambda: defaultdict(list))
        for path in paths:
            if not is_nifti(path.name):
                known = is_slice(path.name)
                self._strays.append((_SLICE_DESCRIBED if known else no_image(path.name), path))
                continue
            case_id, contents = data_set.description.read_name(path)
            if not contents:
                self._strays.append((NUMBERED, path))
            for content in contents:
                cases[case_id][content].append(path)
        return cases

    def _add_volumes(self) -> None:
        top, naming = self._listing.top, self.wanted.naming
        found = group_volumes(self._listing.volumes, top, self.channels, naming)
        self._strays += found.strays
        self._skipped += found.refused
        self.notes += found.notes
        self.named |= found.held
        unclear = self._folders_perhaps_of_one_case(found.groups)
        for group in found.groups:
            if group.home in unclear:
                continue
            files = [path.name for paths in group.files.values() for path in paths]
            layout = layout_of(group.case_id, files)
            place = _Place(group.home, group.container, own=group.container != group.home)
            self._add(group.case_id, group.files, layout, place)
        if naming is not None and not self.cases and self._listing.slices:
            raise DataListError(
                f"--name and --label-name are for NIfTI files, and {top} holds 2D images",
                remedy="leave them out",
            )

    def _folders_perhaps_of_one_case(self, groups: Sequence[Group]) -> set[Path]:
        """Folders to leave out, as their files were read as several cases but may be one case."""
        beside: dict[Path, dict[str, list[str]]] = defaultdict(dict)
        for group in groups:
            channels = [name for name, paths in group.files.items() if name != LABEL for _ in paths]
            beside[group.home][group.case_id] = channels
        unclear: set[Path] = set()
        for home, cases in beside.items():
            held = list(itertools.chain(*cases.values()))
            single = len(held) == len(cases) and len(set(held)) > 1
            once = len(cases) > 1 and len(set(held)) == len(held)
            perhaps_one = (single or once) and not of_several_patients(cases)
            if perhaps_one and all(map(self._lacks, cases.values())):
                unclear.add(home)
                self._skipped.append(
                    of_one_case_perhaps(home, len(held), len(cases), self.channels)
                )
        self._is_nifti |= bool(unclear)
        return unclear

    def _lacks(self, held: Sequence[str]) -> bool:
        return bool(missing_channels(held, self.channels, self.required))

    def _add_slices(self) -> None:
        """Add the cases of 2D images, unless there are NIfTI files, of which they may be views."""
        top, slices = self._listing.top, self._listing.slices
        if self._is_nifti:
            self._strays += [(_SLICE, path) for path in slices]
            return
        found = find_stacks(slices, top, self.wanted)
        self.cases += [
            Found(case, layout, case.place if len(case.images) > 1 else case.place.parent, top, top)
            for case, layout in found.cases
        ]
        self._skipped += found.skipped
        self._strays += found.strays
        self.notes += found.notes

    def _add(
        self,
        case_id: str,
        contents: Files,
        layout: Layout,
        place: _Place,
        labels: str | None = None,
    ) -> None:
        """Add a case if it is complete and clear, else an entry with the reason.

        Args:
            case_id: Id of the case.
            contents: Files of the case by content.
            layout: Layout of the files.
            place: Folders of the case.
            labels: Label scheme from a `dataset.json`, if there is one.
        """
        if set(contents) == {LABEL}:
            self._strays += [(LONE_LABEL, path) for path in contents[LABEL]]
            return
        self._is_nifti = True
        files = {content: paths[0] for content, paths in contents.items()}
        patients = self._patients(case_id, files.values(), place)
        problem = _problem(contents, self.channels, self.required)
        if problem or len(patients) != 1:
            problem = problem or self._no_patient(patients)
            shown = place.home if place.own else next(iter(files.values()))
            lacks = tuple(missing_channels(contents, self.channels, self.required))
            self._skipped.append(Skipped(shown, problem, case_id, lacks=lacks))
            return
        label = tuple(contents.pop(LABEL, ()))
        files = {channel: path for channel, path in files.items() if channel != LABEL}
        # A file of several channels is 4D: its channels stay in the order of the file.
        whole = len(set(files.values())) < len(files)
        channels = tuple(files if whole else (c for c in self.channels if c in files))
        images = tuple(dict.fromkeys(files[channel] for channel in channels))
        scheme = labels if label else None
        case = VolumeCase(case_id, patients[0], images, channels, label, scheme)
        given = self.wanted.patient is not None
        self.cases.append(
            Found(case, layout, place.home, place.container, self._listing.top, given)
        )

    def _patients(self, case_id: str, files: Iterable[Path], place: _Place) -> list[str]:
        """Patient by the pattern of the user, or else by the name; several if files differ."""
        if self.wanted.patient is None:
            return [patient_of(case_id)]
        above = self._listing.top.parent
        paths = [file.relative_to(above).parent / stem(file.name) for file in files]
        joined = "_".join(place.home.relative_to(above).parts)
        for names in (paths, [PurePath(case_id)], [PurePath(joined)]):
            found = {patient for name in names if (patient := self.wanted.patient_of(name))}
            if found:
                return sorted(found)
        return []

    def _no_patient(self, patients: Sequence[str]) -> str:
        assert self.wanted.patient is not None
        pattern = repr(self.wanted.patient.pattern)
        if not patients:
            return f"no patient is found in the name by {pattern}; correct the pattern"
        found = ", ".join(patients)
        return f"its files name as patient {found}; correct the pattern"


def _problem(contents: Files, channels: Sequence[str], required: Sequence[str]) -> str | None:
    if missing := missing_channels(contents, channels, required):
        return lacking(missing)
    for content in (*channels, LABEL):
        paths = contents.get(content, [])
        if len(paths) > 1:
            what = content if content == LABEL else f"channel {content}"
            names = ", ".join(path.name for path in paths)
            return f"{len(paths)} files for {what}: {names}; keep one"
    return None
