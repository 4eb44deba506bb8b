"""Prepared cases as `prepare` leaves them, with records written by hand."""

from __future__ import annotations

import nibabel as nib
import numpy as np
from tiny_models import tiny_config, write_model
from tiny_scans import SUFFIXES, write_case

from volseg.cases.sources import fingerprint
from volseg.images.grid import Grid
from volseg.images.nifti_reading import read_header
from volseg.model_file import load_model, save_model
from volseg.preparation.record import (
    FileMark,
    PreparationRecord,
    PreparedChannel,
    RecordedGrid,
    matrix_rows,
    write_record,
)

# Native space lies 30 mm to the right of prepared space.
MOVED = np.eye(4) + np.outer([1, 0, 0, 0], [0, 0, 0, 30.0])
# Logit by which the output of an untrained network lies below one half.
LOGIT_OF_A_HUNDREDTH = 4.6


def write_busy_model(path):
    """A model that finds about half of all voxels, so that no label map is empty."""
    write_model(path)
    weights = load_model(path).network.state_dict()
    for name in [name for name, value in weights.items() if value.shape == (3,)]:
        weights[name] += LOGIT_OF_A_HUNDREDTH
    save_model(path, weights, tiny_config(), {})
    return path


def native_grids(grid):
    """The voxels of a grid in RAS for t1n, thick oblique slices for t2f, its own for the others."""
    turned = Grid(grid.ras.shape, MOVED @ grid.ras.affine)
    angle = np.deg2rad(10)
    thick = np.diag([0.7, 0.7, 4, 1])
    thick[:2, :2] = 0.7 * np.array(
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    )
    thick[:3, 3] = (-3.3, -2.1, 0.7)
    oblique = Grid((40, 44, 5), MOVED @ thick)
    own = Grid(grid.shape, MOVED @ grid.affine)
    return {"t1n": turned, "t2f": oblique, "t1c": own, "t2w": own}


def header_on(grid):
    header = nib.Nifti1Image(np.zeros(grid.shape, np.uint8), grid.affine).header
    header.set_qform(grid.affine, 1)
    header.set_sform(grid.affine, 2)
    return header


def recorded(grid):
    header = header_on(grid)
    return RecordedGrid.of(Grid(grid.shape, np.asarray(header.get_sform(), float)), header)


def write_raw(path, grid):
    """An image of noise on an original grid, and its mark."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(0).integers(90, 110, grid.shape).astype(np.int16)
    nib.save(nib.Nifti1Image(values, grid.affine, header_on(grid)), path)
    return FileMark(path=str(path), **fingerprint(path))


def prepare_by_hand(folder, case_id, raw=None, **changes):
    """A case as `prepare` leaves it, whose channels lay on the grids of `native_grids`.

    With a folder `raw`, the original scans are written there; else they are gone.
    """
    home = write_case(folder, case_id)
    paths = {channel: home / f"{case_id}_{suffix}.nii.gz" for channel, suffix in SUFFIXES.items()}
    grid, header = read_header(paths["t1c"])
    originals = (folder.parent / "gone" if raw is None else raw) / case_id
    sources = {name: originals / f"{case_id}-{name}.nii.gz" for name in paths}
    natives = native_grids(grid)
    marks = [write_raw(path, natives[name]) for name, path in sources.items() if raw is not None]
    channels = {
        channel: PreparedChannel(
            source=str(sources[channel]),
            native=recorded(native),
            matrix=matrix_rows(MOVED),
            alignment="reference" if channel == "t1c" else "registered",
            quality={},
            file=FileMark(
                path=str(paths[channel].relative_to(folder)), **fingerprint(paths[channel])
            ),
        )
        for channel, native in natives.items()
    }
    record = PreparationRecord(
        volseg="0",
        case_id=case_id,
        options={},
        sources=tuple(marks),
        reference="t1c",
        space="t1c",
        grid=RecordedGrid.of(grid, header),
        channels=channels,
        steps=(),
        seconds=1.0,
    )
    (folder / "preparation").mkdir(exist_ok=True)
    write_record(folder, record.model_copy(update=changes))
