"""2D images in folders, sorted into cases of slices with their patients and masks."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from volseg.cases.case import Case
from volseg.cases.identity import patient_of
from volseg.cases.layouts import LGG, NUMBERED_SLICES, PAIRS, UNLABELLED, Layout, institution_of
from volseg.cases.slice_stack_case import SliceStackCase
from volseg.finding.finding import Skipped
from volseg.finding.wanted import Wanted, lacking, missing_channels

IMAGE = ("image",)
_ROLES = {
    **dict.fromkeys(("images", "image", "imgs", "img"), "images"),
    **dict.fromkeys(("masks", "mask", "labels", "label"), "masks"),
}
_MASK = re.compile(r"(?P<image>.+)_(?:mask|seg)", re.IGNORECASE)
_LONE_MASK = "mask without its image"
_NO_MASK = (
    "image without its mask, though other images of the folder have masks; "
    "add the mask, all 0 where there is nothing"
)
_RANGES_SHOWN = 5

# A folder, without the part for images or masks, and the name of a slice in it.
_Key = tuple[Path, str]
_Files = dict[_Key, list[Path]]


@dataclass
class Stacks:
    """Cases of 2D images, and left-out files.

    Attributes:
        cases: Cases with their layouts.
        skipped: Left-out cases.
        strays: `(reason, file)` of left-out files.
        notes: Odd facts of `cases`.
    """

    cases: list[tuple[Case, Layout]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    strays: list[tuple[str, Path]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Slice:
    """A slice of a case: its image and mask, or several files if their names clash."""

    stem: str
    number: int | None
    patient: str | None
    images: tuple[Path, ...]
    masks: tuple[Path, ...]

    @property
    def order(self) -> tuple[object, ...]:
        """Sort key in natural order, with 10 after 9."""
        parts = re.split(r"(\d+)", self.stem)
        return tuple(int(part) if i % 2 else part for i, part in enumerate(parts))

    @property
    def name(self) -> str:
        """Number or name of the slice, unique in a case."""
        return self.stem if self.number is None else str(self.number)


@dataclass(frozen=True)
class _Stack:
    """Slices of a case, in order."""

    case_id: str
    layout: Layout
    slices: Sequence[_Slice]


def find_stacks(paths: Iterable[Path], top: Path, wanted: Wanted) -> Stacks:
    """Sort the 2D images below a folder into cases, by the names of files; no file is opened.

    Files named `<folder>_<n>` are the slices of one case, in the order of n, and so are files with
    TCGA names in any folder. In all other layouts each image is a case, unless `wanted.patient`
    finds patients: the images of a patient are then one case, in natural order. The pattern is
    searched in the path from `top` on, without ending and without a folder for images or masks.

    A mask has the name of its image, in a folder `masks` or `labels` instead of `images`, or the
    name of its image with `_mask` or `_seg`.

    Args:
        paths: 2D images and masks, as `is_slice` accepts them.
        top: Folder that was searched.
        wanted: Channels, patients and label maps to look for.
    """
    images, masks = _images_and_masks(paths, top)
    found = Stacks()
    lone = [path for key, paths in masks.items() if key not in images for path in paths]
    found.strays += [(_LONE_MASK, path) for path in lone]
    labelled = {home for home, _ in masks}
    for home, stack in _stacks(images, masks, top, wanted, found):
        partly = 0 < sum(bool(one.masks) for one in stack.slices) < len(stack.slices)
        alone = len(stack.slices) == 1 and stack.layout is PAIRS
        if wanted.labelled and alone and home in labelled and not stack.slices[0].masks:
            found.strays.append((_NO_MASK, stack.slices[0].images[0]))
        elif problem := _problem(stack, wanted, partly=partly):
            lacks = tuple(_missing(stack, wanted))
            found.skipped.append(Skipped(_place(stack), problem, stack.case_id, lacks=lacks))
        else:
            found.cases.append((_case(stack, wanted, partly=partly), stack.layout))
            found.notes += _gaps(stack)
    return found


def is_mask(path: Path) -> bool:
    """Whether a 2D image is a mask, by its name or the name of its folder.

    >>> is_mask(Path("masks/1.png")), is_mask(Path("a/b_mask.tif")), is_mask(Path("images/1.png"))
    (True, True, False)
    """
    role = _ROLES.get(path.parent.name.casefold())
    return role == "masks" or (role is None and _MASK.fullmatch(path.stem) is not None)


def _images_and_masks(paths: Iterable[Path], top: Path) -> tuple[_Files, _Files]:
    """Images, and masks by the key of their image."""
    placed = [(path, *_home(path, top)) for path in paths]
    with_masks = {home for _, home, role in placed if role == "masks"}
    images: _Files = defaultdict(list)
    masks: _Files = defaultdict(list)
    unclear = []
    for path, home, role in placed:
        match = _MASK.fullmatch(path.stem)
        if role == "masks":
            unclear.append((path, home, match["image"] if match else path.stem))
        elif match and not (role == "images" and home in with_masks):
            masks[home, match["image"]].append(path)
        else:
            images[home, path.stem].append(path)
    for path, home, shorter in unclear:
        # The name of an image may itself end in _seg.
        whole = (home, path.stem) in images
        masks[home, path.stem if whole else shorter].append(path)
    return dict(images), dict(masks)


def _home(path: Path, top: Path) -> tuple[Path, str]:
    """Folder of a slice without the part for images or masks, and the role: `images` or `masks`."""
    parts = path.parent.relative_to(top.parent).parts
    for i in reversed(range(len(parts))):
        if role := _ROLES.get(parts[i].casefold()):
            return top.parent.joinpath(*parts[:i], *parts[i + 1 :]), role
    return path.parent, ""


def _stacks(
    images: _Files, masks: _Files, top: Path, wanted: Wanted, found: Stacks
) -> Iterator[tuple[Path, _Stack]]:
    """Slices sorted into cases, each with its folder; slices without patient become strays."""
    labelled = {home for home, _ in masks}
    stacks: dict[tuple[Path, str, Layout], list[_Slice]] = defaultdict(list)
    for (home, stem), paths in images.items():
        patient = wanted.patient_of(home.relative_to(top.parent) / stem)
        numbered = _slice_name(stem, home.name)
        if wanted.patient and not patient and not numbered:
            reason = f"no patient is found in the name by {wanted.patient.pattern!r}"
            found.strays += [(reason, path) for path in paths]
            continue
        case_id, number = numbered or (patient or stem, None)
        of_name = tuple(masks.get((home, stem), ()))
        one = _Slice(stem, number, patient, tuple(paths), of_name)
        layout = PAIRS if home in labelled else UNLABELLED
        if number is not None:
            layout = LGG if institution_of(case_id) else NUMBERED_SLICES
        stacks[home, case_id, layout].append(one)
    named = Counter(case_id for _, case_id, _ in stacks)
    for (home, name, layout), slices in stacks.items():
        # Numbered slices in two folders are the same case twice; other images of a name are not.
        alone = named[name] == 1 or layout in (LGG, NUMBERED_SLICES)
        case_id = name if alone else "_".join((*_below(home, top), name))
        yield home, _Stack(case_id, layout, sorted(slices, key=lambda one: one.order))


def _slice_name(stem: str, folder: str) -> tuple[str, int] | None:
    """Case and number of a slice named `<folder>_<n>` or `<TCGA id>_<n>`; None for other names.

    >>> _slice_name("p7_12", "p7"), _slice_name("p7_12", "images")
    (('p7', 12), None)
    >>> _slice_name("TCGA_CS_4941_19960909_3", "images")
    ('TCGA_CS_4941_19960909', 3)
    """
    case_id, _, number = stem.rpartition("_")
    examined = institution_of(case_id) and patient_of(case_id) != case_id
    known = case_id == folder or examined
    return (case_id, int(number)) if known and case_id and number.isdecimal() else None


def _below(home: Path, top: Path) -> tuple[str, ...]:
    parts = home.relative_to(top.parent).parts
    return parts[1:] if parts[:1] == (top.name,) else parts


def _place(stack: _Stack) -> Path:
    """Path of the only image, or of the folder of several, for the entry of a left-out case."""
    first = stack.slices[0].images[0]
    return first if len(stack.slices) == 1 else first.parent


def _problem(stack: _Stack, wanted: Wanted, *, partly: bool) -> str | None:
    """Why a case cannot be used, with the remedy; None if it can."""
    if missing := _missing(stack, wanted):
        return lacking(missing)
    if doubled := _doubled(stack, ("images", "masks") if wanted.labelled else ("images",)):
        return doubled
    patients = sorted({one.patient or "none" for one in stack.slices})
    if wanted.patient and (len(patients) > 1 or patients == ["none"]):
        return f"its slices name as patient {', '.join(patients)}; correct the pattern"
    if partly and wanted.labelled:
        bare = [one.images[0].name for one in stack.slices if not one.masks]
        return (
            f"no mask of {len(bare)} of {len(stack.slices)} slices, such as {bare[0]}; "
            "add the masks, all 0 where there is nothing, or take these slices out"
        )
    return None


def _missing(stack: _Stack, wanted: Wanted) -> list[str]:
    held = _channels(stack, wanted)
    return missing_channels(held, wanted.channels or held, wanted.required)


def _doubled(stack: _Stack, kinds: Iterable[str]) -> str | None:
    """Problem if a slice has two files of the same kind; else None."""
    for kind in kinds:
        files: dict[str, list[Path]] = defaultdict(list)
        for one in stack.slices:
            files[one.name] += getattr(one, kind)
        for name, paths in files.items():
            if len(paths) > 1:
                found = ", ".join(sorted(path.name for path in paths))
                return f"{len(paths)} {kind} of slice {name}: {found}; keep one"
    return None


def _channels(stack: _Stack, wanted: Wanted) -> tuple[str, ...]:
    return stack.layout.channels or wanted.channels or IMAGE


def _case(stack: _Stack, wanted: Wanted, *, partly: bool) -> Case:
    institution = institution_of(stack.case_id)
    groups: Mapping[str, str] = {"institution": institution} if institution else {}
    return SliceStackCase(
        case_id=stack.case_id,
        patient_id=stack.slices[0].patient or patient_of(stack.case_id),
        images=tuple(one.images[0] for one in stack.slices),
        channels=_channels(stack, wanted),
        label=() if partly else tuple(one.masks[0] for one in stack.slices if one.masks),
        groups=groups,
    )


def _gaps(stack: _Stack) -> Iterator[str]:
    """A note if numbers are missing between the first slice and the last."""
    matches = [re.fullmatch(r"(.*?)(\d+)", one.stem) for one in stack.slices]
    numbers = sorted(int(match[2]) for match in matches if match)
    # Names that differ in more than one number do not count slices.
    if len(numbers) < len(matches) or len({match[1] for match in matches if match}) > 1:
        return
    gaps = [(a + 1, b - 1) for a, b in itertools.pairwise(numbers) if b > a + 1]
    if gaps:
        words = [str(a) if a == b else f"{a} to {b}" for a, b in gaps[:_RANGES_SHOWN]]
        more = ", ..." if len(gaps) > _RANGES_SHOWN else ""
        yield (
            f"case {stack.case_id}: no slice {', '.join(words)}{more} between {numbers[0]} and "
            f"{numbers[-1]}; the slices around the gap count as neighbours"
        )
