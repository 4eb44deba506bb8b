"""Files of explanations: maps, pictures, shares of channels, and the record of them all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import volseg
from volseg.attribution.kept_maps import OPTIONS, SOURCES, Plan, plan_case, refusal_of_edited
from volseg.attribution.methods import ExplainOptions, Explanation
from volseg.attribution.share_table import write_shares
from volseg.cases.case import Case
from volseg.cases.sources import fingerprint, relocated_sources
from volseg.errors import OutputError
from volseg.figures.figure_files import optional_picture
from volseg.files.ownership import check_no_inputs
from volseg.files.paths import places
from volseg.files.writing import make_output, remove_unfinished
from volseg.images.nifti_writing import write_map
from volseg.inference.predictor import Predictor
from volseg.inference.result_writer import resolved_options
from volseg.results.explanation_record import (
    BARS,
    EXPLANATIONS_FILE,
    FAILED,
    MAP,
    MAPS,
    PICTURE,
    SHARES_FILE,
    WRITING,
    bars_name,
    map_key,
    map_name,
    read_explanations,
    recorded_files,
)
from volseg.results.journal import FAILURES, RECORDS
from volseg.results.journaled_file import JournaledFile, without
from volseg.results.manifest_file import remove_written
from volseg.results.reuse import Recipe
from volseg.words import reason

_REMEDY = "move it away, or choose another folder with -o"


class ExplanationFiles:
    """Writes explanations, and keeps those of the same scan, models and options.

    A file is listed in the record before it is written, so that none is without a record, even if
    the process is killed.

    Args:
        output: Folder of the results; need not exist.
        predictor: The models.
        options: Options of the explanations.

    Raises:
        OutputError: If the folder holds a record that volseg did not write or that cannot be read.
    """

    def __init__(self, output: Path, predictor: Predictor, options: ExplainOptions) -> None:
        self.output, self.options = output, options
        self.regions = options.regions or predictor.regions
        self.recipe = Recipe(
            models=[model.sha256 for model in predictor.models],
            settings={},
            resolved=[resolved_options(model.config) for model in predictor.models],
        )
        known = _read(output)
        self._known = known.get(RECORDS, {})
        models = {model["sha256"]: model for model in known.get("models", ())}
        models |= {
            model.sha256: {"path": str(model.path), "sha256": model.sha256, "volseg": model.version}
            for model in predictor.models
        }
        about = {"volseg": volseg.__version__, "disclaimer": volseg.DISCLAIMER, **places(output)}
        self._record = JournaledFile(
            output / EXPLANATIONS_FILE, {**about, "models": list(models.values())}
        )
        self._record.content[RECORDS] = dict(self._known)
        self._record.content[FAILURES] = dict(known.get(FAILURES, {}))
        self.writing = self._record.writing

    @property
    def path(self) -> Path:
        """The record."""
        return self._record.path

    def begin(
        self, cases: Sequence[Case], scans: Path | None, lost: Mapping[str, str]
    ) -> list[Plan]:
        """Check that files may be written, write the record, and plan each case.

        Args:
            cases: Cases to explain.
            scans: Folder or data list of the cases.
            lost: Reasons by case id, of cases that were found but cannot be used.

        Raises:
            OutputError: If a file is in the way, or a map is of another patient of the same name.
        """
        names = self._check_places(cases, scans)
        plans = [
            plan_case(
                *(case, self.regions, self._known.get(case.case_id, {})),
                *(self.output, self.recipe, self.options),
            )
            for case in cases
        ]
        make_output(self.output, (EXPLANATIONS_FILE, SHARES_FILE))
        remove_unfinished(self.output, names.__contains__)
        failures = self._record.content[FAILURES]
        others = without(failures, [case.case_id for case in cases])
        self._record.content[FAILURES] = {**others, **lost}
        for plan in plans:
            self._relocate(plan)
            self._forget_failures(plan.case)
        self._record.write()
        return plans

    def _check_places(self, cases: Sequence[Case], scans: Path | None) -> set[str]:
        """Names of the files of these cases; OutputError if one is in the way."""
        owners: dict[str, str] = {EXPLANATIONS_FILE: "the record"}
        for case in cases:
            ours = recorded_files(self._known.get(case.case_id, {}))
            for name in self._names(case.case_id):
                other = owners.setdefault(name, f"case {case.case_id}")
                path = self.output / name
                if other != f"case {case.case_id}":
                    raise OutputError(
                        f"{path} would be a result of case {case.case_id} and of {other}",
                        remedy="explain them into separate folders",
                    )
                if os.path.lexists(path) and (name not in ours or path.is_symlink()):
                    raise OutputError(
                        f"{path} is there already, but {EXPLANATIONS_FILE} does not list it as a "
                        "result of volseg",
                        remedy=_REMEDY,
                        path=path,
                    )
        inputs = [file for case in cases for file in (*case.images, *case.label)]
        check_no_inputs(
            (self.output / name for name in owners), [*inputs, *([scans] if scans else [])]
        )
        return set(owners)

    def _names(self, case_id: str) -> Iterator[str]:
        """Names of the files of a case."""
        for region in self.regions:
            name = map_name(case_id, region, self.options.kind)
            yield from (f"{name}.nii.gz", f"{name}.png")
        yield bars_name(case_id, self.options.kind)

    def _forget_failures(self, case: Case) -> None:
        """Keep only the failures of a case that this run does not concern."""
        record = self._record_of(case)
        if FAILED not in record:
            return
        now = [map_key(part, self.options.kind) for part in (*self.regions, BARS)]
        kept = {**record, FAILED: without(record[FAILED], now)}
        self._record.content[RECORDS][case.case_id] = kept
        if failed := self._failed(case):
            self._record.content[FAILURES][case.case_id] = failures_in_words(failed)

    def _relocate(self, plan: Plan) -> None:
        """Record where the images of kept maps are now."""
        records = self._record.content[RECORDS]
        for region in plan.moved:
            record = records[plan.case.case_id]
            key = map_key(region, self.options.kind)
            one = record[MAPS][key]
            sources = relocated_sources(one[SOURCES], plan.case)
            maps = {**record[MAPS], key: {**one, SOURCES: sources}}
            records[plan.case.case_id] = {**record, MAPS: maps}

    def add(
        self,
        case: Case,
        explanation: Explanation,
        header: Any,
        sources: Sequence[Any],
        draw: Callable[[Path], None],
    ) -> Path | None:
        """Write the map of a region and its picture, and return the picture if there is one.

        Args:
            case: The case.
            explanation: Its explanation.
            header: NIfTI header of the images.
            sources: Sources of the images, from `read_sources`.
            draw: Draws the picture at a path; an error is logged, and the map stays.

        Raises:
            OutputError: If the map cannot be written.
        """
        key = map_key(explanation.region, self.options.kind)
        name = map_name(case.case_id, explanation.region, self.options.kind)
        path, picture = self.output / f"{name}.nii.gz", self.output / f"{name}.png"
        self._put(case, MAPS, key, None, writing=(path.name, picture.name))
        write_map(path, explanation.map, header)
        entry = {
            "region": explanation.region,
            "method": explanation.method,
            "layer": explanation.layer,
            OPTIONS: self.options.of_method,
            "target_voxels": explanation.target_voxels,
            "scale": explanation.scale,
            "by_channel": dict(explanation.by_channel),
            "channel_values": dict(explanation.channel_values),
            "box_mm": explanation.box_mm,
            "notes": list(explanation.notes),
            "seconds": round(explanation.seconds, 2),
            SOURCES: list(sources),
            **({"spacing_mm": list(case.spacing_mm)} if case.spacing_mm else {}),
            "models": list(self.recipe.models),
            "resolved": list(self.recipe.resolved),
            MAP: self._mark(path),
        }
        if mark := self._drawn(picture, draw):
            entry[PICTURE] = mark
        self._put(case, MAPS, key, entry)
        return picture if mark else None

    def renew_bars(self, case: Case, draw: Callable[[Path], None]) -> dict[str, str]:
        """Draw the shares of the channels in all maps of a case; without shares, remove the bars.

        Returns:
            Why the bars stay as they are, by `BARS`: they were edited. Else empty.
        """
        kind = self.options.kind
        path = self.output / bars_name(case.case_id, kind)
        mark = self._record_of(case).get(BARS, {}).get(kind)
        why = refusal_of_edited([mark] if mark else [], self.output)
        if why and not self.options.overwrite:
            return {BARS: why}
        if self.shares(case):
            self._put(case, BARS, kind, None, writing=(path.name,))
            self._put(case, BARS, kind, self._drawn(path, draw))
        elif mark:
            self._remove(case, BARS, kind, (path.name,))
        return {}

    def shares(self, case: Case) -> dict[str, dict[str, float]]:
        """Shares of the channels by region, of the maps of this kind that the record lists."""
        maps = self._maps(case).items()
        return {region: one["by_channel"] for region, one in maps if one["by_channel"]}

    def boxes_mm(self, case: Case) -> dict[str, float]:
        """Side of the boxes by region, of the maps of occlusion that the record lists."""
        maps = self._maps(case).items()
        return {region: one["box_mm"] for region, one in maps if one.get("box_mm")}

    def _maps(self, case: Case) -> dict[str, Any]:
        """Entries of the maps of this kind by region."""
        maps = self._record_of(case).get(MAPS, {})
        return {
            one["region"]: one
            for key, one in maps.items()
            if key == map_key(one["region"], self.options.kind)
        }

    def remove_failed(self, case: Case, regions: Iterable[str]) -> None:
        """Remove older maps of regions that failed, which would be mistaken for new maps."""
        for region in regions:
            key = map_key(region, self.options.kind)
            if key in self._record_of(case).get(MAPS, {}):
                name = map_name(case.case_id, region, self.options.kind)
                self._remove(case, MAPS, key, (f"{name}.nii.gz", f"{name}.png"))

    def fail(self, case: Case, reasons: Mapping[str, str]) -> None:
        """Record why regions have no new map, beside the failures of earlier runs that remain.

        Args:
            case: The case.
            reasons: Reason by region, or by `BARS`.
        """
        for region, why in reasons.items():
            self._put(case, FAILED, map_key(region, self.options.kind), why)
        if failed := self._failed(case):
            self._record.add(FAILURES, case.case_id, failures_in_words(failed))

    def _failed(self, case: Case) -> dict[str, str]:
        """Reasons by region; by the key of the map for maps of another kind."""
        ending = map_key("", self.options.kind)
        failed = self._record_of(case).get(FAILED, {})
        return {key.removesuffix(ending): why for key, why in failed.items()}

    def finish(self) -> None:
        """Write the table of the shares of channels in all maps of the folder, if there are any."""
        write_shares(self.output / SHARES_FILE, self._record.content[RECORDS])

    def _record_of(self, case: Case) -> dict[str, Any]:
        record: dict[str, Any] = self._record.content[RECORDS].get(case.case_id, {})
        return record

    def _remove(self, case: Case, part: str, key: str, names: Sequence[str]) -> None:
        """Remove the files of an entry of a case, and the entry."""
        self._put(case, part, key, None, writing=names)
        for path in map(self.output.joinpath, names):
            remove_written(path, "an old result of a case that failed now")
        self._put(case, part, key, None)

    def _put(
        self, case: Case, part: str, key: str, entry: object, writing: Sequence[str] = ()
    ) -> None:
        """Put an entry of a case, None for none, and names of files that may be half written."""
        record = self._record_of(case)
        entries = without(record.get(part, {}), [key])
        if entry is not None:
            entries[key] = entry
        changed = {**without(record, [WRITING]), part: entries}
        if writing:
            changed[WRITING] = list(writing)
        self._record.add(RECORDS, case.case_id, changed)

    def _drawn(self, path: Path, draw: Callable[[Path], None]) -> dict[str, Any] | None:
        """Mark of a new picture; None if none is wanted, or drawing failed."""
        remove_written(path, "an old picture")
        if self.options.pictures:
            with optional_picture(path):
                draw(path)
                return self._mark(path)
        return None

    def _mark(self, path: Path) -> dict[str, Any]:
        """Mark by which a later run detects that a written file was changed."""
        try:
            return {"file": path.name, **fingerprint(path)}
        except OSError as error:
            raise OutputError(
                f"{path} was written and cannot be read ({reason(error)})",
                remedy="choose another folder with -o",
            ) from None


def failures_in_words(reasons: Mapping[str, str]) -> str:
    """Reasons by region as a text, in which regions with the same reason stand together.

    >>> failures_in_words({"WT": "no memory", "TC": "no memory", "ET": "ET is not predicted"})
    'WT, TC: no memory; ET is not predicted'
    """
    regions: dict[str, list[str]] = {}
    for region, why in reasons.items():
        regions.setdefault(why, []).append(region)
    return "; ".join(
        why if why.startswith(f"{names[0]} ") else f"{', '.join(names)}: {why}"
        for why, names in regions.items()
    )


def _read(output: Path) -> dict[str, Any]:
    """Content of the record of a folder; OutputError if it cannot be used."""
    try:
        return read_explanations(output) or {}
    except OSError as error:
        raise OutputError(
            f"{output / EXPLANATIONS_FILE} cannot be read ({reason(error)})",
            remedy="choose another folder with -o",
        ) from None
    except ValueError as error:
        raise OutputError(f"{error}", remedy=_REMEDY) from None
