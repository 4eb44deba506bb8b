"""The files in docker/: linted, and what they name exists. No image is built."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tomllib
import warnings
from importlib.metadata import entry_points
from itertools import pairwise
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
from hatchling.build import build_wheel
from linters import lint
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from pages import blocks, parse

from volseg.config import SlurmConfig
from volseg.slurm.script import fit_script

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docker"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
IMAGES = {"volseg:cpu", "volseg:cuda"}
SIFS = {"volseg.sif", "volseg-cpu.sif"}
COMPOSE, GPU = FOLDER / "compose.yaml", FOLDER / "compose.gpu.yaml"


def instructions():
    """Instructions of the Dockerfile with their words, in order."""
    text = re.sub(r"^#.*\n", "", (FOLDER / "Dockerfile").read_text(encoding="utf-8"), flags=re.M)
    lines = text.replace("\\\n", " ").splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def sections():
    """Sections of the Apptainer definition; the header has the name ''."""
    text = (FOLDER / "volseg.def").read_text(encoding="utf-8")
    parts = re.split(r"^%(\w+)\n", "%\n" + text, flags=re.M)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def values(pairs):
    return dict(pair.split("=", 1) for pair in pairs)


DOCKER = instructions()
DEFINITION = sections()
# Those before the first FROM hold for all stages.
ARGUMENTS = values(words for name, words in DOCKER if name == "ARG")
DEFAULTS = values(re.findall(r"^ +(\w+=.*)$", DEFINITION["arguments"], re.M))
COPIED = {
    "Dockerfile": [
        source
        for name, words in DOCKER
        if name == "COPY" and not words.startswith("--from")
        for source in words.split()[:-1]
    ],
    "volseg.def": [line.split()[0] for line in DEFINITION["files"].splitlines() if line.strip()],
}
SHELL = {
    "Dockerfile": [words for name, words in DOCKER if name == "RUN"],
    "volseg.def": DEFINITION["post"].splitlines(),
}


def ignored(path):
    """Whether .dockerignore keeps a path out: the last line that fits it or its folder counts."""
    found = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            pattern = re.escape(line.removeprefix("!")).replace(r"\*\*/", "(.*/)?")
            pattern = pattern.replace(r"\*", "[^/]*")
            if re.fullmatch(f"{pattern}(/.*)?", path):
                found = not line.startswith("!")
    return found


def files_of(sources):
    """Files of the repository that the sources of a copy hold."""
    paths = [p for source in sources for p in [ROOT / source, *(ROOT / source).rglob("*")]]
    return [p.relative_to(ROOT).as_posix() for p in paths if p.is_file()]


def test_the_dockerfile_is_clean():
    assert lint("hadolint", FOLDER / "Dockerfile") == (0, "")


@pytest.mark.parametrize("section", ["post", "environment", "runscript", "test"])
def test_each_script_of_the_definition_is_clean(section):
    assert lint("shellcheck", "--shell=sh", "-", text=DEFINITION[section]) == (0, "")


def test_the_compose_files_follow_the_specification():
    code, said = lint("check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE, GPU)

    assert code == 0, said


def test_the_definition_has_only_sections_that_apptainer_knows():
    known = {"arguments", "files", "post", "environment", "runscript", "test", "labels", "help"}

    assert set(DEFINITION) == {""} | known
    assert DEFINITION[""].splitlines()[1].startswith("Bootstrap: docker")


def test_both_images_start_from_the_same_base():
    bases = {words.split(" AS ")[0] for name, words in DOCKER if name == "FROM"}
    (base,) = re.findall(r"^From: (.*)$", DEFINITION[""], re.M)

    assert {base.replace("{{ PYTHON }}", "${PYTHON}")} == bases


def test_each_named_python_is_one_that_volseg_takes():
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    named = {ARGUMENTS["PYTHON"], DEFAULTS["PYTHON"], *re.findall(r"PYTHON=([\d.]+)", readme)}

    assert ARGUMENTS["PYTHON"] == DEFAULTS["PYTHON"]
    assert all(version in SpecifierSet(PROJECT["requires-python"]) for version in named)


@pytest.mark.parametrize("file", COPIED)
def test_what_is_copied_exists_and_is_not_ignored(file):
    assert [source for source in COPIED[file] if not (ROOT / source).exists()] == []
    kept_out = [p for p in files_of(COPIED[file]) if ignored(p) and "__pycache__" not in p]
    assert kept_out == []


@pytest.mark.parametrize(
    "path",
    [
        "scans/a/t1c.nii.gz",
        "kaggle_3m/a/a_1.tif",
        "runs/unet/model.safetensors",
        "patients.csv",
        ".git/config",
        ".venv/bin/python",
        "volseg/cli/__pycache__/app.pyc",
    ],
)
def test_scans_runs_and_caches_stay_out_of_the_build(path):
    assert ignored(path)


@pytest.mark.parametrize("file", COPIED)
def test_what_is_copied_is_enough_to_build_the_package(file, tmp_path, monkeypatch):
    for path in files_of(COPIED[file]):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, tmp_path / path)
    monkeypatch.chdir(tmp_path)

    name = build_wheel(os.fspath(tmp_path / "dist"))

    with ZipFile(tmp_path / "dist" / name) as wheel:
        assert {"volseg/__main__.py", "volseg/py.typed"} <= set(wheel.namelist())
    # Both scripts install dist/*.whl, whatever its name.
    assert [path.suffix for path in (tmp_path / "dist").iterdir()] == [".whl"]


@pytest.mark.parametrize("file", SHELL)
def test_each_installation_is_pinned_and_leaves_no_cache(file):
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = {canonicalize_name(line.partition("==")[0]) for line in pins.splitlines()}
    calls = [call for line in SHELL[file] for call in line.split("&&") if "pip install" in call]

    assert len(calls) == 3
    for call in calls:
        assert "--no-cache-dir -c constraints.txt" in call
        package = call.split()[-1]
        extra = re.fullmatch(r'"\$1\[(\w+)\]"', package)
        assert extra[1] in PROJECT["optional-dependencies"] if extra else package in pinned
    # Without isolation the wheel is built by the pinned hatchling.
    (build,) = (line for line in SHELL[file] if "pip wheel" in line)
    assert "--no-build-isolation --no-deps" in build


def test_one_argument_of_one_name_chooses_between_cuda_and_cpu():
    last_stage = max(i for i, (name, _) in enumerate(DOCKER) if name == "FROM")

    # An ARG before FROM is empty behind it.
    assert ("ARG", 'TORCH_INDEX=""') in DOCKER[last_stage:]
    assert set(ARGUMENTS) == set(DEFAULTS) == {"PYTHON", "TORCH_INDEX"}
    for index, chosen in [(DEFAULTS["TORCH_INDEX"], ""), ("simple", "--extra-index-url simple ")]:
        start = DEFINITION["post"].partition("cd /opt/volseg\n")[2].partition("\n\n")[0]
        script = start.replace("{{ TORCH_INDEX }}", index).replace("pip install", "echo")
        said = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True)
        assert said.stdout == f"--no-cache-dir -c constraints.txt {chosen}torch\n"


def test_the_last_stage_holds_the_command_and_no_sources():
    last_stage = max(i for i, (name, _) in enumerate(DOCKER) if name == "FROM")
    copied = [words for name, words in DOCKER[last_stage:] if name == "COPY"]

    assert copied == ["constraints.txt ./", "--from=build /dist ./dist", "configs ./configs"]
    assert ("ENTRYPOINT", '["volseg"]') in DOCKER[last_stage:]
    assert DEFINITION["runscript"].strip() == 'exec volseg "$@"'
    assert "volseg" in PROJECT["scripts"]


def test_the_user_is_not_root_and_may_be_any_other():
    users = [words for name, words in DOCKER if name == "USER"]
    (environment,) = (values(words.split()) for name, words in DOCKER if name == "ENV")

    assert users == ["1000:1000"]
    assert any("useradd --no-create-home --uid 1000" in line for line in SHELL["Dockerfile"])
    # MONAI calls getpass.getuser() at its import: it fails for a user of --user who has no name.
    assert environment["USER"]
    assert environment["HOME"] == "/tmp"


def test_no_package_index_is_named():
    for path in FOLDER.iterdir():
        if path.suffix != ".md":
            assert "://" not in re.sub(r"http://localhost\S*", "", path.read_text(encoding="utf-8"))


def services(*paths):
    """Services of compose files, later ones over earlier ones, with the defaults of variables."""
    merged: dict[str, dict] = {}
    for path in paths:
        text = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", path.read_text(encoding="utf-8"))
        text = re.sub(r"\$\{(\w+):\?.*?\}", r"/\1", text)
        for name, service in yaml.safe_load(text)["services"].items():
            merged.setdefault(name, {}).update(service)
    return merged


@pytest.mark.parametrize(
    ("paths", "image"), [((COMPOSE,), "volseg:cpu"), ((COMPOSE, GPU), "volseg:cuda")]
)
def test_a_run_and_tensorboard_share_image_user_and_folder(paths, image):
    found = services(*paths)

    fit, board = found["fit"], found["tensorboard"]
    assert set(found) == {"fit", "tensorboard"}
    assert fit["image"] == board["image"] == image
    assert fit["user"] == board["user"] == "1000:1000"
    (data,), (seen,) = fit["volumes"], board["volumes"]
    assert seen == data | {"read_only": True}
    assert (data["source"], data["target"]) == ("/DATA", "/data")
    assert ("deploy" in fit) == (image == "volseg:cuda")


def test_tensorboard_reads_what_the_run_writes_and_shows_it_to_this_machine_alone():
    found = services(COMPOSE)
    board = found["tensorboard"]

    asked = parse(shlex.join(["volseg", *found["fit"]["command"]])).params
    flags = tensorboard_flags([*board["entrypoint"], *board["command"]])

    # Without -o, fit writes into runs/ of the folder that it starts in.
    assert asked["run"] is None
    assert [words for name, words in DOCKER if name == "WORKDIR"][-1] == "/data"
    assert (flags.logdir, flags.host, flags.port) == ("/data/runs", "0.0.0.0", 6006)
    assert board["ports"] == ["127.0.0.1:6006:6006"]


def tensorboard_flags(words):
    """Options of TensorBoard, as it reads them itself."""
    assert entry_points(group="console_scripts", name=words[0])
    with warnings.catch_warnings():
        # What it brings along warns of itself.
        warnings.simplefilter("ignore", DeprecationWarning)
        from tensorboard.program import TensorBoard
    board = TensorBoard()
    board.configure(argv=words)
    return board.flags


def commands_in(path):
    """Commands in the shell blocks of a Markdown file, or in the comments of any other."""
    text = path.read_text(encoding="utf-8")
    comments = "\n".join(re.findall(r"^#   (.*)$", text, re.M))
    lines = "".join(blocks("bash", text)) if path.suffix == ".md" else comments
    return [line for line in lines.replace("\\\n", " ").splitlines() if line.strip()]


COMMANDS = [
    pytest.param(command, id=f"{path.name}: {command}")
    for path in sorted(FOLDER.iterdir())
    for command in commands_in(path)
]


def named_after(words, option):
    """Words that follow an option."""
    return [word for before, word in pairwise(words) if before == option]


def understand_compose(words):
    files = [ROOT / path for path in named_after(words, "-f")]
    rest = words[2 * len(files) :]
    known = services(*files)
    if rest[0] == "run":
        assert rest[1] == "--rm"
        assert rest[2] in known
        return parse(shlex.join(["volseg", *rest[3:]]))
    assert rest[0] == "up"
    return {word for word in rest[1:] if not word.startswith("-")} <= set(known)


def volseg_words(words, images):
    """What a container is told to do: the words after the image."""
    (image,) = (i for i, word in enumerate(words) if word in images)
    return parse(shlex.join(["volseg", *words[image + 1 :]]))


def understand(command):
    """Something true where a command line names what there is."""
    words = shlex.split(command)
    variables = set(re.findall(r"\$\{(\w+):", COMPOSE.read_text(encoding="utf-8")))
    given = [word for word in words if re.match(r"[A-Z_]+=", word)]
    found: object = False
    match words[words[0] in given :]:
        case ["export", *rest]:
            found = rest == given
        case ["docker", "build", "-f", "docker/Dockerfile", "-t", tag, *rest, "."]:
            names = set(values(named_after(rest, "--build-arg")))
            found, given = tag in IMAGES and names <= set(ARGUMENTS), []
        case ["docker", "run", *rest]:
            found = volseg_words(rest, IMAGES)
        case ["docker", "compose", *rest]:
            found = understand_compose(rest)
        case ["apptainer", "build", *rest, image, "docker/volseg.def"]:
            names = set(values(named_after(rest, "--build-arg")))
            found, given = image in SIFS and names <= set(DEFAULTS), []
        case ["apptainer", "run", *rest]:
            found = volseg_words(rest, SIFS)
        case ["apptainer", "exec", "volseg.sif", *rest]:
            found = tensorboard_flags(rest)
        case ["volseg", *_]:
            found = parse(command)
    return found and {word.partition("=")[0] for word in given} <= variables


@pytest.mark.parametrize("command", COMMANDS)
def test_each_documented_command_names_what_there_is(command):
    assert understand(command)


def test_all_three_ways_are_shown():
    shown = " ".join(command.values[0] for command in COMMANDS)

    for way in ("docker build", "docker run", "docker compose", "apptainer build", "apptainer run"):
        assert way in shown


def test_the_job_script_calls_volseg_in_the_image():
    (text,) = blocks("yaml", (FOLDER / "README.md").read_text(encoding="utf-8"))
    options = SlurmConfig.model_validate(yaml.safe_load(text)["slurm"])

    script = fit_script(options, Path("runs/experiment"), cpus=4, words=[])

    call = script.partition("\nsrun ")[2].replace("\\\n", "").partition("\n")[0]
    assert " apptainer run --nv --bind /scratch /shared/volseg.sif fit " in call
