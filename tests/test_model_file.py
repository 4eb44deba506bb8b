"""Model files: what is written is read back, and what is no model is refused in words."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import volseg
from volseg.config import ExperimentConfig, SlurmConfig
from volseg.errors import ModelError, OutputError
from volseg.model_file import load_model, save_model
from volseg.model_header import read_model_header
from volseg.networks import build_network

SCORES = {"dice/WT": 0.91, "dice/mean": 0.8, "epoch": 12}


def _config(**sections):
    options = {
        "labels": "brats2021",
        "data": {"data_list": "list.json", "patch_size": [16, 16, 16]},
        "network": {"name": "unet", "widths": [4, 8], "residual_units": 1},
    }
    return ExperimentConfig.from_dict(options | sections)


def _network(config):
    torch.manual_seed(0)
    regions = len(config.labels.regions)
    return build_network(
        config.network, len(config.data.channels), regions, config.data.patch_size
    ).eval()


@pytest.fixture
def model_path(tmp_path):
    config = _config()
    path = tmp_path / "model.safetensors"
    save_model(path, _network(config).state_dict(), config, SCORES)
    return path


def _with_header(path, change):
    """Rewrite a model file with its header changed by hand."""
    header = read_model_header(path).content
    change(header)
    save_file(load_file(path), path, {"volseg": json.dumps(header)})


def test_a_loaded_network_answers_as_the_saved_one(model_path):
    image = torch.rand(1, 4, 16, 16, 16)

    model = load_model(model_path)

    assert not model.network.training
    with torch.no_grad():
        assert torch.equal(model.network(image), _network(_config())(image))


def test_a_model_tells_where_it_comes_from(model_path):
    model = load_model(model_path)

    assert model.config == _config()
    assert model.scores == SCORES
    assert model.version == volseg.__version__
    assert model.sha256 == hashlib.sha256(model_path.read_bytes()).hexdigest()
    assert model.path == model_path


def test_the_header_can_be_read_without_volseg(model_path):
    content = model_path.read_bytes()
    length = int.from_bytes(content[:8], "little")

    header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["volseg"])

    assert header["format"] == 1
    assert header["channels"] == ["t1n", "t1c", "t2w", "t2f"]
    assert header["spacing_mm"] == [1.0, 1.0, 1.0]
    assert header["labels"] == {
        "name": "brats2021",
        "labels": {"1": "NCR", "2": "ED", "4": "ET"},
        "regions": {"WT": [1, 2, 4], "TC": [1, 4], "ET": [4]},
    }
    # What a cluster is called is nobody's business who gets the model.
    assert (
        header["config"] | {"slurm": SlurmConfig().model_dump(mode="json")} == _config().to_dict()
    )
    assert "slurm" not in header["config"]
    assert "not for clinical use" in header["disclaimer"]
    assert header == read_model_header(model_path).content


def test_the_same_model_gives_the_same_bytes(model_path, tmp_path):
    config = _config()

    save_model(tmp_path / "again", _network(config).state_dict(), config, SCORES)

    assert (tmp_path / "again").read_bytes() == model_path.read_bytes()


def test_a_custom_label_scheme_survives(tmp_path):
    scheme = {"name": "mine", "labels": {7: "lesion"}, "regions": {"LESION": [7]}}
    config = _config(labels=scheme)

    save_model(tmp_path / "m.safetensors", _network(config).state_dict(), config, {})

    assert load_model(tmp_path / "m.safetensors").config.labels == config.labels


def test_a_tensor_under_two_names_is_stored_once(tmp_path):
    config = _config()
    state = _network(config).state_dict()
    name = next(iter(state))
    path = tmp_path / "m.safetensors"

    save_model(path, state | {"another.name": state[name]}, config, {})

    assert "another.name" not in load_file(path)
    assert read_model_header(path).content["shared"] == {"another.name": name}


def test_a_network_with_shared_tensors_is_read_back(tmp_path):
    config = _config(
        network={"name": "dynunet", "widths": [4, 8, 8], "deep_supervision": True},
    )
    network = _network(config)
    path = tmp_path / "m.safetensors"

    save_model(path, network.state_dict(), config, {})

    image = torch.rand(1, 4, 16, 16, 16)
    with torch.no_grad():
        assert torch.equal(load_model(path).network(image), network(image))


def test_a_run_folder_stands_for_its_model(model_path):
    assert load_model(model_path.parent).path == model_path


def test_a_failed_write_leaves_the_old_model(model_path, tmp_path):
    before = model_path.read_bytes()

    with pytest.raises(OutputError, match="cannot write"):
        save_model(tmp_path / "missing" / "m.safetensors", {}, _config(), {})
    with pytest.raises(TypeError):
        save_model(model_path, {}, _config(), {"score": object()})

    assert model_path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [model_path]


@pytest.mark.parametrize("size", [0, 5, 200, -1])
def test_a_truncated_model_is_refused(model_path, size):
    model_path.write_bytes(model_path.read_bytes()[:size])

    with pytest.raises(ModelError, match=r"model\.safetensors is .*; (copy it|give)"):
        load_model(model_path)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"PK\x03\x04" + bytes(100), "a PyTorch checkpoint"),
        (b"\x80\x02}q\x00." + bytes(100), "a Python pickle"),
        (gzip.compress(bytes(500), mtime=0), "a gzip file, such as a NIfTI image"),
        ((348).to_bytes(4, "little") + bytes(344), "a NIfTI image"),
        (b"labels: brats2021\n", "a file of another kind"),
        (b"", "empty"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, content, kind):
    path = tmp_path / "last.ckpt"
    path.write_bytes(content)

    with pytest.raises(ModelError, match=rf"last\.ckpt is not a model of volseg but {kind}"):
        load_model(path)


def test_a_pickle_is_never_run(tmp_path):
    """A pickle that would make a file when opened makes none."""
    made = tmp_path / "made"

    class Malicious:
        def __reduce__(self):
            return (open, (str(made), "w"))

    torch.save({"state_dict": Malicious()}, tmp_path / "model.safetensors")

    with pytest.raises(ModelError):
        load_model(tmp_path / "model.safetensors")
    assert not made.exists()


def test_safetensors_of_something_else_are_refused(tmp_path):
    save_file({"weight": torch.zeros(3)}, tmp_path / "llm.safetensors")

    with pytest.raises(ModelError, match="a safetensors file, but not one of volseg"):
        load_model(tmp_path / "llm.safetensors")


def test_a_newer_format_asks_for_an_update(model_path):
    _with_header(model_path, lambda header: header.update(format=99, volseg="7.1"))

    with pytest.raises(ModelError, match=r"format 99, written by volseg 7\.1.*update volseg"):
        load_model(model_path)


def test_weights_that_do_not_fit_the_config_are_refused(model_path):
    def widen(header):
        header["config"]["network"]["widths"] = [8, 16]

    _with_header(model_path, widen)

    with pytest.raises(ModelError, match="do not fit the network unet of its config"):
        load_model(model_path)


def test_a_missing_weight_is_refused(model_path):
    state = load_file(model_path)
    metadata = {"volseg": json.dumps(read_model_header(model_path).content)}
    state.pop(next(iter(state)))
    save_file(state, model_path, metadata)

    with pytest.raises(ModelError, match=r"do not fit the network unet .*: the file lacks"):
        load_model(model_path)


def _with_weights(path, change):
    """Rewrite a model file with its weights changed by hand."""
    state = load_file(path)
    change(state)
    save_file(state, path, {"volseg": json.dumps(read_model_header(path).content)})


def _first(state, ending=".weight"):
    return next(name for name in state if name.endswith(ending))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_weight_that_is_no_number_is_refused_and_its_tensor_named(model_path, value):
    def spoil(state):
        state[_first(state)].view(-1)[0] = value

    _with_weights(model_path, spoil)

    name = _first(load_file(model_path))
    with pytest.raises(ModelError, match=rf"{name} holds 1 NaN or infinite values of \d+;"):
        load_model(model_path)


@pytest.mark.parametrize("dtype", [torch.int32, torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_type_are_refused(model_path, dtype):
    def convert(state):
        name = _first(state)
        state[name] = (state[name] * 100).to(dtype)

    _with_weights(model_path, convert)

    found = str(dtype).removeprefix("torch.")
    with pytest.raises(ModelError, match=rf"weight of type {found} instead of float32;"):
        load_model(model_path)


def test_a_negative_variance_is_refused(tmp_path):
    config = _config(network={"name": "attention_unet", "widths": [4, 8]})
    path = tmp_path / "model.safetensors"
    state = _network(config).state_dict()
    state[_first(state, ".running_var")][0] = -0.25
    save_model(path, state, config, SCORES)

    with pytest.raises(ModelError, match=r"running_var holds -0\.25, but a variance is never"):
        load_model(path)


def test_a_table_of_integers_is_that_of_the_network(tmp_path):
    """An index of a Swin transformer that a disk changed would take the bias of another place."""
    config = _config(
        network={"name": "swin_unetr", "width": 12},
        data={"data_list": "list.json", "patch_size": [64, 64]},
    )
    path = tmp_path / "model.safetensors"
    state = _network(config).state_dict()
    state[_first(state, "relative_position_index")][0, 0] += 1
    save_model(path, state, config, SCORES)

    with pytest.raises(ModelError, match="index holds other integers than the network"):
        load_model(path)


def test_batches_are_counted_in_integers_of_any_number(tmp_path):
    config = _config(network={"name": "attention_unet", "widths": [4, 8]})
    path = tmp_path / "model.safetensors"
    state = _network(config).state_dict()
    counted = _first(state, ".num_batches_tracked")
    state[counted] = torch.tensor(12345)
    save_model(path, state, config, SCORES)

    assert load_model(path).network.state_dict()[counted] == 12345


def test_a_weight_that_a_disk_changed_is_found_by_its_checksum(model_path):
    def flip(state):
        state[_first(state)][0] += 1e-6

    _with_weights(model_path, flip)

    with pytest.raises(ModelError, match="not those that volseg wrote there"):
        load_model(model_path)


def test_a_model_of_an_earlier_volseg_has_no_checksum_and_is_read(model_path):
    _with_header(model_path, lambda header: header.pop("weights_sha256"))

    assert load_model(model_path).scores == SCORES


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": ["t1c", "t1n", "t2w", "t2f"]}, "channels is .*but config.data.channels is"),
        ({"spacing_mm": [2.0, 1.0, 1.0]}, r"spacing_mm is .* but config.data.spacing_mm is"),
        (
            {"labels": {"name": "brats2021", "labels": {"1": "NCR", "2": "ED", "4": "ET"},
             "regions": {"ET": [4], "TC": [1, 4], "WT": [1, 2, 4]}}},
            "labels is .* but config.labels is",
        ),
        (
            {"labels": {"name": "brats2021", "labels": {"1": "NCR", "2": "ED", "3": "ET"},
             "regions": {"WT": [1, 2, 3], "TC": [1, 3], "ET": [3]}}},
            "labels is .* but config.labels is",
        ),
    ],
)  # fmt: skip
def test_a_file_that_contradicts_its_config_is_refused_with_both_named(model_path, change, message):
    _with_header(model_path, lambda header: header.update(change))

    for read in (load_model, read_model_header):
        with pytest.raises(ModelError, match=f"contradicts itself: {message}"):
            read(model_path)


def test_the_order_of_regions_survives_under_the_name_of_a_shipped_scheme(tmp_path):
    """The channels of the output are in that order, so the name alone would swap them."""
    scheme = {"name": "brats2021", "labels": {1: "NCR", 2: "ED", 4: "ET"}}
    scheme["regions"] = {"ET": [4], "TC": [1, 4], "WT": [1, 2, 4]}
    config = _config(labels=scheme)
    path = tmp_path / "model.safetensors"

    save_model(path, _network(config).state_dict(), config, SCORES)

    assert list(load_model(path).config.labels.regions) == ["ET", "TC", "WT"]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "{",
        "{}",
        "null",
        "[1, 2]",
        '"text"',
        '{"format": 1}',
        '{"format": true}',
        '{"format": "1"}',
        "[" * 100_000,
        '{"format": 1' + "0" * 5000 + "}",
        '{"format": 0}',
    ],
)
def test_a_header_of_another_form_is_refused_in_one_short_sentence(model_path, header):
    save_file(load_file(model_path), model_path, {"volseg": header})

    for read in (load_model, read_model_header):
        with pytest.raises(ModelError, match=r"is not as volseg writes it|formats up") as e:
            read(model_path)
        assert len(str(e.value)) < 600
        assert "\n" not in str(e.value)


@pytest.mark.parametrize("value", [None, 3, "text", [], [None], {"a": None}, [[1]]])
@pytest.mark.parametrize(
    "name", ["volseg", "channels", "labels", "spacing_mm", "scores", "config", "shared"]
)
def test_a_part_of_a_header_with_another_type_is_refused(model_path, name, value):
    allowed = {"volseg": str, "scores": dict}
    _with_header(model_path, lambda header: header.update({name: value}))

    if isinstance(value, allowed.get(name, ())):
        assert load_model(model_path).config == _config()
    else:
        with pytest.raises(ModelError, match=r"model\.safetensors"):
            load_model(model_path)


def test_a_config_of_any_size_allocates_nothing_before_the_weights_are_looked_at(
    model_path, monkeypatch
):
    """Its first convolution alone would take 86 GB."""

    def widen(header):
        header["config"]["network"]["widths"] = [20_000, 40_000]

    _with_header(model_path, widen)
    monkeypatch.setattr("volseg.model_file.build_network", lambda *_: pytest.fail("was built"))

    with pytest.raises(ModelError, match="do not fit the network unet of its config"):
        load_model(model_path)


def test_a_name_for_a_tensor_that_is_stored_too_is_refused(model_path):
    first, second = list(load_file(model_path))[:2]
    _with_header(model_path, lambda header: header.update(shared={first: second}))

    with pytest.raises(ModelError, match="under two names"):
        load_model(model_path)


def test_an_invalid_config_in_a_model_is_refused(model_path):
    _with_header(model_path, lambda header: header["config"].update(colour="blue"))

    with pytest.raises(ModelError, match="colour: unknown key"):
        load_model(model_path)


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"nothing\.safetensors does not exist"):
        load_model(tmp_path / "nothing.safetensors")
    with pytest.raises(ModelError, match=r"model\.safetensors does not exist"):
        load_model(tmp_path)


def test_a_copy_of_a_model_is_the_same_model(model_path, tmp_path):
    copy = shutil.copy(model_path, tmp_path / "renamed.bin")

    assert load_model(copy).sha256 == load_model(model_path).sha256
