"""Parts of the pages that follow from the code, so that nobody writes a fact a second time.

A page says where: `<!-- generated: options -->` stands for a table made here, and
`<!-- include: docker/README.md -->` for a file of the repository, whose links are kept alive.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import typer
from options import sections
from pydantic import BaseModel

import volseg
from volseg.cases.channels import CHANNEL_NAMES
from volseg.cases.layouts import LAYOUTS
from volseg.cli import app
from volseg.cli.app import EXIT_CODES
from volseg.config import NetworkConfig, load_config, read_slurm
from volseg.labels import LABEL_SCHEMES, SCHEME_ALIASES
from volseg.metrics.scores import RATED_SCORES, SCORES
from volseg.networks import network_forms
from volseg.slurm.submission import submit_fit

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = "https://github.com/volseg/volseg/blob/main/"
#: Files of the repository that are pages of the site as well.
PAGES = {
    ".github/CONTRIBUTING.md": "development/contributing.md",
    ".github/SECURITY.md": "development/security.md",
    "CHANGELOG.md": "development/changelog.md",
    "benchmarks/README.md": "development/benchmarks.md",
    "data_lists/README.md": "reference/data-lists.md",
    "docker/README.md": "how-to/containers.md",
}
_INCLUDE, _GENERATE = (
    re.compile(rf"^<!-- {word}: (\S+) -->$", re.MULTILINE) for word in ("include", "generated")
)


def filled(text: str, page: str) -> str:
    """A page with all that it leaves to the code; KeyError if it asks for what is not here."""
    text = _INCLUDE.sub(lambda found: _included(found[1], page), text)
    return _GENERATE.sub(lambda found: PARTS[found[1]](), text)


def _included(name: str, page: str) -> str:
    """Text of a file, its links leading to pages of the site, or to the repository."""
    folder = (ROOT / name).parent
    up = "../" * page.count("/")

    def moved(found: re.Match[str]) -> str:
        path, hash_, anchor = found[1].partition("#")
        target = (folder / path).resolve().relative_to(ROOT).as_posix()
        if target.startswith("docs/"):
            target = up + target.removeprefix("docs/")
        else:
            target = up + PAGES[target] if target in PAGES else REPOSITORY + target
        return f"]({target}{hash_}{anchor})"

    return re.sub(r"\]\((?!https?:|#)([^)\s]+)\)", moved, (ROOT / name).read_text(encoding="utf-8"))


def table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown; a stroke in a cell stays one."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    cells = ([str(cell).replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def options() -> str:
    """Every option of a config, by section, and every network's."""
    return "\n\n".join(
        f"## `{section.name}`\n\n{section.meaning}\n\n"
        + table(
            ("option", "type", "default", "meaning"),
            (
                (f"`{option.key}`", option.type, option.default, option.meaning)
                for option in section.options
            ),
        )
        for section in sections()
    )


def slurm_options() -> str:
    """Keys of `--slurm`."""
    (section,) = (section for section in sections() if section.name == "slurm")
    keys = ((f"`{o.key.partition('.')[2]}`", o.meaning, o.default) for o in section.options)
    return table(("key", "meaning", "default"), keys)


def label_schemes() -> str:
    """Labels and regions of each shipped scheme."""
    others = {name: [a for a, of in SCHEME_ALIASES.items() if of == name] for name in LABEL_SCHEMES}
    return table(
        ("scheme", "labels", "regions", "other names"),
        (
            (
                f"`{name}`",
                ", ".join(f"{value} {label}" for value, label in scheme.labels.items()),
                ", ".join(f"{r} = {'+'.join(map(str, v))}" for r, v in scheme.regions.items()),
                ", ".join(f"`{alias}`" for alias in others[name]),
            )
            for name, scheme in LABEL_SCHEMES.items()
        ),
    )


def layouts() -> str:
    """Each layout that is recognised, by the files of a case."""
    patient = {
        "known": "from the name",
        "doubtful": "from the name, with a warning",
        "unknown": "not in the name: give `--patient-regex`",
    }
    return table(
        ("layout", "files of a case", "label scheme", "patient"),
        (
            (
                layout.name,
                f"`{layout.example}`",
                ", ".join(f"`{scheme}`" for scheme in layout.schemes) or "by values, or `--labels`",
                patient[layout.patients],
            )
            for layout in LAYOUTS
        ),
    )


def channels() -> str:
    """Channels that have a name, and what files call them."""
    names = {channel: [] for channel in CHANNEL_NAMES.values()}
    for name, channel in CHANNEL_NAMES.items():
        names[channel].append(f"`{name}`")
    return table(("channel", "names"), ((f"`{c}`", ", ".join(n)) for c, n in names.items()))


def configs() -> str:
    """Each shipped config by the first sentence of its comment."""
    rows = []
    for path in sorted((ROOT / "configs").glob("*.yaml")):
        comment = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        name = path.relative_to(ROOT).as_posix()
        rows.append((f"[`{name}`]({REPOSITORY}{name})", comment.partition(". ")[0].rstrip(".")))
    return table(("config", "what it is"), rows)


def networks() -> str:
    """What each network is, and its size with the options that it has by default."""
    rows = []
    for section in get_args(get_args(NetworkConfig)[0]):
        config = section()
        patch = [4 * config.divisor] * 3
        forms = network_forms(config, in_channels=4, out_channels=3, patch_size=patch).values()
        numbers = sum(math.prod(form.shape) for form in forms)
        rows.append(
            (
                f"`{config.name}`",
                first_line(section),
                f"{numbers / 1e6:.1f} M",
                config.divisor,
            )
        )
    return table(("`network.name`", "what it is", "weights", "divisor"), rows)


