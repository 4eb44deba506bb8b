"""What the records of the code say, as tables: schemes, layouts, networks, scores, exit codes."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import get_args

from generated.tables import table
from volseg.cases.channels import CHANNEL_NAMES
from volseg.cases.layouts import LAYOUTS
from volseg.cli.app import EXIT_CODES
from volseg.config import NetworkConfig
from volseg.labels import LABEL_SCHEMES, SCHEME_ALIASES
from volseg.metrics.official.protocols import PROTOCOLS
from volseg.metrics.scores import RATED_SCORES, SCORES
from volseg.networks import network_forms

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = "https://github.com/volseg/volseg/blob/main/"


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


def scores() -> str:
    """Every score by its definition."""
    return table(
        ("column", "score", "definition", "better"),
        ((f"`{s.name}`", s.heading, s.definition, s.better or "-") for s in SCORES),
    )


def protocols() -> str:
    """Rules of the programs that count lesions within reach of a dilation, region by region."""
    heads = ("protocol", "regions", "dilation", "lesion counts above", "joined by", "penalty")
    rows = []
    for protocol in PROTOCOLS.values():
        if protocol.program != "lesions":
            continue
        rules: dict[tuple[str, ...], list[str]] = {}
        for region, rule in protocol.regions.items():
            joined = ", ".join(rule.joined_by) or "-"
            of_rule = (str(rule.dilation), f"{rule.threshold_mm3:g} mm³", joined)
            rules.setdefault(of_rule, []).append(region)
        penalty = "diagonal in voxels"
        if protocol.penalty_mm is not None:
            penalty = f"{protocol.penalty_mm:g} mm"
        rows += [
            (f"`{protocol.name}`", ", ".join(regions), *of_rule, penalty)
            for of_rule, regions in rules.items()
        ]
    return table(heads, rows)


def protocol_scores() -> str:
    """Every score of a protocol of lesions, by its definition."""
    scores = PROTOCOLS["brats2025-gli"].scores
    return table(
        ("column", "score", "definition", "better"),
        ((f"`{s.name}`", s.heading, s.definition, s.better or "-") for s in scores),
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
