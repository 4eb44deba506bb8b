"""One case in, one label map out, on the input's grid: a model, or the mean of several."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from volseg import memory
from volseg.cases.case import Case
from volseg.cases.channels import channel_of
from volseg.cases.kinds import kind_of
from volseg.config import PreprocessingConfig
from volseg.config.training import checked_overlap
from volseg.errors import ConfigError, DataListError, ModelError
from volseg.finding.finding import Finding
from volseg.finding.folders import find_scans
from volseg.finding.naming import Naming
from volseg.images.boxes import placed, union
from volseg.images.file_names import is_slice
from volseg.images.grid import Grid
from volseg.images.nifti import CaseImages
from volseg.images.nifti_writing import write_label_map, write_probabilities
from volseg.images.slice_masks import write_masks
from volseg.inference.ensemble import (
    check_regions_of_scheme,
    check_same_regions,
    doubts_of,
    overridden,
)
from volseg.inference.windows import on_scan_grid, refused_precision, segment
from volseg.labels import get_scheme
from volseg.model_file import Model, load_model
from volseg.postprocess import decode
from volseg.transforms import Preprocessed, covered, preprocess
from volseg.words import cut, reason, shown

logger = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]

# Times as long as by default.
_SLOW = 8

# Share of the tissue beyond which a result is hardly right.
_HARDLY = 0.5


class RegionMaps(Mapping[str, npt.NDArray[np.float32]]):
    """Probabilities of the regions of a scan; each map is made when it is asked for.

    Args:
        regions: Their names.
        part: (R, *) within `box`; all is 0 outside.
        box: Part of the scan.
        shape: Voxels of the scan.
    """

    def __init__(
        self,
        regions: Sequence[str],
        part: npt.NDArray[np.float32],
        box: tuple[slice, ...],
        shape: tuple[int, ...],
    ) -> None:
        self._parts = dict(zip(regions, part, strict=True))
        self._box, self._shape = box, shape

    def __getitem__(self, region: str) -> npt.NDArray[np.float32]:
        return placed(self._parts[region], self._box, self._shape)

    def __contains__(self, region: object) -> bool:
        return region in self._parts  # Mapping would make the map to find out

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the models say about one case, on the grid of its images.

    Args:
        case_id: The case.
        label_map: uint8 (I, J, K), values of the predictor's scheme.
        probabilities: float32 (I, J, K) for each region, in [0, 1]; made when it is asked for, and
            anew each time.
        volumes_ml: Volume of each region, in ml; empty where the size of a voxel is not known.
        found: Regions of the label map that hold a voxel, or more.
        header: NIfTI header of the first image; results are written on its grid.
        notes: What a careful reader should know, such as small differences of grids.
        missing: Channels that are missing, and that another channel stands in for.
        slices: Of a stack, the image of each slice along K.
        binary: Whether the only label is 1, so that masks are black and white.
    """

    case_id: str
    label_map: npt.NDArray[np.uint8]
    probabilities: Mapping[str, npt.NDArray[np.float32]]
    volumes_ml: Mapping[str, float]
    found: frozenset[str]
    header: Any
    notes: tuple[str, ...]
    missing: tuple[str, ...] = ()
    slices: tuple[Path, ...] = ()
    binary: bool = False

    def save(self, path: PathLike) -> None:
        """Write the label map as NIfTI; OutputError if it cannot be written."""
        write_label_map(Path(path), self.label_map, self.header)

    def save_slices(self, folder: PathLike) -> list[Path]:
        """Write a mask for each slice of a stack, as `volseg.slices.write_masks` says."""
        return write_masks(Path(folder), self.label_map, self.slices, binary=self.binary)

    def save_probabilities(self, folder: PathLike) -> list[Path]:
        """Write a NIfTI for each region, `<case>_<region>.nii.gz`, and return their paths."""
        paths = []
        for region, values in self.probabilities.items():
            paths.append(Path(folder) / f"{self.case_id}_{region}.nii.gz")
            write_probabilities(paths[-1], values, self.header)
        return paths


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """A case read and preprocessed, once for each way in which a model wants it."""

    case: Case
    images: Mapping[PreprocessingConfig, Preprocessed]
    grid: Grid
    header: Any
    notes: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def case_id(self) -> str:
        """Name of the examination."""
        return self.case.case_id


