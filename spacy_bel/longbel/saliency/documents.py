"""Saliency for the mentions of a spaCy document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from spacy.tokens import Doc, Span

from ...linking_pipe import MentionSpan
from ...mentions import mention_spans
from .attribution import Baseline, Method, saliency
from .result import Saliency

if TYPE_CHECKING:
    from ...candidates import Candidate
    from ..component import LongBELLinker
    from ..document import Document
    from ..engine import Engine
    from ..rows import Trace

Selection = int | Span | Iterable[int | Span] | None


def explain(
    linker: LongBELLinker,
    doc: Doc,
    *,
    method: Method = "gradient",
    mentions: Selection = None,
    steps: int = 20,
    baseline: Baseline = "pad",
) -> list[Saliency]:
    """What the most likely name of each mention rests on, in document order.

    The document is linked again, whether or not it was before, and stays as it is. What is
    explained is the first name that the search found, as generated after the prompt with the memory
    of this run.

    linker: a `longbel_linker`. mentions: spans, or their indices among the mentions of the
    component (`doc.ents` or its span group), one or several; None for all that have a name.
    method, steps, baseline: see `saliency`, which says what is raised. Raises ValueError if a
    chosen mention is none of the document, or no name was generated for it.
    """
    linker.prepare()
    engine = linker.single_engine("explain")
    marked = linker.mark(doc)
    chosen = _chosen(linker, doc, mentions)
    spans = linker.read_mentions(marked)
    document = linker.document_of(marked, spans)
    found: list[Saliency] = []
    explained = set()
    for mention, trace, candidate in _traced(engine, document, spans):
        if chosen is not None and mention.index not in chosen:
            continue
        best = trace.hypotheses[0]
        tokens = _without_end(best.tokens, engine.tokenizer.end_token)
        if not tokens:
            continue
        explained.add(mention.index)
        found.append(
            saliency(
                linker.language_model,
                trace.prompt,
                tokens,
                method=method,
                steps=steps,
                baseline=baseline,
                name=candidate.name if candidate else None,
                code=candidate.code if candidate else "",
                mention=mention.span.text,
                span=(mention.span.start_char, mention.span.end_char),
            )
        )
    missing = sorted((chosen or set()) - explained)
    if missing:
        texts = ", ".join(repr(mention_spans(doc, linker.spans_key)[i].text) for i in missing)
        raise ValueError(
            f"No name was generated for {texts}, so there is nothing to explain. Leave these out, "
            "or check the mapping of their labels to groups of the knowledge base."
        )
    return found


def _traced(
    engine: Engine, document: Document, spans: list[MentionSpan]
) -> Iterable[tuple[MentionSpan, Trace, Candidate | None]]:
    """Mentions with their traces, and the link that the first name makes, if any was generated."""
    (traces,) = engine.trace(iter([document]))
    linked: set[str] = set()
    for span, mention, trace in zip(spans, document.mentions, traces, strict=True):
        if not trace.hypotheses:
            continue
        ranked = engine.candidates(mention, trace.hypotheses, linked)
        named = engine.candidates(mention, trace.hypotheses[:1], linked)
        # Links of the document tell concepts of one name apart, as they did while linking.
        if ranked and engine.prompt.uses_memory and engine.accept(ranked[0]):
            linked.add(ranked[0].code)
        yield span, trace, named[0] if named else None


def _without_end(tokens: Sequence[int], end_token: int) -> list[int]:
    return [int(t) for t in (tokens[:-1] if tokens and tokens[-1] == end_token else tokens)]


def _chosen(linker: LongBELLinker, doc: Doc, mentions: Selection) -> set[int] | None:
    """Indices of the chosen mentions among those of the component; None for all."""
    if mentions is None:
        return None
    known = mention_spans(doc, linker.spans_key)
    if isinstance(mentions, (int, Span)):
        return {_index(known, mentions)}
    return {_index(known, mention) for mention in mentions}


def _index(known: list[Span], mention: int | Span) -> int:
    if isinstance(mention, Span):
        place = (mention.start_char, mention.end_char)
        for index, span in enumerate(known):
            same = mention.label in (0, span.label)
            if (span.start_char, span.end_char) == place and same:
                return index
    elif -len(known) <= mention < len(known):
        return mention % len(known)
    raise ValueError(
        f"{mention!r} is none of the document's {len(known)} mentions. Choose one of doc.ents, or "
        "of the span group that the component links."
    )
