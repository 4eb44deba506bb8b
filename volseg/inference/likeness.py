"""Whether a case is like the cases that its models were trained on."""

from __future__ import annotations

from collections.abc import Sequence

from volseg.confidence.case_profile import profile_of
from volseg.confidence.training_profile import TrainingProfile
from volseg.confidence.unlike import unlike
from volseg.errors import ModelError
from volseg.inference.preparing import PreparedCase
from volseg.model_file import Model


def training_profile_of(model: Model) -> TrainingProfile | None:
    """Profile of the training cases of a model; None if its file holds none.

    Raises:
        ModelError: If the file holds a damaged profile.
    """
    if model.training_data is None:
        return None
    try:
        return TrainingProfile.from_dict(model.training_data)
    except ValueError as error:
        raise ModelError(
            f"the profile of the training cases in {model.path} is damaged ({error})",
            remedy="copy the file again, or train again",
            path=model.path,
        ) from None


def unlike_training(case: PreparedCase, models: Sequence[Model]) -> tuple[str, ...]:
    """Sentences on how a case differs from the training cases of its models, each sentence once.

    Of several models with the same preprocessing, the first speaks: the folds of a cross-validation
    have almost the same training cases.

    Raises:
        ModelError: If a model file holds a damaged profile.
    """
    first = {model.config.preprocessing: model for model in reversed(models)}
    found: dict[str, None] = {}
    for options, model in first.items():
        if profile := training_profile_of(model):
            own = profile_of(
                case.images[options],
                options.channels,
                case.missing,
                has_size=case.case.has_size,
                of_slices=bool(case.case.slices),
            )
            found |= dict.fromkeys(unlike(profile, own))
    return tuple(found)
