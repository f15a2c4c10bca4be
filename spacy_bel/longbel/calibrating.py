"""Development mentions with what was generated for them, to which probabilities are fitted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import tee
from typing import NamedTuple

from ..calibration import JudgedMention
from ..corpora.flags import main_code
from ..corpora.gold import Codes
from .document import Document
from .engine import Engine


class GoldDocument(NamedTuple):
    """A document, and the gold codes of those mentions that have any, by their place in it."""

    document: Document
    gold: Mapping[int, Codes]


def judged_names(engine: Engine, documents: Iterable[GoldDocument]) -> Iterator[JudgedMention]:
    """Link documents and judge the candidates of their mentions.

    Mentions for which nothing was generated are left out, and those of several concepts, of which
    no single candidate is right.
    """
    kb = engine.trie.kb
    given, read = tee(documents)
    traces = engine.trace(each.document for each in read)
    for (document, gold), found in zip(given, traces, strict=True):
        for i, codes in gold.items():
            if len(codes) != 1:
                continue
            mention = document.mentions[i]
            wanted = {main_code(kb, code) for code in codes[0]} - {None}
            mask = engine.group_mask(mention.groups)
            names = [
                engine.trie.generated(each, mask, engine.tokenizer) for each in found[i].hypotheses
            ]
            retrieved = mention.retrieved if engine.search.candidates else ()
            row = engine.merging.judged(
                kb,
                mention.text,
                names,
                lambda code, wanted=wanted: main_code(kb, code) in wanted,  # type: ignore[misc]
                retrieved,
            )
            if row is not None:
                yield row
