"""Image files of a folder by format, before their headers are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from volseg.conversion.image_files.analyze import inspect_analyze, is_header, voxel_file
from volseg.conversion.image_files.metaimage import inspect_metaimage
from volseg.conversion.image_files.nifti import inspect_nifti_volume
from volseg.conversion.image_files.nrrd import inspect_nrrd
from volseg.conversion.image_files.stacks import (
    Slices,
    inspect_pages,
    inspect_slices,
    numbered_slices,
)
from volseg.conversion.image_files.volume import Assumed, ImageVolume
from volseg.conversion.series import Broken, LeftOut
from volseg.errors import VolsegError
from volseg.files.documents import open_regular
from volseg.finding.listing import Listing
from volseg.finding.name_reading import read_name
from volseg.images.tiff_pages import is_tiff, number_of_pages

Inspect = Callable[[Path, str, Assumed], ImageVolume]

_METAIMAGE, _NRRD, _ANALYZE = (".mha", ".mhd"), (".nrrd", ".nhdr"), (".hdr", ".hdr.gz")
_VOXELS = (".img", ".img.gz")
_GREY = (".tif", ".tiff", ".png")
_SCANS = (*_METAIMAGE, *_NRRD, *_ANALYZE, *_VOXELS)
_NIFTI = (".nii", ".nii.gz")
_READERS: Mapping[tuple[str, ...], Inspect] = {
    _METAIMAGE: inspect_metaimage,
    _NRRD: inspect_nrrd,
    _ANALYZE: inspect_analyze,
    _NIFTI: inspect_nifti_volume,
}
_ENDINGS = (*_SCANS, *_NIFTI)
_SEGMENTATIONS = (".seg.nrrd", ".seg.nhdr")
_LONE = "a single 2D image, but a stack has two or more, numbered at the end of their names"
_DATA_SET = "a data set with a dataset.json, which is used as it is"
_NO_HEADER = "voxels without a header {name} beside them; copy the header too"
_OTHER_HEADER = "no header of Analyze or NIfTI"


@dataclass(frozen=True)
class Candidate:
    """A volume that is not opened yet.

    Attributes:
        path: File, or first file, that holds the voxels.
        shown: Path from the source, as messages name it.
        named: Path by which it is sorted, as if it were a NIfTI file.
        inspect: Reads the header, given what is assumed.
        files: All files of a stack.
    """

    path: Path
    shown: str
    named: Path
    inspect: Callable[[Assumed], ImageVolume]
    files: tuple[Path, ...] = ()


class Search:
    """Files of a listing by format, before their headers are read.

    Attributes:
        top: The source.
        candidates: Volumes.
        left_out: Images that are no volumes.
        broken: Files that cannot be opened.
    """

    def __init__(self, listing: Listing) -> None:
        self.top = listing.top
        self.candidates: list[Candidate] = []
        self.broken: list[Broken] = []
        self.left_out = [LeftOut(self._shown(one.folder), _DATA_SET) for one in listing.data_sets]
        files = [path for _, path in listing.strays if _ends(path, _SCANS)]
        self._headers = {_without_ending(path) for path in files if _ends(path, _ANALYZE)}
        for path in sorted({*listing.volumes, *files}):
            self._add_volume(path)
        self._add_stacks([path for path in listing.slices if _ends(path, _GREY)])

    def _add_volume(self, path: Path) -> None:
        """Add a file of one volume; voxels of Analyze come with their header."""
        if _ends(path, _VOXELS):
            if _without_ending(path) not in self._headers and not _is_dicom(path):
                wanted = f"{_bare(path.name)}.hdr"
                self.broken.append(Broken(self._shown(path), _NO_HEADER.format(name=wanted)))
            return
        if _ends(path, _ANALYZE) and not _is_header(path) and not voxel_file(path).exists():
            self.left_out.append(LeftOut(self._shown(path), _OTHER_HEADER))
            return
        inspect = next(inspect for endings, inspect in _READERS.items() if _ends(path, endings))
        self._add(path, path.with_name(_bare(path.name)), partial(inspect, path, path.name))

    def _add_stacks(self, paths: Sequence[Path]) -> None:
        """Add TIFF files of several pages, and numbered 2D images in a folder."""
        flat: list[Path] = []
        for path in paths:
            try:
                pages = number_of_pages(path, path.name) if is_tiff(path) else 1
            except VolsegError as error:
                self.broken.append(Broken(self._shown(path), sentence_of(error, path)))
                continue
            if pages == 1:
                flat.append(path)
            else:
                self._add(path, path.with_suffix(""), partial(inspect_pages, path, path.name))
        stacks, others = numbered_slices(flat)
        self.left_out += [LeftOut(self._shown(path), _LONE) for path in others]
        for slices in stacks:
            first = slices.files[0]
            inspect = partial(inspect_slices, slices, first.name)
            self._add(first, _name_of(slices, self.top), inspect, slices.files)

    def _add(
        self,
        path: Path,
        bare: Path,
        inspect: Callable[[Assumed], ImageVolume],
        files: tuple[Path, ...] = (),
    ) -> None:
        named = bare.with_name(f"{bare.name}.nii.gz")
        shown = self._shown(path) + (f" and {len(files) - 1} more" if files else "")
        self.candidates.append(Candidate(path, shown, named, inspect, files))

    def _shown(self, path: Path) -> str:
        return str(path.relative_to(self.top))


def sentence_of(error: VolsegError, path: Path) -> str:
    """Problem and remedy, to follow the name of the file after a colon."""
    return error.without_case.replace(str(path), path.name).removeprefix(f"{path.name} ")


def _ends(path: Path, endings: Sequence[str]) -> bool:
    return path.name.casefold().endswith(tuple(endings))


def _bare(name: str) -> str:
    """Name of a file without its ending; a segmentation of 3D Slicer is named as a label map."""
    ending = max((end for end in _ENDINGS if name.casefold().endswith(end)), key=len, default="")
    bare = name[: len(name) - len(ending)]
    if not name.casefold().endswith(_SEGMENTATIONS):
        return bare
    read = read_name(bare[: -len(".seg")], ())
    return f"{read.case}_seg" if read.case else "seg"


def _without_ending(path: Path) -> Path:
    return path.with_name(_bare(path.name).casefold())


def _name_of(slices: Slices, top: Path) -> Path:
    """Path by which a stack is sorted: of its files, or of its folder if only that says more."""
    of_files, folder = read_name(slices.name, ()).contents, slices.folder
    if (of_files or not read_name(folder.name, ()).contents) and slices.name:
        return folder / slices.name
    return folder / folder.name if folder == top else folder


def _is_header(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            content = file.read(4)
    except OSError:
        return True  # the reader says why it cannot be read
    return is_header(content) or content[:2] == b"\x1f\x8b"


def _is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, some of which have the ending IMG."""
    try:
        with open_regular(path) as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False
