"""A program of the user that strips skulls, such as FSL's `bet {input} {output}`."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import string
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from volseg import signals
from volseg.errors import BrainMaskError, VolsegError
from volseg.images.grid import check_same_grid
from volseg.images.nifti_reading import read_case
from volseg.preparation.brain_mask.mask import Mask, Proposal, cleaned, preferred
from volseg.preparation.volume import Volume
from volseg.words import cut, reason

_PLACEHOLDERS = {"input", "output"}
_EXAMPLE = "give a command such as 'hd-bet -i {input} -o {output}'"
#: Seconds after which a program is ended.
TIMEOUT_S = 3600.0
_LAST_WORDS = 2000  # bytes of the output of a program that are read for its last line


def check_command(command: str) -> list[str]:
    """The words of a command, whose program is there and which has both placeholders.

    >>> check_command("true -i {input} -o {output}")
    ['true', '-i', '{input}', '-o', '{output}']

    Raises:
        BrainMaskError: If it is not.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise BrainMaskError(
            f"the command {command!r} for brain masks cannot be read ({reason(error)})",
            remedy=_EXAMPLE,
        ) from None
    lacking = sorted(_PLACEHOLDERS - {name for word in words for name in _names(word, command)})
    if lacking or not words:
        which = " and ".join(f"{{{name}}}" for name in lacking)
        raise BrainMaskError(
            f"{command!r} is neither auto, mask, none nor a folder of masks, and as a command for "
            f"brain masks it lacks {which}",
            remedy=_EXAMPLE,
        )
    if shutil.which(words[0]) is None:
        raise BrainMaskError(
            f"the program {words[0]!r} for brain masks is not on the PATH, or cannot be executed",
            remedy="install it, or give its path",
        )
    return words


def run_command(
    command: str, volumes: Mapping[str, Volume], timeout_s: float = TIMEOUT_S
) -> Proposal:
    """The brain that a program finds in one channel.

    The program gets the channel as NIfTI at {input}, and writes at {output} a mask or the stripped
    image, on the same grid: every voxel that is not 0 is brain.

    Args:
        command: Command with the placeholders, run without a shell.
        volumes: Channels by name.
        timeout_s: Seconds after which the program is ended.

    Raises:
        BrainMaskError: If the program fails, takes longer, or writes no image on the same grid.
    """
    channel = preferred(volumes)
    with tempfile.TemporaryDirectory(prefix="volseg-") as folder:
        source, result = Path(folder, f"{channel}.nii.gz"), Path(folder, "brain.nii.gz")
        values, grid = volumes[channel]
        nib.save(nib.Nifti1Image(np.asarray(values, np.float32), grid.affine), source)
        words = [
            word.format(input=source, output=result) if _names(word, command) else word
            for word in check_command(command)
        ]
        _run(words, Path(folder), timeout_s)
        mask = _read(words[0], result, channel, volumes[channel])
    return cleaned(Proposal(mask, f"command {Path(words[0]).name}", (channel,)))


def _names(word: str, command: str) -> set[str]:
    """Placeholders in a word; a word without any may hold any braces."""
    if not any(f"{{{name}}}" in word for name in _PLACEHOLDERS):
        return set()
    try:
        names = {name for _, name, _, _ in string.Formatter().parse(word) if name is not None}
    except ValueError:
        names = {"{"}
    if not names <= _PLACEHOLDERS:
        raise BrainMaskError(
            f"the command {command!r} for brain masks has braces other than {{input}} and "
            f"{{output}} in {word!r}",
            remedy="write other braces twice: {{ and }}",
        )
    return names


def _run(words: Sequence[str], folder: Path, timeout_s: float) -> None:
    """Run a program without input, and end it and what it started if it takes too long."""
    name, log = words[0], folder / "log.txt"
    with log.open("wb") as said:
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise BrainMaskError(
                f"the program {name!r} for brain masks does not start ({reason(error)})",
                remedy="correct the command",
            ) from None
        try:
            with signals.removing(lambda: _end(process)):
                status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise BrainMaskError(
                f"the program {name!r} for brain masks did not end within {timeout_s:g} s",
                remedy="run it alone on this case, or choose another method with --strip",
            ) from None
        finally:
            _end(process)
    if status:
        last = log.read_bytes()[-_LAST_WORDS:].decode("utf-8", "replace").strip().splitlines()
        words_of_it = f", and its last line was: {cut(last[-1], 200)}" if last else ""
        ended = f"exited with {status}" if status > 0 else f"was ended by signal {-status}"
        raise BrainMaskError(
            f"the program {name!r} for brain masks {ended}{words_of_it}",
            remedy="run it alone on this case, or choose another method with --strip",
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        if sys.platform != "win32":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _read(program: str, result: Path, channel: str, volume: Volume) -> Mask:
    try:
        if not result.exists():
            raise BrainMaskError(
                f"the program {program!r} succeeded but wrote no file at {{output}}",
                remedy="let it write a NIfTI file at exactly that path, which ends with .nii.gz",
            )
        images = read_case([result], ["its output"], ["its output"])
        check_same_grid({"its output": images.grid, channel: volume.grid})
    except BrainMaskError:
        raise
    except VolsegError as error:
        raise BrainMaskError(
            f"the output of the program {program!r} is no brain mask ({error.problem})",
            remedy="let it write an image on the grid of {input}",
        ) from None
    return np.asarray(images.array[0] != 0)
