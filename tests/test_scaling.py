"""The arithmetic of benchmarks/scaling.py, against numbers worked out by hand."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from volseg.training.datamodule import cut


@pytest.fixture
def scaling(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[1] / "benchmarks")
    return importlib.import_module("scaling_table")


@pytest.fixture
def facts(scaling):
    return scaling.Facts(
        batch=2,
        steps=250,
        epochs=300,
        warmup_epochs=5,
        rate=1e-3,
        gradient_bytes=64e6,
        touched_bytes=20e6,
        entry_bytes=30e6,
        loader_seconds=0.4,
        build_seconds=0.64,
        open_seconds=0.002,
    )


def row(scaling, facts, name):
    """Cells of the row of the table that `name` begins."""
    lines = [line for line in scaling.table(facts, scaling.Cluster()).splitlines() if name in line]
    assert len(lines) == 1
    return [cell.strip() for cell in lines[0].strip("|").split("|")]


def test_a_patch_has_two_bytes_a_channel_and_one_of_regions_in_each_voxel(scaling):
    assert scaling.patch_bytes(4, (10, 10, 10)) == 9000


@pytest.mark.parametrize(
    ("ranges", "pages"),
    [
        ([(0, 4096)], 1),
        # 128 bytes further it reaches into a second page.
        ([(128, 4224)], 2),
        # Two channels, each in pages of its own.
        ([(0, 8192), (40960, 49152)], 4),
        # Both begin or end on the page from 4096 to 8192.
        ([(128, 5000), (6000, 9000)], 3),
        # The second lies within a page that the first ended on.
        ([(0, 5000), (5000, 5100), (5100, 12288)], 3),
        # A plane without tissue has no bytes.
        ([(128, 128), (5000, 5000)], 0),
    ],
)
def test_pages_under_ranges_of_bytes_are_counted_once(scaling, ranges, pages):
    assert scaling.pages_touched(ranges) == pages


@pytest.mark.parametrize(("ranks", "sent"), [(1, 0), (2, 64), (8, 112), (64, 126)])
def test_a_ring_sends_nearly_twice_the_gradient(scaling, ranks, sent):
    assert scaling.ring_bytes(ranks, 64) == sent


@pytest.mark.parametrize(
    ("batch", "full", "rest"), [(2, 500, 0), (16, 62, 8), (128, 7, 104), (1024, 0, 1000)]
)
def test_a_pass_over_1000_cases_would_leave_a_partial_batch(scaling, batch, full, rest):
    assert scaling.last_batch(1000, batch) == (full, rest)


@pytest.mark.parametrize(
    ("ranks", "rounds", "idle_last", "idle"),
    [
        (1, 251, 0, 0),
        (8, 32, 5 / 8, 5 / 256),  # 31 rounds of 8, then 3 cases
        (64, 4, 5 / 64, 5 / 256),  # 3 rounds of 64, then 59 cases
        (512, 1, 261 / 512, 261 / 512),
    ],
)
def test_ranks_wait_for_those_with_one_case_more(scaling, ranks, rounds, idle_last, idle):
    assert scaling.validation_rounds(251, ranks) == pytest.approx((rounds, idle_last, idle))


def test_the_linear_rule_and_that_of_the_square_root_scale_the_learning_rate(scaling):
    assert scaling.scaled_rates(0.001, 64) == pytest.approx((0.064, 0.008))


def test_a_step_is_made_of_parts_by_bytes_over_bandwidth(scaling, facts):
    cluster = scaling.Cluster(step_seconds=0.1)
    parts = scaling.step_parts(64, facts, cluster)
    assert parts == pytest.approx(
        {
            "GPU": 0.1,
            "drawing patches": 2 * 0.4 / 7,  # of the 8 cores of a rank one trains
            "all-reduce, 100 Gbit/s InfiniBand": 126e6 / 12.5e9,
            "all-reduce, 10 Gbit/s Ethernet": 126e6 / 1.25e9,
            "agreeing whether to stop": 126 * 50e-6,  # there and back over 63 others
            "reading, NVMe": 8 * 2 * 20e6 / 3e9,
            "reading, shared file system": 8 * 2 * 20e6 / 1e9,
        }
    )


def test_one_node_needs_no_network(scaling, facts):
    parts = scaling.step_parts(8, facts, scaling.Cluster())
    assert parts["all-reduce in the node"] == pytest.approx(112e6 / 16e9)
    assert not any("Gbit" in name for name in parts)


def test_the_table_has_a_column_for_each_number_of_gpus_and_says_how(scaling, facts):
    lines = scaling.table(facts, scaling.Cluster()).splitlines()
    assert lines[0] == "| what | 1 GPU | 8 GPUs | 64 GPUs | 512 GPUs | how |"
    assert {line.count("|") for line in lines} == {7}
    assert row(scaling, facts, "effective batch")[1:5] == ["2", "16", "128", "1024"]
    assert row(scaling, facts, "building the cache")[1] == "13 s"  # 1251 x 0.64 / 64
    assert row(scaling, facts, "cache of 1251")[1] == "37.5 GB, 7%"


def test_the_slowest_part_is_named_with_its_share_of_the_gpu(scaling, facts):
    cells = row(scaling, facts, "slowest, cache on a shared file system")
    # One GPU: 0.114 s to draw and 0.0727 s to compute; eight: 0.32 s to read.
    assert cells[1] == "**drawing patches**, 1.6 x the GPU"
    assert cells[2] == "**reading**, 4.4 x the GPU"


def test_a_median_is_told_with_its_extremes(scaling):
    assert scaling.spread([3.0, 1.0, 2.0]) == "2 (1 to 3)"


def test_the_benchmark_can_be_imported_without_running(scaling, capsys):
    benchmark = importlib.import_module("scaling")
    assert benchmark.EPOCHS > 1  # the first does not count
    assert capsys.readouterr().out == ""


@pytest.fixture
def config(scaling, cohort):
    benchmark = importlib.import_module("scaling")
    words = [f"data.data_list={cohort / 'list.json'}", "data.patch_size=[32, 32, 32]"]
    return benchmark.load_config("configs/brats_laptop.yaml", words)


@pytest.mark.parametrize(("first", "planes"), [(-3, 9), (5, 7), (20, 40)])
def test_the_bytes_that_count_are_those_a_patch_is_unpacked_from(config, tmp_path, first, planes):
    """All other values of the file may be anything, and none that counts could be left out."""
    benchmark = importlib.import_module("scaling")
    cases = benchmark.read_data_list(config.data.data_list).training[:1]
    ((case,), _) = benchmark.build_cache(cases, config, tmp_path)
    start, size = np.array([first, 0, 0]), (planes, *case.image_grid.shape[1:])
    before = cut(case.image, start, size)

    ranges = benchmark.value_ranges(case, first, planes)

    stored = (case.entry / "image.npy").read_bytes()
    spoilt = bytearray(stored[:128] + b"\xff" * (len(stored) - 128))  # a float16 that is NaN
    for begin, end in ranges:
        spoilt[begin:end] = stored[begin:end]
    (case.entry / "image.npy").write_bytes(spoilt)
    assert np.array_equal(cut(case.image, start, size), before)
    tissue = (before != 0).any(axis=0).sum()
    assert tissue > 1000
    assert [end - begin for begin, end in ranges] == [2 * tissue] * 4


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="reads /proc of Linux")
def test_a_patch_of_all_planes_touches_all_pages_of_image_mask_and_regions(config, tmp_path):
    benchmark = importlib.import_module("scaling")
    cases = benchmark.read_data_list(config.data.data_list).training

    found = benchmark.measure_cases(cases, config, tmp_path)

    # The patch has 32 planes, the images 26 to 28.
    pages = {
        sum(
            -(-(entry / f"{name}.npy").stat().st_size // 4096)
            for name in ("image", "tissue", "bits")
        )
        for entry in tmp_path.iterdir()
        if entry.is_dir()
    }
    assert {touched / 4096 for touched in found["touched"]} == pages
