"""BigBio-KB pages as the engine reads them.

A page is a dictionary with "id", "passages" and "entities". Schema: Fries et al. 2022,
https://github.com/bigscience-workshop/biomedical ("kb").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ReadError
from .compat import check_compat, last_of_each_span
from .document import JOINT, Document, Mention, Passage

#: Character offsets at which the sentences of a text begin.
SentenceStarts = Callable[[str], Iterable[int]]


@dataclass(frozen=True, slots=True)
class Page:
    """A page as the engine reads it, and the gold (code, name) of each of its mentions."""

    id: str
    document: Document
    gold: tuple[tuple[str | None, str | None], ...]


def read_page(
    page: Mapping[str, Any],
    *,
    compat: str | None = "longbel",
    sentence_starts: SentenceStarts | None = None,
) -> Page:
    """A page as a document: mentions by ascending (start, end), the first text of each passage.

    A mention spans the envelope of its fragments, and its text is theirs joined by one space; so
    were the documents that released checkpoints have been trained on. compat: with "longbel", of
    entities with one envelope the last one stays; with None, all of them. sentence_starts: see
    `sample`. Raises ReadError if it is no such page.
    """
    check_compat(compat)
    where = f"Page '{page.get('id', '')}'"
    try:
        passages = tuple(
            sorted(
                (Passage(int(p["offsets"][0][0]), str(p["text"][0])) for p in page["passages"]),
                key=lambda passage: passage.start,
            )
        )
        entities = [
            (_mention(entity), _gold(entity), [(int(s), int(e)) for s, e in entity["offsets"]])
            for entity in page["entities"]
        ]
        identifier = str(page["id"])
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ReadError(
            f"{where} is no BigBio-KB page ({type(error).__name__}: {error}). It needs 'id', "
            "'passages' and 'entities', with lists under 'text' and 'offsets', and a semantic "
            "group as the 'type' of each entity."
        ) from error
    for mention, _, _ in entities:
        if not any(p.start <= mention.start < p.end for p in passages):
            raise ReadError(
                f"{where}: the entity '{mention.text}' begins at {mention.start}, where no passage "
                "is. Offsets count characters of the whole document: check them."
            )
    if compat == "longbel":
        entities = last_of_each_span(entities, [(m.start, m.end) for m, _, _ in entities])
    entities.sort(key=lambda entity: (entity[0].start, entity[0].end))
    inside = {
        offset
        for _, _, fragments in entities
        for start, end in fragments
        for offset in range(start + 1, end)
    }
    document = Document(
        passages,
        tuple(mention for mention, _, _ in entities),
        tuple(
            sentence
            for passage in passages
            for sentence in _sentences(passage, inside, sentence_starts)
        ),
    )
    return Page(identifier, document, tuple(gold for _, gold, _ in entities))


def _mention(entity: Mapping[str, Any]) -> Mention:
    group = str(entity["type"])
    return Mention(
        min(int(start) for start, _ in entity["offsets"]),
        max(int(end) for _, end in entity["offsets"]),
        " ".join(entity["text"]),
        group,
        tuple(group.split(JOINT)),
    )


def _gold(entity: Mapping[str, Any]) -> tuple[str | None, str | None]:
    first = (entity.get("normalized") or [{}])[0]
    return first.get("db_id"), first.get("db_match")


def _sentences(
    passage: Passage, inside: set[int], sentence_starts: SentenceStarts | None
) -> list[tuple[int, int]]:
    """Sentences of a passage without surrounding white space; none begins inside a fragment."""
    starts = sentence_starts(passage.text) if sentence_starts is not None else ()
    bounds = sorted({0, *(at for at in starts if passage.start + at not in inside)})
    spans = []
    for start, end in zip(bounds, [*bounds[1:], len(passage.text)], strict=True):
        text = passage.text[start:end]
        if text.strip():
            begin = passage.start + start
            spans.append((begin + len(text) - len(text.lstrip()), begin + len(text.rstrip())))
    return spans
