"""Segmentation of cases by one model or several: one case in, one label map out, on its grid."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from nibabel.spatialimages import SpatialImage

from volseg.cases.case import Case
from volseg.errors import DataListError, GeometryError, ModelError, NoCaseError
from volseg.files.paths import PathLike
from volseg.finding.finding import Finding
from volseg.finding.folders import find_scans
from volseg.finding.naming import Naming
from volseg.inference.assessment import Assessor
from volseg.inference.decoding import decode_case
from volseg.inference.device import available_device
from volseg.inference.ensemble import (
    check_regions_of_scheme,
    check_same_regions,
    doubts_of,
    missing_for,
    needed_by,
    overridden,
    remedy_for_missing,
    slow_options,
)
from volseg.inference.inputs import (
    NAMED_FILES,
    case_of_channels,
    case_of_files,
    is_image_file,
    with_spacing,
)
from volseg.inference.likeness import training_profiles, unlike_training
from volseg.inference.loaded import LoadedCase, is_in_memory, loaded_case
from volseg.inference.options import ScanOptions, inference_options
from volseg.inference.prediction import Prediction
from volseg.inference.preparing import PreparedCase, prepare_case
from volseg.inference.probabilities import CaseProbabilities, probabilities_of
from volseg.inference.windows import refused_precision
from volseg.labels import get_scheme
from volseg.model_file import load_model
from volseg.model_header import tuning_in_words

logger = logging.getLogger(__name__)

Image = PathLike | SpatialImage | npt.NDArray[Any] | torch.Tensor
#: Images that `Predictor.predict` accepts.
Images = Image | Sequence[PathLike] | Mapping[str, Image] | Case
DEFAULTS = ScanOptions()


class Predictor:
    """Segments cases with one model, or with the averaged region probabilities of several models.

    The models of an ensemble share their regions; channels, spacing and network may differ. The
    thresholds and the options of components and regions are those of the first model.

    Args:
        models: Model file or run folder, or several.
        device: `auto` (a CUDA GPU if there is one, else the CPU), `cpu`, `cuda`, `cuda:N` or `mps`.
        labels: Name of the label scheme to write; None: scheme of the first model.
        overrides: Words such as `inference.window_batch=2`, which override options of the models.
        **options: Options of section `inference` by name, such as `tta=True` or `overlap=0.25`.

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
        # With the options of their files.
        self._stored = [load_model(path) for path in paths]
        self.models = tuple(overridden(model, used) for model in self._stored)
        if not self.models:
            raise ModelError("no model is given", remedy="give the model file of a run")
        check_same_regions(self.models)
        first = self.models[0].config
        self.scheme = get_scheme(labels) if labels else first.labels
        check_regions_of_scheme(self.scheme, first.labels)
        self.regions = tuple(first.labels.regions)
        self.channels = tuple(
            dict.fromkeys(name for model in self.models for name in model.config.data.channels)
        )
        self.required = tuple(
            name for name in self.channels if any(name in needed_by(m) for m in self.models)
        )
        self.doubts = tuple(doubts_of(self.models))
        # Notes for every case.
        refused = (refused_precision(model.config, self.device.type) for model in self.models)
        self.notes = tuple(dict.fromkeys(note for note in refused if note))
        self._training = training_profiles(self.models)
        self._warns = self._warns_of_fit = True
        if tuning := self.models[0].tuning:
            logger.info("%s was tuned: %s", self.models[0].path, tuning_in_words(tuning))
        for model in self.models:
            model.network.to(self.device)

    def warn(self) -> None:
        """Log doubts about the models and notes for every case, once.

        The first prediction does so too. A command calls it after its checks, so that an error
        stands alone.
        """
        if not self._warns:
            return
        self._warns = False
        for note in (*self.doubts, *self.notes, *slow_options(self.models)):
            logger.warning("%s", note)
        if any(model.doubts for model in self.models):
            logger.warning(
                "look at the results before you use them; if they are unusable, train longer "
                "(volseg fit --resume RUN training.max_epochs=N) or use another model"
            )

    def warn_of_fit(self) -> None:
        """Log why the predicted Dice may be off for all cases, once; see `warn`."""
        if self._warns_of_fit:
            self._warns_of_fit = False
            for note in self.assessor.notes:
                logger.warning("%s", note)

    @cached_property
    def assessor(self) -> Assessor:
        """Judges how far predictions can be trusted.

        Raises:
            ModelError: If the first model holds a fit that is not as volseg writes it.
        """
        # Built when it is asked for: `tune` replaces such a fit and does not read it.
        return Assessor.of(self._stored, self.models)

    def predict(
        self,
        images: Images,
        *,
        affine: npt.ArrayLike | None = None,
        case_id: str | None = None,
        disagreement: bool = False,
    ) -> Prediction:
        """Segment one case.

        Args:
            images: One of:
                the folder of a case in any known layout, or a data list with one case;
                one file, if the models need one channel;
                the image of each channel, `{"t1n": ..., "t1c": ...}`, also under older names such
                as t1ce and flair: paths, nibabel images, arrays or tensors (I, J, K);
                one image of all channels in the order of `channels`: an array or tensor
                (C, I, J, K), or a nibabel image (I, J, K, C);
                paths whose names hold the channels, or paths of 2D slices in order;
                a case of a data list.
            affine: Voxel indices to world (RAS, mm), (4, 4), for arrays and tensors; a `MetaTensor`
                of MONAI has an affine.
            case_id: Name of a case in memory; None: the name of its file, or `case`.
            disagreement: Whether the prediction gets the disagreement of mirrored copies and
                models, if there are several.

        Returns:
            The prediction, on the grid of the images.

        Raises:
            DataListError: If the case lacks a channel or has it twice, or the folder does not hold
                one case.
            ImageError: If an image cannot be read or holds unusable values.
            GeometryError: If the images do not lie on one grid, or their grid is not known.
        """
        prepared = self.prepare(images, affine=affine, case_id=case_id)
        return self.predict_prepared(prepared, disagreement=disagreement)

    def find(
        self,
        scans: PathLike | Sequence[PathLike] | Mapping[str, PathLike],
        options: ScanOptions = DEFAULTS,
    ) -> Finding:
        """Cases that can be segmented, in a folder, a data list or files.

        Args:
            scans: Folder of cases, folder of one case, or data list; or the files of one case, by
                channel or as a sequence of paths.
            options: Fold, root, patterns of names and voxel size of the cases.

        Raises:
            DataListError: If no case has all channels that the models need.
            ConfigError: If an option does not fit the cases.
        """
        naming = Naming.parse(options.names, options.label_name)
        case = self._case_of_files(scans, naming)
        if case is not None:
            self._check_channels(case)
            finding = Finding.of([case], [], {case.case_id: NAMED_FILES})
        else:
            finding = self._find(Path(scans), options, naming)  # type: ignore[arg-type]
        return with_spacing(finding, options.spacing_mm)

    def _find(self, scans: Path, options: ScanOptions, naming: Naming | None) -> Finding:
        where = options.fold, options.data_root, self.required, options.patient_regex, naming
        try:
            return find_scans(scans, self.channels, *where)
        except NoCaseError as error:
            if not error.lacks:
                raise
            problem = f"{error.problem} ({self._needs})"
            remedy = error.remedy or remedy_for_missing(self.models)
            raise NoCaseError(problem, error.lacks, remedy, error.path) from None

    def _case_of_files(
        self, scans: PathLike | Sequence[PathLike] | Mapping[str, PathLike], naming: Naming | None
    ) -> Case | None:
        """The case of files given by the user; None for a folder or a data list."""
        if isinstance(scans, Mapping):
            return case_of_channels(scans, self.channels)
        paths = [scans] if isinstance(scans, str | os.PathLike) else scans
        if len(paths) == 1 and not is_image_file(Path(paths[0])):
            return None
        return case_of_files(paths, self.channels, self.required, naming)

    def prepare(
        self,
        images: Images,
        *,
        affine: npt.ArrayLike | None = None,
        case_id: str | None = None,
        greys: bool = False,
    ) -> PreparedCase:
        """Read and preprocess one case: the part of `predict` that needs no network.

        With `greys`, the case also keeps its images for pictures, a few MB.
        """
        case = self._case(images, affine, case_id)
        self._check_channels(case)
        configs = [model.config for model in self.models]
        prepared = prepare_case(case, configs, self.notes, greys=greys)
        return replace(prepared, unlike_training=unlike_training(prepared, self._training))

    def _check_channels(self, case: Case | LoadedCase) -> None:
        if missing := missing_for(self.models, case.channels):
            raise DataListError(
                f"{self._needs}, but case {case.case_id} has {' '.join(case.channels)}",
                remedy=f"add {' '.join(missing)} or {remedy_for_missing(self.models)}",
            )

    @property
    def _needs(self) -> str:
        needed = " ".join(self.required) or f"{' or '.join(self.channels)}, any of them"
        return f"the model needs channels {needed}"

    def predict_prepared(self, case: PreparedCase, *, disagreement: bool = False) -> Prediction:
        """Segment a case that `prepare` has read."""
        return self.decode(self.probabilities(case, disagreement=disagreement))

    def probabilities(self, case: PreparedCase, *, disagreement: bool = False) -> CaseProbabilities:
        """Region probabilities of a case: the part of `predict` that needs the network.

        With `disagreement`, also the standard deviation over mirrored copies and models, if there
        is more than one copy; see `probabilities_of`.

        Raises:
            ModelError: If a model gives NaN as a probability.
            ResourceError: If the probabilities do not fit into memory.
        """
        self.warn()
        self.warn_of_fit()
        # The predicted Dice must not depend on whether the disagreement is asked for.
        spreads = disagreement or self.assessor.uses_disagreement
        return probabilities_of(case, self.models, self.regions, self.device, disagreement=spreads)

    def decode(self, scored: CaseProbabilities) -> Prediction:
        """Prediction of a case from its probabilities: the last part of `predict`."""
        config = self.models[0].config
        return decode_case(scored, config, self.scheme, self.doubts, self.assessor)

    def _case(
        self, images: Images, affine: npt.ArrayLike | None, case_id: str | None
    ) -> Case | LoadedCase:
        if isinstance(images, Case):
            return images
        if is_in_memory(images):
            return loaded_case(images, self.channels, affine, case_id)
        if affine is not None:
            raise GeometryError("files have an affine, but another is given", remedy="leave it out")
        finding = self.find(images)  # type: ignore[arg-type]
        if len(finding.cases) != 1:
            raise DataListError(
                f"{images} holds {len(finding.cases)} cases",
                remedy="give the folder of one case, or use volseg infer for many cases",
            )
        return finding.cases[0]
