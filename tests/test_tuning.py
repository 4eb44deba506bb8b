"""Tuning: levels are exact, components decide the Dice, and no held-out case is looked at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from volseg.confidence.temperature import LogitCounts, fit_temperature
from volseg.config import InferenceConfig
from volseg.labels import LABEL_SCHEMES, LabelScheme, get_scheme
from volseg.metrics import region_overlaps
from volseg.metrics.official.protocols import get_protocol
from volseg.postprocess import decode
from volseg.tuning.decoding import Decoding, RegionOptions, cuts
from volseg.tuning.forest import is_nested
from volseg.tuning.gain import measure_gain
from volseg.tuning.levels import CaseLevels, LevelStore
from volseg.tuning.maps import CaseMaps, MapStore
from volseg.tuning.scores import ScoreBook, dice_scorer, lesion_scorer, mask_scorer
from volseg.tuning.search import Space, search
from volseg.tuning.temperatures import TemperatureFit, as_option

WT = get_scheme("lgg")
BRATS = get_scheme("brats2023")
INITIAL = Decoding(False, ("WT",), (RegionOptions(0.5),))
SPACE = Space((False,), (False,))
SMALL = (1.0, 1.0, 1.5)


def noise(scheme, seed, shape=(6, 7, 5)):
    random = np.random.default_rng(seed)
    # Few voxels in many components, of which inner regions hold a part.
    shared = random.random((1, *shape), dtype=np.float32) ** 6
    own = random.random((len(scheme.regions), *shape), dtype=np.float32)
    probabilities = shared * (1 - 0.3 * own) + np.float32(0.1) * own
    names = list(scheme.regions)
    drawn = dict(zip(names, random.random((len(names), *shape)) < 0.4, strict=True))
    reference = scheme.masks(scheme.label_map(drawn))
    return probabilities, np.stack([reference[name] for name in names])


class Memory(LevelStore):
    """A store of one case in memory."""

    def __init__(self, case):
        self.case, self.size = case, 1

    def read(self, index):
        return self.case


options = st.builds(
    RegionOptions,
    threshold=st.sampled_from([0.3, 0.5, 0.8]),
    min_component_mm3=st.sampled_from([0.0, 3.0, 6.0]),
    largest_component=st.booleans(),
    min_region_mm3=st.sampled_from([0.0, 20.0, 60.0]),
)


@settings(max_examples=60)
@given(
    name=st.sampled_from(sorted(LABEL_SCHEMES)),
    seed=st.integers(0, 2**16),
    drawn=st.lists(options, min_size=4, max_size=4),
)
def test_dice_from_bytes_and_components_is_that_of_decoded_probabilities(name, seed, drawn):
    scheme = LABEL_SCHEMES[name]
    regions = tuple(scheme.regions)
    chosen = Decoding(False, regions, tuple(drawn[: len(regions)]))
    probabilities, reference = noise(scheme, seed)

    case = CaseLevels.of({False: probabilities}, reference, scheme, cuts(chosen), SMALL)
    found = dice_scorer(scheme, cuts(chosen))(Memory(case), 0, [chosen])

    config = InferenceConfig(**chosen.inference())
    masks = decode(probabilities, scheme, config, float(np.prod(SMALL)))
    overlaps = region_overlaps(masks, dict(zip(regions, reference, strict=True)))
    assert found.tolist() == [[overlap.dice for overlap in overlaps.values()]]


def test_regions_that_overlap_without_nesting_are_scored_by_their_voxels():
    scheme = LabelScheme("odd", {1: "a", 2: "b", 3: "c"}, {"X": (1, 2), "Y": (2, 3), "B": (2,)})
    chosen = Decoding(
        False, ("X", "Y", "B"), (RegionOptions(0.5, 4.0), RegionOptions(0.4), RegionOptions(0.5))
    )
    probabilities, reference = noise(scheme, 3)
    case = CaseLevels.of({False: probabilities}, reference, scheme, cuts(chosen), SMALL)

    (found,) = dice_scorer(scheme, cuts(chosen))(Memory(case), 0, [chosen])

    masks = decode(probabilities, scheme, InferenceConfig(**chosen.inference()), 1.5)
    overlaps = region_overlaps(masks, dict(zip(scheme.regions, reference, strict=True)))
    assert not is_nested(scheme)
    assert found.tolist() == [overlap.dice for overlap in overlaps.values()]


def test_a_case_is_read_as_it_was_written(tmp_path):
    scheme = get_scheme("brats2024-gli")
    probabilities, reference = noise(scheme, 1)
    case = CaseLevels.of(
        {False: probabilities, True: probabilities**2}, reference, scheme, (0.4, 0.5), SMALL
    )
    store = LevelStore(tmp_path)

    store.add(case)
    read = store.read(0)

    assert (len(store), read.voxel_mm3, read.spacing_mm) == (1, 1.5, SMALL)
    assert np.array_equal(read.reference, case.reference)
    for tta in (False, True):
        assert np.array_equal(read.levels[tta], case.levels[tta])
        assert np.array_equal(read.wins[tta], case.wins[tta])
    assert case.wins[True].any()


def test_a_box_holds_what_may_be_segmented_and_the_reference():
    probabilities = np.full((1, 9, 9, 9), 0.05, np.float32)
    probabilities[0, 2, 3, 4] = 0.1
    reference = np.zeros((1, 9, 9, 9), bool)
    reference[0, 5, 3, 4] = True

    case = CaseLevels.of({False: probabilities}, reference, WT, (0.1, 0.5), (1, 1, 1))
    nothing = CaseLevels.of({False: probabilities}, reference & False, WT, (0.5,), (1, 1, 1))

    assert case.levels[False].tolist() == [[[[1]], [[0]], [[0]], [[0]]]]
    assert nothing.levels[False].tolist() == [[[[0]]]]


def test_options_are_written_as_those_of_a_config():
    config = InferenceConfig(
        threshold={"ET": 0.3},
        min_component_mm3={"WT": 50},
        largest_component=("TC",),
        min_region_mm3={"ET": 200},
        tta=True,
    )

    plain = Decoding.of(config, ("WT", "TC", "ET")).inference()

    assert plain == {
        "tta": True,
        "threshold": {"WT": 0.5, "TC": 0.5, "ET": 0.3},
        "min_component_mm3": {"WT": 50.0},
        "largest_component": ["TC"],
        "min_region_mm3": {"ET": 200.0},
    }
    again = InferenceConfig(**plain)
    assert Decoding.of(again, ("WT", "TC", "ET")).inference() == plain
    assert Decoding.of(InferenceConfig(), ("WT", "TC")).inference()["threshold"] == 0.5


# The search


def ball(radius, shape=(16, 16, 16), centre=(8, 8, 8)):
    return np.sqrt(((np.indices(shape).T - centre) ** 2).sum(-1)).T - radius


def shifted(seed, best=0.3):
    """Probabilities whose surface of `best` is the border of the reference, a little blurred."""
    random = np.random.default_rng(seed)
    distance = ball(4 + random.random())
    logit = -1.5 * distance + np.log(best / (1 - best))
    logit += random.normal(0, 0.05, logit.shape)
    return (1 / (1 + np.exp(-logit))).astype(np.float32)[None], (distance < 0)[None]


def unrelated(seed):
    """Probabilities of two balls of which a random one is the reference: nothing to learn."""
    random = np.random.default_rng(seed)
    probabilities = random.random((1, 8, 8, 8), dtype=np.float32)
    return probabilities, random.random((1, 8, 8, 8)) < 0.5 + 0.2 * random.random()


def filled(folder, cases, scheme=WT, initial=INITIAL):
    folder.mkdir(exist_ok=True)
    store = LevelStore(folder)
    for probabilities, reference in cases:
        store.add(
            CaseLevels.of({False: probabilities}, reference, scheme, cuts(initial), (1, 1, 1))
        )
    return ScoreBook(store, dice_scorer(scheme, cuts(initial)))


def alone(n):
    return [[case] for case in range(n)]


def test_a_threshold_that_the_training_shifted_is_found_with_its_gain(tmp_path):
    scores = filled(tmp_path, [shifted(seed) for seed in range(5)])

    gain = measure_gain(scores, INITIAL, ["WT"], list("abcde"), alone(5), SPACE)
    found = search(scores, INITIAL, np.arange(5), SPACE)

    assert found.options[0].threshold == pytest.approx(0.3)
    assert gain.is_real
    assert gain.after.min() > 0.95 > gain.before.max()
    assert gain.mean == pytest.approx(float((gain.after - gain.before).mean()))
    assert gain.interval[0] <= gain.mean <= gain.interval[1]


def test_noise_has_no_gain(tmp_path):
    # What helps one case harms the next.
    scores = filled(tmp_path, [shifted(n, best=(0.35, 0.65)[n % 2]) for n in range(8)])

    gain = measure_gain(scores, INITIAL, ["WT"], list("abcdefgh"), alone(8), SPACE)

    assert gain.interval[0] <= 0
    assert not gain.is_real


def test_what_is_chosen_for_a_case_never_depends_on_the_case(tmp_path):
    cases, poison = [shifted(seed, best=0.6) for seed in range(2)], shifted(9, best=0.1)
    # Patient c has three cases, which ask for quite another threshold in the second store.
    plain = filled(tmp_path / "plain", [*cases, *[cases[0]] * 3])
    poisoned = filled(tmp_path / "poisoned", [*cases, *[poison] * 3])

    def measured(scores):
        return measure_gain(scores, INITIAL, ["WT"], list("abccc"), [[0], [1], [2, 3, 4]], SPACE)

    assert measured(poisoned).chosen[2] == measured(plain).chosen[2]
    # A search that looked at it would choose other options.
    assert search(poisoned, INITIAL, np.arange(5), SPACE) != measured(plain).chosen[2]


def test_specks_are_removed_and_few_voxels_of_a_region_take_the_label_around(tmp_path):
    initial = Decoding(False, ("WT", "TC", "ET"), (RegionOptions(0.5),) * 3)
    cases = []
    for seed in range(4):
        random = np.random.default_rng(seed)
        tumour, core = ball(6) < 0, ball(4) < 0
        reference = np.stack([tumour, core, np.zeros_like(core)])
        probabilities = reference.astype(np.float32)
        # A speck outside the tumour, and scattered enhancing voxels that are none.
        probabilities[0, 0, 0, :3] = 1
        probabilities[2][core & (random.random(core.shape) < 0.1)] = 1
        cases.append((probabilities, reference))
    scores = filled(tmp_path, cases, BRATS, initial)

    found = search(scores, initial, np.arange(4), Space((False, True, True), (False,)))

    assert scores([found]).min() == 1
    whole = found.options[0]
    assert whole.min_component_mm3 >= 10 or whole.largest_component


def test_options_stay_where_nothing_is_better(tmp_path):
    probabilities, reference = shifted(0, best=0.5)
    scores = filled(
        tmp_path, [(reference.astype(np.float32), reference), (probabilities, reference)]
    )

    assert search(scores, INITIAL, np.array([0]), SPACE) == INITIAL


def test_mirrored_copies_are_chosen_if_they_help(tmp_path):
    store = LevelStore(tmp_path)
    for seed in range(3):
        bad, reference = unrelated(seed)
        found = {False: bad, True: reference.astype(np.float32)}
        store.add(CaseLevels.of(found, reference, WT, cuts(INITIAL), (1, 1, 1)))
    scores = ScoreBook(store, dice_scorer(WT, cuts(INITIAL)))

    assert search(scores, INITIAL, np.arange(3), Space((False,), (False, True))).tta
    assert not search(scores, INITIAL, np.arange(3), SPACE).tta


def test_lesions_of_a_protocol_are_scored_in_its_label_scheme():
    scheme = get_scheme("brats2021")
    initial = Decoding(False, ("WT", "TC", "ET"), (RegionOptions(0.5),) * 3)
    tumour = ball(4) < 0
    probabilities = np.stack([tumour] * 3).astype(np.float32)
    reference = np.stack([tumour] * 3)
    probabilities[:, 0, 0, :3] = 1
    case = CaseLevels.of({False: probabilities}, reference, scheme, cuts(initial), (1, 1, 1))
    score = lesion_scorer(scheme, get_protocol("brats2023-gli"))
    without = initial
    for region in range(3):
        without = without.with_region(region, min_component_mm3=4.0)

    found = mask_scorer(scheme, cuts(initial), score)(Memory(case), 0, [initial, without])

    # One lesion, found, and one false lesion of three voxels.
    assert found.tolist() == [[0.5] * 3, [1.0] * 3]


# Temperatures


def counts_of(true, seed, missed=0.0):
    """Counts of a case whose logits are too large by a factor; some positives have none."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (20, 20, 20))
    reference = random.random(logits.shape) < expit(logits)
    logits = np.where(random.random(logits.shape) < missed, -12.0, logits * true)
    return LogitCounts.of(expit(logits).astype(np.float32), reference)


