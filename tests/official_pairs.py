"""Pairs of label maps (reference, prediction) that reach every branch of the official programs.

`pair(task, seed)` gives the same arrays and affine for the same arguments. Seeds walk through
`SCENARIOS` in turn, sizes and places are drawn from the seed. Arrays are uint8 of shape (x, y, z);
the spacing is the norm of the columns of the affine. `SCHEMES` says what the labels are.

    reference, prediction, affine, scenario = pair("2023-GLI", 7)
"""

from __future__ import annotations

import zlib

import numpy as np

# name -> (labels from the outside in: shell, middle, core ; labels of loose extra tissue)
SCHEMES = {
    "brats2023": {"shell": 2, "middle": 1, "core": 3, "extra": ()},  # SNFH, NETC, ET
    "brats2024-gli": {"shell": 2, "middle": 1, "core": 3, "extra": (4,)},  # + RC
    "brats2024-ped": {"shell": 4, "middle": 2, "core": 1, "extra": (3,)},  # ED, NET, ET, CC
    "men-rt": {"shell": 1, "middle": 1, "core": 1, "extra": ()},  # GTV
}
# task -> (scheme, dilation iterations, lesion threshold in mm3)
TASKS = {
    "2023-GLI": ("brats2023", 3, 50),
    "2023-SSA": ("brats2023", 3, 50),
    "2023-MEN": ("brats2023", 1, 50),
    "2023-MET": ("brats2023", 1, 2),
    "2023-PED": ("brats2023", 3, 50),
    "2024-GLI": ("brats2024-gli", 3, 20),
    "2024-PED": ("brats2024-ped", 5, 10),
    "2024-SSA": ("brats2023", 3, 50),
    "2024-MET": ("brats2024-gli", 1, 2),
    "2024-MEN": ("brats2023", 1, 50),
    "2024-MEN-RT": ("men-rt", 1, 50),
}
SPACINGS = (
    (1, 1, 1),
    (1, 1, 1),
    (0.5, 0.5, 1.0),
    (0.8, 1.3, 2.0),
    (1.5, 1.5, 1.5),
    (0.9375, 0.9375, 3.0),
)


class Canvas:
    """A pair of label maps being drawn."""

    def __init__(self, task: str, rng: np.random.Generator, low: int = 40, high: int = 50):
        scheme, self.dilation, self.threshold = TASKS[task]
        self.scheme = SCHEMES[scheme]
        self.rng = rng
        self.shape = tuple(int(n) for n in rng.integers(low, high, 3))
        self.reference = np.zeros(self.shape, np.uint8)
        self.prediction = np.zeros(self.shape, np.uint8)
        self.grid = np.indices(self.shape).astype(float)

    def place(self, margin: int = 8) -> np.ndarray:
        return np.array([int(self.rng.integers(margin, n - margin)) for n in self.shape])

    def ball(self, centre, radii) -> np.ndarray:
        """Ellipsoid with a rough skin."""
        radii = np.broadcast_to(np.asarray(radii, float), 3)
        squared = sum(((g - c) / r) ** 2 for g, c, r in zip(self.grid, centre, radii, strict=True))
        wobble = (
            0.15 * np.sin(self.grid[0] * 0.9 + centre[1]) * np.cos(self.grid[1] * 1.1 + centre[0])
        )
        return squared + wobble <= 1

    def block(self, corner, voxels: int, width: int = 3) -> np.ndarray:
        """Exactly `voxels` voxels, connected, in a column of width x width."""
        mask = np.zeros(self.shape, bool)
        corner = np.asarray(corner)
        for i in range(voxels):
            z, rest = divmod(i, width * width)
            y, x = divmod(rest, width)
            at = corner + np.array((x, y, z))
            if (at < self.shape).all() and (at >= 0).all():
                mask[tuple(at)] = True
        return mask

    def tumour(
        self, centre, radius: float, into: np.ndarray, core: float = 0.5, middle: float = 0.75
    ):
        """Nested lesion: shell, middle, core."""
        for share, part in ((1.0, "shell"), (middle, "middle"), (core, "core")):
            if share > 0:
                into[self.ball(centre, radius * share * self.squash)] = self.scheme[part]

    @property
    def squash(self) -> np.ndarray:
        return self._squash if hasattr(self, "_squash") else np.ones(3)

    def both(self, centre, radius, shift=2.0, grow=1.0, **kind):
        """A lesion in the reference and a shifted, resized one in the prediction."""
        self._squash = self.rng.uniform(0.75, 1.25, 3)
        self.tumour(centre, radius, self.reference, **kind)
        moved = np.asarray(centre) + self.rng.uniform(-shift, shift, 3)
        self.tumour(moved, radius * grow, self.prediction, **kind)
        del self._squash

    def labels(self) -> list[int]:
        return sorted(
            {self.scheme[k] for k in ("shell", "middle", "core")} | set(self.scheme["extra"])
        )


