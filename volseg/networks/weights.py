"""Comparison of weights with a network: names, shapes, types, and usable values."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import torch
from torch.overrides import TorchFunctionMode

_VARIANCE, _COUNT = "running_var", "num_batches_tracked"
_MAKE_WEIGHTS = (torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn)


class Form(NamedTuple):
    """Shape and type of a tensor, whether or not it is in memory."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        """Size in memory, in bytes; `dtype` must be a type of torch."""
        return math.prod(self.shape) * int(getattr(torch, self.dtype).itemsize)

    def instead_of(self, wanted: Form) -> str:
        """Difference from the `wanted` form, in words."""
        if self.shape != wanted.shape:
            return f"with shape {list(self.shape)} instead of {list(wanted.shape)}"
        return f"of type {self.dtype} instead of {wanted.dtype}"


class WithoutMemory(TorchFunctionMode):
    """A network that is built inside this block has shapes, but no weights in memory.

    `torch.device("meta")` would also affect small tensors that some networks compute with while
    they are built, which then fails.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        options = dict(kwargs or {})
        if func in _MAKE_WEIGHTS:
            options["device"] = "meta"
        return func(*args, **options)


def forms_of(tensors: Mapping[str, torch.Tensor]) -> dict[str, Form]:
    """Form of each tensor, by name; sparse tensors have a separate type."""

    def dtype(tensor: torch.Tensor) -> str:
        kind = "" if tensor.layout == torch.strided else f"{tensor.layout} "
        return (kind + str(tensor.dtype)).replace("torch.", "")

    return {name: Form(tuple(tensor.shape), dtype(tensor)) for name, tensor in tensors.items()}


def misfits(
    found: Mapping[str, Form], own: Mapping[str, Form], optional: Collection[str] = ()
) -> str:
    """Reasons why weights do not fit a network, in words; empty if they fit.

    Args:
        found: Forms of the given weights.
        own: Forms of the weights of the network.
        optional: Names that may be missing.
    """
    lacking = [name for name in own if name not in found and name not in optional]
    unknown = [name for name in found if name not in own]
    differing = [
        f"{name} {found[name].instead_of(form)}"
        for name, form in own.items()
        if name in found and found[name] != form
    ]
    return ", ".join(
        f"{word} {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
        for word, names in (("lacks", lacking), ("has", differing), ("has unknown", unknown))
        if names
    )


def unusable(found: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]) -> str:
    """The first tensor with unusable values, and the reason; empty if there is none.

    Args:
        found: Weights that fit the network.
        own: Weights of the new network: tables of integers are not trained, so must be equal.
    """
    for name, tensor in found.items():
        if tensor.is_floating_point():
            if lost := int((~torch.isfinite(tensor)).sum()):
                return f"{name} holds {lost} NaN or infinite values of {tensor.numel()}"
            if name.endswith(_VARIANCE) and tensor.numel() and float(tensor.min()) < 0:
                return f"{name} holds {float(tensor.min()):g}, but a variance is never negative"
        elif not name.endswith(_COUNT) and not torch.equal(tensor, own[name]):
            return f"{name} holds other integers than the network"
    return ""
