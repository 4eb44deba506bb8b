from pathlib import Path

import numpy as np
import pytest

from volseg.metrics import lesionwise_scores

PAGE = Path(__file__).parents[1] / "docs/explanation/protocols.md"
REGIONS = ("WT", "TC", "ET")
PROTOCOLS = ("brats2017", "brats2023-gli", "brats2025-gli", "brats2026-gli")


def cell(value, digits=3):
    """A number as the page writes it, without the 0 before the point of a share."""
    if value is None:
        return "-"
    text = f"{value:.{digits}f}"
    return text.removeprefix("0") if digits == 3 else text


def fill(label_map, corner, size, label):
    label_map[tuple(slice(at, at + size) for at in corner)] = label


def tumour():
    """Oedema around necrosis with nine cubes of ET in it; two lesions of oedema three voxels apart.

    A dilation by three voxels joins the cubes of ET, and the two lesions of oedema.
    """
    label_map = np.zeros((80, 80, 60), np.uint8)
    fill(label_map, (5, 5, 5), 24, 2)
    fill(label_map, (9, 9, 9), 16, 1)
    for i in range(9):
        fill(label_map, (10 + 5 * (i // 3), 10 + 5 * (i % 3), 14), 3, 3)
    fill(label_map, (40, 5, 5), 8, 2)
    fill(label_map, (51, 5, 5), 8, 2)
    return label_map


def two_lesions():
    label_map = np.zeros((60, 60, 60), np.uint8)
    fill(label_map, (5, 5, 5), 10, 2)
    fill(label_map, (40, 40, 40), 10, 2)
    return label_map


def with_cube(label_map, label=2, corners=((5, 45, 5),)):
    changed = label_map.copy()
    for corner in corners:
        fill(changed, corner, 6, label)
    return changed


def scored(reference, prediction, protocol):
    if protocol == "brats2017":  # ET was label 4
        reference, prediction = (np.where(side == 3, 4, side) for side in (reference, prediction))
    return {
        region: of.scores
        for region, of in lesionwise_scores(reference, prediction, (1, 1, 1), protocol).items()
    }


def test_one_prediction_has_the_scores_on_the_page():
    reference = tumour()
    prediction = with_cube(reference, 3, ((60, 60, 10), (10, 60, 40)))
    rows = []
    for protocol in PROTOCOLS:
        scores = scored(reference, prediction, protocol)
        names = {"lesion_dice": "lesion-wise Dice"}
        if protocol == "brats2017":
            names = {"legacy_dice": "Dice"}
        if protocol == "brats2026-gli":
            names["lesion_f1"] = "lesion F1"
        for name, title in names.items():
            values = " | ".join(cell(scores[region][name]) for region in REGIONS)
            rows.append(f"| `{protocol}` | {title} | {values} |")
    table = "\n".join(rows)
    assert table in PAGE.read_text(encoding="utf-8")


def missed(label_map):
    return np.where(np.arange(60)[:, None, None] < 30, label_map, 0).astype(np.uint8)


def stray(label_map):
    changed = label_map.copy()
    changed[5, 50, 5] = 2
    return changed


@pytest.mark.parametrize(
    ("prediction", "reference", "change"),
    [
        ("is perfect", two_lesions, np.copy),
        ("has a stray voxel", two_lesions, stray),
        ("has a false cube of 216 voxels", two_lesions, with_cube),
        ("misses a lesion", two_lesions, missed),
        ("is empty", two_lesions, np.zeros_like),
        ("is a cube, the reference is empty", lambda: np.zeros_like(two_lesions()), with_cube),
        ("is empty, the reference too", lambda: np.zeros_like(two_lesions()), np.copy),
    ],
)
def test_an_error_costs_what_the_page_says(prediction, reference, change):
    cells = []
    for protocol in PROTOCOLS:
        scores = scored(reference(), change(reference()), protocol)["WT"]
        kind = "legacy" if protocol == "brats2017" else "lesion"
        text = f"{cell(scores[f'{kind}_dice'])} / {cell(scores[f'{kind}_hd95_mm'], 1)}"
        if protocol == "brats2026-gli":
            text += f", F1 {cell(scores['lesion_f1'])}"
        cells.append(text)
    assert f"| {prediction} | {' | '.join(cells)} |" in PAGE.read_text(encoding="utf-8")
