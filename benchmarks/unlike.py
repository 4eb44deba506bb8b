"""Cases that `infer` calls unlike the training cases: false alarms, and changed scans it finds.

    python benchmarks/unlike.py DATA_LIST CONFIG [--data-root FOLDER] [--training 3 6 20]
        [--draws N] [--changed N] [--other FOLDER ...]

Each case of the data list is compared with others of the list, as if a model had been trained on
these, with the preprocessing of the config; then some changed cases are. No network is trained.
Results are tables in Markdown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from side_by_side import HERE, machine

sys.path.insert(0, str(HERE.parent / "tests"))  # skulls

from changed_scans import changes

from volseg.cases.case import Case
from volseg.cases.data_list import read_data_list
from volseg.confidence.case_profile import CaseProfile, profile_of
from volseg.confidence.mix_ups import mix_up
from volseg.confidence.training_profile import TrainingProfile
from volseg.confidence.unlike import unlike
from volseg.config import PreprocessingConfig, load_config
from volseg.errors import VolsegError
from volseg.finding.folders import find_cases
from volseg.images.case_images import CaseImages
from volseg.transforms import preprocess

Profiles = Mapping[str, CaseProfile]


def profiled(images: CaseImages, case: Case, options: PreprocessingConfig) -> CaseProfile:
    return profile_of(
        preprocess(images, options),
        options.channels,
        images.missing,
        has_size=case.has_size,
        of_slices=bool(case.slices),
    )


def read(case: Case, options: PreprocessingConfig) -> CaseImages:
    return case.read_images(options.channels, options.fill_missing)


def drawn(profiles: Profiles, without: str, count: int, draws: int) -> list[TrainingProfile]:
    """Profiles of other cases: of all of them, or of several random choices of `count`."""
    others = [name for name in profiles if name != without]
    if count >= len(others):
        return [TrainingProfile.of([profiles[name] for name in others])]
    rng = np.random.default_rng([count, list(profiles).index(without)])
    choices = [rng.choice(others, count, replace=False) for _ in range(draws)]
    return [TrainingProfile.of([profiles[name] for name in chosen]) for chosen in choices]


def false_alarms(profiles: Profiles, counts: Sequence[int], draws: int) -> None:
    print("| training cases | comparisons | called unlike | furthest number, in deviations |")
    print("|---|---|---|---|")
    said: dict[str, str] = {}
    for count in counts:
        far, called = [], 0
        for name, profile in profiles.items():
            for training in drawn(profiles, name, count, draws):
                far.append(max(map(abs, training.distances(profile).values())))
                if sentences := unlike(training, profile):
                    called += 1
                    said[name] = sentences[0]
        used = min(count, len(profiles) - 1)
        print(f"| {used} | {len(far)} | {called} | {np.median(far):.1f}, at most {max(far):.1f} |")
    for name, sentence in said.items():
        print(f"- {name}: {sentence}")


def found_changes(
    profiles: Profiles,
    cases: Sequence[Case],
    options: PreprocessingConfig,
    counts: Sequence[int],
    draws: int,
) -> None:
    """Print, for each change, in how many comparisons it is said, and an example."""
    found: dict[str, list[list[bool]]] = {}
    example: dict[str, str] = {}
    for case in cases:
        images = read(case, options)
        for name, change in changes(options.channels, volumes=not case.slices).items():
            rows = found.setdefault(name, [[] for _ in counts])
            try:
                profile = profiled(change(images), case, options)
            except VolsegError as error:
                example[name] = f"refused: {error.problem}"
                for row in rows:
                    row.append(True)
                continue
            for row, count in zip(rows, counts, strict=True):
                for training in drawn(profiles, case.case_id, count, draws):
                    sentences = unlike(training, profile)
                    row.append(bool(sentences))
                    if sentences:
                        mixed_up = mix_up(training, profile.values)
                        example[name] = mixed_up or sentences[0]
    print(f"\n| change | {' | '.join(f'of {n}' for n in counts)} | said, for example |")
    print("|---" * (len(counts) + 2) + "|")
    for name, rows in found.items():
        shares = " | ".join(f"{sum(row)}/{len(row)}" for row in rows)
        print(f"| {name} | {shares} | {example.get(name, '')} |")


def other_cases(profiles: Profiles, folders: Sequence[Path], options: PreprocessingConfig) -> None:
    """Print the sentences on cases of other folders, compared with all cases of the list."""
    training = TrainingProfile.of(list(profiles.values()))
    for case in find_cases(folders).cases:
        try:
            sentences = unlike(training, profiled(read(case, options), case, options))
        except VolsegError as error:
            sentences = [f"refused: {error}"]
        print(f"\n{case.case_id}: {len(sentences)} sentences")
        for sentence in sentences:
            print(f"- {sentence}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data_list", type=Path)
    parser.add_argument("config", type=Path)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--training", type=int, nargs="+", default=[3, 6, 20])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--changed", type=int, default=3)
    parser.add_argument("--other", type=Path, nargs="*", default=[])
    given = parser.parse_args()
    options = load_config(given.config).preprocessing
    cases = read_data_list(given.data_list, given.data_root).cases(None)
    profiles = {case.case_id: profiled(read(case, options), case, options) for case in cases}
    print(machine(), "\n")
    false_alarms(profiles, given.training, given.draws)
    step = max(1, len(cases) // given.changed)
    chosen = cases[::step][: given.changed]
    found_changes(profiles, chosen, options, given.training, max(1, given.draws // 4))
    if given.other:
        other_cases(profiles, given.other, options)


if __name__ == "__main__":
    main()
