"""Factories of the components. spaCy imports this with every `nlp`: nothing heavy up here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from spacy.language import Language

ASSIGNS = ["token.ent_kb_id", "span._.kb_candidates"]
REQUIRES = ["doc.ents"]
SCORER = {"@scorers": "spacy_bel.linking_scorer.v1"}
SCORE_WEIGHTS = {
    "bel_recall_at_1": 1.0,
    "bel_recall_at_5": 0.0,
    "bel_mrr": 0.0,
    "bel_micro_p": None,
    "bel_micro_r": None,
    "bel_micro_f": None,
    "bel_per_label": None,
}

#: Settings of every linking component; see `spacy_bel.linking_pipe.LinkingPipe`.
LINKING_DEFAULTS: dict[str, Any] = {
    "kb": None,
    "label_groups": {},
    "unmapped_labels": "error",
    "spans_key": None,
    "threshold": 0.0,
    "store_kb": True,
    "scorer": SCORER,
}


@Language.factory("bel_dictionary", assigns=["doc.ents"], default_config={"kb": None})
def make_dictionary(
    nlp: Language,
    name: str,
    kb: Any,
    groups: list[str] | None = None,
    min_length: int = 3,
    store_kb: bool = True,
) -> Callable[..., Any]:
    """Mentions by dictionary: names of the knowledge base found in the text."""
    from .dictionary import Dictionary

    return Dictionary(nlp, name, kb=kb, groups=groups, min_length=min_length, store_kb=store_kb)


@Language.factory(
    "bel_retriever",
    assigns=ASSIGNS,
    requires=REQUIRES,
    default_config={
        **LINKING_DEFAULTS,
        "max_candidates": 25,
        "retriever": None,
        "abbreviations": True,
        "composites": True,
        "reformulator": None,
        "mention_weight": 0.6,
        "reformulation_cache": None,
    },
    default_score_weights=SCORE_WEIGHTS,
)
def make_retriever(
    nlp: Language,
    name: str,
    kb: Any,
    label_groups: dict[str, str | list[str]],
    unmapped_labels: str,
    spans_key: str | None,
    threshold: float,
    max_candidates: int,
    store_kb: bool,
    scorer: Callable[..., Any] | None,
    retriever: Any,
    abbreviations: bool,
    composites: bool,
    reformulator: Any,
    mention_weight: float,
    reformulation_cache: str | None,
) -> Callable[..., Any]:
    """Candidates by likeness of the mention to the names of concepts."""
    from .retriever.component import RetrieverPipe

    return RetrieverPipe(
        nlp,
        name,
        kb=kb,
        label_groups=label_groups,
        unmapped_labels=unmapped_labels,
        spans_key=spans_key,
        threshold=threshold,
        max_candidates=max_candidates,
        store_kb=store_kb,
        scorer=scorer,
        retriever=retriever,
        abbreviations=abbreviations,
        composites=composites,
        reformulator=reformulator,
        mention_weight=mention_weight,
        reformulation_cache=reformulation_cache,
    )


@Language.factory(
    "longbel_linker",
    assigns=ASSIGNS,
    requires=REQUIRES,
    default_config={
        **LINKING_DEFAULTS,
        "max_candidates": 5,
        "model": None,
        "prompt": None,
        "num_beams": 5,
        "length_penalty": None,
        "decoding": "constrained",
        "composites": False,
        "candidates": 0,
        "merge": "max",
        "score": "likelihood",
        "memory": "all",
        "memory_size": None,
        "memory_repeats": True,
        "passes": 1,
        "overwrite": True,
        "abbreviations": False,
        "ensemble": None,
        "compat": None,
        "batch_size": 16,
        "batch_tokens": 32_768,
        "device": None,
        "dtype": None,
        "max_length": None,
        "learning": None,
    },
    default_score_weights=SCORE_WEIGHTS,
)
def make_longbel_linker(
    nlp: Language,
    name: str,
    kb: Any,
    label_groups: dict[str, str | list[str]],
    unmapped_labels: str,
    spans_key: str | None,
    threshold: float,
    max_candidates: int,
    store_kb: bool,
    scorer: Callable[..., Any] | None,
    model: Any,
    prompt: Any,
    num_beams: int,
    length_penalty: float | None,
    decoding: Literal["constrained", "exact", "free"],
    composites: bool,
    candidates: int,
    merge: Literal["max", "logsumexp"],
    score: Literal["likelihood", "probability"],
    memory: Literal["all", "recent", "confident"],
    memory_size: int | None,
    memory_repeats: bool,
    passes: Literal[1, 2],
    overwrite: bool,
    abbreviations: bool,
    ensemble: list[dict[str, str]] | None,
    compat: Literal["longbel"] | None,
    batch_size: int,
    batch_tokens: int,
    device: str | None,
    dtype: str | None,
    max_length: int | None,
    learning: dict[str, Any] | None,
) -> Callable[..., Any]:
    """Links by generating concept names in document order, with memory."""
    from .longbel.component import LongBELLinker

    return LongBELLinker(
        nlp,
        name,
        kb=kb,
        model=model,
        prompt=prompt,
        num_beams=num_beams,
        length_penalty=length_penalty,
        decoding=decoding,
        composites=composites,
        candidates=candidates,
        merge=merge,
        score=score,
        memory=memory,
        memory_size=memory_size,
        memory_repeats=memory_repeats,
        passes=passes,
        overwrite=overwrite,
        abbreviations=abbreviations,
        ensemble=ensemble,
        compat=compat,
        batch_size=batch_size,
        batch_tokens=batch_tokens,
        device=device,
        dtype=dtype,
        max_length=max_length,
        learning=learning,
        label_groups=label_groups,
        unmapped_labels=unmapped_labels,
        spans_key=spans_key,
        threshold=threshold,
        max_candidates=max_candidates,
        store_kb=store_kb,
        scorer=scorer,
    )


@Language.factory(
    "bel_crossencoder",
    assigns=ASSIGNS,
    requires=[*REQUIRES, "span._.kb_candidates"],
    default_config={
        "kb": None,
        "model": {"@architectures": "spacy_bel.CrossEncoder.v1"},
        "candidates": 10,
        "candidate_text": {"name": "both", "synonyms": 0, "group": False, "definition": False},
        "objective": "listwise",
        "nil": True,
        "retriever_scores": True,
        "shuffle": "training",
        "batch_tokens": 4096,
        "spans_key": None,
        "threshold": 0.0,
        "max_candidates": 25,
        "store_kb": True,
        "scorer": SCORER,
    },
    default_score_weights=SCORE_WEIGHTS,
)
def make_crossencoder(
    nlp: Language,
    name: str,
    kb: Any,
    model: Any,
    candidates: int,
    candidate_text: dict[str, Any],
    objective: Literal["listwise", "pairwise"],
    nil: bool,
    retriever_scores: bool,
    shuffle: Literal["never", "training", "always"],
    batch_tokens: int,
    spans_key: str | None,
    threshold: float,
    max_candidates: int,
    store_kb: bool,
    scorer: Callable[..., Any] | None,
) -> Callable[..., Any]:
    """Re-orders candidates by reading each of them with the mention's context."""
    from .crossencoder.component import CrossEncoderPipe

    return CrossEncoderPipe(
        nlp,
        name,
        kb=kb,
        model=model,
        candidates=candidates,
        candidate_text=candidate_text,
        objective=objective,
        nil=nil,
        retriever_scores=retriever_scores,
        shuffle=shuffle,
        batch_tokens=batch_tokens,
        spans_key=spans_key,
        threshold=threshold,
        max_candidates=max_candidates,
        store_kb=store_kb,
        scorer=scorer,
    )


