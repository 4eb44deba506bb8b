"""Previews of the results of `infer`: a picture of each case beside its label map."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from volseg.cases.case import Case
from volseg.cases.sources import fingerprint, has_fingerprint
from volseg.figures.figure_files import optional_picture
from volseg.figures.grey_images import GreyImages
from volseg.figures.preview import draw_preview, draw_tile
from volseg.files.writing import make_folder, remove
from volseg.inference.prediction import Prediction
from volseg.measures import RegionMeasures
from volseg.results.companions import PREVIEW, preview_name
from volseg.words import volume_in_ml

logger = logging.getLogger(__name__)


class PreviewWriter:
    """Draws previews, and removes those of replaced results.

    A picture that was edited after volseg drew it is neither replaced nor removed, unless all
    results are overwritten. A file that is no picture of volseg stays in any case.

    Args:
        output: Folder of the results.
        known: Records of the results in it, by case id.
        wanted: Whether to draw.
        overwrite: Whether all results are replaced.
    """

    def __init__(
        self, output: Path, known: Mapping[str, Any], *, wanted: bool, overwrite: bool
    ) -> None:
        self.output, self.wanted, self.overwrite = output, wanted, overwrite
        self._marks = {
            case_id: record[PREVIEW] for case_id, record in known.items() if record.get(PREVIEW)
        }

    def replace(
        self, case: Case, prediction: Prediction, greys: GreyImages | None
    ) -> dict[str, Any] | None:
        """Draw the preview of a new result, and return its mark for the record.

        An error is logged. Without a new preview, that of an older result is removed.
        """
        path = self.output / preview_name(case.case_id)
        if self._is_edited(case):
            logger.warning("%s was edited after volseg drew it, so it stays as it is", path)
            return None
        if greys is not None and self.wanted:
            with optional_picture(path):
                make_folder(path.parent, "choose another with -o")
                view = greys.view(prediction.label_map, prediction.scheme, case.case_id)
                if len(prediction.slices) == 1:
                    draw_tile(path, view)
                else:
                    draw_preview(path, view, _legend(prediction), _note(prediction))
                return {"file": preview_name(case.case_id), **fingerprint(path)}
        self.remove(case)
        return None

    def missing(self, case_ids: Iterable[str]) -> list[str]:
        """Cases of older results whose wanted picture is not there."""
        if not self.wanted:
            return []
        return [name for name in case_ids if not (self.output / preview_name(name)).is_file()]

    def remove(self, case: Case) -> None:
        """Remove the preview of an older result, unless it was edited."""
        if case.case_id in self._marks and not self._is_edited(case):
            remove(self.output / preview_name(case.case_id))

    def _is_edited(self, case: Case) -> bool:
        mark = self._marks.get(case.case_id)
        if mark is None or self.overwrite:
            return False
        with contextlib.suppress(OSError):
            return not has_fingerprint(self.output / preview_name(case.case_id), mark)
        return False


def _note(prediction: Prediction) -> str:
    """A line on unlike images, missing channels and doubts; empty if there are none."""
    unlike = ["unlike the training images"] if prediction.confidence.unlike_training else []
    missing = [f"{', '.join(prediction.missing)} missing"] if prediction.missing else []
    return "; ".join([*unlike, *missing, *(f"doubt: {doubt}" for doubt in prediction.doubts)])


def _legend(prediction: Prediction) -> dict[str, str]:
    parts = "pixels" if prediction.slices else "voxels"
    return {region: _in_words(of, parts) for region, of in prediction.measures.items()}


def _in_words(of: RegionMeasures, parts: str) -> str:
    """Size of a region in a few words, such as `20.1 ml, 2 lesions, 30 x 20 mm`."""
    if not of.voxels:
        return "not found"
    size = f"{of.voxels} {parts}" if of.volume_ml is None else f"{volume_in_ml(of.volume_ml)} ml"
    lesions = "1 lesion" if of.n_lesions == 1 else f"{of.n_lesions} lesions"
    across = of.diameter
    diameters = across and f", {across.longest_mm:.0f} x {across.perpendicular_mm:.0f} mm"
    return f"{size}, {lesions}{diameters or ''}"
