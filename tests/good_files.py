"""A good file of every kind that volseg reads, ways to damage it, and those who read it."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import mutations as m
import numpy as np


@dataclass(frozen=True)
class Kind:
    """A kind of file: a good one within `place`, ways to damage it, and who reads the place."""

    place: Path
    file: str
    damages: tuple[m.Damage, ...]
    readers: tuple[Callable[[Path], Any], ...]


def make_kinds(folder: Path) -> dict[str, Kind]:
    """Good files of every kind below a folder."""
    kinds: dict[str, Kind] = {}
    always = (m.bytes_changed, m.cut, m.more, m.other)

    def add(name: str, place: Path, file: str, damages: Any, *readers: Any) -> None:
        kinds[name] = Kind(place, file, (*always, *damages * 3), readers)

    def on(file: str, read: Callable[[Path], Any]) -> Callable[[Path], Any]:
        return lambda place: read(place / file)

    _scans(folder / "scans", add, on)
    _pictures(folder / "pictures", add, on)
    _texts(folder / "texts", add, on)
    _results(folder / "results", add, on)
    _models(folder / "models", add, on)
    _runs(folder / "runs", add, on)
    _cache(folder / "caches", add, on)
    for kind in kinds.values():
        for read in kind.readers:
            read(kind.place)  # of a good file, everyone reads something
    return kinds


def _image(path: Path, array: Any) -> None:
    import nibabel as nib

    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([-1.0, -1, 2, 1])
    image = nib.Nifti1Image(array, affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def _scans(folder: Path, add: Any, on: Any) -> None:
    from volseg.images.nifti_reading import read_case, read_case_grid, read_header, read_label_map
    from volseg.tasks.info import info

    def image(path: Path) -> None:
        images = read_case([path], ["t1c"], ["t1c"])
        assert images.array.shape[1:] == images.grid.shape
        assert np.isfinite(images.array).all()
        assert all(0.05 <= mm <= 20 for mm in images.grid.spacing_mm)
        json.dumps(images.notes)

    def label_map(path: Path) -> None:
        labels, grid = read_label_map(path)
        assert labels.dtype == np.uint8
        assert labels.shape == grid.shape

    random = np.random.default_rng(0)
    for name, array in (
        ("a.nii", random.integers(0, 900, (12, 10, 8)).astype(np.int16)),
        ("a.nii.gz", random.random((12, 10, 8)).astype(np.float32)),
        ("seg.nii.gz", random.integers(0, 4, (12, 10, 8)).astype(np.uint8)),
    ):
        place = folder / name.replace(".", "_")
        _image(place / name, array)
        read_grid = lambda path: read_case_grid([path], ["t1c"], ["t1c"])  # noqa: E731
        readers = [label_map] if name == "seg.nii.gz" else [image]
        add(name, place, name, (m.nifti_changed,), *(on(name, r) for r in (*readers, read_grid)),
            on(name, read_header), on(name, info))  # fmt: skip


def _pictures(folder: Path, add: Any, on: Any) -> None:
    from PIL import Image

    from volseg.images.slice_masks import read_stack_label_map
    from volseg.images.slice_stack import read_stack, read_stack_grid
    from volseg.tasks.info import info

    def stack(path: Path) -> None:
        images = read_stack([path], ["t2f"], ["t2f"], (1, 1, 2))
        assert images.array.shape[1:] == images.grid.shape
        assert np.isfinite(images.array).all()

    def masks(path: Path) -> None:
        labels, grid = read_stack_label_map([path], None)
        assert labels.dtype == np.uint8
        assert labels.shape == grid.shape

    grid = lambda path: read_stack_grid([path], ["t2f"], ["t2f"], None)  # noqa: E731
    grey = np.random.default_rng(0).integers(0, 2, (24, 20)).astype(np.uint8) * 255
    deep = grey.astype(np.uint16) * 257
    for name, values, damage, options in (
        ("a.tif", grey, m.tiff_changed, {}),
        ("deep.tif", deep, m.tiff_changed, {"compression": "tiff_adobe_deflate"}),
        ("packed.tif", grey, m.tiff_changed, {"compression": "tiff_lzw"}),
        ("a.png", grey, m.png_changed, {}),
        ("deep.png", deep, m.png_changed, {}),
        ("a.jpg", grey, m.jpeg_changed, {"quality": 95}),
        ("a.bmp", grey, m.bmp_changed, {}),
    ):
        place = folder / name.replace(".", "_")
        place.mkdir(parents=True)
        Image.fromarray(values).save(place / name, **options)
        add(name, place, name, (damage,), *(on(name, read) for read in (stack, masks, grid, info)))


def _texts(folder: Path, add: Any, on: Any) -> None:
    from volseg.cases.data_list import read_data_list
    from volseg.cases.patient_table import read_patient_table
    from volseg.config import load_config, read_slurm
    from volseg.finding.folders import find_cases
    from volseg.slurm.queue import job_of
    from volseg.tasks.info import info

    def config(path: Path) -> None:
        read = load_config(path)
        assert load_config(path).to_dict() == read.to_dict()

    def data_list(path: Path) -> None:
        for case in read_data_list(path).cases():
            assert case.images
            for one in (*case.images, *case.label):
                one.exists()

    root = Path(__file__).parents[1] / "configs"
    for name in ("brats_unet.yaml", "lgg_deeplabv3plus.yaml"):
        place = folder / name.replace(".", "_")
        place.mkdir(parents=True)
        (place / name).write_text((root / name).read_text() + "\nslurm: {account: x, cpus: 2}\n")
        slurm = lambda path: read_slurm([str(path)])  # noqa: E731
        add(name, place, name, (m.yaml_changed,), *(on(name, r) for r in (config, slurm, info)))
    place = folder / "list"
    place.mkdir()
    case = {"case_id": "a", "patient_id": "p", "image": ["1.nii", "2.nii"], "label": "s.nii"}
    stack = {"image": ["1.png", "2.png"], "label": ["1m.png", "2m.png"], "spacing_mm": [1, 1, 2]}
    cases = [case | {"fold": 0}, case | {"case_id": "b", "patient_id": "q", "fold": 1}]
    cases += [case | stack | {"case_id": "c", "patient_id": "r", "groups": {"g": "1"}}]
    listed = {"volseg": 1, "name": "x", "channels": ["t1n", "t1c"], "data_root": "."}
    (place / "list.json").write_text(json.dumps(listed | {"training": cases, "testing": []}))
    add("list.json", place, "list.json", (m.json_changed,), on("list.json", data_list),
        on("list.json", info), find)  # fmt: skip
    place = folder / "msd"
    for number in range(2):
        _image(place / "imagesTr" / f"b_{number}.nii.gz", np.zeros((4, 4, 4, 4), np.int16))
        _image(place / "labelsTr" / f"b_{number}.nii.gz", np.zeros((4, 4, 4), np.uint8))
    described = {
        "modality": dict(enumerate(["FLAIR", "T1w", "t1gd", "T2w"])),
        "labels": {"0": "background", "1": "ED"},
    }
    (place / "dataset.json").write_text(json.dumps(described | {"numTraining": 2}))
    add("dataset.json", place, "dataset.json", (m.json_changed,), lambda p: find_cases([p]), info)
    place = folder / "table"
    place.mkdir()
    rows = ["patient,grade,site", *(f"p{n},{n % 2},{n % 3}" for n in range(9))]
    (place / "data.csv").write_text("\n".join(rows) + "\n")
    add("data.csv", place, "data.csv", (m.lines_changed,), on("data.csv", read_patient_table))
    (place / "slurm").mkdir()
    (place / "slurm" / "job_id").write_text("123\n")
    add("job_id", place, "slurm/job_id", (), job_of)


def find(place: Path) -> None:
    """A search for cases in a folder that holds none, or holds results."""
    from volseg.errors import DataListError
    from volseg.finding.folders import find_cases

    with contextlib.suppress(DataListError):
        find_cases([place])


def _results(folder: Path, add: Any, on: Any) -> None:
    from volseg.comparison.scored_run import read_run
    from volseg.results.manifest import read_manifest, read_manifests
    from volseg.results.manifest_file import read_earlier_manifests
    from volseg.tasks.info import info
    from volseg.training.outcome import read_scores, score_lines

    def manifest(place: Path) -> None:
        # Those who call it know these two.
        with contextlib.suppress(OSError, ValueError):
            read_manifest(place)
        with contextlib.suppress(OSError, ValueError):
            for one in read_manifests(place):
                _ = one.cases, one.failures, one.is_finished

    def told(path: Path) -> None:
        document = read_scores(path)
        if document is not None:
            score_lines(document, "t2f")

    for name, text in GOOD_RESULTS.items():
        place = folder / name.replace(".", "_")
        place.mkdir(parents=True)
        (place / name).write_text(text)
        readers = (manifest, info, find, read_earlier_manifests)
        if name == "scores.json":
            readers = (lambda place: read_run(place, "a"), on(name, told), on(name, info))
        add(name, place, name, (m.json_changed,), *readers)


_DICE = {"dice": 0.5, "iou": 0.4, "recall": 0.5, "precision": 0.6, "hd95_mm": None}
_SUMMARY = {"n_cases": 1, "dice": {"mean": 0.5, "median": 0.5, "std": None}}
GOOD_RESULTS = {
    "manifest.json": json.dumps(
        {
            "volseg": "0.1.0",
            "models": [{"path": "m", "sha256": "0", "volseg": "0.1.0"}],
            "labels": {"name": "lgg", "labels": {"1": "tumour"}, "regions": {"WT": [1]}},
            "device": "cpu",
            "options": {"tta": None},
            "cases": {
                "a": {
                    "inputs": {"t1c": "a.nii"},
                    "output": "a.nii.gz",
                    "probabilities": ["a_WT.nii.gz"],
                    "models": ["0"],
                    "settings": {},
                    "seconds": 1.0,
                    "volumes_ml": {"WT": 1.0},
                    "missing_channels": [],
                    "notes": [],
                }
            },
            "failures": {"b": "no"},
            "skipped": [{"path": "x", "reason": "y"}],
        }
    ),
    "scores.json": json.dumps(
        {
            "network": "unet",
            "epoch": 3,
            "losses": {"a": 0.5},
            "summary": {"WT": _SUMMARY},
            "empty_mask_policy": "",
            "definitions": {},
            "missing": ["b"],
            "failed": [],
            "cases": {
                "a": {"status": "scored", "regions": {"WT": _DICE}},
                "b": {"status": "missing", "regions": {"WT": dict.fromkeys(_DICE)}},
            },
            "group_scores": {
                "g": {v: {"WT": {"n": 2, "n_unscored": 0, **_SUMMARY}} for v in ("1", "2")}
            },
            "missing_channels": {"a": ["t1n"]},
            "slices": {"WT": {"tumour_slices": {"n": 3, "dice": 0.5}}},
        }
    ),
}


def _models(folder: Path, add: Any, on: Any) -> None:
    import torch
    from tiny_models import write_model

    from volseg.model_file import load_model
    from volseg.model_header import read_model_header
    from volseg.tasks.info import info

    folder.mkdir()
    write_model(folder / "model.safetensors")

    def model(path: Path) -> None:
        image = torch.zeros(1, 4, 16, 16, 16)
        assert torch.isfinite(load_model(path).network(image)).all()

    name = "model.safetensors"
    add(name, folder, name, (m.model_changed,), on(name, model), on(name, info),
        on(name, read_model_header), info)  # fmt: skip


def _runs(folder: Path, add: Any, on: Any) -> None:
    import torch

    from volseg.config import load_config
    from volseg.runs.checkpoint_files import find_checkpoints
    from volseg.runs.description import is_finished
    from volseg.runs.folder import is_held
    from volseg.runs.metrics_table import best_row, read_metrics
    from volseg.runs.resuming import has_ended
    from volseg.tasks.info import info
    from volseg.training.checkpoints import AtomicCheckpointIO, newest_good

    (folder / "checkpoints").mkdir(parents=True)
    for steps in (1, 2):
        path = folder / "checkpoints" / f"step-{steps:08d}.ckpt"
        state = {name: {} for name in ("loops", "callbacks", "epoch_sums")}
        state |= {"optimizer_states": [], "lr_schedulers": [], "processes": 1}
        state |= {"global_step": steps, "state_dict": {"a": torch.zeros(9)}}
        AtomicCheckpointIO().save_checkpoint(state, path)
    header = "epoch,step,seconds,learning_rate,train/loss,val/dice/mean"
    rows = [f"{n},{n * 9},1.5,0.1,0.5,{'0.5' if n % 2 else ''}" for n in range(1, 5)]
    (folder / "metrics.csv").write_text("\n".join([header, *rows]) + "\n")
    (folder / "environment.json").write_text(json.dumps({"finished": True, "versions": {"a": "1"}}))
    (folder / "config.yaml").write_text("labels: lgg\ndata: {data_list: x.json}\n")
    config = load_config(folder / "config.yaml")

    def metrics(place: Path) -> None:
        best_row(read_metrics(place / "metrics.csv"))

    def state_of(place: Path) -> None:
        for fact in (is_held(place), is_finished(place), has_ended(place, config)):
            assert fact in (True, False)

    def resumed(place: Path) -> None:
        path, found = newest_good(place)
        assert path in find_checkpoints(place)
        assert found["global_step"] in (1, 2)

    add("metrics.csv", folder, "metrics.csv", (m.lines_changed,), metrics, state_of, info)
    add("environment.json", folder, "environment.json", (m.json_changed,), state_of, info)
    add("config.yaml", folder, "config.yaml", (m.yaml_changed,), state_of, info)

    def signed(random: Random, content: bytes) -> bytes:
        """Other content with a right digest."""
        content = random.choice([m.bytes_changed, m.cut, m.other])(random, content[:-32])
        return content + hashlib.sha256(content).digest()

    add("newest.ckpt", folder, "checkpoints/step-00000002.ckpt", (signed,), resumed)


def _cache(folder: Path, add: Any, on: Any) -> None:
    from volseg.cases.volume_case import VolumeCase
    from volseg.config import load_config
    from volseg.training.cache.cases import build_cache

    scans = folder / "cached"
    generator = np.random.default_rng(0)
    for part in ("t1n", "seg"):
        array = generator.integers(0, 2 if part == "seg" else 900, (20, 20, 20))
        _image(scans / f"{part}.nii", array.astype(np.uint8 if part == "seg" else np.int16))
    case = VolumeCase("a", "a", (scans / "t1n.nii",), ("t1n",), (scans / "seg.nii",))
    options = "labels: lgg\ndata: {data_list: x, channels: [t1n], patch_size: [16, 16, 16]}\n"
    options += "network: {name: unet, widths: [4, 8]}\n"
    (scans / "config.yaml").write_text(options)
    of_cache = load_config(scans / "config.yaml")

    def cached(place: Path) -> None:
        # It is damaged, so it is made again.
        (found,), failures = build_cache([case], of_cache, place)
        assert not failures
        assert found.image.shape[1:] == found.bits.shape == found.image_grid.shape
        assert found.image[:, :4, :4, :4].shape == (1, 4, 4, 4)
        assert found.foreground.shape == (1, 5000, 3)
        assert abs(found.image_grid.affine).max() < 1000

    build_cache([case], of_cache, folder / "cache")
    (entry,) = (path for path in (folder / "cache").iterdir() if path.name.startswith("a-"))
    for file in sorted(entry.iterdir()):
        damages = (m.json_changed,) if file.suffix == ".json" else (m.npy_changed,)
        add(f"cache {file.name}", folder / "cache", f"{entry.name}/{file.name}", damages, cached)