@Language.factory(
    "bel_setwise",
    assigns=ASSIGNS,
    requires=[*REQUIRES, "span._.kb_candidates"],
    default_config={
        "kb": None,
        "model": None,
        "options": 10,
        "context": "sentence",
        "batch_tokens": 4096,
        "device": None,
        "dtype": None,
        "lora": None,
        "resamplings": 1,
        "hidden": 0.1,
        "spans_key": None,
        "threshold": 0.0,
        "max_candidates": 25,
        "store_kb": True,
        "scorer": SCORER,
    },
    default_score_weights=SCORE_WEIGHTS,
)
def make_setwise(
    nlp: Language,
    name: str,
    kb: Any,
    model: Any,
    options: int,
    context: Literal["sentence", "passage"],
    batch_tokens: int,
    device: str | None,
    dtype: str | None,
    lora: dict[str, Any] | None,
    resamplings: int,
    hidden: float,
    spans_key: str | None,
    threshold: float,
    max_candidates: int,
    store_kb: bool,
    scorer: Callable[..., Any] | None,
) -> Callable[..., Any]:
    """Re-orders candidates by reading all of them beside the mention's sentence."""
    from .setwise.component import SetwiseReader

    return SetwiseReader(
        nlp,
        name,
        kb=kb,
        model=model,
        options=options,
        context=context,
        batch_tokens=batch_tokens,
        device=device,
        dtype=dtype,
        lora=lora,
        resamplings=resamplings,
        hidden=hidden,
        spans_key=spans_key,
        threshold=threshold,
        max_candidates=max_candidates,
        store_kb=store_kb,
        scorer=scorer,
    )
