"""Which channel a series is, by all that its source says, and where it is refused."""

from __future__ import annotations

import datetime
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from volseg.conversion.by_hand import ByHand
from volseg.conversion.channels import assign
from volseg.conversion.evidence import evidence_of
from volseg.conversion.evidence_words import agent_in_tag, read_words
from volseg.conversion.plan import make_plan
from volseg.conversion.pseudonym_table import PseudonymTable
from volseg.conversion.record import harmless_notes
from volseg.conversion.series import Facts, Patient, Series, SourceFinding, Study
from volseg.errors import ConfigError
from volseg.images.grid import Grid

MPRAGE = {
    "scanning_sequence": ("GR", "IR"),
    "variant": ("SK", "SP", "MP"),
    **{"echo_ms": 2.3, "repetition_ms": 1900, "inversion_ms": 900},
}
SPIN_ECHO = {"scanning_sequence": ("SE",), "echo_ms": 12, "repetition_ms": 550}
TSE = {"scanning_sequence": ("SE",), "echo_ms": 100, "repetition_ms": 6000}
FLAIR = {"scanning_sequence": ("SE", "IR"), "echo_ms": 84, "repetition_ms": 9000}
INVERTED = {**FLAIR, "inversion_ms": 2500}


def series(description=None, number=1, spacing=(1, 1, 5), n=(200, 200, 40), **more):
    facts = {name: more.pop(name) for name in list(more) if name in Facts.__dataclass_fields__}
    study = Study("1.2.3", description=more.pop("of_study", None))
    affine = np.diag([*map(float, spacing), 1.0])
    return Series(
        name=f"a: series {number}, {description}",
        files=(Path(more.pop("file", f"a/{number}.dcm")),),
        patient=Patient("P"),
        study=study,
        grid=Grid(n, affine),
        facts=Facts(**{"modality": "MR", "number": number, "description": description, **facts}),
        kind=more.pop("kind", "dicom"),
        load=lambda: np.zeros(n, np.int16),
        notes=more.pop("notes", ()),
    )


def channels_of(*found, by_hand=()):
    assignment = assign(found, ByHand.parse(by_hand))
    return {channel: one.series.facts.number for channel, one in assignment.channels.items()}


def refusals(*found, by_hand=()):
    assignment = assign(found, ByHand.parse(by_hand))
    return {one.channel: one.sentence for one in assignment.refused}