def several(c):
    for _ in range(3):
        c.both(c.place(), c.rng.uniform(4, 8))


def missed_and_invented(c):
    c.both(c.place(), 7)
    c.tumour(c.place(), c.rng.uniform(3, 6), c.reference)
    c.tumour(c.place(), c.rng.uniform(3, 6), c.prediction)


def merged_by_dilation(c):
    """Two lesions with a gap around the reach of the dilation (2 x iterations voxels)."""
    gap = 2 * c.dilation + int(c.rng.integers(-1, 3))
    a = np.array([10, 12, 12])
    axis = int(c.rng.integers(0, 3))
    size = 5
    box = np.zeros(c.shape, bool)
    box[a[0] : a[0] + size, a[1] : a[1] + size, a[2] : a[2] + size] = True
    step = np.zeros(3, int)
    step[axis] = size + gap
    if c.rng.random() < 0.4:  # diagonal: 18 neighbours spread other than 26
        step[(axis + 1) % 3] = size + gap
    other = np.roll(box, tuple(step), (0, 1, 2))
    for label in (c.scheme["shell"], c.scheme["core"]):
        c.reference[box | other] = label
    c.prediction[np.roll(box, (1, 0, 0), (0, 1, 2))] = c.scheme["core"]
    if c.rng.random() < 0.5:
        c.prediction[np.roll(other, (0, 1, 0), (0, 1, 2))] = c.scheme["core"]


def one_prediction_over_two(c):
    """A prediction that touches two reference lesions far from one another."""
    y, z = c.shape[1] // 2, c.shape[2] // 2
    c.tumour((9, y, z), 5, c.reference)
    c.tumour((c.shape[0] - 10, y, z), 5, c.reference)
    bar = np.zeros(c.shape, bool)
    bar[7 : c.shape[0] - 8, y - 2 : y + 3, z - 2 : z + 3] = True
    c.prediction[bar] = c.scheme["core"]


def two_predictions_on_one(c):
    centre = np.array(c.shape) // 2
    c.tumour(centre, 9, c.reference)
    for side in (-7, 7):
        c.tumour(centre + np.array((side, 0, 0)), 3, c.prediction)
    c.tumour(centre + np.array((0, 15, 0)), 2, c.prediction)


def near_miss(c):
    """A prediction outside the lesion but at the edge of the reach of its dilation."""
    box = np.zeros(c.shape, bool)
    box[11:18, 17:24, 17:24] = True
    c.reference[box] = c.scheme["core"]
    gap = c.dilation + int(c.rng.integers(-1, 2))
    near = np.zeros(c.shape, bool)
    start = 18 + gap
    if c.rng.random() < 0.5:
        near[start : start + 5, 18:23, 18:23] = True
    else:
        near[start - 1 : start + 4, 24 + gap - 1 : 24 + gap + 4, 18:23] = True
    c.prediction[near] = c.scheme["core"]


