"""The environment of the peers, nnU-Net and plain MONAI, which nothing of ours enters.

It is made once, in `benchmarks/.peers` or where VOLSEG_PEERS says, beside a few GB of downloads.
Torch is the version that runs here: the sides then differ in what they do, not in its kernels.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
NNUNET = "nnunetv2==2.8.1"
# Where torch is the build without CUDA, torchvision asks for operators that its own build would
# declare. nnU-Net, which imports it by way of timm, calls neither.
_OPERATORS = """\
import importlib.util
if importlib.util.find_spec("torch"):
    import sys
    class _Declare:
        def find_spec(self, name, path=None, target=None):
            if name == "torchvision":
                sys.meta_path.remove(self)
                import torch
                library = torch.library.Library("torchvision", "DEF")
                library.define("nms(Tensor dets, Tensor scores, float threshold) -> Tensor")
                library.define("qnms(Tensor dets, Tensor scores, float threshold) -> Tensor")
                globals()["_kept"] = library
            return None
    sys.meta_path.insert(0, _Declare())
"""


def python() -> str:
    """Interpreter of the environment; made at the first call."""
    folder = Path(os.environ.get("VOLSEG_PEERS", HERE / ".peers")).absolute()
    interpreter = folder / "bin" / "python"
    if not (folder / "whole").exists():
        print(f"making the environment of the peers in {folder}", file=sys.stderr, flush=True)
        venv.create(folder, clear=True, with_pip=True)
        _fill(folder, str(interpreter))
        (folder / "whole").touch()
    return str(interpreter)


def _fill(folder: Path, interpreter: str) -> None:
    def install(*words: str) -> None:
        pip = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *words], check=True, stdout=sys.stderr)

    torch = f"torch=={version('torch').partition('+')[0]}"
    constraint = folder / "constraints.txt"
    constraint.write_text(f"{torch}\nnumpy=={version('numpy')}\n", encoding="utf-8")
    limits = ["-c", str(constraint)]
    install(*limits, torch, f"monai=={version('monai')}", "nibabel")
    install("torchvision", "--no-deps")
    install(*limits, "timm==1.0.22", NNUNET)
    site = next((folder / "lib").glob("python*/site-packages"))
    (site / "sitecustomize.py").write_text(_OPERATORS, encoding="utf-8")


def environment(folder: Path) -> dict[str, str]:
    """Variables that nnU-Net wants, its three folders below `folder` included."""
    names = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
    cores = str(len(os.sched_getaffinity(0)))
    return {
        **os.environ,
        **{name: str(folder / name) for name in names},
        "nnUNet_def_n_proc": cores,
        "nnUNet_n_proc_DA": cores,
        "nnUNet_compile": "f",
        "PYTHONPATH": str(HERE),
    }
