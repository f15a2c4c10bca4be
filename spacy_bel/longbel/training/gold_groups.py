"""Semantic groups of mentions taken from their gold codes, as the published implementation does.

It tells the model a part of the answer, and no mention of a new document has it: only for
comparison with published figures.
"""

from __future__ import annotations

from dataclasses import replace

from ...corpora.flags import main_code
from ...corpora.gold import Codes
from ...kb import KnowledgeBase
from ..calibrating import GoldDocument
from ..document import JOINT, Mention


def with_gold_groups(kb: KnowledgeBase, document: GoldDocument) -> GoldDocument:
    """A document in which mentions have the group of their gold concept.

    If the concept has several, it is the first of those that the mention's label maps to, or else
    of the concept. Groups of several concepts are joined where they differ. Mentions whose code the
    knowledge base does not know keep theirs.
    """
    mentions = tuple(
        _with_groups(kb, mention, document.gold.get(i, []))
        for i, mention in enumerate(document.document.mentions)
    )
    return document._replace(document=replace(document.document, mentions=mentions))


def _with_groups(kb: KnowledgeBase, mention: Mention, codes: Codes) -> Mention:
    concepts = [next(filter(None, (main_code(kb, c) for c in part)), None) for part in codes]
    known = [kb[code].groups for code in concepts if code is not None]
    if not known or len(known) < len(codes):
        return mention
    chosen = tuple(
        dict.fromkeys(
            next((group for group in mention.groups if group in groups), groups[0])
            for groups in known
        )
    )
    return replace(mention, group=JOINT.join(chosen), groups=chosen)
