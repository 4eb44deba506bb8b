"""What can go wrong and be repaired by the user.

    VolsegError
    ├── ConfigError       a config file, an override or an option
    ├── DataListError     a folder of scans, a data list, a case in it
    ├── ImageError        an image or label file that cannot be read
    ├── GeometryError     images of one case that do not share a grid
    ├── LabelError        label values outside the label scheme
    ├── CheckpointError   a model file or a checkpoint
    └── OutputError       a place that cannot be written

A message names the thing, the value found, the value expected and, after a semicolon, the remedy.
The command line shows it as one line and exits with 2; any other exception is a bug of volseg and
keeps its traceback.
"""


class VolsegError(Exception):
    """Base of every error that a user can repair."""


class ConfigError(VolsegError):
    """A config file, an override or an option is not valid."""


class DataListError(VolsegError):
    """A folder of scans or a data list does not give usable cases."""


class ImageError(VolsegError):
    """An image or label file cannot be read or holds unusable values."""


class GeometryError(VolsegError):
    """Images of one case do not lie on one grid."""


class LabelError(VolsegError):
    """A label map holds values that its label scheme does not define."""


class CheckpointError(VolsegError):
    """A model file or a checkpoint is damaged, of another kind, or does not fit."""


class OutputError(VolsegError):
    """A result cannot be written."""
