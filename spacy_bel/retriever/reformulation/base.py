"""What is asked of a reformulator, and what is taken from its answer."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from spacy_bel.kb.text import clean

#: Characters of a sentence that are shown on either side of a mention.
MARGIN = 600
#: A longer answer is no name.
LONGEST_NAME = 300


class Request(NamedTuple):
    """A mention whose standard name is asked for.

    sentence: the text around it, in one line. mention: as it stands there, in one line. groups:
    the semantic groups that are searched, by their names in the knowledge base.
    """

    sentence: str
    mention: str
    groups: tuple[str, ...] = ()


class QueryReformulator(Protocol):
    """Says what a terminology may call the things that mentions stand for.

    Anything with these two members will do, such as a client of a service. `PromptedReformulator`
    has all but the call of a language model. To be used in spawned processes, it must be picklable.
    """

    @property
    def name(self) -> str:
        """What tells its answers from those of other models and prompts."""
        ...

    def reformulate(self, requests: Sequence[Request]) -> Sequence[str | None]:
        """The standard name for each request; None where the mention is better searched alone.

        Called without requests once before the first document, for it to open what it needs.
        """
        ...


def make_requests(
    text: str, starts: Collection[int], mentions: Iterable[tuple[int, int, Sequence[str]]]
) -> Iterator[Request]:
    """What is asked about some mentions of a document.

    text: the document. starts: character offsets at which its sentences begin. mentions: character
    offsets, end exclusive, and semantic groups of each.

    No sentence ends inside a mention; of a long one the words within ``MARGIN`` characters are
    shown.
    """
    borders = sorted({0, *starts, len(text)})
    for start, end, groups in mentions:
        first = borders[bisect_right(borders, start) - 1]
        last = borders[bisect_left(borders, end)]
        around = cut_around(text[first:last], start - first, end - first, MARGIN)
        yield Request(_one_line(around), _one_line(text[start:end]), tuple(groups))


def cut_around(text: str, start: int, end: int, margin: int) -> str:
    """What stands within so many characters of ``text[start:end]``, in whole words."""
    left, right = text[:start], text[end:]
    if len(left) > margin:
        left = left[len(left) - margin :].partition(" ")[2]
    if len(right) > margin:
        right = right[:margin].rpartition(" ")[0]
    return left + text[start:end] + right


def clean_name(answer: str | None) -> str | None:
    """An answer as a string to search for: one line, without control characters.

    None if nothing searchable is left, or it is too long for a name.
    """
    name = _one_line(answer or "")
    return name if len(name) <= LONGEST_NAME and any(map(str.isalnum, name)) else None


def _one_line(text: str) -> str:
    return " ".join(clean(text).split())