@pytest.mark.parametrize(
    ("description", "kind", "agent"),
    [
        ("t1_mprage_sag_p2_iso", "T1", None),
        ("t1_mprage_sag_p2_iso_KM", "T1", "given"),
        ("Ax T1 FLAIR +C", "T1", "given"),
        ("AX T2 FLAIR FS", "FLAIR", None),
        ("t2_tirm_tra_dark-fluid", "FLAIR", None),
        ("3D T1 BRAVO+C", "T1", "given"),
        ("SAG T1 SE POST", "T1", "given"),
        ("T1W_SE + C", "T1", "given"),
        ("T1 + FS", "T1", None),
        ("eT2W_TSE", "T2", None),
        ("sT1W_3D_TFE", "T1", None),
        ("Ax FSPGR 3D GAD", "T1", "given"),
        ("t1_tse_tra_nativ", "T1", "none"),
        ("T1 nach KM", "T1", "given"),
        ("T1 n. KM", "T1", "given"),
        ("T1 ohne KM", "T1", "none"),
        ("T1 sans gado", "T1", "none"),
        ("T1 SPGR après injection", "T1", "given"),
        ("T1 sin contraste", "T1", "none"),
        ("T1 con contraste", "T1", "given"),
        ("T1 senza mdc", "T1", "none"),
        ("T1 w/o contrast", "T1", "none"),
        ("T1 with and without contrast", "T1", "both"),
        ("Ax T1 PRE AND POST", "T1", "both"),
        ("T1 post op", "T1", None),
        ("COR T1 C-", "T1", "none"),
        ("SAG CUBE FLAIR", "FLAIR", None),
        # A negation of something else than the agent says nothing of the agent.
        ("AX T1 POST no FS", "T1", "given"),
        ("T1 without fat sat +C", "T1", "given"),
        ("t1 se ohne Fettsättigung nach KM", "T1", "given"),
        ("T1 no motion", "T1", None),
        ("AX T1 NON-CON", "T1", "none"),
        ("T1WI 增强", "T1", "given"),
        ("T1平扫", "T1", "none"),
        ("T2压水", "FLAIR", None),
        ("T1造影後", "T1", "given"),
        ("T1 voor contrast", "T1", "none"),
        ("T1 Gadoteric acid", "T1", "given"),
        ("t2_space_dark-fluid_sag_p2_iso", "FLAIR", None),
        ("t1_vibe_dixon_tra_W", "T1", None),
        ("t1_mp2rage_sag_UNI_Images", "T1", None),
        ("FLAIR registered to T1", "several", None),
        ("MR brain", "", None),
    ],
)
def test_a_description_says_contrast_and_agent(description, kind, agent):
    said = read_words(description)

    assert (said.kind, said.agent, said.left_out) == (kind, agent, "")


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        ("ep2d_diff_3scan_trace_p2", "diffusion"),
        ("AX DWI b1000", "diffusion"),
        ("ep2d_perf_DSC", "perfusion"),
        ("t2_fl2d_tra_hemo", "susceptibility or T2*"),
        ("AX T2* GRE", "susceptibility or T2*"),
        ("AX SWAN", "susceptibility or T2*"),
        ("TOF_3D_multi-slab", "angiography"),
        ("svs_se_135", "spectroscopy"),
        ("AAHScout", "scout"),
        ("3-plane loc", "scout"),
        ("gre_field_mapping", "calibration"),
        ("t2_ciss3d", "balanced steady state"),
        ("COR STIR", "short inversion time (STIR)"),
        ("T1 map", "quantitative map"),
        ("T1 SUB", "subtraction or projection"),
        ("T1 soustraction", "subtraction or projection"),
        ("t1_vibe_dixon_tra_F", "fat image of Dixon"),
        ("FAT: Ax T1 LAVA-Flex", "fat image of Dixon"),
        ("t1_vibe_dixon_tra_opp", "opposed phase of Dixon"),
        ("OutPhase: Ax T1 LAVA-Flex", "opposed phase of Dixon"),
        ("t1_mp2rage_sag_T1_Images", "quantitative map"),
        ("Synthetic T2 FLAIR", "quantitative map"),
        ("AX T1 Reformatted", "a processed series"),
        ("t1_twist_dyn", "perfusion"),
        ("t2_tse_tra_Knie", "another part of the body"),
        ("t2_tse_sag C-spine", "another part of the body"),
        ("t1_tse_cor orbita fs KM", "another part of the body"),
    ],
)
def test_what_is_no_channel_is_left_out_with_a_word(description, reason):
    evidence = evidence_of(series(description))

    assert (evidence.fits, evidence.left_out) == ((), reason)


@pytest.mark.parametrize(
    ("tag", "agent"),
    [
        *(("Gadovist 7.5 ml", "given"), ("Dotarem", "given"), ("NONE", "none"), ("NO", "none")),
        *(("no contrast", "none"), ("", None), (None, None), (" - ", None)),
    ],
)
def test_scanners_write_many_words_into_the_tag_of_the_agent(tag, agent):
    assert agent_in_tag(tag) == agent


@pytest.mark.parametrize(
    ("facts", "fits"),
    [
        (MPRAGE, ("t1n",)),
        (SPIN_ECHO, ("t1n",)),
        ({**SPIN_ECHO, "contrast_agent": "Gadovist"}, ("t1c",)),
        (TSE, ("t2w",)),
        (INVERTED, ("t2f",)),
        ({"acquisition_contrast": "FLUID_ATTENUATED"}, ("t2f",)),
        # GE's spoiled gradient echo with a short inversion, and its FLAIR of T1.
        ({"scanning_sequence": ("GR",), "echo_ms": 3, "inversion_ms": 450}, ("t1n",)),
        ({**SPIN_ECHO, "repetition_ms": 2500, "inversion_ms": 900}, ("t1n",)),
    ],
)
def test_parameters_alone_say_the_contrast(facts, fits):
    assert evidence_of(series(None, **facts)).fits == fits


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"scanning_sequence": ("GR",), "echo_ms": 20}, "susceptibility or T2*"),
        ({"scanning_sequence": ("EP", "SE"), "echo_ms": 90}, "echo-planar imaging"),
        ({**TSE, "b_value": 1000.0}, "diffusion"),
        ({**TSE, "inversion_ms": 160}, "short inversion time (STIR)"),
        ({**SPIN_ECHO, "repetition_ms": 3000}, "PD"),
        ({}, "neither name nor parameters say its contrast"),
        ({**MPRAGE, "volumes": 40}, "one of several volumes of a dynamic series"),
        ({**MPRAGE, "burned_in": True}, "its pixels hold annotations, perhaps the patient's name"),
        ({"modality": "US"}, "modality US, not MR, CT or PT"),
    ],
)
def test_parameters_alone_say_what_is_no_channel(facts, reason):
    evidence = evidence_of(series(None, **facts))

    assert (evidence.fits, evidence.left_out) == ((), reason)


