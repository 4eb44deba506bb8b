"""A trained model, or several, that segment cases: one case in, one label map out, on its grid."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from volseg.cases.case import Case
from volseg.cases.channels import channel_of
from volseg.cases.kinds import kind_of
from volseg.errors import DataListError, ModelError
from volseg.finding.finding import Finding
from volseg.finding.folders import find_scans
from volseg.finding.naming import Naming
from volseg.images.file_names import is_slice
from volseg.inference.decoding import decode_case
from volseg.inference.device import available_device
from volseg.inference.ensemble import (
    check_regions_of_scheme,
    check_same_regions,
    doubts_of,
    overridden,
    slow_options,
)
from volseg.inference.options import inference_options
from volseg.inference.prediction import Prediction
from volseg.inference.preparing import PreparedCase, prepare_case
from volseg.inference.scoring import ScoredCase, score_case
from volseg.inference.windows import refused_precision
from volseg.labels import get_scheme
from volseg.model_file import load_model
from volseg.words import shown

logger = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]


class Predictor:
    """Segments cases with a model, or with several whose region probabilities are averaged.

    The models of an ensemble share their regions; channels, spacing and network may differ. The
    threshold and the smallest components are those of the first model.

    Args:
        models: Model file or run folder, or several.
        device: `auto` (a CUDA GPU if there is one, else the CPU), `cpu`, `cuda`, `cuda:N` or `mps`.
        labels: Name of the label scheme to write; None: that of the first model.
        overrides: Words such as `inference.window_batch=2`, in place of what the models say.
        **options: The same by name: any option of the section `inference` of a config, such as
            `tta=True` or `overlap=0.25`.

    Raises:
        ModelError: If a model cannot be read, or the models have different regions.
        LabelError: If the label scheme has a region that the models lack.
        ConfigError: If the device, an option or the name of the scheme is not valid.

    Examples:
        >>> predictor = Predictor("runs/brats_unet/model.safetensors")  # doctest: +SKIP
        >>> prediction = predictor.predict("scans/BraTS2021_00000")  # doctest: +SKIP
        >>> prediction.save("BraTS2021_00000.nii.gz")  # doctest: +SKIP
    """

    def __init__(
        self,
        models: PathLike | Sequence[PathLike],
        device: str = "auto",
        labels: str | None = None,
        overrides: Sequence[str] = (),
        **options: Any,
    ) -> None:
        self.device = available_device(device)
        used = inference_options(overrides, options)
        paths = [models] if isinstance(models, str | os.PathLike) else models
        self.models = tuple(overridden(load_model(path), used) for path in paths)
        if not self.models:
            raise ModelError("no model is given; give the model file of a run")
        check_same_regions(self.models)
        first = self.models[0].config
        self.scheme = get_scheme(labels) if labels else first.labels
        check_regions_of_scheme(self.scheme, first.labels)
        self.regions = tuple(first.labels.regions)
        self.channels = tuple(
            dict.fromkeys(name for model in self.models for name in model.config.data.channels)
        )
        needs = [
            (data.fill_missing,) if data.fill_missing else data.channels
            for data in (model.config.data for model in self.models)
        ]
        self.required = tuple(name for name in self.channels if any(name in n for n in needs))
        self.doubts = tuple(doubts_of(self.models))
        # What holds of every case.
        refused = (refused_precision(model.config, self.device.type) for model in self.models)
        self.notes = tuple(dict.fromkeys(note for note in refused if note))
        for note in (*self.doubts, *self.notes, *slow_options(self.models)):
            logger.warning("%s", note)
        if any(model.doubts for model in self.models):
            logger.warning(
                "look at the results before they are used; if they are of no use, train longer "
                "(volseg fit --resume RUN training.max_epochs=N) or use another model"
            )
        for model in self.models:
            model.network.to(self.device)

    def predict(self, images: Mapping[str, PathLike] | PathLike | Case) -> Prediction:
        """Segment one case.

        Args:
            images: Path of the image of each channel, `{"t1n": ..., "t1c": ...}`, older names such
                as t1ce and flair included; or the folder of one case in any known layout; or a case
                of a data list.

        Raises:
            DataListError: If the case lacks a channel or has it twice, or the folder is not one
                case.
            ImageError: If an image cannot be read or holds unusable values.
            GeometryError: If the images do not lie on one grid.
        """
        return self.predict_prepared(self.prepare(images))

    def find(
        self,
        scans: PathLike,
        fold: int | None = None,
        data_root: Path | None = None,
        patient_regex: str | None = None,
        naming: Naming | None = None,
    ) -> Finding:
        """Cases that can be segmented, in a folder or a data list; DataListError if none can.

        Args:
            scans: Folder of cases, folder of one case, or data list.
            fold: Only the cases of this fold of a data list.
            data_root: Folder that the paths of a data list start from; None: as the list says.
            patient_regex: Tells the patient from the name of a file.
            naming: Which names files have that are not known.
        """
        try:
            return find_scans(
                Path(scans), self.channels, fold, data_root, self.required, patient_regex, naming
            )
        except DataListError as error:
            if "missing channel" not in str(error):
                raise
            needs = f"the model needs channels {' '.join(self.required)}"
            raise DataListError(f"{error} ({needs})") from None

    def prepare(self, images: Mapping[str, PathLike] | PathLike | Case) -> PreparedCase:
        """Read and preprocess one case; the part of `predict` that needs no network."""
        case = self._case(images)
        missing = [name for name in self.required if name not in case.channels]
        if missing:
            raise DataListError(
                f"the model needs channels {' '.join(self.required)}, but case {case.case_id} has "
                f"{' '.join(case.channels)}",
                remedy=f"add {' '.join(missing)} or use a model that needs less",
            )
        return prepare_case(case, [model.config for model in self.models], self.notes)

    def predict_prepared(self, case: PreparedCase) -> Prediction:
        """Segment a case that `prepare` has read."""
        return self.decode(self.score(case))

    def score(self, case: PreparedCase) -> ScoredCase:
        """Region probabilities of a case; the part of `predict` that needs the network.

        Raises:
            ModelError: If a model gives probabilities that are no numbers.
            ResourceError: If the probabilities do not fit into memory.
        """
        return score_case(case, self.models, self.regions, self.device)

    def decode(self, scored: ScoredCase) -> Prediction:
        """Label map of a case; the rest of `predict`."""
        return decode_case(scored, self.models[0].config, self.scheme)

    def _case(self, images: Mapping[str, PathLike] | PathLike | Case) -> Case:
        if isinstance(images, Case):
            return images
        if isinstance(images, Mapping):
            paths = tuple(Path(path).absolute() for path in images.values())
            name = paths[0].parent.name if paths else "without images"
            if len(paths) > 1 and is_slice(paths[0].name):
                raise DataListError(
                    f"{paths[0]} is a 2D image, which holds all channels of a slice, but "
                    f"{len(paths)} images are given by channel",
                    remedy="give their folder, or a case",
                )
            channels = tuple(x if x in self.channels else channel_of(x) for x in images)
            if len(set(channels)) < len(channels):
                raise DataListError(
                    f"{' '.join(images)} are the channels {' '.join(channels)}",
                    remedy="give each once",
                )
            if any("\0" in str(path) for path in paths):
                raise DataListError(
                    f"images are {shown(list(map(str, paths)))}, but no file can have a name with "
                    "NUL",
                    remedy="correct it",
                )
            if len({path.resolve() for path in paths}) < len(paths):
                raise DataListError(
                    f"one file is given for two of the channels {' '.join(images)}",
                    remedy="give each its own",
                )
            return kind_of([path.name for path in paths])(name, name, paths, channels)
        finding = self.find(images)
        if len(finding.cases) != 1:
            raise DataListError(
                f"{images} holds {len(finding.cases)} cases",
                remedy="give the folder of one, or use volseg infer for many",
            )
        return finding.cases[0]
