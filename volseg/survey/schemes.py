"""Label schemes of cases, decided by file names and label values, or else by the user."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from volseg.cases.case import Case
from volseg.cases.layouts import Layout
from volseg.errors import LabelError
from volseg.labels import LABEL_SCHEMES, get_scheme, schemes_fitting
from volseg.words import cases_in_words

#: Value of `labels` that leaves the label scheme to the config, which may define its own scheme.
FROM_CONFIG = "config"

_REMEDY = f"give --labels NAME, or --labels {FROM_CONFIG} if the config defines the scheme"
#: Values of a label map.
Values = frozenset[int]


@dataclass(frozen=True)
class Group:
    """Cases whose label scheme has the same source: file names, a `dataset.json` or the user.

    Attributes:
        source: Source of the scheme, in words.
        schemes: Names of the schemes that the source allows; empty: any scheme.
        values: Values of each label map by case id.
    """

    source: str
    schemes: tuple[str, ...]
    values: Mapping[str, Values]


def group_cases(
    cases: Iterable[Case], values: Mapping[str, Values], layout_of: Mapping[str, Layout]
) -> list[Group]:
    """Cases grouped by the source of their label scheme."""
    groups: dict[tuple[str, tuple[str, ...]], dict[str, Values]] = defaultdict(dict)
    for case in cases:
        layout = layout_of[case.case_id]
        source, schemes = f"file names of {layout}", layout.schemes
        if case.labels:
            source, schemes = f"label names in the dataset.json of {layout}", (case.labels,)
        groups[source, schemes][case.case_id] = values[case.case_id]
    return [Group(*decided, of_cases) for decided, of_cases in sorted(groups.items())]


def decide_schemes(
    cases: Iterable[Case],
    values: Mapping[str, Values],
    layout_of: Mapping[str, Layout],
    asked: str | None,
) -> tuple[list[Group], dict[str, str]]:
    """Groups of cases by the source of their label scheme, and the scheme by case id.

    Args:
        cases: Cases; cases without an entry in `values` are ignored.
        values: Values of each readable label map by case id.
        layout_of: Layout by case id.
        asked: Name of the scheme that the user gave, or `FROM_CONFIG`; None: decided by file names
            and values.

    Raises:
        LabelError: If the values contradict the user, or the scheme of a case cannot be decided.
    """
    if asked is not None:
        meant = [] if asked == FROM_CONFIG else schemes_meant(asked, values.values())
        if meant:
            raise LabelError(
                f"--labels {asked} does not fit: the label maps hold the values "
                f"{values_in_words(values.values())}, which all fit {' or '.join(meant)}",
                remedy="give the scheme of the label maps, or correct the label maps",
            )
        return [Group("as asked for", (), values)], dict.fromkeys(values, asked)
    readable = [case for case in cases if case.case_id in values]
    groups = group_cases(readable, values, layout_of)
    return groups, schemes_of(groups, _REMEDY)


def schemes_of(groups: Iterable[Group], remedy: str) -> dict[str, str]:
    """Label scheme by case id.

    Args:
        groups: Cases grouped by the source of their scheme.
        remedy: How the user can give the scheme, for the error.

    Raises:
        LabelError: If the scheme of a group cannot be decided.
    """
    schemes: dict[str, str] = {}
    unclear = []
    for group in groups:
        scheme = _scheme_of(group)
        if scheme is not None:
            schemes |= dict.fromkeys(group.values, scheme)
            continue
        seen = _union(group.values.values())
        fitting = ", ".join(schemes_fitting(seen)) or "no label scheme"
        hold = "holds" if len(group.values) == 1 else "hold"
        unclear.append(
            f"{cases_in_words(len(group.values))} with {group.source} {hold} the values "
            f"{values_in_words([seen])}, which fit {fitting}"
        )
    if unclear:
        raise LabelError(f"the label scheme is not clear: {'; '.join(unclear)}", remedy=remedy)
    return schemes


def _scheme_of(group: Group) -> str | None:
    """The only scheme that fits file names and values; None if it cannot be decided."""
    fitting = [
        values
        for values in group.values.values()
        if not set(group.schemes).isdisjoint(schemes_fitting(values))
    ]
    # A few bad label maps are left out; if most do not fit, the file names mislead.
    if 2 * len(fitting) < len(group.values) or not group.schemes:
        return None
    if len(group.schemes) == 1:
        scheme = group.schemes[0]
        return None if schemes_meant(scheme, group.values.values()) else scheme
    seen = _union(fitting)
    possible = schemes_fitting(seen)
    first, second = (LABEL_SCHEMES[name] for name in group.schemes)
    # If no value belongs to one scheme alone, both schemes must agree on the shared values.
    compatible = first.regions.items() <= second.regions.items()
    if first.name in possible:
        return first.name if compatible else None
    # Label maps with values of 2022 under new file names seem to have resection cavities.
    if second.name not in possible or (compatible and "brats2021" in possible):
        return None
    return second.name


def schemes_meant(scheme: str, values: Iterable[Values]) -> list[str]:
    """Schemes with the same regions that fit all label maps, if `scheme` does not fit all.

    Leaving out only the label maps that contradict `scheme` would hide a wrong scheme: of cases
    called 2021 that store enhancing tumour as 3, only cases without that tumour would remain.

    >>> schemes_meant("brats2021", [frozenset({0, 1, 2, 3}), frozenset({0, 2})])
    ['brats2023', 'msd']
    >>> schemes_meant("brats2021", [frozenset({0, 1, 2, 3}), frozenset({0, 4})])
    []
    """
    own = get_scheme(scheme)
    # A label map that fits no scheme is no evidence for the others.
    seen = _union(of_case for of_case in values if schemes_fitting(of_case))
    if seen - {0} <= own.labels.keys():
        return []
    return [
        name
        for name in schemes_fitting(seen)
        if LABEL_SCHEMES[name].regions.keys() == own.regions.keys()
    ]


def values_in_words(values: Iterable[Values]) -> str:
    """Union of the values of label maps, in words.

    >>> values_in_words([frozenset({0, 2}), frozenset({0, 1})])
    '0 1 2'
    """
    return " ".join(map(str, sorted(_union(values))))


def _union(values: Iterable[Values]) -> Values:
    return frozenset[int]().union(*values)


def decisions_in_words(groups: Iterable[Group], schemes: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence for each group, with the scheme of its listed cases and the source."""
    sentences = []
    for group in groups:
        listed = {case_id: v for case_id, v in group.values.items() if case_id in schemes}
        if listed:
            scheme = schemes[next(iter(listed))]
            name = "of the config" if scheme == FROM_CONFIG else scheme
            sentences.append(
                f"labels {name} for {cases_in_words(len(listed))}: {group.source}, "
                f"values {values_in_words(listed.values())}"
            )
    return tuple(sentences)
