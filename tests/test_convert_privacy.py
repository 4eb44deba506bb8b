"""A word in every text of a header, in names and in other formats: none of them is written."""

from __future__ import annotations

import datetime
import gzip
import logging

import nibabel as nib
import numpy as np
import pytest
from dicom_files import Header, apply, save, uid, write_series
from hospital import SIEMENS, grid, head
from pydicom import dcmread
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from typer.testing import CliRunner

import volseg
from volseg.cli import app

_TEXTS = ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT")
# Values that decide how a file is read; a word in them would be another file.
_DECIDING = frozenset((
    *("SpecificCharacterSet", "ImageType", "Modality", "PhotometricInterpretation", "FrameType"),
    *("ScanningSequence", "SequenceVariant", "ScanOptions", "MRAcquisitionType", "StackID"),
    *("LossyImageCompression", "BurnedInAnnotation", "PatientSex", "BodyPartExamined"),
    *("AcquisitionContrast", "EchoPulseSequence", "ContrastBolusAgentAdministered"),
))  # fmt: skip
#: What the printed table shows of a source, as the guide says.
_SHOWN = ("SeriesDescription", "ProtocolName")
_SPELLINGS = ("%Y%m%d", "%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y.%m.%d", "%d %b %Y")


def word(*names):
    """A word of letters and digits that is nowhere by chance."""
    return "ZQ" + uid("secret", *names).replace(".", "")[-12:]


def planted():
    """Values by keyword: a word of its own for every text of the standard, a date, a UID."""
    values = {}
    for number, (tag, (vr, _, _, _, keyword)) in enumerate(sorted(DicomDictionary.items())):
        is_file = tag >> 16 in (0, 2, 4) or tag >> 16 == 0xFFFE
        if not keyword or is_file or keyword in _DECIDING:
            continue
        if vr in _TEXTS:
            values[keyword] = word(keyword)
        elif vr == "DA":
            day = datetime.date(1931, 1, 1) + datetime.timedelta(number % 3000)
            values[keyword] = f"{day:%Y%m%d}"
        elif vr == "UI" and keyword != "SOPClassUID":
            values[keyword] = uid("secret", keyword)
    values["SeriesDescription"] = f"t2_tse {word('SeriesDescription')}"
    values["ProtocolName"] = f"t2 {word('ProtocolName')}"
    return values


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A DICOM series and a NIfTI file with a word in all their texts and names."""
    top = tmp_path_factory.mktemp("in") / word("folder")
    shape, affine = grid("axial", 12)
    tags = {**SIEMENS["t2w"], **planted()}
    del tags["SOPInstanceUID"]
    header = Header(tags=tags, private=word("private"))
    image = head(affine, shape, "t2w")
    paths = write_series(top / word("patient"), image, affine, header, pattern=f"{word('n')}{{}}")
    for path in paths:
        ds = dcmread(path)
        inner = Dataset()
        apply(inner, {name: word("nested", name) for name in ("PatientName", "StudyDescription")})
        ds.RequestAttributesSequence = [inner]
        block = ds.private_block(0x0029, word("creator"), create=True)
        block.add_new(0x20, "UN", word("unknown").encode())
        save(ds, path)
    nifti = nib.Nifti1Image(image.astype(np.int16), affine)
    nifti.header["descrip"], nifti.header["aux_file"] = word("descrip").encode(), word("aux")
    nifti.header["intent_name"] = word("intent")
    nifti.header.extensions.append(nib.nifti1.Nifti1Extension("comment", word("ext").encode()))
    (top / word("beside")).mkdir()
    nib.save(nifti, top / word("beside") / f"{word('beside')}_t2.nii.gz")
    return top


def secrets_of(source):
    """Each planted word, date in common spellings, and UID."""
    values = planted()
    dates = [text for text in values.values() if len(text) == 8 and text.startswith("193")]
    days = [datetime.datetime.strptime(text, "%Y%m%d").date() for text in dates]
    words = {word(name) for name in values} | {
        word(name)
        for name in ("private", "creator", "unknown", "descrip", "aux", "intent", "ext", "beside")
    }
    words |= {word("folder"), word("patient"), word("n"), source.parent.name}
    words |= {word("nested", name) for name in ("PatientName", "StudyDescription")}
    uids = {text for text in values.values() if text.startswith("1.2.826")}
    return words | uids | {day.strftime(spelling) for day in days for spelling in _SPELLINGS}


def found_in(content, secrets):
    lowered = content.lower()
    return {secret for secret in secrets if secret.lower().encode() in lowered}


def test_no_planted_word_date_or_uid_is_written_or_logged(source, tmp_path, caplog):
    secrets = secrets_of(source)
    with caplog.at_level(logging.DEBUG):
        volseg.convert(source, tmp_path / "cases", volseg.ConvertOptions(shift_dates=True))
        result = volseg.convert(source, tmp_path / "cases", volseg.ConvertOptions(overwrite=True))

    assert result.failures == ()
    assert len(result.outcome.kept) == 2
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path != result.table]
    assert len(files) == 4, "two cases, the record, the shifted dates"
    names = "\n".join(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    searched = {"names": names.encode(), "log": "\n".join(caplog.messages).encode()}
    for path in files:
        content = path.read_bytes()
        searched[path.name] = content
        if path.suffix == ".gz":
            searched[f"{path.name}, unpacked"] = gzip.decompress(content)
    assert {where: found_in(content, secrets) for where, content in searched.items()} == {
        where: set() for where in searched
    }
    table = result.table.read_bytes()
    hunted = {word("PatientID"), word("PatientName"), word("folder"), planted()["StudyInstanceUID"]}
    assert found_in(table, hunted) == hunted, "the hunt has no prey"


def test_the_terminal_shows_paths_and_descriptions_only_and_says_so(source, tmp_path):
    done = CliRunner().invoke(
        app, ["convert", str(source), "-o", str(tmp_path / "cases"), "--dry-run"]
    )

    assert done.exit_code == 0
    assert "do not pass them on" in " ".join(done.output.split())
    paths = {word(name) for name in ("folder", "patient", "n", "beside")} | {source.parent.name}
    allowed = {word(name) for name in _SHOWN} | paths
    assert found_in("".join(done.output.split()).encode(), secrets_of(source)) <= allowed
