"""Whether a case is like the cases that its models were trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from volseg.confidence.case_profile import profile_of
from volseg.confidence.training_profile import TrainingProfile
from volseg.confidence.unlike import unlike
from volseg.config import PreprocessingConfig
from volseg.inference.preparing import PreparedCase
from volseg.model_file import Model


def training_profiles(models: Sequence[Model]) -> dict[PreprocessingConfig, TrainingProfile]:
    """Profile of the training cases for each preprocessing of some models, where files hold it.

    Of several models with the same preprocessing, the first counts: the folds of a cross-validation
    have almost the same training cases.

    Raises:
        ModelError: If a model file holds a damaged profile.
    """
    return {
        model.config.preprocessing: TrainingProfile.from_dict(model.training_data, str(model.path))
        for model in reversed(models)
        if model.training_data is not None
    }


def unlike_training(
    case: PreparedCase, profiles: Mapping[PreprocessingConfig, TrainingProfile]
) -> tuple[str, ...]:
    """Sentences on how a case differs from the training cases of its models, each sentence once."""
    found: dict[str, None] = {}
    for options, profile in profiles.items():
        own = profile_of(
            case.images[options],
            options.channels,
            case.missing,
            has_size=case.case.has_size,
            of_slices=bool(case.case.slices),
        )
        found |= dict.fromkeys(unlike(profile, own))
    return tuple(found)
