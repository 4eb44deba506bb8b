"""From scans to what training reads: volseg's cache beside nnUNetv2_plan_and_preprocess.

    python benchmarks/cache.py [CASE_FOLDERS] [--rounds N] [--small]

Without folders: two phantoms of 240 x 240 x 155. Both sides are programs that begin with an empty
folder, their start included, and may use all cores. nnU-Net gets links to the images, and label
maps counted from 0 to 3, as its own converter of BraTS 2021 writes them; making these is not timed.
By default it starts 8 processes for its fingerprint and 4 that preprocess, whatever the cores, and
more of them hold more memory: --processes gives it another number.
It needs a minute for eight cases, so there is one round unless --rounds says more. --small leaves
it out.

Last comes how far the normalised values differ in the brain: nnU-Net takes mean and deviation over
a mask of all channels together whose holes are filled, volseg over the voxels of a channel that
are not 0; and the cache of volseg holds float16.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import peers
from side_by_side import Cost, in_turn, machine, median, options, print_table, ratios, run

from volseg.cases.case import Case
from volseg.cases.data_list import read_data_list
from volseg.config import CHANNELS, ExperimentConfig, load_config
from volseg.images.nifti_reading import read_header
from volseg.images.nifti_writing import write_label_map
from volseg.phantoms.cohort import make_cohort
from volseg.runs.schemes import case_scheme
from volseg.tasks.split import split
from volseg.training.cache.cases import CachedCase, read_cached

DATASET = "Dataset137_BraTS"
BUILD = """\
import sys
from pathlib import Path
from volseg.config import load_config
from volseg.training.cache.cases import build_cache
config = load_config(Path(sys.argv[1]))
_, failures = build_cache(read_data_list(config.data.data_list).training, config, Path(sys.argv[2]))
sys.exit(str(failures) if failures else 0)
"""
# Reads what nnU-Net wrote, in its own environment: values and the crop of each case.
READ = """\
import pickle, sys
import blosc2, numpy as np
folder, out = sys.argv[1:3]
for name in sys.argv[3:]:
    with open(f"{folder}/{name}.pkl", "rb") as file:
        box = pickle.load(file)["bbox_used_for_cropping"]
    np.savez(f"{out}/{name}.npz", image=blosc2.open(f"{folder}/{name}.b2nd")[:], box=np.array(box))
"""


def make_raw(cases: Sequence[Case], config: ExperimentConfig, folder: Path) -> None:
    """The folder nnU-Net begins with: links to images, converted label maps, dataset.json."""
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for case in cases:
        files = dict(zip(case.channels, case.images, strict=True))
        for number, channel in enumerate(CHANNELS):
            link = folder / "imagesTr" / f"{case.case_id}_{number:04}.nii.gz"
            link.symlink_to(files[channel].resolve())
        regions = case_scheme(case, config).regions
        label_map, _ = case.read_reference()
        converted = sum(np.isin(label_map, regions[name]) for name in ("WT", "TC", "ET"))
        header = read_header(case.label[0])[1]
        target = folder / "labelsTr" / f"{case.case_id}.nii.gz"
        write_label_map(target, np.asarray(converted, np.uint8), header)
    described = {
        "channel_names": {str(number): channel for number, channel in enumerate(CHANNELS)},
        "labels": {"background": 0, "WT": [1, 2, 3], "TC": [2, 3], "ET": [3]},
        "regions_class_order": [1, 2, 3],
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(described), encoding="utf-8")


def build_ours(config: Path, cache: Path) -> Cost:
    shutil.rmtree(cache, ignore_errors=True)
    words = [sys.executable, "-c", BUILD, str(config), str(cache)]
    return run(words, cache.with_name("volseg.log"))


def build_theirs(folder: Path, processes: int | None) -> Cost:
    shutil.rmtree(folder / "nnUNet_preprocessed", ignore_errors=True)
    command = Path(peers.python()).with_name("nnUNetv2_plan_and_preprocess")
    words = [peers.python(), str(command), "-d", "137", "-c", "3d_fullres"]
    if processes:
        words += ["-npfp", str(processes), "-np", str(processes)]
    return run(words, folder / "nnunet.log", peers.environment(folder))


def megabytes(folder: Path) -> float:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sum(path.stat().st_blocks * 512 for path in files) / 1e6


def differences(cached: Sequence[CachedCase], folder: Path) -> list[tuple[float, float]]:
    """Largest and mean difference of each case, over voxels that are not 0 on either side."""
    names = [entry.case.case_id for entry in cached]
    made = folder / "nnUNet_preprocessed" / DATASET / "nnUNetPlans_3d_fullres"
    subprocess.run([peers.python(), "-c", READ, str(made), str(folder), *names], check=True)
    found = []
    for entry in cached:
        with np.load(folder / f"{entry.case.case_id}.npz") as theirs:
            image, box = theirs["image"], theirs["box"]
        # Theirs is (C, K, J, I) as read from the file, cropped by its box.
        whole = np.zeros((len(image), *reversed(entry.scan_grid.shape)), np.float32)
        whole[(slice(None), *(slice(*ends) for ends in box))] = image
        to_file = entry.image_grid.in_voxels_of(entry.scan_grid)
        whole = whole.transpose(0, 3, 2, 1)
        whole = whole[(slice(None), *_along(to_file, entry.image.shape[1:]))]
        ours = np.asarray(entry.image, np.float32)
        apart = abs(ours - whole)[(ours != 0) & (whole != 0)]
        found.append((float(apart.max()), float(apart.mean())))
    return found


def _along(to_file: np.ndarray, shape: Sequence[int]) -> list[slice]:
    """Slices of the file that are the axes of an image whose axes are the file's, some mirrored."""
    slices = []
    for axis, size in enumerate(shape):
        step, start = round(to_file[axis, axis]), round(to_file[axis, 3])
        stop = start + step * size
        slices.append(slice(start, None if stop < 0 else stop, step))
    return slices


