"""Reading of the name of a NIfTI file: the case, and the channel or label map."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import replace

from volseg.cases.channels import CHANNEL_NAMES, LABEL, channel_of
from volseg.cases.layouts import misnamed_label_map
from volseg.finding.bids_names import read_bids
from volseg.finding.channel_names import read_channel
from volseg.finding.label_names import read_label
from volseg.finding.name_words import Reading, Words, agent_anywhere
from volseg.images.file_names import stem

# BraTS 2012 to 2015, before the number of the file: VSD.Brain.XX.O.MR_T1c.54514.
_VSD = re.compile(
    r"VSD\.Brain[^.]*\.[^.]*\.[^.]*\.(?:MR_)?(?P<word>T1c?|T2|Flair|OT)(?:\.\d+)?", re.IGNORECASE
)
_NUMBERED = re.compile(r"(?P<case>.+)_(?P<number>\d{4})")


def read_name(name: str, channels: Collection[str]) -> Reading:
    """Case and content of a NIfTI file by its name.

    Known names are those of BraTS, BIDS and public cohorts. Words of contrast agent may be before
    or after T1.

    Args:
        name: File name.
        channels: Contrasts to look for, besides the four of BraTS; the reading has our names of
            them.

    >>> read = read_name("BraTS-GLI-00002-000-t1c.nii.gz", ())
    >>> read.case, read.contents
    ('BraTS-GLI-00002-000', ('t1c',))
    >>> read_name("VSD.Brain.XX.O.MR_T1c.54514.nii", ()).contents
    ('t1c',)
    >>> read_name("sub-01_ses-2_ce-gadolinium_T1w.nii", ()).contents
    ('t1c',)
    """
    whole = stem(name)
    if case := misnamed_label_map(whole):
        return Reading(case, (LABEL,))
    if reading := _read_vsd(whole) or read_bids(whole, channels):
        return reading
    words = Words(whole)
    if not words.texts:
        return Reading(whole)
    if reading := read_label(words) or read_channel(words):
        return reading
    channel = channel_of(words.texts[-1])
    if channel in map(channel_of, (*CHANNEL_NAMES, *channels)):
        return Reading(words.before(len(words.texts) - 1), (channel,))
    return Reading(whole)


def _read_vsd(whole: str) -> Reading | None:
    """Reading of a name of BraTS 2012 to 2015, in which OT is the label map."""
    match = _VSD.fullmatch(whole)
    if match is None:
        return None
    word = match["word"]
    return Reading("", (LABEL if word.upper() == "OT" else channel_of(word),))


def read_folder(name: str, read: Reading) -> Reading:
    """Reading of a T1 file, corrected by words of contrast agent in the name of its folder.

    >>> read_folder("postcontrast", Reading("", ("t1n",))).doubt
    "T1 in a folder 'postcontrast', a word of contrast agent"
    """
    if read.contents != ("t1n",) or read.other is not None or read.doubt:
        return read
    of_folder = read_name(name, ())
    if of_folder.contents == ("t1c",) and not of_folder.case:
        return Reading(read.case, ("t1c",))
    words = Words(name).texts
    if words != ["post"] and agent_anywhere(words) != "t1c":
        return read
    return replace(read, doubt=f"T1 in a folder {name!r}, a word of contrast agent")


def unknown_channel(channels: Iterable[str]) -> str:
    """Reason to leave out a file whose name has neither a known word nor any of `channels`."""
    return f"the name ends in no known channel (such as {', '.join(channels)}) and not in seg"


def read_numbered_name(name: str) -> tuple[str, int] | None:
    """Case and channel number of a file with an nnU-Net name; None for any other name.

    >>> read_numbered_name("BraTS2021_00000_0003.nii.gz")
    ('BraTS2021_00000', 3)
    """
    match = _NUMBERED.fullmatch(stem(name))
    return (match["case"], int(match["number"])) if match else None