@dataclass(frozen=True, eq=False)
class ScoredCase:
    """A case and what the networks say of it: probabilities (R, *) in a box of the scan."""

    case: PreparedCase
    probabilities: npt.NDArray[np.float32]
    box: tuple[slice, ...]


class Predictor:
    """Segments cases with a model, or with several whose region probabilities are averaged.

    The models of an ensemble share their regions; channels, spacing and network may differ. The
    threshold and the smallest components are those of the first model.

    Args:
        models: Model file or run folder, or several.
        device: `auto` (a CUDA GPU if there is one, else the CPU), `cpu`, `cuda`, `cuda:N` or `mps`.
        tta: Mean over mirrored copies; None: as each model says.
        overlap: Of neighbouring windows, in [0, 0.9]; None: as each model says.
        labels: Name of the label scheme to write; None: that of the first model.
        overrides: Words such as `inference.window_batch=2`, in place of what the models say.

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
        tta: bool | None = None,
        overlap: float | None = None,
        labels: str | None = None,
        overrides: Sequence[str] = (),
    ) -> None:
        if overlap is not None:
            try:
                checked_overlap(overlap)
            except ValueError as error:
                raise ConfigError(reason(error)) from None
        self.device, self.tta, self.overlap = _available(device), tta, overlap
        paths = [models] if isinstance(models, str | os.PathLike) else models
        self.models = tuple(overridden(load_model(path), overrides) for path in paths)
        if not self.models:
            raise ModelError("no model is given; give the model file of a run")
        check_same_regions(self.models)
        first = self.models[0].config
        self.scheme = get_scheme(labels) if labels else first.labels
        check_regions_of_scheme(self.scheme, first.labels)
        self.binary = set(self.scheme.labels) == {1}
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
        for note in (*self.doubts, *self.notes, *_slow_options(self.models, overlap)):
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
        read: dict[object, CaseImages] = {}
        prepared: dict[PreprocessingConfig, Preprocessed] = {}
        for options in dict.fromkeys(model.config.preprocessing for model in self.models):
            source = options.channels, options.fill_missing
            if source not in read:
                read[source] = case.read_images(*source)
            prepared[options] = preprocess(read[source], options)
        first, *_ = read.values()
        notes = [note for images in read.values() for note in images.notes]
        odd = dict.fromkeys(note for image in prepared.values() for note in image.notes)
        for note in odd:
            logger.warning("%s: %s", case.case_id, note)
        notes += odd
        if not case.has_size:
            notes += self._notes_without_size()
        notes += self.notes
        absent = {name for images in read.values() for name in images.missing}
        return PreparedCase(
            case=case,
            images=prepared,
            grid=first.grid,
            header=first.header,
            notes=tuple(dict.fromkeys(notes)),
            missing=tuple(name for name in self.channels if name in absent),
        )

    def predict_prepared(self, case: PreparedCase) -> Prediction:
        """Segment a case that `prepare` has read."""
        return self.decode(self.score(case))

    @torch.inference_mode()
    def score(self, case: PreparedCase) -> ScoredCase:
        """Region probabilities of a case; the part of `predict` that needs the network.

        Raises:
            ModelError: If a model gives probabilities that are no numbers.
            ResourceError: If the probabilities do not fit into memory.
        """
        # Outside the brain all is background, so two thirds of a scan need not be looked at.
        box = union(covered(image.image_grid, case.grid) for image in case.images.values())
        part = case.grid.crop(box)
        mean = torch.zeros(1)
        for model in self.models:
            image = case.images[model.config.preprocessing]
            self._require_memory(case, image, math.prod(part.shape))
            on_its_grid = segment(
                model.network,
                image.image,
                model.config,
                device=self.device,
                overlap=self.overlap,
                tta=self.tta,
            )
            _check_finite(on_its_grid, case, model)
            probabilities = on_scan_grid(on_its_grid, image.image_grid, part)
            names = list(model.config.labels.regions)
            order = [names.index(region) for region in self.regions]
            mean = mean + probabilities[order] / len(self.models)
        return ScoredCase(case, mean.numpy(), box)

    def _require_memory(self, case: PreparedCase, image: Preprocessed, voxels: int) -> None:
        """Refuse a case whose probabilities do not fit into memory, before they are asked for."""
        # The mean of the models, and the maps of one of them.
        numbers = 2 * len(self.regions) * voxels
        if self.device.type == "cpu":
            # As float32 the image, the sums over its windows, and how often each voxel was seen.
            channels, *shape = image.image.shape
            numbers += (channels + len(self.regions) + 1) * math.prod(shape)
        size = " x ".join(map(str, case.grid.shape))
        memory.require(
            4 * numbers,
            f"case {case.case_id}: probabilities of {len(self.regions)} regions of {size} voxels",
        )

    def decode(self, scored: ScoredCase) -> Prediction:
        """Label map of a case; the rest of `predict`."""
        case, probabilities, box = scored.case, scored.probabilities, scored.box
        config, voxel_ml = self.models[0].config, case.grid.voxel_ml
        masks = decode(probabilities, config.labels, config.inference, voxel_ml * 1000)
        label_map = self.scheme.label_map(masks)
        # Of what is written, the volumes are those of the file, in whatever scheme it is.
        masks |= self.scheme.masks(label_map)
        volumes_ml = {name: float(mask.sum() * voxel_ml) for name, mask in masks.items()}
        unwritten = [region for region in self.regions if region not in self.scheme.regions]
        notes = [f"{name} is no region of {self.scheme.name}: not written" for name in unwritten]
        notes += self._notes_on_size(case, np.count_nonzero(label_map) * voxel_ml)
        return Prediction(
            case_id=case.case_id,
            label_map=placed(label_map, box, case.grid.shape),
            probabilities=RegionMaps(self.regions, probabilities, box, case.grid.shape),
            volumes_ml=volumes_ml if case.case.has_size else {},
            found=frozenset(region for region in self.scheme.regions if masks[region].any()),
            header=case.header,
            notes=(*case.notes, *notes),
            missing=case.missing,
            slices=case.case.slices,
            binary=self.binary,
        )

    def _notes_on_size(self, case: PreparedCase, marked_ml: float) -> list[str]:
        """Said where a result fills so much of the brain that it can hardly be right."""
        image = case.images[self.models[0].config.preprocessing]
        if marked_ml <= _HARDLY * image.tissue_ml:
            return []
        note = (
            f"the result fills {marked_ml / image.tissue_ml:.0%} of the tissue: look at it; are "
            "the images those that the model was trained for, and is the skull stripped?"
        )
        logger.warning("%s: %s", case.case_id, note)
        return [note]

    def _notes_without_size(self) -> list[str]:
        notes = ["the size of a voxel is not known: taken as 1 mm"]
        if self.models[0].config.inference.min_component_mm3:
            notes.append("inference.min_component_mm3 counts voxels")
        return notes

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


def _check_finite(probabilities: torch.Tensor, case: PreparedCase, model: Model) -> None:
    """Refuse NaN: no comparison with a threshold holds, and the label map would be empty."""
    # All are at most 1, so that a sum of numbers is one.
    if torch.isfinite(probabilities.sum()):
        return
    lost = int((~torch.isfinite(probabilities)).sum())
    raise ModelError(
        f"{model.path} gives probabilities of case {case.case_id} that are no numbers, {lost} of "
        f"{probabilities.numel()}",
        remedy="use inference.precision=32, and look at the grey values of its images",
    )


def _slow_options(models: Sequence[Model], overlap: float | None) -> list[str]:
    """What takes many times as long as by default, in words."""
    options = [(model.config, model.config.inference.overlap) for model in models]
    most = max(
        ((1 - (given if overlap is None else overlap)) ** -config.spatial_dims)
        / 2**config.spatial_dims
        for config, given in options
    )
    return [
        f"the windows overlap so far that they take {most:.0f} times as long as at an overlap "
        "of 0.5"
    ] * (most >= _SLOW)


def _available(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # Torch knows more, on some of which nothing is computed.
    if not re.fullmatch(r"cpu|mps|cuda(:[0-9]{1,4})?", str(name)):
        raise ConfigError(f"device is {shown(name)}", remedy="use auto, cpu, cuda, cuda:N or mps")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        # Torch goes on to list all that it was built with.
        detail = cut(str(error).splitlines()[0].partition(". ")[0], 200)
        raise ConfigError(
            f"device {name!r} cannot be used ({detail})", remedy="use auto or cpu"
        ) from None
    return device
