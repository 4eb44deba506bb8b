"""Errors: their parts, their sentence, their way through processes."""

import copy
import inspect
import pickle
from pathlib import Path

import pytest

from volseg import errors
from volseg.errors import (
    GeometryError,
    ImageError,
    LabelError,
    NoCaseError,
    SchemeError,
    VolsegError,
    of_case,
)

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if kind not in (SchemeError, NoCaseError)
]


def test_an_error_is_one_sentence_of_the_case_the_problem_and_the_remedy():
    error = GeometryError("shapes differ", remedy="co-register them", case_id="P7", path=Path("p"))

    assert str(error) == "case P7: shapes differ; co-register them"
    assert error.without_case == "shapes differ; co-register them"
    assert (error.problem, error.remedy) == ("shapes differ", "co-register them")
    assert (error.case_id, error.path) == ("P7", Path("p"))
    assert str(GeometryError("shapes differ")) == "shapes differ"


def test_an_error_that_is_of_a_case_stays_of_that_case():
    assert str(ImageError("empty").of_case("a").of_case("b")) == "case a: empty"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if issubclass(kind, VolsegError)])
def test_an_error_of_every_kind_crosses_processes_whole(kind):
    error = kind("found 1, but 2 expected", remedy="add it", case_id="a", path=Path("x"))

    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(other) is kind
        assert str(other) == str(error)
        assert vars(other) == vars(error)


def test_an_error_of_a_scheme_crosses_processes_with_the_schemes_that_fit():
    error = SchemeError("holds 4", ["brats2021"]).of_case("a")

    other = pickle.loads(pickle.dumps(error))

    assert isinstance(other, LabelError)
    assert str(other) == "case a: holds 4; use labels: brats2021"
    assert other.fitting == ("brats2021",)


def test_an_error_of_a_folder_without_cases_crosses_processes_with_the_channels_that_lack():
    error = NoCaseError("nothing", ["t1c"], remedy="complete it", path=Path("scans"))

    other = pickle.loads(pickle.dumps(error))

    assert str(other) == "nothing; complete it"
    assert (other.lacks, other.path) == (("t1c",), Path("scans"))


def test_what_a_block_raises_is_of_its_case():
    with pytest.raises(ImageError, match=r"^case a: empty$"), of_case("a"):
        raise ImageError("empty")
