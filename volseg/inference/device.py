"""Device on which a network computes, by its name."""

from __future__ import annotations

import re

import torch

from volseg.errors import ConfigError
from volseg.words import cut, shown


def available_device(name: str) -> torch.device:
    """The device with a name; `auto` is a CUDA GPU if there is one, else the CPU.

    Raises:
        ConfigError: If the name is not `auto`, `cpu`, `cuda`, `cuda:N` or `mps`, or the machine has
            no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # Torch accepts further names, some of which are no real devices.
    if not re.fullmatch(r"cpu|mps|cuda(:[0-9]{1,4})?", str(name)):
        raise ConfigError(f"device is {shown(name)}", remedy="use auto, cpu, cuda, cuda:N or mps")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        # The rest of the message lists the backends of torch.
        detail = cut(str(error).splitlines()[0].partition(". ")[0], 200)
        raise ConfigError(
            f"device {name!r} cannot be used ({detail})", remedy="use auto or cpu"
        ) from None
    return device
