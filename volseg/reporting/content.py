"""What a report holds: sections of texts, tables and charts, and cases with their pictures."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from volseg.reporting.charts import Chart


@dataclass(frozen=True)
class CaseLink:
    """A cell that links to the pictures of a case, if the report has them."""

    case_id: str

    def __str__(self) -> str:
        return self.case_id


Row = Sequence[str | CaseLink]


@dataclass(frozen=True)
class Table:
    """A table of texts; the first cell of each row is its heading.

    Attributes:
        caption: Heading of the table.
        columns: Headings of the columns.
        rows: Cells of each row.
        note: Sentence below the table.
        is_folded: Whether the reader must open the table.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Row]
    note: str = ""
    is_folded: bool = False


@dataclass(frozen=True)
class Notes:
    """Sentences as a list; warnings stand out."""

    sentences: Sequence[str]
    is_warning: bool = False


Block = Table | Notes | Chart


@dataclass(frozen=True)
class Section:
    """A section of the first page.

    Attributes:
        anchor: Identifier in links, of letters and hyphens.
        title: Heading.
        blocks: Content, in order.
    """

    anchor: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Picture:
    """A picture in WebP.

    Attributes:
        title: What is seen, as a heading.
        description: Text for readers who do not see the picture.
        data: Content of the WebP file.
        width: Width in pixels.
        height: Height in pixels.
        is_folded: Whether the reader must open the picture, as an animation plays without end.
    """

    title: str
    description: str
    data: bytes = field(repr=False)
    width: int
    height: int
    is_folded: bool = False

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        return f"data:image/webp;base64,{base64.b64encode(self.data).decode()}"


@dataclass(frozen=True)
class CaseEntry:
    """A case with pictures.

    Attributes:
        case_id: Id of the case.
        summary: Main numbers, in a few words.
        blocks: Tables and notes.
        draw: Function that draws the pictures; a VolsegError names what stops it.
    """

    case_id: str
    summary: str
    blocks: Sequence[Block]
    draw: Callable[[], Sequence[Picture]]


@dataclass(frozen=True)
class Report:
    """A report, before its pictures are drawn.

    Attributes:
        title: Heading of the pages.
        facts: What the head states, by name.
        warnings: Sentences at the top of the first page.
        sections: Sections of the first page.
        cases: Cases with pictures, in their order on the pages.
        order: What decides that order, in words.
    """

    title: str
    facts: Mapping[str, str]
    warnings: Sequence[str]
    sections: Sequence[Section]
    cases: Sequence[CaseEntry]
    order: str
