"""What `import volseg` offers: one table, typed, documented, and light until it is used."""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_models import write_model
from tiny_scans import write_case

import volseg
from volseg.cases.layouts import LAYOUTS, Layout
from volseg.metrics.scores import SCORES

ROOT = Path(__file__).parents[1]
VALUES = {"DISCLAIMER", "__version__"}


def typed_names():
    """Names and modules that type checkers read: the imports under TYPE_CHECKING."""
    tree = ast.parse((ROOT / "volseg" / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.asname: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_the_table_the_list_the_types_and_dir_agree():
    assert typed_names() == volseg._MODULES
    assert set(volseg.__all__) == set(volseg._MODULES) | VALUES
    assert dir(volseg) == sorted(volseg.__all__)


@pytest.mark.parametrize("name", sorted(volseg._MODULES))
def test_a_public_name_is_there_and_documented(name):
    thing = getattr(volseg, name)

    assert thing.__module__ == volseg._MODULES[name]
    assert inspect.getdoc(thing)


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'volseg' has no attribute 'Predicter'"):
        volseg.Predicter  # noqa: B018


def test_the_package_alone_imports_nothing_of_itself():
    script = "import sys, volseg; print([m for m in sys.modules if m.startswith('volseg.')])"

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert done.stdout.strip() == "[]"


CLIENT = """
from collections.abc import Mapping
from pathlib import Path
from typing import assert_type

import volseg
from volseg import Case, Predictor, find_cases

config = volseg.load_config("config.yaml", ["training.max_epochs=3"])
model = volseg.fit(config, "runs/a").model
prediction = Predictor("runs/a", tta=True).predict({"t1c": "a.nii.gz"})
assert_type(prediction, volseg.Prediction)
assert_type(prediction.volumes_ml, Mapping[str, float])
assert_type(find_cases("scans").cases, tuple[Case, ...])
assert_type(volseg.infer("scans", "runs/a", "out").done, tuple[str, ...])
assert_type(volseg.read_case("scans/a").grid, volseg.Grid)
assert_type(volseg.get_scheme("lgg"), volseg.LabelScheme)
volseg.split("scans", "list.json")
volseg.evaluate("out", "list.json", "scores")
assert_type(volseg.convert("hospital", "cases").table, Path)
assert_type(volseg.prepare("cases", "prepared").failures, Mapping[str, str])
assert_type(volseg.evaluate_channels("runs/a", "list.json", "scores").failures, Mapping[str, str])
"""


def test_a_type_checker_knows_what_a_program_uses(tmp_path):
    """And what it misuses: with the settings and the cache of the gate."""
    program = tmp_path / "client.py"
    program.write_text(CLIENT + "volseg.infer(3, 'runs/a', 'out')\n")
    command = [sys.executable, "-m", "mypy", program]

    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)

    (error, *_), last = done.stdout.splitlines()[:-1], len(program.read_text().splitlines())
    assert done.stdout.count("error:") == 1, done.stdout
    assert f'client.py:{last}: error: Argument 1 to "infer"' in error


def test_strings_are_paths_everywhere(tmp_path):
    scans = write_case(tmp_path / "scans").parent
    model = str(write_model(tmp_path / "model.safetensors"))

    finding = volseg.find_cases(str(scans))
    images = volseg.read_case(str(scans))
    options = volseg.InferOptions(device="cpu")
    result = volseg.infer(str(scans), model, str(tmp_path / "out"), options)

    assert [case.case_id for case in finding.cases] == list(result.done)
    assert images.array.shape == (4, 20, 22, 18)
    assert volseg.read_case(finding.cases[0], ["t1c"]).array.shape == (1, 20, 22, 18)
    with pytest.raises(volseg.DataListError, match="does not exist"):
        volseg.read_case(str(tmp_path / "none"))


@pytest.fixture(scope="module")
def values(tmp_path_factory):
    """An instance of each public class that holds data, by its name."""
    folder = tmp_path_factory.mktemp("values")
    scans = write_case(folder / "scans", "BraTS-GLI-00002-000").parent
    finding = volseg.find_cases(scans)
    (case,) = finding.cases
    predictor = volseg.Predictor(write_model(folder / "model.safetensors"), device="cpu")
    stack = volseg.SliceStackCase("a", "a", (Path("a/1.png"),), ("t2f",))
    instances = [
        *(finding, case, stack, predictor.predict(case), case.read_images(["t1c"])),
        *(volseg.DataList("list", case.channels, (case,)), predictor.models[0].config),
        *(case.read_images(["t1c"]).grid, volseg.get_scheme("lgg"), volseg.InferOptions()),
        *(volseg.SplitOptions(), volseg.OverlayOptions(), volseg.ConvertOptions()),
        *(volseg.PrepareOptions(), volseg.ScanOptions(), volseg.ExplainOptions()),
        *(volseg.RegionDice(["WT"]), volseg.RegionIoU(["WT"])),
        volseg.LesionwiseScore("brats2023-gli"),
        *(volseg.LoadCased(["image"]), volseg.PreprocessCased(["image"])),
    ]
    errors = [kind for kind in map(vars(volseg).get, volseg.__all__) if is_error(kind)]
    instances += [kind("2 found", remedy="give 1", case_id="a") for kind in errors]
    return {type(instance).__name__: instance for instance in instances}


def without_addresses(value):
    return re.sub(r" at 0x\w+", "", repr(value))


def is_error(thing):
    return inspect.isclass(thing) and issubclass(thing, volseg.VolsegError)


#: Named by the types of what they hold, or too large to be copied.
NO_DATA = {"Case", "Predictor"}
CLASSES = sorted(
    name
    for name in volseg._MODULES
    if inspect.isclass(getattr(volseg, name)) and name not in NO_DATA
)
COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("name", CLASSES)
def test_what_holds_data_can_be_copied_and_sent_to_another_process(values, name, way):
    value = values[name]

    copied = COPIES[way](value)

    assert type(copied) is type(value)
    assert without_addresses(copied) == without_addresses(value)


@pytest.mark.parametrize("way", COPIES)
def test_an_entry_of_a_registry_stays_itself_in_a_copy(way):
    assert all(COPIES[way](entry) is entry for entry in (*LAYOUTS, *SCORES))
    other = Layout("mine", "", "")
    assert COPIES[way](other) == other