def first_line(thing: object) -> str:
    """First line of a docstring, without its full stop."""
    return (inspect.getdoc(thing) or "").partition("\n")[0].rstrip(".")


def commands() -> str:
    """Each command as its help shows it."""
    group = typer.main.get_command(app)
    context = typer.Context(group, info_name="volseg")
    return "\n\n".join(
        "\n\n".join(_command(command, typer.Context(command, parent=context, info_name=name)))
        for name, command in group.commands.items()
    )


def _command(command: Any, context: typer.Context) -> Iterator[str]:
    yield f"## `volseg {command.name}`"
    text, _, examples = inspect.cleandoc(command.help).partition("\n\nExample")
    yield _options_as_code(text)
    usage = re.sub("[{}]", "", command.get_usage(context).removeprefix("Usage: "))
    yield f"```text\n{usage}\n```"
    if examples:
        yield "Examples:"
        yield f"```bash\n{inspect.cleandoc(examples.partition(':')[2])}\n```"
    rows = [_parameter(parameter) for parameter in command.get_params(context)]
    yield table(("argument or option", "meaning", "default"), filter(None, rows))


def _parameter(parameter: Any) -> tuple[str, str, str] | None:
    if parameter.name == "help" or getattr(parameter, "hidden", False):
        return None
    if parameter.param_type_name == "argument":
        names = f"`{parameter.metavar or parameter.name.upper()}`"
    else:
        words = [*parameter.opts, *parameter.secondary_opts]
        value = "" if parameter.is_flag else f" {parameter.metavar or parameter.name.upper()}"
        names = ", ".join(f"`{word}`" for word in words[:-1]) + ", " * (len(words) > 1)
        names += f"`{words[-1]}{value}`"
    return names, _options_as_code(parameter.help or ""), _default(parameter)


def _options_as_code(text: str) -> str:
    """Options in backticks, as their dashes would else become one."""
    return re.sub(r"(?<![\w`-])(--[a-z][\w-]*(?:[= ][A-Z\d][\w/=]*)?)", r"`\1`", text)


def _default(parameter: Any) -> str:
    shown = getattr(parameter, "show_default", None)
    if isinstance(shown, str):
        return shown
    if parameter.required:
        return "*required*"
    if parameter.default is None or isinstance(parameter.default, bool):
        return ""
    return f"`{parameter.default}`"


def job_script() -> str:
    """The batch script of the example in the tutorial."""
    with contextlib.chdir(ROOT):
        config = load_config("configs/brats_unet.yaml", ["data.data_root=FOLDER"])
        asked = read_slurm(["nodes=2,gpus=4,time=24:00:00,partition=gpu"], config.slurm)
        config = config.model_copy(update={"slurm": asked})
        script = submit_fit(config, Path("runs/unet"), dry_run=True).script
    home = "/home/me/volseg"
    shown = script.replace(sys.executable, f"{home}/.venv/bin/python").replace(str(ROOT), home)
    return f"```bash\n{shown.rstrip()}\n```"


def scores() -> str:
    """Every score by its definition."""
    return table(
        ("column", "score", "definition", "better"),
        ((f"`{s.name}`", s.heading, s.definition, s.better or "-") for s in SCORES),
    )


def empty_masks() -> str:
    """Scores of a region where masks are empty."""
    heads = ("masks", *(score.title for score in RATED_SCORES))
    both = (f"{score.best:g} {score.unit}" for score in RATED_SCORES)
    one = (f"{score.worst:g} {score.unit}" for score in RATED_SCORES)
    return table(heads, [("both empty", *both), ("one empty, or no prediction", *one)])


def exit_codes() -> str:
    """What each exit code means."""
    return table(("code", "meaning"), EXIT_CODES.items())


#: Headings of the page of the public names, by the room that they come from.
_ROOMS = {
    "tasks": "Commands as functions",
    "inference": "Inference",
    "config": "Config",
    "finding": "Cases and images",
    "cases": "Cases and images",
    "images": "Cases and images",
    "labels": "Label schemes",
    "region_metrics": "Scores as torchmetrics",
    "transforms": "Transforms of MONAI",
    "errors": "Errors",
}


def api() -> str:
    """Every public name from its docstring, under a heading for each kind."""
    parts: dict[str, list[str]] = {}
    for name in volseg.__all__:
        thing = getattr(volseg, name)
        if callable(thing):
            heading = _ROOMS[thing.__module__.split(".")[1]]
            parts.setdefault(heading, []).append(_documented(name, thing))
    return "\n\n".join(
        "\n\n".join([f"## {heading}", "```{eval-rst}", *directives, "```"])
        for heading, directives in parts.items()
    )


def _documented(name: str, thing: Any) -> str:
    if not inspect.isclass(thing):
        return f".. autofunction:: volseg.{name}"
    options = ":members:"
    if any(base.__name__ in volseg.__all__ for base in thing.__mro__[1:]):
        options = ":show-inheritance:"  # its members are those of another entry
    elif issubclass(thing, BaseModel):
        options = ""  # what pydantic gives every model is no part of a config
    elif thing.__module__ == "volseg.region_metrics":
        options = ":members: update, compute"
    return f".. autoclass:: volseg.{name}\n   {options}"


PARTS: dict[str, Callable[[], str]] = {
    "api": api,
    "channels": channels,
    "commands": commands,
    "configs": configs,
    "empty-masks": empty_masks,
    "exit-codes": exit_codes,
    "job-script": job_script,
    "label-schemes": label_schemes,
    "layouts": layouts,
    "networks": networks,
    "options": options,
    "scores": scores,
    "slurm-options": slurm_options,
}
