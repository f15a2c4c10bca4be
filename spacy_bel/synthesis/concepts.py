"""Which concepts of a knowledge base sentences are wanted for."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable

import numpy as np

from spacy_bel.corpora.document import CorpusDocument
from spacy_bel.corpora.flags import main_code
from spacy_bel.kb.knowledge_base import KnowledgeBase


def choose_concepts(
    kb: KnowledgeBase,
    *,
    groups: Collection[str] = (),
    codes: Iterable[str] | None = None,
    without: Collection[str] = (),
    defined: bool = False,
    limit: int | None = None,
    seed: int = 0,
) -> list[str]:
    """Main codes of some concepts, in the order of the knowledge base.

    groups: only concepts of one of these semantic groups; of all if empty. codes: only these; those
    that the knowledge base does not have are left out. without: none of these main codes. defined:
    only concepts with a definition. limit: so many of the rest, drawn with `seed`; a larger limit
    draws the same ones and more.

    Raises UnknownGroupError.
    """
    if codes is None:
        ids = np.arange(len(kb))
    else:
        known = {code for code in map(kb.resolve, codes) if code is not None}
        ids = np.array(sorted(kb.concept_id(code) for code in known), int)
    if groups:
        mask = kb.group_mask(groups)
        ids = ids[(kb.concept_group_masks[ids] & mask).any(axis=1)]
    chosen = [code for code in map(kb.code, ids.tolist()) if code not in without]
    if defined:
        chosen = [code for code in chosen if kb[code].definition.strip()]
    if limit is not None and limit < len(chosen):
        places = list(range(len(chosen)))
        random.Random(seed).shuffle(places)
        chosen = [chosen[place] for place in sorted(places[:limit])]
    return chosen


def annotated_codes(kb: KnowledgeBase, documents: Iterable[CorpusDocument]) -> set[str]:
    """Main codes of all concepts that mentions of some documents stand for, alternatives too."""
    codes = {
        main_code(kb, code)
        for document in documents
        for annotation in document.annotations
        for part in annotation.codes
        for code in part
    }
    return {code for code in codes if code is not None}
