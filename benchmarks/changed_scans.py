"""Changes of scans that a model was not trained for, of files, preparation and contrasts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from volseg.images.case_images import CaseImages
from volseg.images.grid import Grid

Volume = npt.NDArray[Any]
Change = Callable[[CaseImages], CaseImages]
THICK_MM = 5.5


def changes(channels: Sequence[str], *, volumes: bool) -> dict[str, Change]:
    """Changes by name, for cases of these channels."""
    return {
        **(of_geometry() if volumes else {}),
        **of_background(),
        **of_values(channels),
        **of_channels(channels),
        **of_parts(volumes=volumes),
    }


def of_geometry() -> dict[str, Change]:
    return {
        f"slices of {THICK_MM} mm": thick,
        "spacing in cm": lambda images: spaced(images, 0.1),
        "spacing doubled": lambda images: spaced(images, 2),
        "skull not stripped": head,
    }


def of_background() -> dict[str, Change]:
    return {
        "background -1": lambda images: filled(images, lambda _, shape: np.full(shape, -1.0)),
        "background 0.5": lambda images: filled(images, lambda _, shape: np.full(shape, 0.5)),
        "background of noise, 1 % of the largest value": lambda images: filled(images, noisy(0.01)),
        "background of noise, 5 %": lambda images: filled(images, noisy(0.05)),
    }


def of_values(channels: Sequence[str]) -> dict[str, Change]:
    return {
        "scaled to 0 to 1": each(lambda values: values / values.max()),
        "z-scored, background 0": each(scored),
        "z-scored, background lowest": each(scored, background=np.min),
        "clipped to percentiles 1 and 99": each(
            lambda values: values.clip(*np.percentile(values, (1, 99)))
        ),
        "histogram equalised": each(equalised),
        "gamma 2": each(lambda values: values.max() * (values / values.max()) ** 2),
        "gamma 0.5": each(lambda values: values.max() * (values / values.max()) ** 0.5),
        "noise, 0.3 standard deviations": each(lambda values: with_noise(values, 0.3)),
        "noise, 0.6 standard deviations": each(lambda values: with_noise(values, 0.6)),
        "noise, 1 standard deviation": each(lambda values: with_noise(values, 1)),
        "blurred by 2 voxels": blurred,
        "bias field of 0.3 to 1.7": biased,
        "all channels inverted": each(inverted),
        **{f"{name} inverted": each(inverted, [k]) for k, name in enumerate(channels)},
        f"{channels[-1]} of noise alone": each(lone_noise, [len(channels) - 1]),
        f"{channels[-1]} constant": each(np.ones_like, [len(channels) - 1]),
        f"{channels[-1]} empty but for 100 voxels": each(empty, [len(channels) - 1]),
        "CT in place of all channels": ct,
    }


def of_channels(channels: Sequence[str]) -> dict[str, Change]:
    pairs = [(a, b) for a in range(len(channels)) for b in range(len(channels)) if a != b]
    return {
        **{
            f"{channels[a]} in place of {channels[b]}": lambda images, a=a, b=b: ordered(
                images, {b: a}
            )
            for a, b in pairs
        },
        **{
            f"{channels[a]} and {channels[b]} exchanged": lambda images, a=a, b=b: ordered(
                images, {a: b, b: a}
            )
            for a, b in pairs
            if a < b
        },
    }


def of_parts(*, volumes: bool) -> dict[str, Change]:
    return {
        "half of the brain empty, along the first axis": lambda images: halved(images, 0),
        "half of the brain cropped, along the first axis": lambda images: cropped(images, 0, 0.5),
        "enlarged in plane by 2": enlarged,
        "reduced in plane by 2": reduced,
        "mirrored": lambda images: replace(images, array=images.array[:, ::-1].copy()),
        **(
            {
                "half of the brain cropped, along the last axis": lambda images: cropped(
                    images, 2, 0.5
                ),
                "a fifth of the brain cropped, along the last axis": lambda images: cropped(
                    images, 2, 0.2
                ),
            }
            if volumes
            else {}
        ),
    }


def each(
    change: Callable[[Volume], Volume],
    places: Sequence[int] | None = None,
    background: Callable[[Volume], Any] = lambda _: 0,
) -> Change:
    """The change of the tissue (n,) of each channel, or of those at `places`."""

    def apply(images: CaseImages) -> CaseImages:
        array = images.array.astype(np.float32)
        for place in range(len(array)) if places is None else places:
            volume = array[place]
            inside = volume != 0
            volume[inside] = change(volume[inside])
            volume[~inside] = background(volume[inside])
        return replace(images, array=array)

    return apply


def scored(values: Volume) -> Volume:
    return (values - values.mean()) / values.std()


def inverted(values: Volume) -> Volume:
    return values.max() + 1 - values


def equalised(values: Volume) -> Volume:
    return 255 * (1 + values.argsort().argsort()) / values.size


def with_noise(values: Volume, deviations: float) -> Volume:
    noise = np.random.default_rng(0).normal(0, deviations * values.std(), values.shape)
    return (values + noise).clip(1e-3)


def lone_noise(values: Volume) -> Volume:
    return np.random.default_rng(0).normal(100, 10, values.shape)


def empty(values: Volume) -> Volume:
    return np.where(np.arange(values.size) < 100, values, 0)


def noisy(share: float) -> Callable[[Volume, int], Volume]:
    rng = np.random.default_rng(0)
    return lambda volume, size: abs(rng.normal(0, share * volume.max(), size))


def filled(images: CaseImages, values: Callable[[Volume, int], Volume]) -> CaseImages:
    array = images.array.astype(np.float32)
    for volume in array:
        outside = volume == 0
        volume[outside] = values(volume, np.count_nonzero(outside))
    return replace(images, array=array)


def blurred(images: CaseImages) -> CaseImages:
    array = images.array.astype(np.float32)
    smooth = [ndimage.gaussian_filter(volume, 2) * (volume != 0) for volume in array]
    return replace(images, array=np.stack(smooth))


def biased(images: CaseImages) -> CaseImages:
    field = np.linspace(0.3, 1.7, images.array.shape[1], dtype=np.float32)
    return replace(images, array=images.array * field[:, None, None])


def ct(images: CaseImages) -> CaseImages:
    rng, inside = np.random.default_rng(0), (images.array != 0).any(axis=0)
    head = np.where(inside, rng.normal(35, 8, inside.shape), -1000)
    bone = ndimage.binary_dilation(inside, iterations=6) & ~ndimage.binary_dilation(inside)
    head[bone] = 1000
    return replace(images, array=np.stack([head.astype(np.float32)] * len(images.array)))


def ordered(images: CaseImages, places: dict[int, int]) -> CaseImages:
    order = [places.get(place, place) for place in range(len(images.array))]
    return replace(images, array=images.array[order])


def thick(images: CaseImages) -> CaseImages:
    size = images.array.shape[3]
    count = round(size * images.grid.spacing_mm[2] / THICK_MM)
    parts = np.array_split(np.arange(size), count)
    array = np.stack([images.array[..., part].mean(axis=-1) for part in parts], axis=-1)
    most = np.stack([(images.array[..., part] != 0).mean(axis=-1) for part in parts], axis=-1)
    affine = images.grid.affine.copy()
    affine[:, 2] *= size / count
    array = (array * (most >= 0.5)).astype(np.float32)
    return replace(images, array=array, grid=Grid(array.shape[1:], affine))


def spaced(images: CaseImages, factor: float) -> CaseImages:
    affine = images.grid.affine.copy()
    affine[:3, :3] *= factor
    return replace(images, grid=Grid(images.grid.shape, affine))


def head(images: CaseImages) -> CaseImages:
    from skulls import BRIGHTNESS, with_skull

    from volseg.preparation.volume import Volume as Scan

    named = zip(BRIGHTNESS, images.array, strict=True)
    made = with_skull({name: Scan(one.astype(np.float32), images.grid) for name, one in named}, 1)
    array = np.stack([volume.values for volume in made.volumes.values()])
    return replace(images, array=array, grid=made.grid)


def _middle(images: CaseImages, axis: int, share: float) -> int:
    others = tuple(other for other in range(3) if other != axis)
    used = np.flatnonzero((images.array != 0).any(axis=0).any(axis=others))
    return int(used[0] + share * (used[-1] - used[0]))


def halved(images: CaseImages, axis: int) -> CaseImages:
    array = images.array.copy()
    np.moveaxis(array, axis + 1, 0)[: _middle(images, axis, 0.5)] = 0
    return replace(images, array=array)


def cropped(images: CaseImages, axis: int, share: float) -> CaseImages:
    shape = images.grid.shape
    first = [_middle(images, axis, share) if one == axis else 0 for one in range(3)]
    box = tuple(slice(low, size) for low, size in zip(first, shape, strict=True))
    return replace(images, array=images.array[(slice(None), *box)], grid=images.grid.crop(box))


def enlarged(images: CaseImages) -> CaseImages:
    _, i, j, _ = images.array.shape
    part = images.array[:, i // 4 : i // 4 + i // 2, j // 4 : j // 4 + j // 2]
    array = np.zeros_like(images.array)
    large = part.repeat(2, axis=1).repeat(2, axis=2)
    array[:, : large.shape[1], : large.shape[2]] = large
    return replace(images, array=array)


def reduced(images: CaseImages) -> CaseImages:
    small = images.array[:, ::2, ::2]
    array = np.zeros_like(images.array)
    array[:, : small.shape[1], : small.shape[2]] = small
    return replace(images, array=array)