def at_threshold(c):
    """Reference lesions of threshold - 1, threshold, threshold + 1 voxels, found or not."""
    for i, extra in enumerate((-1, 0, 1)):
        corner = (4 + 16 * i, 6, 6)
        block = c.block(corner, max(1, c.threshold + extra))
        c.reference[block] = c.scheme["core"]
        if c.rng.random() < 0.6:
            c.prediction[block] = c.scheme["core"]
    c.both((c.shape[0] // 2, c.shape[1] - 12, c.shape[2] - 12), 6)


def small_predictions(c):
    """False positives at and around the threshold; they touch nothing."""
    c.both((c.shape[0] // 2, c.shape[1] - 12, c.shape[2] - 12), 6)
    for i, extra in enumerate((-1, 0, 1)):
        corner = (4 + 16 * i, 5, 5)
        c.prediction[c.block(corner, max(1, c.threshold + extra))] = int(c.rng.choice(c.labels()))


def specks_near_lesion(c):
    """Single voxels around a prediction, kept or removed by size, or joined by dilation."""
    centre = np.array(c.shape) // 2
    c.both(centre, 7, shift=1)
    for _ in range(12):
        at = np.clip(centre + c.rng.integers(-16, 17, 3), 1, np.array(c.shape) - 2)
        (c.prediction if c.rng.random() < 0.6 else c.reference)[tuple(at)] = c.scheme["core"]


def protected_by_a_speck(c):
    """A prediction that touches only a reference lesion below the threshold: no false positive."""
    c.both((c.shape[0] // 2, c.shape[1] - 12, c.shape[2] - 12), 6)
    c.reference[c.block((8, 8, 8), max(1, c.threshold // 2))] = c.scheme["core"]
    c.tumour((9, 9, 9), 4, c.prediction)


def both_empty(c):
    pass


def empty_prediction(c):
    c.tumour(c.place(), 7, c.reference)


def empty_reference(c):
    c.tumour(c.place(), 7, c.prediction)
    if c.rng.random() < 0.5:
        c.prediction[c.block((3, 3, 3), 2)] = c.scheme["core"]


def no_core_in_reference(c):
    centre = c.place()
    c.tumour(centre, 8, c.reference, core=0)
    c.tumour(centre + 1, 8, c.prediction)


def no_core_in_prediction(c):
    centre = c.place()
    c.tumour(centre, 8, c.reference)
    c.tumour(centre + 1, 8, c.prediction, core=0)


def no_core_at_all(c):
    c.both(c.place(), 7, core=0)


def only_shell(c):
    c.both(c.place(), 7, core=0, middle=0)


def only_specks(c):
    """Everything in the reference is at or below the threshold; 0 / 0 is scored as perfect."""
    c.reference[c.block((6, 6, 6), max(1, min(c.threshold, 40)))] = c.scheme["core"]
    if c.rng.random() < 0.5:
        c.prediction[c.block((6, 6, 6), max(1, c.threshold // 2))] = c.scheme["core"]


def at_the_border(c):
    c.both((1, c.shape[1] // 2, c.shape[2] // 2), 6, shift=1.5)
    c.both((c.shape[0] - 2, c.shape[1] - 2, c.shape[2] - 2), 7, shift=1.5)
    c.tumour((c.shape[0] // 2, 0, 0), 4, c.reference)


def two_against_opposite_borders(c):
    """Nothing may wrap around."""
    for into in (c.reference, c.prediction):
        c.tumour((0, c.shape[1] // 2, c.shape[2] // 2), 5, into)
    c.tumour((c.shape[0] - 1, c.shape[1] // 2, c.shape[2] // 2), 5, c.reference)


def diagonal_contact(c):
    """Blocks in a row that touch by a corner (26) or an edge (18) only, out of the lesion."""
    size, contact = 4, ((1, 1, 1), (1, 1, 0), (1, 1, 1))[int(c.rng.integers(0, 3))]
    for i in range(6):
        x, y, z = np.array([6, 6, 10]) + i * size * np.array(contact)
        block = (slice(x, x + size), slice(y, y + size), slice(z, z + size))
        if i < 2:
            c.reference[block] = c.scheme["core"]
        if i != 1 or c.rng.random() < 0.7:
            c.prediction[block] = c.scheme["core"]


def ring(c):
    """A core in pieces around a necrosis that joins them (2024: pieces become one lesion)."""
    centre = np.array(c.shape) // 2
    for into, shift in ((c.reference, 0), (c.prediction, 1)):
        middle = c.ball(centre, 9)
        into[c.ball(centre, 12)] = c.scheme["shell"]
        into[middle] = c.scheme["middle"]
        for direction in ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0)):
            piece = c.ball(centre + shift + 10 * np.array(direction), 2.2)
            if c.rng.random() < 0.85:
                into[piece] = c.scheme["core"]


def chain(c):
    """Core pieces A B C and necroses x y that touch as A-x-B-y-C: is touching carried on, and how?

    Pieces of one tissue are out of reach of each other's dilation. In a line, or with a corner at
    B, where x comes first in one memory order and y in the other.
    """
    core, middle, y = c.scheme["core"], c.scheme["middle"], c.shape[1] // 2
    corner = c.rng.random() < 0.6
    skip = int(c.rng.integers(0, 7))
    for into, without in ((c.reference, None), (c.prediction, skip)):
        if corner:  # along x into B, along z out of it
            boxes = (
                (middle, 6, 15, 25, 29),
                (middle, 27, 31, 6, 15),
                (core, 15, 31, 15, 31),
                (core, 2, 6, 25, 29),
                (core, 27, 31, 1, 6),
            )
        else:
            z = c.shape[2] // 2
            boxes = (
                (middle, 4, 13, z, z + 4),
                (middle, 26, 35, z, z + 4),
                (core, 13, 26, z, z + 4),
                (core, 1, 4, z, z + 4),
                (core, 35, 40, z, z + 4),
            )
        for i, (label, x0, x1, z0, z1) in enumerate(boxes):
            if i != without:
                into[x0:x1, y - 2 : y + 2, z0:z1] = label


def branches(c):
    """Core pieces, several of which share several necroses, in a random order along the axes."""
    for into in (c.reference, c.prediction):
        for _ in range(7):
            at, axis = c.place(6), int(c.rng.integers(0, 3))
            box = [slice(a, a + 3) for a in at]
            box[axis] = slice(max(0, at[axis] - 14), at[axis] + 15)
            into[tuple(box)] = c.scheme["middle"]
        for _ in range(14):
            at = c.place(5)
            into[tuple(slice(a, a + 4) for a in at)] = int(
                c.rng.choice((c.scheme["core"], *c.scheme["extra"]))
            )
    if c.rng.random() < 0.5:  # the same pieces, a little wrong
        c.prediction = np.where(c.rng.random(c.shape) < 0.002, c.prediction, c.reference).astype(
            np.uint8
        )


def cavity(c):
    """Loose extra tissue (RC of 2024 glioma, CC of 2024 paediatric) beside a tumour."""
    centre = np.array(c.shape) // 2
    c.both(centre, 8)
    if not c.scheme["extra"]:
        several(c)
        return
    extra = c.scheme["extra"][0]
    c.reference[c.ball(centre + np.array((9, 0, 0)), 5)] = extra
    c.prediction[c.ball(centre + np.array((9, 1, 0)), 4.5)] = extra
    if c.rng.random() < 0.5:
        c.reference[c.ball((6, 6, 6), 3)] = extra
    if c.rng.random() < 0.5:
        c.prediction[c.ball((c.shape[0] - 6, 6, 6), 3)] = extra


def cavity_joins(c):
    """Core and oedema in pieces that only the extra tissue joins."""
    extra = (*c.scheme["extra"], c.scheme["middle"])[0]
    centre = np.array(c.shape) // 2
    for into, shift in ((c.reference, 0), (c.prediction, 1)):
        for part, distance in (("core", 8), ("shell", 9), ("middle", 9)):
            axis = {"core": 0, "shell": 1, "middle": 2}[part]
            for side in (-1, 1):
                at = centre + shift
                at[axis] += side * distance
                into[c.ball(at, 3)] = c.scheme[part]
        into[c.ball(centre, 6)] = extra


def oedema_in_pieces(c):
    """Pieces of the outermost label 7 to 11 voxels apart: dilated 3 or 5 times they join or not."""
    gap = int(c.rng.integers(5, 13))
    label = c.scheme["shell"]
    for into, wrong in ((c.reference, 0), (c.prediction, 1)):
        for i in range(2):
            x = 4 + i * (8 + gap)
            into[x + wrong : x + 8, 10:18, 10:18] = label
        if c.rng.random() < 0.3:
            into[4:10, 10:16, 30:36] = label
    c.both((c.shape[0] // 2, c.shape[1] - 10, c.shape[2] - 10), 5)


def all_equal(c):
    for _ in range(int(c.rng.integers(1, 4))):
        c.both(c.place(), c.rng.uniform(4, 8))
    c.prediction = c.reference.copy()


def noise(c):
    """Many small components of every label."""
    for into in (c.reference, c.prediction):
        for label in c.labels():
            for _ in range(int(c.rng.integers(3, 9))):
                into[c.ball(c.place(3), c.rng.uniform(0.8, 3.2))] = label


def far_outliers(c):
    """A good prediction with a tail: the 95th percentile sits on the edge of it."""
    centre = np.array(c.shape) // 2
    c.both(centre, 9, shift=0.5)
    tail = np.zeros(c.shape, bool)
    tail[centre[0] : centre[0] + int(c.rng.integers(10, 20)), centre[1], centre[2]] = True
    c.prediction[tail & (c.prediction == 0)] = c.scheme["shell"]


def foreign_label(c):
    """A label that the scheme does not know (4 in 2023, 5 else): background in every region."""
    c.both(c.place(), 7)
    unknown = 4 if 4 not in c.labels() and max(c.labels()) == 3 else 5
    c.prediction[c.block((2, 2, 2), 60)] = unknown
    c.reference[c.block((c.shape[0] - 6, 2, 2), 60)] = unknown


SCENARIOS = (
    several,
    missed_and_invented,
    merged_by_dilation,
    one_prediction_over_two,
    two_predictions_on_one,
    near_miss,
    at_threshold,
    small_predictions,
    specks_near_lesion,
    protected_by_a_speck,
    both_empty,
    empty_prediction,
    empty_reference,
    no_core_in_reference,
    no_core_in_prediction,
    no_core_at_all,
    only_shell,
    only_specks,
    at_the_border,
    two_against_opposite_borders,
    diagonal_contact,
    ring,
    chain,
    branches,
    cavity,
    cavity_joins,
    oedema_in_pieces,
    all_equal,
    noise,
    far_outliers,
    foreign_label,
)


def affine_of(rng: np.random.Generator, spacing) -> np.ndarray:
    """Flipped and permuted axes, now and then turned by a few degrees."""
    kind = int(rng.integers(0, 4))
    turn = np.diag([1.0, 1.0, 1.0])
    if kind == 1:
        turn = np.diag([-1.0, -1.0, 1.0])
    elif kind == 2:
        turn = turn[:, rng.permutation(3)] * rng.choice([-1.0, 1.0], 3)
    elif kind == 3:
        a, b = rng.uniform(-0.3, 0.3, 2)
        turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1.0]])
        turn = turn @ np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(spacing)
    affine[:3, 3] = np.round(rng.uniform(-120, 120, 3), 2)
    return affine


def pair(task: str, seed: int):
    """Reference, prediction, affine and name of the scenario."""
    rng = np.random.default_rng([seed, zlib.crc32(task.encode())])
    scenario = SCENARIOS[seed % len(SCENARIOS)]
    canvas = Canvas(task, rng)
    scenario(canvas)
    spacing = SPACINGS[0] if seed % 5 < 3 else SPACINGS[int(rng.integers(0, len(SPACINGS)))]
    return canvas.reference, canvas.prediction, affine_of(rng, spacing), scenario.__name__


def spacing_of(affine) -> tuple[float, float, float]:
    return tuple(float(s) for s in np.sqrt((np.asarray(affine)[:3, :3] ** 2).sum(0)))
