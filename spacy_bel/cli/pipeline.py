"""A pipeline set up for `bel link`: another knowledge base, mentions given or found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import groupby
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import filter_spans

from spacy_bel.cli.console import say
from spacy_bel.corpora.docs import MENTIONS, to_doc
from spacy_bel.corpora.document import CorpusDocument
from spacy_bel.errors import ModelError
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.kb.reference import KnowledgeBaseHolder
from spacy_bel.linking_pipe import LinkingPipe

OnFailure = Callable[[str, Exception], None]


def load_pipeline(pipeline: str | None, kb: Path | None) -> Language:
    """Load a pipeline, the default one if None, and give its components another knowledge base.

    Raises ModelError if it cannot be loaded or has no linking component.
    """
    import spacy

    from spacy_bel.default import load_default_pipeline

    if pipeline is None:
        nlp = load_default_pipeline()
    else:
        try:
            nlp = spacy.load(pipeline)
        except OSError as error:
            raise ModelError(
                f"Cannot load the pipeline {pipeline!r}: give a directory that nlp.to_disk wrote "
                "or the name of an installed pipeline package."
            ) from error
    if not linkers(nlp):
        raise ModelError(
            f"The pipeline {pipeline!r} has no linking component: add one with "
            "nlp.add_pipe('longbel_linker') and save it again."
        )
    if kb is not None:
        _set_kb(nlp, KnowledgeBase.from_disk(kb))
    return nlp


def linkers(nlp: Language) -> list[LinkingPipe]:
    """The linking components of a pipeline."""
    return [pipe for _, pipe in nlp.pipeline if isinstance(pipe, LinkingPipe)]


def mention_key(nlp: Language, record: CorpusDocument) -> str | None:
    """Span group that holds the mentions of a linked document, None for its entities."""
    return MENTIONS if record.annotations else linkers(nlp)[-1].spans_key


def link_records(
    nlp: Language, records: Iterable[CorpusDocument], *, batch_size: int, on_failure: OnFailure
) -> Iterator[tuple[CorpusDocument, Doc]]:
    """Link a stream of documents in order; a document that fails is reported and left out.

    Where a document has marked mentions these are linked, all of them, and components that would
    find mentions are left out; elsewhere the pipeline finds its own.
    """

    # spaCy declares that a handler never returns, and its own ones do.
    def handle_error(name: str, component: Any, docs: list[Doc], error: Exception) -> Any:
        for doc in docs:
            on_failure(doc.user_data["document_id"], error)

    nlp.set_error_handler(handle_error)
    finders = [name for name in nlp.pipe_names if "doc.ents" in nlp.get_pipe_meta(name).assigns]
    for marked, run in groupby(records, key=lambda record: bool(record.annotations)):
        pairs = _tokenised(nlp, run, on_failure)
        with _spans_key(nlp, MENTIONS) if marked else nullcontext():
            for doc, record in nlp.pipe(
                pairs, as_tuples=True, batch_size=batch_size, disable=finders if marked else []
            ):
                if marked:
                    # The components have set codes in the span group alone.
                    doc.set_ents(filter_spans(doc.spans[MENTIONS]))
                yield record, doc


def _tokenised(
    nlp: Language, records: Iterable[CorpusDocument], on_failure: OnFailure
) -> Iterator[tuple[Doc, CorpusDocument]]:
    for record in records:
        try:
            doc = to_doc(record, nlp, gold=False)
        except Exception as error:
            on_failure(record.id, error)
        else:
            yield doc, record


def _set_kb(nlp: Language, kb: KnowledgeBase) -> None:
    from spacy_bel.dictionary import Dictionary

    for name, pipe in nlp.pipeline:
        if isinstance(pipe, KnowledgeBaseHolder):
            pipe.set_kb(kb)
        if isinstance(pipe, Dictionary) and not set(pipe.groups or ()) <= set(kb.groups):
            say(f"{name} looks for names of all groups: {', '.join(kb.groups)}.")
            pipe.groups = None


@contextmanager
def _spans_key(nlp: Language, key: str) -> Iterator[None]:
    before = [(pipe, dict(pipe.cfg)) for pipe in linkers(nlp)]
    for pipe, _ in before:
        link_anew(pipe, key)
    try:
        yield
    finally:
        for pipe, former in before:
            pipe.cfg.update(former)


def link_anew(pipe: LinkingPipe, spans_key: str) -> None:
    """Have a component link the mentions of a span group, and keep none of their codes."""
    pipe.cfg["spans_key"] = spans_key
    if "overwrite" in pipe.cfg:  # codes of a corpus are what links are compared with
        pipe.cfg["overwrite"] = True