def test_the_words_of_a_protocol_count_where_it_names_a_sequence():
    exam = series("AX T1", protocol="Brain with contrast", **SPIN_ECHO)
    sequence = series("AX 3D", protocol="t1_mprage_KM", **MPRAGE)

    assert evidence_of(exam).fits == ("t1n",)
    assert evidence_of(sequence).fits == ("t1c",)


@pytest.mark.parametrize(
    ("description", "facts", "doubt", "fits"),
    [
        (
            "t1 POST",
            {**SPIN_ECHO, "contrast_agent": "NONE"},
            "the name says an agent, the tag of the contrast agent none",
            ("t1n", "t1c"),
        ),
        (
            "t1 nativ",
            {**SPIN_ECHO, "contrast_agent": "Gadovist"},
            "the name says none, the tag of the contrast agent an agent",
            ("t1n", "t1c"),
        ),
        (
            "T1 pre post",
            SPIN_ECHO,
            "the name says both with and without contrast agent",
            ("t1n", "t1c"),
        ),
        (
            "AX FLAIR",
            TSE,
            "the name says FLAIR, but not parameters (SE, TE 100, TR 6000 ms)",
            ("t2f", "t2w"),
        ),
        (
            "AX FLAIR",
            {**FLAIR, "inversion_ms": 160},
            "the name says FLAIR, but not parameters (SE/IR, TE 84, TR 9000, TI 160 ms)",
            ("t2f", "t2w"),
        ),
        (
            "AX T1",
            TSE,
            "the name says T1, the parameters (SE, TE 100, TR 6000 ms) say T2",
            ("t1n", "t1c", "t2w"),
        ),
    ],
)
def test_contradictory_evidence_is_a_doubt(description, facts, doubt, fits):
    evidence = evidence_of(series(description, **facts))

    assert (evidence.doubt, evidence.fits) == (doubt, fits)


def test_a_study_gets_its_four_channels():
    found = [
        series("t2_tirm_dark-fluid", 2, **INVERTED),
        series("t2_tse_tra", 3, **TSE),
        series("t1_mprage", 4, **MPRAGE),
        series("t1_mprage_KM", 5, contrast_agent="Gadovist", **MPRAGE),
        series("ep2d_diff", 6),
    ]

    assert channels_of(*found) == {"t1n": 4, "t1c": 5, "t2w": 3, "t2f": 2}
    assert refusals(*found) == {}


def test_a_doubtful_series_refuses_its_channels_with_the_remedy():
    found = [series("t1 nativ", 4, contrast_agent="Gadovist", **SPIN_ECHO), series("t2", 5, **TSE)]

    assert channels_of(*found) == {"t2w": 5}
    assert refusals(*found)["t1c"] == (
        "t1c is refused: a: series 4, t1 nativ is the only candidate, but the name says none, the "
        "tag of the contrast agent an agent; choose with --channel t1c=PATTERN, such as "
        "--channel t1c=4"
    )


def test_a_doubtful_series_does_not_stop_a_clear_one():
    clear = [series("t1 nativ", 1, **SPIN_ECHO), series("t1 KM", 2, **SPIN_ECHO)]
    doubtful = series("t1 post", 3, contrast_agent="NONE", **SPIN_ECHO)

    assignment = assign([*clear, doubtful], ByHand())

    assert assignment.refused == ()
    assert "other series are clear" in assignment.left_out[0].reason


