"""Sanity of maps on real cases: random weights, deletion, and what a case costs.

    python benchmarks/explanations.py RUN DATA_LIST --fold 0 -o ROWS
    python benchmarks/explanations.py --draw ROWS [ROWS ...] --figures FOLDER

The first command explains the cases of a fold, which should not be among those that the run was
trained on, and appends a JSON line a map to ROWS. A map is judged near its mask (10 mm), since a
map of a mask is 0 far from it with any weights.

- Random weights (Adebayo et al. 2018): Spearman correlation with the map of the same mask after
  the last quarter of the layers, the last half, or all layers got random weights.
- Deletion: mean probability of the mask when the tissue with the highest values is made neutral,
  beside random voxels, random blobs, and random voxels of the mask itself before all others.

The second command prints the tables and draws the curves. Each map's cost is measured in a process
of its own, which reads, segments and explains one case, beside a process that only segments it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from side_by_side import HERE, machine, print_table, run

sys.path.insert(0, str(HERE.parent / "tests"))
from map_sanity import (
    SHARES,
    area,
    deletion_curve,
    maps_of,
    near,
    random_order,
    randomised,
    rank_correlation,
    with_network,
)

from volseg.attribution.explaining import PredictedCase, explain_region, explained_mask
from volseg.attribution.methods import METHODS, SIGNED, ExplainOptions
from volseg.attribution.target import Target
from volseg.inference.options import InferOptions
from volseg.inference.predictor import Predictor
from volseg.metrics import Overlap
from volseg.transforms import preprocess_masks

RANDOM_SEEDS = range(3)
NEAR_MM = 10
#: Share of the layers with random weights, from the last on.
DEPTHS = {"last quarter": 0.25, "last half": 0.5, "all layers": 1.0}
#: Orders that do not depend on the network, but for the mask.
CONTROLS = {
    "random voxels": random_order,
    "random blobs": partial(random_order, smooth=3),
    "random voxels of the mask": lambda target, seed: random_order(target, seed) + 99 * target.mask,
}


def predictor_and_cases(args):
    predictor = Predictor(args.run, device="cpu")
    cases = predictor.find(args.data_list, InferOptions(fold=args.fold)).cases
    return predictor, [case for case in cases if not args.cases or case.case_id in args.cases]


def targets_of(predictor, case, regions):
    """Targets of the regions that are predicted, and their references on the grid of the image."""
    predicted = PredictedCase.of(predictor.prepare(case), predictor.models, predictor.device)
    (model,) = predictor.models
    image = predicted.case.images[model.config.preprocessing]
    reference, _ = case.read_reference()
    expected = predictor.scheme.masks(reference)
    targets, references = {}, {}
    for region in predictor.regions:
        if region not in predicted.prediction.found or region not in (regions or [region]):
            continue
        mask = explained_mask(predicted, region, at_maximum=False)
        targets[region] = Target.of(model, region, image, mask, predictor.device)
        references[region] = preprocess_masks(expected[region][None], predicted.case.grid, image)[0]
    return targets, references


def options_of(method, args):
    box_mm = args.box_mm if method == "occlusion" else None
    return ExplainOptions(method, samples=args.samples, steps=args.steps, box_mm=box_mm)


def rows_of(case, targets, references, args):
    """Rows of a case: a map, or a control, each."""
    first = next(iter(targets.values()))
    config = first.model.config
    image = torch.zeros(2, len(first.image), *config.window_size)
    networks = {
        name: randomised(first.model.network, image, share) for name, share in DEPTHS.items()
    }
    found_maps = {}
    beside = round(NEAR_MM / config.data.spacing_mm[0])
    for method in args.methods:
        options = options_of(method, args)
        begun = time.monotonic()
        maps = maps_of(options, list(targets.values()))
        seconds = time.monotonic() - begun
        correlations = defaultdict(dict)
        for name, network in networks.items() if args.randomise else ():
            others = [with_network(target, network) for target in targets.values()]
            found = maps_of(options, others)
            for (region, target), one, other in zip(targets.items(), maps, found, strict=True):
                where = near(target.mask, beside, config.by_slice) & target.tissue
                correlations[region][name] = rank_correlation(one, other, where)
        found_maps[method] = maps
        for (region, target), one in zip(targets.items(), maps, strict=True):
            yield {
                "case": case.case_id,
                "region": region,
                "dice": Overlap.of(target.mask, references[region]).dice,
                "method": method,
                "seconds": seconds,
                "deletion": deletion_curve(target, one),
                "random weights": correlations[region],
            }
    for number, (region, target) in enumerate(targets.items()):
        if args.pictures:
            maps = {method: of[number] for method, of in found_maps.items()}
            draw_maps(target, references[region], maps, args.pictures / f"{case.case_id}_{region}")
        for control, order in CONTROLS.items():
            for seed in RANDOM_SEEDS:
                curve = deletion_curve(target, order(target, seed))
                yield {
                    "case": case.case_id,
                    "region": region,
                    "method": control,
                    "seed": seed,
                    "deletion": curve,
                }


def draw_maps(target, reference, maps, path):
    """The slice with most of the mask, and each map over it; signed maps in red and blue.

    Full colour is the 99.5th percentile of the slice. Yellow: prediction. Green: reference.
    """
    from matplotlib.figure import Figure

    number = int(np.argmax(np.count_nonzero(target.mask, axis=(0, 1))))
    channels = target.model.config.data.channels
    grey = target.image[channels.index("t2f" if "t2f" in channels else channels[-1])].numpy()
    figure = Figure((3 * (1 + len(maps)), 3.4), layout="constrained")
    for axes, name in zip(figure.subplots(1, 1 + len(maps)), ("scan", *maps), strict=True):
        axes.imshow(grey[:, :, number].T, cmap="gray", origin="lower")
        if name in maps:
            shown = maps[name][:, :, number].T
            limit = np.percentile(np.abs(shown), 99.5) or np.abs(shown).max() or 1
            share = np.clip(shown / limit, -1, 1)
            colours = "coolwarm" if name in SIGNED else "autumn_r"
            limits = {"vmin": -1 if name in SIGNED else 0, "vmax": 1}
            axes.imshow(share, cmap=colours, **limits, origin="lower", alpha=0.8 * np.abs(share))
        for mask, colour in ((target.mask, "yellow"), (reference, "lime")):
            if mask[:, :, number].any():
                axes.contour(mask[:, :, number].T, [0.5], colors=colour, linewidths=0.8)
        axes.set_title(name)
        axes.axis("off")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path.with_suffix(".png"), dpi=90)


def cost_rows(case_id, args):
    """Seconds and memory of a process that explains all regions of a case by one method."""
    with tempfile.TemporaryDirectory() as folder:
        for method in ("infer", *args.methods):
            command = [sys.executable, __file__, args.run, args.data_list, "--fold", args.fold]
            command += ["--cases", case_id, "--work", method]
            command += ["--box-mm", args.box_mm] if args.box_mm else []
            cost = run([str(word) for word in command], Path(folder, "log.txt"))
            yield {
                "case": case_id,
                "method": method,
                "cost": {"wall_s": cost.wall_s, "cpu_s": cost.cpu_s, "peak_mb": cost.peak_mb},
            }


def work(args):
    """The process whose cost is measured."""
    predictor, (case,) = predictor_and_cases(args)
    predicted = PredictedCase.of(predictor.prepare(case), predictor.models, predictor.device)
    for region in predictor.regions if args.work != "infer" else ():
        if region in predicted.prediction.found:
            explain_region(predicted, region, options_of(args.work, args))


def draw(rows, folder):
    """Curves of deletion and of random weights."""
    from matplotlib.figure import Figure

    kinds = {name: [row for row in rows if row["method"] == name] for name in (*METHODS, *CONTROLS)}
    figure = Figure((10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, of in kinds.items():
        curves = [row["deletion"] for row in of if "deletion" in row]
        if curves:
            style = ":" if name in CONTROLS else "-"
            shares = [100 * share for share in SHARES]
            left.plot(shares, np.mean(curves, axis=0), style, marker=".", label=name)
        found = [row["random weights"] for row in of if row.get("random weights")]
        if found:
            means = [1, *(np.mean([one[depth] for one in found]) for depth in DEPTHS)]
            right.plot(means, marker=".", label=name)
    left.set(xlabel="deleted tissue, %", ylabel="mean probability in the mask", ylim=(0, 1))
    right.set(ylabel="rank correlation near the mask", ylim=(-0.2, 1))
    right.set_xticks(range(4), ["trained", *DEPTHS])
    for axes in (left, right):
        axes.legend()
        axes.grid(alpha=0.3)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "explanations.png", dpi=110)


def print_rows(rows):
    """Tables of deletion and random weights, and of costs."""
    by = defaultdict(list)
    for row in rows:
        if "deletion" in row:
            by[row["case"], row["region"]].append(row)
    areas, wins, correlations = defaultdict(list), defaultdict(list), defaultdict(list)
    for of_map in by.values():
        if not {row["method"] for row in of_map} >= CONTROLS.keys():
            continue  # of a run that was stopped
        random = {
            name: [area(row["deletion"]) for row in of_map if row["method"] == name]
            for name in CONTROLS
        }
        for row in of_map:
            method, found = row["method"], area(row["deletion"])
            areas[method].append(found)
            wins[method].append([found < min(random[name]) for name in CONTROLS])
            if row.get("random weights"):
                correlations[method].append([row["random weights"][depth] for depth in DEPTHS])
    print(f"{len(areas[METHODS[0]])} masks")
    table = []
    for method in (*METHODS, *CONTROLS):
        if method not in areas:
            continue
        below = np.sum(wins[method], axis=0) if method in METHODS else [""] * len(CONTROLS)
        middle = np.mean(correlations[method], axis=0) if correlations[method] else [np.nan] * 3
        most = max((row[-1] for row in correlations[method]), default=np.nan)
        table.append(
            [
                method,
                f"{statistics.mean(areas[method]):.3f}",
                *map(str, below),
                *(f"{value:.2f}" for value in (*middle, most)),
            ]
        )
    columns = ["method", "area", *(f"below {name}" for name in CONTROLS), *DEPTHS, "most"]
    print_table(columns, table)
    print_costs(rows)
    print(machine("torch"))


def print_costs(rows):
    """Table of what a case costs."""
    costs = defaultdict(list)
    for row in rows:
        if "cost" in row:
            costs[row["method"]].append(row["cost"])
    print_table(
        ["method", "cases", "core s", "MB"],
        [
            [
                method,
                str(len(of)),
                f"{statistics.median(one['cpu_s'] for one in of):.0f}",
                f"{max(one['peak_mb'] for one in of):.0f}",
            ]
            for method, of in costs.items()
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("data_list", nargs="?", type=Path)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--cases", nargs="+")
    parser.add_argument("--regions", nargs="+")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--samples", type=int, default=16, help="of smooth-grad")
    parser.add_argument("--steps", type=int, default=32, help="of integrated-gradients")
    parser.add_argument("--box-mm", type=float, help="of the boxes of occlusion")
    parser.add_argument("--randomise", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--costs", action="store_true", help="only what a case costs")
    parser.add_argument("--pictures", type=Path, help="folder that gets pictures of the maps")
    parser.add_argument("-o", "--rows", type=Path)
    parser.add_argument("--draw", nargs="+", type=Path)
    parser.add_argument("--figures", type=Path, default=Path("figures"))
    parser.add_argument("--work", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.draw:
        lines = [line for path in args.draw for line in path.read_text().splitlines()]
        rows = [json.loads(line) for line in lines]
        print_rows(rows)
        draw(rows, args.figures)
    elif args.work:
        work(args)
    else:
        predictor, cases = predictor_and_cases(args)
        for case in cases:
            if args.costs:
                rows = cost_rows(case.case_id, args)
            else:
                targets, references = targets_of(predictor, case, args.regions)
                rows = rows_of(case, targets, references, args) if targets else ()
            for row in rows:
                print(json.dumps(row), file=sys.stderr, flush=True)
                with args.rows.open("a") as file:
                    file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
