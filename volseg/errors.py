"""Errors that the user can repair.

    VolsegError
    ├── ConfigError       a config file, an override or an option
    ├── DataListError     a folder of scans, a data list, a case in it
    │   └── NoCaseError   a folder or a data list without a usable case
    ├── ImageError        an image or label file that cannot be read
    ├── GeometryError     images of one case that do not share a grid
    ├── RegistrationError images that cannot be brought into one place
    ├── BrainMaskError    a mask that cannot be a brain, or a method that finds none
    ├── LabelError        label values outside the label scheme
    │   └── SchemeError   integers that another label scheme may define
    ├── ModelError        a model file, or weights for an encoder
    ├── CheckpointError   a checkpoint, or the folder of a run that cannot be resumed
    ├── TrainingError     a training whose numbers are no longer finite
    ├── AttributionError  a prediction that cannot be explained as asked
    ├── OutputError       a file or folder that cannot be written
    └── ResourceError     more memory than is available

The command line shows an error as one line and exits with 2; any other exception is a bug of volseg
and keeps its traceback. Code reads the attributes of an error and never parses its text.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self


class VolsegError(Exception):
    """Base of every error that a user can repair.

    Args:
        problem: The thing, the value found, the value expected.
        remedy: What the user can do, as an imperative.
        case_id: Case of the error, if any; the message then begins with it.
        path: File or folder of the error.

    Examples:
        >>> str(ImageError("t1c.nii.gz is empty", remedy="download it again", case_id="P7"))
        'case P7: t1c.nii.gz is empty; download it again'
    """

    def __init__(
        self,
        problem: str,
        *,
        remedy: str | None = None,
        case_id: str | None = None,
        path: Path | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem, self.remedy = problem, remedy
        self.case_id, self.path = case_id, path

    def __str__(self) -> str:
        case = "" if self.case_id is None else f"case {self.case_id}: "
        return case + self.without_case

    @property
    def without_case(self) -> str:
        """The message without the case, equal for all cases that share a problem."""
        return f"{self.problem}; {self.remedy}" if self.remedy else self.problem

    def of_case(self, case_id: str) -> Self:
        """This error with `case_id`, unless it has a case already."""
        self.case_id = self.case_id or case_id
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors are pickled between processes; the constructors of subclasses take other arguments.
        return _without_parts, (type(self), self.problem), self.__dict__


@contextlib.contextmanager
def of_case(case_id: str) -> Iterator[None]:
    """Give errors of the block this case, unless they have a case already."""
    try:
        yield
    except VolsegError as error:
        error.of_case(case_id)
        raise


def _without_parts(kind: type[VolsegError], problem: str) -> VolsegError:
    return kind.__new__(kind, problem)


class ConfigError(VolsegError):
    """A config file, an override or an option is not valid."""


class DataListError(VolsegError):
    """A folder of scans or a data list does not give usable cases."""


class NoCaseError(DataListError):
    """No usable case was found.

    Args:
        problem: What was found, and why it cannot be used.
        lacks: Channels that the cases lack, if that is the reason.
        remedy: What the user can do.
        path: Folder or data list.
    """

    def __init__(
        self,
        problem: str,
        lacks: Sequence[str] = (),
        remedy: str | None = None,
        path: Path | None = None,
    ) -> None:
        super().__init__(problem, remedy=remedy, path=path)
        self.lacks = tuple(lacks)


class ImageError(VolsegError):
    """An image or label file cannot be read or holds unusable values."""


class GeometryError(VolsegError):
    """Images of one case do not lie on one grid."""


class RegistrationError(VolsegError):
    """Two images of a head cannot be registered, or their registration cannot be trusted."""


class BrainMaskError(VolsegError):
    """The brain in the images of a case is not found, or what is found cannot be a brain."""


class LabelError(VolsegError):
    """A label map holds values that its label scheme does not define."""


class SchemeError(LabelError):
    """A label map holds integers that its label scheme does not define.

    Args:
        problem: The label map, the integers in it, the integers of the scheme.
        fitting: Names of the label schemes that define all integers of the label map.
    """

    def __init__(self, problem: str, fitting: Sequence[str]) -> None:
        schemes = " or ".join(fitting)
        remedy = f"use labels: {schemes}" if schemes else "correct the label map"
        super().__init__(problem, remedy=remedy)
        self.fitting = tuple(fitting)

    def of_option(self, option: str) -> LabelError:
        """The error for a label map whose scheme is given by an option of the command line."""
        remedy = f"use {option} {' or '.join(self.fitting)}" if self.fitting else self.remedy
        return LabelError(self.problem, remedy=remedy)

    def of_all(self, case_id: str, outcome: str, options: str) -> LabelError:
        """The error for all label maps of this scheme, since the scheme itself is in doubt.

        Args:
            case_id: Case whose label map contradicts it.
            outcome: Consequence, such as "nothing is scored".
            options: Options that set the scheme.
        """
        remedy = "correct the label map, or leave the case out"
        if self.fitting:
            remedy = f"use {' or '.join(self.fitting)} {options}, or {remedy}"
        return LabelError(
            f"{outcome}, since the others may be in that scheme too: {self.problem} "
            f"(case {case_id})",
            remedy=remedy,
        )


class ModelError(VolsegError):
    """A model file or weights for an encoder are damaged, of another kind, or do not fit."""


class CheckpointError(VolsegError):
    """A checkpoint is damaged or of another training, or a run cannot be resumed."""


class TrainingError(VolsegError):
    """A training failed, and continuing it would be useless."""


class AttributionError(VolsegError):
    """A prediction cannot be explained: a region that is not predicted, a layer that is missing."""


class OutputError(VolsegError):
    """A result cannot be written."""


class ResourceError(VolsegError):
    """The work needs more memory than is available."""