ALONE = [[0], [1], [2], [3]]


def test_a_temperature_is_used_if_it_helps_patients_held_out_from_its_fit():
    cases = [counts_of(2.0, seed) for seed in range(4)]

    fit = TemperatureFit.of(1.0, cases, ALONE)

    assert fit.temperature == pytest.approx(2.0, rel=0.05)
    assert fit.reason == ""
    without_first = fit_temperature(cases[1:])
    by_hand = [case.nll(fit_temperature([c for c in cases if c is not case])) for case in cases]
    assert without_first != fit.temperature
    assert fit.nll == pytest.approx((np.mean([case.nll(1.0) for case in cases]), np.mean(by_hand)))
    assert fit.ece[1] < fit.ece[0]


def test_a_temperature_that_held_out_patients_do_not_share_is_not_used():
    cases = [counts_of(true, 0) for true in (4.0, 4.0, 4.0, 0.4)]

    fit = TemperatureFit.of(1.0, cases[2:], ALONE[:2])

    assert fit.temperature == 1
    assert fit.reason.endswith("does not lower the NLL of held-out patients")
    assert fit.nll[1] > fit.nll[0]


def test_a_temperature_that_raises_the_calibration_error_is_not_used():
    """Networks that are sure of a background with tumours: NLL falls, all else is less sure."""
    cases = [counts_of(1.0, seed, missed=0.02) for seed in range(4)]

    fit = TemperatureFit.of(1.0, cases, ALONE)

    assert fit.temperature == 1
    assert fit.nll[1] < fit.nll[0]
    assert fit.ece[1] > fit.ece[0]
    assert fit.reason.endswith("lowers the NLL of held-out patients, but raises their ECE")


