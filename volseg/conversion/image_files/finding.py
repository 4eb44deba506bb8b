"""Series in image files: MetaImage, NRRD, Analyze, NIfTI, and stacks of TIFF and PNG."""

from __future__ import annotations

from pathlib import Path

from volseg.cases.identity import examination_of
from volseg.cases.time_table import DATE, date_in
from volseg.conversion.image_files.search import Candidate, Search, sentence_of
from volseg.conversion.image_files.sorting import Place, is_label, sort_files
from volseg.conversion.image_files.volume import Assumed, ImageVolume
from volseg.conversion.series import Broken, Facts, LeftOut, Patient, Series, SourceFinding, Study
from volseg.errors import VolsegError
from volseg.finding.listing import Listing
from volseg.images.file_names import stem


def find_image_series(
    folder: Path,
    spacing_mm: tuple[float, ...] | None = None,
    orientation: str | None = None,
) -> SourceFinding:
    """Find the volumes in image files at any depth; only headers are read.

    Args:
        folder: The source.
        spacing_mm: Size of a voxel along the axes of the array, for files that do not say it;
            None: such files are faults.
        orientation: Directions of the axes of the array, for files that do not say them, such as
            LPS; None: as other programs assume for the format, with a note.

    Returns:
        A series for each volume, label maps with `facts.is_label`; left-out images; faults. Files
        with other endings, and results of volseg, are not mentioned.

    Raises:
        ConfigError: If `spacing_mm` or `orientation` is not valid.
        DataListError: If `folder` is no folder.
    """
    assumed = Assumed(spacing_mm, orientation)
    search = Search(Listing.of(folder))
    read = [(one, _read(one, assumed)) for one in search.candidates]
    files: dict[Path, tuple[Path, ...]] = {}
    for one, volume in read:
        held = (one.path,) if isinstance(volume, VolsegError) else volume.files
        files[one.named] = files.get(one.named, ()) + held
    places = sort_files(files, search.top)
    shown = {one.named: one.shown for one in search.candidates}
    series: list[Series] = []
    for one, volume in read:
        place = places[one.named]
        if isinstance(volume, VolsegError):
            sentence, whose = sentence_of(volume, one.path), (place.patient_key, place.case_id)
            search.broken.append(Broken(one.shown, sentence, *whose, one.files))
        elif place.copy_of:
            reason = f"copy of {shown[place.copy_of]}, which is used"
            search.left_out.append(LeftOut(one.shown, reason, place.patient_key))
        else:
            series.append(_series(one, place, volume))
    return SourceFinding(tuple(series), tuple(search.left_out), tuple(search.broken))


def _read(one: Candidate, assumed: Assumed) -> ImageVolume | VolsegError:
    """Header of a volume, or its fault."""
    try:
        return one.inspect(assumed)
    except VolsegError as error:
        return error


def _series(one: Candidate, place: Place, volume: ImageVolume) -> Series:
    is_map = volume.is_label or is_label(place)
    date = DATE.search(examination_of(place.case_id))
    return Series(
        name=one.shown,
        files=volume.files,
        patient=Patient(place.patient_key, place.patient_id),
        study=Study(place.case_id, date_in(date) if date else None),
        grid=volume.grid,
        facts=Facts(description=stem(one.named.name), is_label=is_map),
        kind="image",
        load=volume.load_labels if is_map else volume.load,
        notes=(*volume.notes, *place.notes),
    )
