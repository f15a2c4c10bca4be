"""Which spans of a document are mentions, and in which semantic groups to look for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from spacy.tokens import Doc, Span

from .errors import UnmappedLabelError
from .kb import KnowledgeBase

UnmappedLabels = Literal["error", "all", "skip"]
LabelGroups = Mapping[str, str | Sequence[str]]

#: `kb_id_` of a mention that was looked at and not linked.
NIL = "NIL"


def mention_spans(doc: Doc, spans_key: str | None) -> list[Span]:
    """Mentions of a document: its entities, or the spans of a group; none if there is no group."""
    if spans_key is None:
        return list(doc.ents)
    return list(doc.spans[spans_key]) if spans_key in doc.spans else []


def set_links(doc: Doc, spans_key: str | None, codes: Mapping[int, str]) -> None:
    """Set `kb_id_` of some mentions, by their index in `mention_spans`.

    Spans are rebuilt, since those that a document hands out are copies.
    """
    spans = [
        Span(doc, s.start, s.end, s.label, kb_id=codes.get(i, s.kb_id_), span_id=s.id)
        for i, s in enumerate(mention_spans(doc, spans_key))
    ]
    if spans_key is None:
        doc.set_ents(spans, default="unmodified")
    elif spans_key in doc.spans:
        group = doc.spans[spans_key]
        attributes = dict(group.attrs)
        doc.spans[spans_key] = spans
        doc.spans[spans_key].attrs.update(attributes)


def is_linkable(text: str) -> bool:
    """Whether a mention has anything to compare: a letter, a digit or another symbol in use."""
    return any(character.isalnum() for character in text)


class GroupMapping:
    """Maps mention labels to semantic groups of a knowledge base.

    kb: the knowledge base. label_groups: groups of labels. A label that is not listed maps to the
    group of its own name, or to the only group of a knowledge base that has one. unmapped_labels:
    what to do with any other: raise UnmappedLabelError ("error"), look in all groups ("all"), or
    leave its mentions alone ("skip"). Raises UnknownGroupError if a listed group is not in the
    knowledge base.
    """

    def __init__(
        self, kb: KnowledgeBase, label_groups: LabelGroups, unmapped_labels: UnmappedLabels
    ) -> None:
        self.kb = kb
        self.unmapped_labels = unmapped_labels
        self.label_groups = {label: _as_tuple(groups) for label, groups in label_groups.items()}
        for groups in self.label_groups.values():
            kb.group_mask(groups)

    def groups(self, label: str) -> tuple[str, ...] | None:
        """Semantic groups to search for a label; None if its mentions are to be left alone."""
        if label in self.label_groups:
            return self.label_groups[label]
        if label in self.kb.groups:
            return (label,)
        if len(self.kb.groups) == 1 or self.unmapped_labels == "all":
            return tuple(self.kb.groups)
        if self.unmapped_labels == "skip":
            return None
        raise UnmappedLabelError(
            f"The mention label '{label}' is no semantic group of the knowledge base "
            f"'{self.kb.meta.name}' and is not mapped to one. Add it to the component's setting "
            f"label_groups, e.g. {{'{label}': '{self.kb.groups[0]}'}}, or set "
            f"unmapped_labels to 'all' or 'skip'. Groups: {', '.join(self.kb.groups)}."
        )


def _as_tuple(groups: str | Iterable[str]) -> tuple[str, ...]:
    return (groups,) if isinstance(groups, str) else tuple(groups)
