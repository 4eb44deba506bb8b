"""The official BraTS protocols by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from volseg.errors import ConfigError
from volseg.metrics.official.protocol import Protocol
from volseg.metrics.official.rules_2026 import BRATS_2026
from volseg.metrics.official.rules_until_2025 import BRATS_2017_TO_2025
from volseg.words import shown

#: Name of our own scores, which need no official protocol.
OWN_SCORES = "volseg"


def get_protocol(name: str) -> Protocol:
    """The protocol called `name`; ConfigError, with the nearest names, if there is none."""
    if not isinstance(name, str):
        raise ConfigError(
            f"protocol is {shown(name)}, expected one name, such as 'brats2023-gli'",
            remedy="compute the scores of each protocol alone",
        )
    try:
        return PROTOCOLS[name]
    except KeyError:
        close = difflib.get_close_matches(name.lower(), PROTOCOLS, n=3, cutoff=0.6)
        remedy = f"did you mean {' or '.join(close)}?" if close else f"use {', '.join(PROTOCOLS)}"
        raise ConfigError(f"unknown protocol {shown(name)}", remedy=remedy) from None


#: All official protocols by name.
PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {protocol.name: protocol for protocol in (*BRATS_2017_TO_2025, *BRATS_2026)}
)