@pytest.mark.parametrize(
    ("better", "worse", "why"),
    [
        ({}, {"n": (200, 200, 10)}, "covers 100 mm along each axis"),
        ({"description": "t2_tse"}, {"description": "drive"}, "has the contrast in its name"),
        ({"spacing": (1, 1, 1), "n": (200, 200, 150)}, {}, "has thinner slices"),
        ({"spacing": (0.7, 0.7, 5)}, {"spacing": (1, 1, 5)}, "has smaller voxels"),
        ({}, {"notes": ("gantry tilt",)}, "needs fewer assumptions"),
        ({}, {"description": "t2_tse_fs"}, "has no fat suppression"),
        ({}, {"spacing": (5, 1, 1), "n": (40, 200, 200)}, "is axial"),
    ],
)
def test_of_several_series_the_first_criterion_that_differs_decides(better, worse, why):
    best = series(**{"description": "t2_tse", "number": 1, **TSE, **better})
    other = series(**{"description": "t2_tse", "number": 2, **TSE, **worse})

    for order in ([best, other], [other, best]):
        assignment = assign(order, ByHand())

        assert assignment.channels["t2w"].series is best
        assert assignment.channels["t2w"].better == why
        assert assignment.left_out[0].reason == f"fits t2w, but another series {why}"


def test_two_series_that_fit_equally_well_are_never_chosen_from():
    found = [series("t2_tse_tra", number, **TSE) for number in (3, 8)]

    assert channels_of(*found) == {}
    assert refusals(*found)["t2w"] == (
        "t2w is refused: a: series 3, t2_tse_tra and a: series 8, t2_tse_tra fit it equally well; "
        "choose with --channel t2w=PATTERN, such as --channel t2w=3"
    )
    assert channels_of(*found, by_hand=["t2=8"]) == {"t2w": 8}


def test_several_t1_that_are_silent_on_contrast_agent_are_refused_even_if_one_is_finer():
    found = [
        series("t1_tse", 3, **SPIN_ECHO),
        series("t1_mprage", 9, spacing=(1, 1, 1), n=(200, 200, 150), **MPRAGE),
    ]

    assert channels_of(*found) == {}
    assert "none says whether a contrast agent was given" in refusals(*found)["t1n"]
    of_native_study = [
        series(one.facts.description, one.facts.number, of_study="MR w/o contrast", **MPRAGE)
        for one in found[:1]
    ]
    assert channels_of(*of_native_study) == {"t1n": 3}


def test_a_silent_t1_after_a_series_with_agent_is_doubtful():
    early, late = datetime.time(10, 0), datetime.time(10, 30)
    given = series("t1 KM", 5, acquired=datetime.time(10, 20), **SPIN_ECHO)
    before = series("t1_mprage", 4, acquired=early, **MPRAGE)
    after = series("t1_mprage", 6, acquired=late, **MPRAGE)

    assert channels_of(given, before) == {"t1n": 4, "t1c": 5}
    assert "acquired after a series with contrast agent" in refusals(given, after)["t1n"]


def test_a_silent_t1_past_midnight_is_doubtful_where_days_are_not_known():
    day = datetime.date(2020, 3, 4)
    given = series("t1 KM", 5, acquired=datetime.time(23, 50), **SPIN_ECHO)
    after = series("t1_mprage", 6, acquired=datetime.time(0, 10), **MPRAGE)
    dated = [replace(one, facts=replace(one.facts, acquired_on=day)) for one in (given, after)]

    assert "acquired after a series with contrast agent" in refusals(given, after)["t1n"]
    assert channels_of(*dated) == {"t1n": 6, "t1c": 5}


@pytest.mark.parametrize("name", ["ep2d_perf", "t2_tirm_dark-fluid"])
def test_the_tag_of_any_series_shows_that_the_agent_was_given_before_a_silent_t1(name):
    early, late = datetime.time(10, 0), datetime.time(10, 30)
    given = series(name, 5, acquired=early, contrast_agent="Gadovist")
    after = series("t1_mprage", 6, acquired=late, **MPRAGE)
    before = series("t1_mprage", 4, acquired=datetime.time(9, 50), **MPRAGE)

    assert "acquired after a series with contrast agent" in refusals(given, after)["t1n"]
    assert channels_of(given, before)["t1n"] == 4


