"""The label map of one case, given by a path: its files, its label scheme, its masks."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from volseg.cases.case import Case
from volseg.cases.layouts import Layout, layout_of
from volseg.errors import DataListError, GeometryError, SchemeError
from volseg.evaluation.label_files import slice_files, slice_of
from volseg.evaluation.native_predictions import find_native_label_map
from volseg.evaluation.predictions import Prediction, find_predictions
from volseg.evaluation.schemes import prediction_scheme
from volseg.files.ownership import PREPARED_FOLDER
from volseg.finding.name_reading import read_name
from volseg.finding.own_results import written_by_volseg
from volseg.images.file_names import is_nifti, is_slice, stem
from volseg.images.grid import Grid, check_same_grid
from volseg.images.nifti_reading import read_header
from volseg.labels import LabelScheme, Masks, get_scheme
from volseg.survey.schemes import decisions_in_words, group_cases, schemes_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shown:
    """What of a case a label map must fit.

    Attributes:
        case: The case.
        grid: Grid of its images.
        layout: Layout of its files.
        channels: Channels that are shown.
    """

    case: Case
    grid: Grid
    layout: Layout
    channels: Sequence[str]


@dataclass(frozen=True)
class CaseLabelMap:
    """A label map of a case, reference or prediction.

    Attributes:
        path: The file, or the folder of several files.
        array: Label map (I, J, K).
        scheme: Its label scheme.
    """

    path: Path
    array: npt.NDArray[np.uint8]
    scheme: LabelScheme

    @property
    def masks(self) -> Masks:
        """Mask (I, J, K) of each region."""
        return self.scheme.masks(self.array)


def read_case_label_map(path: Path, shown: Shown, asked: str | None, option: str) -> CaseLabelMap:
    """Read a label map of a case.

    Args:
        path: A NIfTI file or a mask, a folder of results or of masks, or the folder of the case. Of
            results with label maps on several grids, that on the grid of the images counts.
        shown: The case and what of it is shown.
        asked: Name of the label scheme; None: that of the results of volseg, or the scheme that
            follows from names and values of the files.
        option: Option that names the scheme, for errors.

    Raises:
        DataListError: If there is no label map of the case.
        GeometryError: If the label map lies on another grid.
        ImageError: If a file is damaged.
        LabelError: If the scheme is not known or does not define all values.
    """
    case = shown.case
    files = _files(path, shown)
    array, of_labels = case.read_prediction(files)
    place = files[0] if len(files) == 1 else files[0].parent
    try:
        notes = check_same_grid({"the scan": shown.grid, str(place): of_labels})
    except GeometryError as error:
        native = _native(place.parent, shown).paths
        remedy = f"give {native[0]}" if native else "resample the label map to the grid of the scan"
        raise GeometryError(error.problem, remedy=remedy, path=place) from None
    for note in notes:
        logger.warning("%s", note)
    scheme = _scheme(files, array, case, shown.layout, asked, option)
    return CaseLabelMap(place, array, scheme)


def _files(path: Path, shown: Shown) -> tuple[Path, ...]:
    """Files of the label map: a NIfTI file, or a mask for each slice."""
    case = shown.case
    if path.is_dir():
        return _files_in(path, shown)
    if not path.exists():
        raise DataListError(f"{path} does not exist", remedy="give a label map", path=path)
    if not (is_nifti(path.name) or is_slice(path.name)):
        raise DataListError(
            f"{path} is no label map by its name",
            remedy="give a NIfTI file (.nii, .nii.gz) or a mask (.tif, .png, .bmp)",
            path=path,
        )
    if is_slice(path.name) and len(case.slices) != 1:
        of_scan = f"{len(case.slices)} slices" if case.slices else "a volume"
        remedy = "give the folder of the masks" if case.slices else "give a NIfTI file"
        raise DataListError(
            f"{path} is the mask of one slice, but {case.place} is {of_scan}",
            remedy=remedy,
            path=path,
        )
    return (path,)


def _files_in(folder: Path, shown: Shown) -> tuple[Path, ...]:
    case = shown.case
    if _holds_reference(folder, case):
        return case.label
    masks = {slice_of(file.name): file for file in slice_files(folder) if file.parent == folder}
    of_slices = [masks.get(slice_of(image.name)) for image in case.slices]
    if of_slices and None not in of_slices:
        return tuple(mask for mask in of_slices if mask is not None)
    found = _named_after(case, folder)
    if found.paths and not found.problem and (case.slices or _fits(found.paths[0], shown.grid)):
        return found.paths
    native = _native(folder, shown)
    found = found if native == Prediction() else native
    if found.problem:
        raise DataListError(found.problem, path=folder)
    if not found.paths:
        form = "a folder with a mask for each slice" if case.slices else "<case>.nii.gz"
        raise DataListError(
            f"{folder} holds no label map of {case.case_id}",
            remedy=f"give its file, or a folder of results, with {form}",
            path=folder,
        )
    return found.paths


def _named_after(case: Case, folder: Path) -> Prediction:
    """The label map named after the case; empty if there is none."""
    try:
        return find_predictions(folder, [case])[0][case.case_id]
    except DataListError:
        return Prediction()


def _native(folder: Path, shown: Shown) -> Prediction:
    """The label map on the original grid that is shown; empty if `folder` has none of the case."""
    if shown.case.slices:
        return Prediction()
    return find_native_label_map(folder, shown.case.case_id, shown.grid, shown.channels)


def _fits(file: Path, grid: Grid) -> bool:
    try:
        check_same_grid({"the scan": grid, str(file): read_header(file)[0]})
    except GeometryError:
        return False
    return True


def _holds_reference(folder: Path, case: Case) -> bool:
    """Whether a folder is one of scans with the reference of the case.

    Results of `infer --prepare` hold the prepared cases with their references.
    """
    label = [path.absolute() for path in case.label]
    of_results = written_by_volseg(folder, os.listdir(folder))  # noqa: PTH208  (only names)
    scans = [folder.absolute() / name for name in of_results if name == PREPARED_FOLDER]
    return bool(label) and all(
        file.is_relative_to(folder.absolute()) and not any(map(file.is_relative_to, scans))
        for file in label
    )


def _scheme(
    files: tuple[Path, ...],
    array: npt.NDArray[np.uint8],
    case: Case,
    layout: Layout,
    asked: str | None,
    option: str,
) -> LabelScheme:
    values = frozenset(np.unique(array).tolist())
    place = files[0] if len(files) == 1 else files[0].parent
    if asked is not None:
        scheme = get_scheme(asked)
    elif (folder := _results_folder(files)) is not None:
        scheme = prediction_scheme(folder, None)
    else:
        return _scheme_by_name(files, values, case, layout, option)
    try:
        scheme.check(values, str(place))
    except SchemeError as error:
        raise error.of_option(option) from None
    return scheme


def _results_folder(files: tuple[Path, ...]) -> Path | None:
    """Folder of results of volseg that these files belong to, or None."""
    first = files[0].absolute()
    for folder, name in ((first.parent, first.name), (first.parent.parent, first.parent.name)):
        if name in written_by_volseg(folder, os.listdir(folder)):  # noqa: PTH208  (only names)
            return folder
    return None


def _scheme_by_name(
    files: tuple[Path, ...], values: frozenset[int], case: Case, layout: Layout, option: str
) -> LabelScheme:
    """The scheme that follows from names and values of the files."""
    if files != case.label:
        case = replace(case, labels=None)
        if is_nifti(files[0].name):
            layout = layout_of(read_name(files[0].name, ()).case or stem(files[0].name))
    groups = group_cases([case], {case.case_id: values}, {case.case_id: layout})
    schemes = schemes_of(groups, f"give it with {option} NAME")
    for decision in decisions_in_words(groups, schemes):
        logger.info("%s: %s", files[0].name, decision)
    return get_scheme(schemes[case.case_id])
