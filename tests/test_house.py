"""The rules of the house that no linter knows: sizes, layers, where helpers of tests live."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_what_tests_share_is_in_modules_that_are_no_tests():
    importing = {
        f"{path.name}: {line}"
        for path in (ROOT / "tests").glob("*.py")
        for line in re.findall(
            r"^\s*(?:from|import) test_\w+.*", path.read_text(encoding="utf-8"), re.MULTILINE
        )
    }

    assert importing == set()