def test_a_silent_t1_after_a_t1_with_agent_by_hand_is_doubtful():
    given = series("t1_tse", 5, acquired=datetime.time(10, 20), **SPIN_ECHO)
    before = series("t1_mprage", 4, acquired=datetime.time(10, 0), **MPRAGE)
    after = series("t1_mprage", 6, acquired=datetime.time(10, 30), **MPRAGE)

    assert channels_of(given, before, by_hand=["t1c=5"]) == {"t1n": 4, "t1c": 5}
    assert channels_of(given, after, by_hand=["t1c=5"]) == {"t1c": 5}


@pytest.mark.parametrize("name", ["AX T1 GAD SUBTRACT", "isoDWI T2", "eADC"])
def test_short_names_of_subtractions_and_of_maps_of_diffusion_are_no_channel(name):
    assert read_words(name).left_out


def test_plus_or_minus_contrast_says_both_and_a_delayed_t1_has_contrast():
    assert read_words("T1 +/- C").agent == "both"
    assert read_words("T1 axial delayed").agent == "given"


def test_a_silent_t1_on_the_day_after_an_agent_is_doubtful_whatever_the_time_of_day():
    one, next_day = datetime.date(2020, 3, 4), datetime.date(2020, 3, 5)
    early, late = datetime.time(10, 0), datetime.time(10, 30)
    given = series("t1 KM", 5, acquired=late, acquired_on=one, **SPIN_ECHO)
    after = series("t1_mprage", 6, acquired=early, acquired_on=next_day, **MPRAGE)

    assert "acquired after a series with contrast agent" in refusals(given, after)["t1n"]


def test_channels_by_hand_come_before_evidence():
    found = [series("t1_mprage", 4, **MPRAGE), series("ADC", 7), series("odd", 8, **TSE)]

    by_hand = ["T1CE=*mprage*", "adc=ADC", "flair=8"]

    assert channels_of(*found, by_hand=by_hand) == {"t1c": 4, "adc": 7, "t2f": 8}


def notes_of_plan(*found, by_hand=()):
    table = PseudonymTable(Path("cases.pseudonyms.csv"))
    return make_plan(SourceFinding(tuple(found)), ByHand.parse(by_hand), table, Path()).notes


def test_a_series_by_hand_whose_evidence_says_another_channel_is_noted():
    silent = series("t1_mprage", 4, **MPRAGE)
    others = [replace(series("t2_tse", 4, **TSE), patient=Patient(name)) for name in ("B", "C")]

    (note,) = notes_of_plan(silent, *others, by_hand=["t1c=4"])

    assert re.fullmatch(
        r"--channel t1c takes a series of 2 cases, such as PAT-0000\d-000, whose own evidence says "
        "t2w; check the table, and give a pattern of the description if this is not meant",
        note,
    )


@pytest.mark.parametrize(
    ("word", "one", "instead"),
    [
        ("t1c=1", series("t1_mprage", **MPRAGE), ()),
        ("t1c=1", series("t1_mprage", contrast_agent="NONE", **MPRAGE), ("t1n",)),
        ("t1n=1", series("t1_mprage_KM", **MPRAGE), ("t1c",)),
        ("adc=1", series("t2_tse", **TSE), ("t2w",)),
        ("t1c=1", series("odd"), ()),
        ("cta=1", series("angio", modality="CT"), ()),
    ],
)
def test_the_evidence_of_a_series_by_hand_contradicts_only_where_it_is_clear(word, one, instead):
    (chosen,) = assign([one], ByHand.parse([word])).channels.values()

    assert chosen.instead == instead


def test_examinations_without_a_date_of_many_patients_are_one_note():
    found = [
        replace(series("t2_tse", **TSE), patient=Patient(name), study=Study(f"{name}/{visit}"))
        for name in "ABC"
        for visit in "12"
    ]

    (note,) = notes_of_plan(*found)

    assert re.match(r"PAT-0000\d-000 and 2 more: examinations without a date follow", note)


def test_where_no_pattern_fits_the_evidence_decides_and_that_is_said():
    found = [series("t1_mprage", 4, **MPRAGE)]

    assignment = assign(found, ByHand.parse(["t1n=*bravo*", "t1n=*spgr*"]))

    assert assignment.channels["t1n"].series is found[0]
    assert assignment.by_evidence == ("t1n",)


