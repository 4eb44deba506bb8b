"""Run a command of volseg or nnU-Net and note when its network sees the first window.

    python first_window.py FILE volseg infer ...
    python first_window.py FILE nnunet -i ...

FILE gets a line, the seconds from the start of the process. Both sides run by it: both pay.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path


def seconds_since_start() -> float:
    """Of this process, by the clock that the kernel starts at boot."""
    ticks = int(Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def main(file: Path, program: str) -> None:
    """Note the first forward pass of any module, then look no more."""
    if program == "volseg":
        from volseg.__main__ import main as command
    else:
        from nnunetv2.inference.predict_from_raw_data import (
            predict_entry_point_modelfolder as command,
        )
    import torch

    def note(module: object, inputs: object) -> None:
        handle.remove()
        with file.open("a", encoding="ascii") as lines:
            print(seconds_since_start(), file=lines)

    handle = torch.nn.modules.module.register_module_forward_pre_hook(note)
    command()


if __name__ == "__main__":
    where, name, *rest = sys.argv[1:]
    sys.argv = [name, *rest]
    main(Path(where), name)
