"""volseg: segmentation of brain tumours in MRI, in 3D or slice by slice, from scans to scores.

Every public name is an attribute of this package and imported on first access, so `import volseg`
alone loads no library.

    >>> import volseg
    >>> config = volseg.load_config("configs/brats_unet.yaml")  # doctest: +SKIP
    >>> result = volseg.fit(config, "runs/unet")  # doctest: +SKIP
    >>> print(volseg.Predictor(result.model).predict("scans/BraTS2021_00000"))  # doctest: +SKIP

For research only, not for clinical use.
"""

from __future__ import annotations

__version__ = "0.1.0"
DISCLAIMER = "For research only, not for clinical use."

# Same as `typing.TYPE_CHECKING`; importing `typing` would delay the handling of Ctrl-C.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from volseg.attribution.methods import ExplainOptions as ExplainOptions
    from volseg.cases.case import Case as Case
    from volseg.cases.data_list import DataList as DataList
    from volseg.cases.data_list import read_data_list as read_data_list
    from volseg.cases.slice_stack_case import SliceStackCase as SliceStackCase
    from volseg.cases.volume_case import VolumeCase as VolumeCase
    from volseg.config.experiment import ExperimentConfig as ExperimentConfig
    from volseg.config.experiment import load_config as load_config
    from volseg.errors import AttributionError as AttributionError
    from volseg.errors import BrainMaskError as BrainMaskError
    from volseg.errors import CheckpointError as CheckpointError
    from volseg.errors import ConfigError as ConfigError
    from volseg.errors import DataListError as DataListError
    from volseg.errors import GeometryError as GeometryError
    from volseg.errors import ImageError as ImageError
    from volseg.errors import LabelError as LabelError
    from volseg.errors import ModelError as ModelError
    from volseg.errors import OutputError as OutputError
    from volseg.errors import RegistrationError as RegistrationError
    from volseg.errors import ResourceError as ResourceError
    from volseg.errors import TrainingError as TrainingError
    from volseg.errors import VolsegError as VolsegError
    from volseg.finding.finding import Finding as Finding
    from volseg.finding.folders import find_cases as find_cases
    from volseg.finding.reading import read_case as read_case
    from volseg.images.case_images import CaseImages as CaseImages
    from volseg.images.grid import Grid as Grid
    from volseg.inference.options import InferOptions as InferOptions
    from volseg.inference.options import ScanOptions as ScanOptions
    from volseg.inference.prediction import Prediction as Prediction
    from volseg.inference.predictor import Predictor as Predictor
    from volseg.labels import LabelScheme as LabelScheme
    from volseg.labels import get_scheme as get_scheme
    from volseg.region_metrics import LesionwiseScore as LesionwiseScore
    from volseg.region_metrics import RegionDice as RegionDice
    from volseg.region_metrics import RegionIoU as RegionIoU
    from volseg.tasks.check import check as check
    from volseg.tasks.compare import compare as compare
    from volseg.tasks.convert import ConvertOptions as ConvertOptions
    from volseg.tasks.convert import convert as convert
    from volseg.tasks.evaluate import evaluate as evaluate
    from volseg.tasks.evaluate_channels import evaluate_channels as evaluate_channels
    from volseg.tasks.explain import explain as explain
    from volseg.tasks.fit import fit as fit
    from volseg.tasks.infer import infer as infer
    from volseg.tasks.overlay import OverlayOptions as OverlayOptions
    from volseg.tasks.overlay import overlay as overlay
    from volseg.tasks.prepare import PrepareOptions as PrepareOptions
    from volseg.tasks.prepare import prepare as prepare
    from volseg.tasks.report import report as report
    from volseg.tasks.split import SplitOptions as SplitOptions
    from volseg.tasks.split import split as split
    from volseg.tasks.tune import tune as tune
    from volseg.transforms.map_transforms import LoadCased as LoadCased
    from volseg.transforms.map_transforms import PreprocessCased as PreprocessCased

#: Module of each public name; a test compares it with the imports above for type checkers.
_MODULES = {
    "fit": "volseg.tasks.fit",
    "prepare": "volseg.tasks.prepare",
    "infer": "volseg.tasks.infer",
    "explain": "volseg.tasks.explain",
    "report": "volseg.tasks.report",
    "evaluate": "volseg.tasks.evaluate",
    "evaluate_channels": "volseg.tasks.evaluate_channels",
    "split": "volseg.tasks.split",
    "check": "volseg.tasks.check",
    "convert": "volseg.tasks.convert",
    "compare": "volseg.tasks.compare",
    "tune": "volseg.tasks.tune",
    "overlay": "volseg.tasks.overlay",
    "Predictor": "volseg.inference.predictor",
    "Prediction": "volseg.inference.prediction",
    "InferOptions": "volseg.inference.options",
    "ExplainOptions": "volseg.attribution.methods",
    "ScanOptions": "volseg.inference.options",
    "PrepareOptions": "volseg.tasks.prepare",
    "SplitOptions": "volseg.tasks.split",
    "ConvertOptions": "volseg.tasks.convert",
    "OverlayOptions": "volseg.tasks.overlay",
    "load_config": "volseg.config.experiment",
    "ExperimentConfig": "volseg.config.experiment",
    "find_cases": "volseg.finding.folders",
    "Finding": "volseg.finding.finding",
    "read_data_list": "volseg.cases.data_list",
    "DataList": "volseg.cases.data_list",
    "read_case": "volseg.finding.reading",
    "Case": "volseg.cases.case",
    "VolumeCase": "volseg.cases.volume_case",
    "SliceStackCase": "volseg.cases.slice_stack_case",
    "CaseImages": "volseg.images.case_images",
    "Grid": "volseg.images.grid",
    "LabelScheme": "volseg.labels",
    "get_scheme": "volseg.labels",
    "LesionwiseScore": "volseg.region_metrics",
    "RegionDice": "volseg.region_metrics",
    "RegionIoU": "volseg.region_metrics",
    "LoadCased": "volseg.transforms.map_transforms",
    "PreprocessCased": "volseg.transforms.map_transforms",
    "VolsegError": "volseg.errors",
    "AttributionError": "volseg.errors",
    "ConfigError": "volseg.errors",
    "DataListError": "volseg.errors",
    "ImageError": "volseg.errors",
    "GeometryError": "volseg.errors",
    "BrainMaskError": "volseg.errors",
    "RegistrationError": "volseg.errors",
    "LabelError": "volseg.errors",
    "ModelError": "volseg.errors",
    "CheckpointError": "volseg.errors",
    "TrainingError": "volseg.errors",
    "OutputError": "volseg.errors",
    "ResourceError": "volseg.errors",
}
__all__ = ["DISCLAIMER", "__version__", *_MODULES]  # noqa: PLE0604  (names, all of them)


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module 'volseg' has no attribute {name!r}")
    from importlib import import_module

    thing: object = getattr(import_module(_MODULES[name]), name)
    globals()[name] = thing
    return thing


def __dir__() -> list[str]:
    return sorted(__all__)