def test_a_pattern_that_fits_two_series_of_a_study_is_refused():
    found = [series("t1_mprage", 4, **MPRAGE), series("t1_mprage_KM", 5, **MPRAGE)]

    assert (
        "fits a: series 4, t1_mprage and a: series 5"
        in refusals(*found, by_hand=["t1n=t1*"])["t1n"]
    )
    assert (
        "gives a: series 4, t1_mprage to t1n too"
        in (refusals(*found, by_hand=["t1n=4", "t1c=t1_mprage"])["t1c"])
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["t1c"], "--channel is 't1c', expected CHANNEL=PATTERN"),
        (["t1c=*"], r"--channel is 't1c=\*', which fits every series"),
        (["my-t1=x"], "has the channel 'my-t1', expected letters and digits"),
        (["seg=x"], "has the channel 'seg'"),
        (["t1c=4", "t1n=4"], "gives 4 for t1c and t1n"),
    ],
)
def test_words_of_channels_by_hand_are_checked(words, message):
    with pytest.raises(ConfigError, match=message):
        ByHand.parse(words)


def test_ct_has_one_channel_and_a_sharp_kernel_is_left_out():
    brain = series("Head", 2, modality="CT", kernel="H31s")
    bone = series("Head", 3, modality="CT", kernel="H70h")

    assert channels_of(brain, bone) == {"ct": 2}
    assert channels_of(series("PET AC", modality="PT")) == {"pet": 1}


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("VSD.Brain.XX.O.MR_Flair.54512", ("t2f",)),
        ("VSD.Brain.XX.O.MR_T1c.54514", ("t1c",)),
        ("P7_t1ce", ("t1c",)),
        ("004_t1_mprage_sag_KM_20200101", ("t1c",)),
        ("P7_ct", ("ct",)),
        ("IM00012", ()),
        ("T1_brain_mask", ()),
        ("P7_T1_mask", ()),
    ],
)
def test_an_image_file_is_what_its_name_says(name, fits):
    one = series(name, kind="image", file=f"a/{name}.mha", modality=None)

    assert evidence_of(one).fits == fits


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("P1_FLAIR_to_T1", {"t2f", "t1n", "t1c"}),
        ("T1c_to_T1", {"t1n", "t1c"}),
        ("P1_T2_space-T1w", {"t2w", "t1n", "t1c"}),
        ("FLAIR_in_T1_space", {"t2f", "t1n", "t1c"}),
        ("P1_T1_T2", {"t1n", "t1c", "t2w"}),
    ],
)
def test_an_image_file_whose_name_says_two_sequences_is_decided_by_hand(name, fits):
    one = series(name, kind="image", file=f"a/{name}.nii.gz", modality=None)

    assert set(evidence_of(one).fits) == fits
    assert set(refusals(one)) == fits
    assert all("choose with --channel" in sentence for sentence in refusals(one).values())
    assert channels_of(one, by_hand=[f"t2f={name}"]) == {"t2f": 1}


def test_a_sequence_in_the_space_of_another_by_bids_is_what_its_last_word_says():
    name = "sub-01_space-T1w_FLAIR"

    assert evidence_of(series(name, kind="image", file=f"{name}.nii")).fits == ("t2f",)


def test_two_label_maps_of_a_case_are_refused_and_one_is_taken():
    one = [series("seg", number, is_label=True) for number in (1, 2)]

    assert channels_of(one[0]) == {"label map": 1}
    assert "are label maps" in refusals(*one)["label map"]


def test_a_note_with_words_of_the_source_does_not_reach_the_record():
    notes = ("gantry tilt of 12 degrees resampled away", "slices of T1 KM Meier are unordered")

    assert harmless_notes(series("t1 KM Meier", 4, notes=notes)) == [notes[0]]


def test_a_knee_is_left_out_by_the_tag_of_its_body_part_unless_taken_by_hand():
    knee = series("T2 TSE TRA", body_part="KNEE", **TSE)

    assert evidence_of(knee).left_out == "another part of the body by its tag"
    assert channels_of(series("T2 TSE TRA", body_part="BRAIN", **TSE)) == {"t2w": 1}
    assert channels_of(knee, by_hand=["t2w=1"]) == {"t2w": 1}
