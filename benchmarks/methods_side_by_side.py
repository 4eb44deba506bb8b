"""A picture of the maps of all methods in one axial slice.

volseg infer CASE -m RUN -o results
for method in grad-cam saliency smooth-grad integrated-gradients occlusion; do
    volseg explain CASE -m RUN --region ET --method $method -o maps
done
python benchmarks/methods_side_by_side.py maps/CASE_ET --image CASE_t1ce.nii.gz \
    --prediction results/CASE.nii.gz --reference CASE_seg.nii.gz --labels 4 -o methods.png

The slice is that with the largest area of the prediction. Colours of each map reach to its largest
value in the slice, as in the pictures of `volseg explain`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nibabel
import numpy as np
from matplotlib.figure import Figure

from volseg.attribution.methods import METHODS, SIGNED
from volseg.figures.figure_files import save_figure
from volseg.figures.heat_map import HeatMap


def read(path):
    """Voxels, of which rows of a slice run from front to back and columns from right to left."""
    image = nibabel.load(path)
    turned = image.as_reoriented(
        nibabel.orientations.ornt_transform(
            nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt("LPS")
        )
    )
    return np.asarray(turned.dataobj, np.float32).transpose(1, 0, 2)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("maps", type=Path, help="path of the maps up to the method")
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--prediction", type=Path, required=True)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--labels", type=int, nargs="+", required=True, help="of the region")
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    grey = read(args.image)
    prediction, reference = (
        np.isin(read(path), args.labels) for path in (args.prediction, args.reference)
    )
    index = int(np.count_nonzero(prediction, axis=(0, 1)).argmax())
    rows, columns = (np.flatnonzero(grey[:, :, index].any(axis)) for axis in (1, 0))
    cut = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1), index
    figure = Figure((9, 7.4), dpi=100, facecolor="black", layout="constrained")
    for panel, method in zip(figure.subplots(2, 3).flat, (None, *METHODS), strict=True):
        panel.imshow(grey[cut], cmap="gray", vmax=np.percentile(grey[cut], 99.5))
        if method:
            values = read(f"{args.maps}_{method}.nii.gz")
            heat = HeatMap(values, prediction, "", "", method in SIGNED)
            panel.imshow(heat.shades([values[:, :, index]]).to_rgba(values[cut]))
        panel.contour(prediction[cut], [0.5], colors="cyan", linewidths=0.8)
        panel.contour(reference[cut], [0.5], colors="cyan", linewidths=0.8, linestyles="dashed")
        panel.set_title(method or "scan", color="white", fontsize=10)
        panel.set_axis_off()
    save_figure(figure, args.output)


if __name__ == "__main__":
    main()