def test_a_region_without_a_positive_keeps_its_temperature_with_the_reason():
    empty = LogitCounts.of(np.full((9, 9, 9), 0.6, np.float32), np.zeros((9, 9, 9), bool))

    fit = TemperatureFit.of(1.5, [empty] * 4, ALONE)

    assert fit.temperature == 1.5
    assert fit.reason.startswith("0 of 2916 voxels around the region are in the reference")
    assert fit.nll[0] == fit.nll[1] > 0


def test_only_temperatures_other_than_1_are_options():
    fit = TemperatureFit(1.0, 1.3, (1, 1), (0, 0))

    assert as_option({"WT": fit, "ET": replace(fit, temperature=1.0)}) == {"WT": 1.3}
    assert as_option({"WT": replace(fit, temperature=1.0)}) == 1


def test_maps_are_read_as_they_were_written_and_keep_their_sums(tmp_path):
    random = np.random.default_rng(0)
    probabilities = (random.random((2, 9, 9, 9)) ** 20).astype(np.float32)
    maps = CaseMaps((slice(1, 10), slice(0, 9), slice(2, 11)))
    maps.add(False, probabilities, None)
    maps.add(True, probabilities**2, probabilities / 2)
    store = MapStore(tmp_path)

    store.write(3, maps)
    read = store.read(3)

    assert read.box == maps.box
    assert list(read.probabilities) == [False, True]
    assert list(read.disagreement) == [True]
    assert np.array_equal(read.probabilities[True].values(), maps.probabilities[True].values())
    kept = read.probabilities[False].values()
    assert kept.dtype == np.float32
    assert kept.sum(axis=(1, 2, 3), dtype=np.float64) == pytest.approx(
        probabilities.sum(axis=(1, 2, 3), dtype=np.float64), rel=1e-6
    )
    assert kept == pytest.approx(probabilities, abs=1 / 255)
    assert read.disagreement[True].values() == pytest.approx(probabilities / 2, abs=0.5 / 255)
