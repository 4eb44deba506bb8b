"""Predicted against true Dice of cases that a model was not trained on.

    python benchmarks/predicted_dice.py RUN [RUN ...] --rows ROWS
    python benchmarks/predicted_dice.py --draw ROWS [ROWS ...] --figure FILE

The first command segments the validation cases of each run, once with mirrored copies and once
without, and appends a JSON line for each region to ROWS. The second command prints the tables and
draws the scatter; each file of rows is a data set.

- Cross-validation: each patient (with more than 20 patients, each of 20 folds) is predicted by a
  fit on the others.
- Few patients: a fit on n patients of one run, drawn at random, predicts the others of that run;
  means of 5 draws for each run.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from side_by_side import machine, print_table

from volseg.confidence.dice_fit import DiceSample
from volseg.confidence.held_out import auc, measure_held_out, spearman
from volseg.confidence.predicted_dice import DicePredictor

DRAWS = 5


def measure(runs, rows):
    """Append a row for each region of each validation case of the runs."""
    from volseg.confidence.features import case_features
    from volseg.inference.predictor import Predictor
    from volseg.inference.probabilities import probabilities_of
    from volseg.metrics import region_overlaps
    from volseg.training.cache.case_arrays import read_masks
    from volseg.tuning.cases import find_runs

    for run in find_runs(runs):
        for tta in (False, True):
            predictor = Predictor(run.header.file, "cpu", tta=tta)
            (model,) = predictor.models
            for case in run.cases:
                prepared = predictor.prepare(case)
                scored = probabilities_of(
                    *(prepared, predictor.models, predictor.regions, predictor.device),
                    disagreement=tta,
                )
                masks = predictor.scheme.masks(predictor.decode(scored).label_map)
                inside = {region: mask[scored.box] for region, mask in masks.items()}
                found = case_features(
                    scored.probabilities, inside, scored.disagreement, prepared.grid.spacing_mm
                )
                reference = read_masks(case, model.config, prepared.grid)
                overlaps = region_overlaps(
                    masks, dict(zip(predictor.regions, reference, strict=True))
                )
                with rows.open("a") as file:
                    for region, p in zip(predictor.regions, scored.probabilities, strict=True):
                        of = {
                            "run": run.header.file.parent.name,
                            "case_id": case.case_id,
                            "patient_id": case.patient_id,
                            "region": region,
                            "tta": tta,
                            "features": found[region],
                            "mean": float(p[inside[region]].mean()) if inside[region].any() else 0,
                            "dice": overlaps[region].dice,
                        }
                        file.write(json.dumps(of) + "\n")


def sample(row):
    keys = ("case_id", "patient_id", "region", "features", "dice")
    return DiceSample(*(row[key] for key in keys))


def predicted_without(rows):
    """Predicted Dice of each row with its interval, by fits on other patients."""
    patients = sorted({row["patient_id"] for row in rows})
    found = {}
    for start in range(min(20, len(patients))):
        fold = set(patients[start::20])
        fit = DicePredictor.fit([sample(row) for row in rows if row["patient_id"] not in fold])
        for number, row in enumerate(rows):
            if row["patient_id"] in fold:
                found[number] = fit.predict(row["region"], row["features"])
    return [found[number] for number in range(len(rows))]


def figures(values, rows):
    """Spearman, AUC and mean error in words, with intervals over patients."""
    of = measure_held_out(
        values, [row["dice"] for row in rows], [row["patient_id"] for row in rows]
    )
    return [
        _with(of.spearman, of.spearman_interval),
        _with(of.auc, of.auc_interval),
        f"{of.mae:.3f}",
    ]


def _with(value, interval):
    if value is None:
        return "-"
    return f"{value:.2f}" + (f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else "")


def print_figures(rows, predicted, title):
    print(f"\n{title}\n")
    head = ["region", "cases", "Dice < 0.7", "predicted by", "Spearman", "AUC", "mean error"]
    lines = []
    for region in dict.fromkeys(row["region"] for row in rows):
        own = [n for n, row in enumerate(rows) if row["region"] == region]
        of = [rows[n] for n in own]
        ways = {
            "mean probability": [row["mean"] for row in of],
            "expected Dice": [row["features"]["expected_dice"] for row in of],
            "volseg": [predicted[n].dice for n in own],
        }
        bad = sum(row["dice"] < 0.7 for row in of)
        lines += [[region, str(len(of)), str(bad), way, *figures(v, of)] for way, v in ways.items()]
    print_table(head, lines)
    covered = np.mean(
        [p.low <= row["dice"] <= p.high for p, row in zip(predicted, rows, strict=True)]
    )
    print(f"\n{covered:.0%} of the true Dice lie in the intervals.")


def print_few(rows, sizes=(3, 5, 8, 14)):
    """Fits on few patients of a run, which predict the other patients of the run."""
    random = np.random.default_rng(0)
    runs = defaultdict(list)
    for row in rows:
        runs[row["run"]].append(row)
    lines = []
    for size in sizes:
        found = []
        for of in runs.values():
            patients = sorted({row["patient_id"] for row in of})
            if len(patients) < size + 3:
                continue
            for _ in range(DRAWS):
                known = set(random.choice(patients, size, replace=False))
                fit = DicePredictor.fit([sample(r) for r in of if r["patient_id"] in known])
                rest = [r for r in of if r["patient_id"] not in known]
                dice = [fit.predict(r["region"], r["features"]) for r in rest]
                value, true = np.array([d.dice for d in dice]), np.array([r["dice"] for r in rest])
                inside = np.mean([d.low <= t <= d.high for d, t in zip(dice, true, strict=True)])
                width = np.mean([d.high - d.low for d in dice])
                found.append(
                    [
                        spearman(value, true),
                        auc(value, true),
                        abs(value - true).mean(),
                        inside,
                        width,
                    ]
                )
        if found:
            means = np.nanmean(np.array(found, dtype=float), axis=0)
            lines.append([str(size), *(f"{mean:.2f}" for mean in means)])
    if lines:
        print()
        head = ["patients", "Spearman", "AUC", "mean error", "inside intervals", "width"]
        print_table(head, lines)


def draw(sets, file):
    """Scatter of predicted against true Dice, a panel for each data set."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(sets), figsize=(4.6 * len(sets), 4.4), squeeze=False)
    colours = {"WT": "#1f6fb2", "TC": "#d9822b", "ET": "#b3323b"}
    for axes, (name, (rows, predicted)) in zip(panels[0], sets.items(), strict=True):
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, zorder=0)
        axes.axvline(0.7, color="0.85", linewidth=1, zorder=0)
        for region in dict.fromkeys(row["region"] for row in rows):
            own = [n for n, row in enumerate(rows) if row["region"] == region]
            true = np.array([rows[n]["dice"] for n in own])
            ends = np.array([(predicted[n].low, predicted[n].dice, predicted[n].high) for n in own])
            axes.errorbar(
                *(true, ends[:, 1]),
                yerr=[ends[:, 1] - ends[:, 0], ends[:, 2] - ends[:, 1]],
                fmt="o", markersize=4, linewidth=0.7, alpha=0.8,
                color=colours.get(region, "0.2"), label=region,
            )  # fmt: skip
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), title=name, xlabel="true Dice")
        axes.set_aspect("equal")
        axes.legend(frameon=False, loc="upper left")
    panels[0][0].set_ylabel("predicted Dice, with its 80 % interval")
    figure.tight_layout()
    figure.savefig(file, dpi=130)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--rows", type=Path, default=Path("rows.jsonl"))
    parser.add_argument("--draw", nargs="+", type=Path)
    parser.add_argument("--figure", type=Path, default=Path("predicted-dice.png"))
    given = parser.parse_args()
    if given.runs:
        measure(given.runs, given.rows)
    sets = {}
    for file in given.draw or []:
        every = [json.loads(line) for line in file.read_text().splitlines()]
        for tta in (False, True):
            rows = [row for row in every if row["tta"] == tta]
            predicted = predicted_without(rows)
            how = "with mirrored copies" if tta else "one copy"
            print_figures(rows, predicted, f"{file.stem}, {how}, cross-validation")
            print_few(rows)
            if not tta:
                patients = len({row["patient_id"] for row in rows})
                sets[f"{file.stem}: {patients} patients held out"] = rows, predicted
    if sets:
        draw(sets, given.figure)
    print(f"\n{machine('scipy')}")


if __name__ == "__main__":
    main()