def main(given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shape = (40, 40, 32) if given.small else (240, 240, 155)
        scans = given.scans or make_cohort(folder / "scans", 2, shape, 240 / shape[0])
        split(scans, folder / "list.json", folds=2)
        path = folder / "config.yaml"
        path.write_text(
            f"labels: brats2021\ndata: {{data_list: {folder / 'list.json'}}}\n"
            "network: {name: unet}\n",
            encoding="utf-8",
        )
        config = load_config(path)
        cases = read_data_list(config.data.data_list).training
        sides = {"volseg": lambda: build_ours(path, folder / "cache")}
        if not given.small:
            make_raw(cases, config, folder / "nnUNet_raw" / DATASET)
            sides["nnU-Net"] = lambda: build_theirs(folder, given.processes)
        costs = in_turn(sides, given.rounds)
        report(costs, folder, len(cases))
        if not given.small:
            opened = [read_cached(case, config, folder / "cache") for case in cases]
            apart = differences([case for case in opened if case], folder)
            largest, mean = max(far for far, _ in apart), np.mean([mean for _, mean in apart])
            print(f"\nNormalised values differ by {mean:.3f} on average, {largest:.2f} at most.")


def report(costs: dict[str, list[Cost]], folder: Path, cases: int) -> None:
    places = {"volseg": folder / "cache", "nnU-Net": folder / "nnUNet_preprocessed"}
    disk = {name: megabytes(places[name]) for name in costs}
    rows = []
    for name, found in costs.items():
        wall, peak = median(found, "wall_s"), median(found, "peak_mb")
        rows.append([name, f"{wall:.1f}", f"{wall / cases:.2f}", f"{peak:.0f}"])
        rows[-1] += [f"{disk[name]:.0f}", f"{disk[name] / cases:.1f}"]
    if len(costs) == 2:
        ours, theirs = costs.values()
        wall, peak = (ratios(ours, theirs, what) for what in ("wall_s", "peak_mb"))
        times = f"{disk['nnU-Net'] / disk['volseg']:.2f}"
        rows.append(["nnU-Net / volseg", wall, wall, peak, times, times])
    print(f"{cases} cases; {machine()}\n")
    head = ["", "s", "s a case", "most memory of all processes, MB", "MB on disk", "MB a case"]
    print_table(head, rows)


if __name__ == "__main__":
    parser = options(__doc__ or "")
    parser.set_defaults(rounds=1)
    parser.add_argument("--processes", type=int, help="of nnU-Net; else what it takes by default")
    main(parser.parse_args())
