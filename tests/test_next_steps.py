"""What a command says to do next: lines that can be pasted."""

import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from volseg.cases.data_list import DataList
from volseg.cases.slice_stack_case import SliceStackCase
from volseg.cases.volume_case import VolumeCase
from volseg.cli import infer_results
from volseg.cli.next_steps import line, next_steps
from volseg.cli.split import _print_next
from volseg.config import load_config

BRATS = ("t1n", "t1c", "t2w", "t2f")
BINARY = ["labels=binary"]


def test_each_purpose_has_its_lines(capsys):
    next_steps({"try it": ["volseg check a"], "train": ["volseg fit a", "tensorboard"]})

    assert capsys.readouterr().out == (
        "Next, to try it:\n  volseg check a\nThen, to train:\n  volseg fit a\n  tensorboard\n"
    )


def test_a_line_is_read_by_a_shell_as_the_words_that_it_was_made_of():
    words = ["volseg", "fit", "a b.yaml", "data.channels=[t1n,t1c]", "it's", ""]

    assert shlex.split(line(*words)) == words
    assert line("tail", "-F", Path("my runs/*.log")) == "tail -F 'my runs/'*.log"


@pytest.mark.parametrize(
    ("kind", "channels", "labels", "config", "others"),
    [
        (VolumeCase, BRATS, "brats2023", "configs/brats_unet.yaml", ["labels=brats2023"]),
        (VolumeCase, ("t1c", "t2f"), None, "configs/brats_unet.yaml", ["data.channels=[t1c,t2f]"]),
        (VolumeCase, ("ct",), None, "configs/ct_unet.yaml", []),
        (VolumeCase, ("t2f",), "brats2021", "configs/flair_unet.yaml", ["labels=brats2021"]),
        (SliceStackCase, ("t1n", "t2f", "t1c"), "lgg", "configs/lgg_unet.yaml", ["labels=lgg"]),
        *(
            (SliceStackCase, (of_one,), "binary", "configs/png3064_unet.yaml", [*BINARY, channels])
            for of_one, channels in (("t1c", "data.channels=[t1c]"), ("us", "data.channels=[us]"))
        ),
    ],
)
def test_after_split_a_shipped_config_can_be_tried_and_trained_as_it_is_printed(
    capsys, kind, channels, labels, config, others
):
    images = tuple(Path(f"{name}.nii") for name in (channels if kind is VolumeCase else ("a",)))
    case = kind("a", "a", images, channels, (Path("b.nii"),), labels, fold=0)
    result = SimpleNamespace(path=Path("my list.json"), data_list=DataList("x", channels, (case,)))

    _print_next(result)

    _, check, purpose, fit, *on_cpus = capsys.readouterr().out.splitlines()
    assert shlex.split(check) == ["volseg", "check", config, "data.data_list=my list.json", *others]
    assert shlex.split(fit)[1:] == ["fit", *shlex.split(check)[2:]]
    assert load_config(config, shlex.split(check)[3:]).data.channels == channels
    if config == "configs/brats_unet.yaml":
        assert purpose == "Then, to train on a GPU:"
        assert on_cpus[0] == "Then, to train without a GPU instead:"
        assert on_cpus[1] == fit.replace("brats_unet", "brats_laptop")
        assert load_config("configs/brats_laptop.yaml", shlex.split(fit)[3:])
    else:
        assert (purpose, on_cpus) == ("Then, to train:", [])


@pytest.mark.parametrize(
    ("scans", "is_scored"),
    [
        (Path("scans"), True),
        (Path("flair.nii.gz"), True),
        (Path("p_1.tif"), False),
        ({"t2f": Path("p_1.png")}, False),
    ],
)
def test_a_single_slice_is_not_to_be_scored(capsys, scans, is_scored):
    result = SimpleNamespace(has_references=False, example=None, pictures=())

    infer_results.print_next(result, scans, Path("results"), None, prepared_here=False)

    assert ("volseg evaluate" in capsys.readouterr().out) is is_scored


@pytest.mark.parametrize(
    ("prepared_here", "evaluate"),
    [
        (True, "volseg evaluate results/native raw -o scores"),
        (False, "volseg evaluate results raw -o scores"),
    ],
)
def test_results_of_raw_scans_are_scored_on_their_original_grids(capsys, prepared_here, evaluate):
    native = Path("results/native")
    result = SimpleNamespace(has_references=True, example=None, pictures=(), native=native)

    infer_results.print_next(
        result, Path("raw"), Path("results"), None, prepared_here=prepared_here
    )

    assert evaluate in capsys.readouterr().out


def test_pictures_of_the_preparation_are_named_where_they_are(capsys, tmp_path):
    result = SimpleNamespace(has_references=False, example=None, pictures=(), native=None)
    pictures = tmp_path / "prepared" / "preparation"

    for name in ("P7.json", "P7.png"):
        pictures.mkdir(parents=True, exist_ok=True)
        (pictures / name).touch()
        infer_results.print_next(result, Path("raw"), tmp_path, None, prepared_here=True)

        named = f"Next, to look at the preparation:\n  {pictures}" in capsys.readouterr().out
        assert named is name.endswith(".png")
