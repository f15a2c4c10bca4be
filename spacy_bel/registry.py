"""Functions that configs refer to by name; setup.cfg registers them. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.training import Example
    from thinc.api import Model

    from spacy_bel.kb.knowledge_base import KnowledgeBase
    from spacy_bel.longbel.models.base import LanguageModel
    from spacy_bel.longbel.training.targets import TargetChooser
    from spacy_bel.retriever.index import Retriever
    from spacy_bel.retriever.reformulation.base import QueryReformulator


def make_linking_scorer(
    spans_key: str | None = None,
    ks: Sequence[int] = (1, 5),
    policies: dict[str, str] | None = None,
) -> Callable[..., dict[str, Any]]:
    """Scorer "spacy_bel.linking_scorer.v1": see `spacy_bel.evaluation.scorer.score_links`."""
    return partial(_score_links, spans_key=spans_key, ks=ks, policies=policies)


def _score_links(examples: Iterable[Example], **settings: Any) -> dict[str, Any]:
    from spacy_bel.evaluation.scorer import score_links

    return score_links(examples, **settings)


Reader = Callable[["Language"], Iterator["Example"]]


def read_corpus(
    path: str | Path,
    format: str | None = None,
    ids: str | Path | list[str] | None = None,
    gold_mentions: bool = True,
) -> Reader:
    """Reader "spacy_bel.Corpus.v1" of any corpus format, a file or a directory.

    format: a name from `spacy_bel.corpora.reading.FORMATS`; told from the files if None.
    ids: only documents of these ids, given as such or as a file with one a line.
    gold_mentions: also mark the mentions, without codes, in the documents that the pipeline gets.
    """
    return _reader(path, format, ids, gold_mentions)


def read_pubtator(
    path: str | Path, gold_mentions: bool = True, ids: str | Path | list[str] | None = None
) -> Reader:
    """Reader "spacy_bel.PubTator.v1": MedMentions, NCBI Disease, BC5CDR, BioRED; see `read_corpus`.

    ids: the file of PMIDs of one split, with MedMentions.
    """
    return _reader(path, "pubtator", ids, gold_mentions)


def read_bigbio(
    path: str | Path, gold_mentions: bool = True, ids: str | Path | list[str] | None = None
) -> Reader:
    """Reader "spacy_bel.BigBio.v1" of BigBio-KB pages in JSON or JSON lines; see `read_corpus`."""
    return _reader(path, "bigbio", ids, gold_mentions)


def read_bioc(
    path: str | Path, gold_mentions: bool = True, ids: str | Path | list[str] | None = None
) -> Reader:
    """Reader "spacy_bel.BioC.v1" of BioC XML: NLM-Chem, BC5CDR; see `read_corpus`."""
    return _reader(path, "bioc", ids, gold_mentions)


def read_brat(
    path: str | Path, gold_mentions: bool = True, ids: str | Path | list[str] | None = None
) -> Reader:
    """Reader "spacy_bel.Brat.v1" of a directory of .txt and .ann: QUAERO; see `read_corpus`."""
    return _reader(path, "brat", ids, gold_mentions)


def read_spaccc(
    path: str | Path,
    gold_mentions: bool = True,
    ids: str | Path | list[str] | None = None,
    code_column: str = "code",
) -> Reader:
    """Reader "spacy_bel.Spaccc.v1": DisTEMIST, SympTEMIST, MedProcNER; see `read_corpus`.

    code_column: the column of gold codes.
    """
    return _reader(path, "spaccc", ids, gold_mentions, code_column=code_column)


def read_knowtator(
    path: str | Path, gold_mentions: bool = True, ids: str | Path | list[str] | None = None
) -> Reader:
    """Reader "spacy_bel.Knowtator.v1" of XML beside articles: CRAFT; see `read_corpus`."""
    return _reader(path, "knowtator", ids, gold_mentions)


def mix_corpora(
    readers: dict[str, Reader],
    weights: dict[str, float] | None = None,
    shuffle: bool = False,
    seed: int = 0,
    alternate: Literal["documents", "mentions"] | None = None,
) -> Reader:
    """Reader "spacy_bel.Corpora.v1" of several corpora in turns.

    readers: each in a block of its own (``[corpora.train.readers.ncbi]``). For the other settings
    see `spacy_bel.corpora.mixing.MixedReader`.
    """
    from spacy_bel.corpora.mixing import MixedReader

    return MixedReader(readers, weights, shuffle=shuffle, seed=seed, alternate=alternate)


def _reader(
    path: str | Path,
    format: str | None,
    ids: str | Path | list[str] | None,
    gold_mentions: bool,
    **options: Any,
) -> Reader:
    def read(nlp: Language) -> Iterator[Example]:
        from spacy_bel.corpora.docs import examples
        from spacy_bel.corpora.reading import read_documents

        records = read_documents(path, format, ids=ids, **options)
        return examples(records, nlp, gold_mentions=gold_mentions)

    return read


# What follows returns `partial` objects rather than closures: components keep them, and spaCy
# pickles components to hand them to spawned processes.


def knowledge_base_loader(path: str | Path) -> Callable[[], KnowledgeBase]:
    """Loader "spacy_bel.KnowledgeBase.v1" of a directory that `bel kb build` wrote."""
    return partial(_load_kb, path)


def _load_kb(path: str | Path) -> KnowledgeBase:
    from spacy_bel.kb import KnowledgeBase

    return KnowledgeBase.from_disk(path)


def default_kb_loader() -> Callable[[], KnowledgeBase]:
    """Loader "spacy_bel.DefaultKB.v1" of the Human Phenotype Ontology."""
    return _load_default_kb


def _load_default_kb() -> KnowledgeBase:
    from spacy_bel.kb import load_default_kb

    return load_default_kb()


def causal_lm_loader(
    path: str | Path, device: str | None = None, dtype: str | None = None
) -> Callable[[], LanguageModel]:
    """Loader "spacy_bel.CausalLM.v1" of a Hugging Face causal language model.

    path: a directory with safetensors weights and tokenizer files, or a hub id.
    device: "cpu", "cuda", …; the best available if None.
    dtype: "float32", "bfloat16", …; float32 on CPU, the checkpoint's own elsewhere if None.
    """
    return partial(_load_causal_lm, path, device=device, dtype=dtype)


def _load_causal_lm(path: str | Path, **settings: Any) -> LanguageModel:
    from spacy_bel.longbel.models.causal_lm import CausalLanguageModel

    return CausalLanguageModel.from_pretrained(path, **settings)


# Retrievers are settings, from which `bel_retriever` makes its index when it is needed. Their
# modules import heavy libraries, so each is imported when a config asks for it.


def exact_retriever() -> Retriever:
    """Retriever "spacy_bel.ExactRetriever.v1": names equal up to case and white space."""
    from spacy_bel.retriever.exact import ExactRetriever

    return ExactRetriever()


def ngram_retriever(
    ngram_range: tuple[int, int] = (2, 4),
    analyzer: Literal["char_wb", "char"] = "char_wb",
    min_df: int = 1,
    max_features: int | None = None,
    sublinear: bool = True,
    char_side: Literal["none", "front", "back", "separate", "together"] = "none",
    char_count: int = 16,
) -> Retriever:
    """Retriever "spacy_bel.NgramRetriever.v1": see `spacy_bel.retriever.ngrams.NgramRetriever`."""
    from spacy_bel.retriever.ngrams import NgramRetriever

    return NgramRetriever(
        ngram_range=(ngram_range[0], ngram_range[1]),
        analyzer=analyzer,
        min_df=min_df,
        max_features=max_features,
        sublinear=sublinear,
        char_side=char_side,
        char_count=char_count,
    )


def dense_retriever(
    model: str | None = None,
    preset: str | None = None,
    pooling: Literal["cls", "pooler", "mean", "mean_all"] | None = None,
    normalize: bool | None = None,
    max_length: int | None = None,
    lower_case: bool | None = None,
    index: Literal["exact", "int8", "faiss-flat", "faiss-hnsw", "faiss-ivfpq"] = "exact",
    dtype: Literal["float16", "bfloat16"] = "float16",
    arithmetic: Literal["float32", "bfloat16"] = "float32",
    device: str | None = None,
    directory: str | None = None,
) -> Retriever:
    """Retriever "spacy_bel.DenseRetriever.v1": a bi-encoder.

    For the settings see `spacy_bel.retriever.dense.DenseRetriever`.
    """
    from spacy_bel.retriever.dense import DenseRetriever

    return DenseRetriever(
        model=model,
        preset=preset,
        pooling=pooling,
        normalize=normalize,
        max_length=max_length,
        lower_case=lower_case,
        index=index,
        dtype=dtype,
        arithmetic=arithmetic,
        device=device,
        directory=directory,
    )


def ensemble_retriever(
    members: dict[str, Any],
    fusion: Literal["rrf", "max", "weighted"] = "rrf",
    weights: dict[str, float] | None = None,
    rank_weights: dict[str, float] | None = None,
    rank_constant: int = 60,
    frequency_weight: float = 0.0,
    depth: int | None = None,
) -> Retriever:
    """Retriever "spacy_bel.EnsembleRetriever.v1": several at once.

    members: retrievers by name, each in a block of its own
        (``[components.bel_retriever.retriever.members.ngrams]``).

    For the other settings see `spacy_bel.retriever.ensemble.EnsembleRetriever`.
    """
    from spacy_bel.retriever.ensemble import EnsembleRetriever

    return EnsembleRetriever(
        members=members,
        fusion=fusion,
        weights=weights,
        rank_weights=rank_weights,
        rank_constant=rank_constant,
        frequency_weight=frequency_weight,
        depth=depth,
    )


def scispacy_retriever(
    neighbours: int = 100, ef_search: int = 200, directory: str | None = None
) -> Retriever:
    """Retriever "spacy_bel.ScispacyRetriever.v1": scispaCy's candidate generator.

    See `spacy_bel.retriever.scispacy.ScispacyRetriever`; needs the extra "scispacy".
    """
    from spacy_bel.retriever.scispacy import ScispacyRetriever

    return ScispacyRetriever(neighbours=neighbours, ef_search=ef_search, directory=directory)


def causal_lm_reformulator(
    model: str,
    ontology: str,
    max_new_tokens: int = 150,
    batch_size: int = 8,
    device: str | None = None,
    dtype: str | None = None,
) -> QueryReformulator:
    """Reformulator "spacy_bel.CausalLMReformulator.v1": standard names by a local language model.

    For the settings see `spacy_bel.retriever.reformulation.causal_lm.CausalLMReformulator`.
    """
    from spacy_bel.retriever.reformulation.causal_lm import CausalLMReformulator

    return CausalLMReformulator(
        model,
        ontology,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        device=device,
        dtype=dtype,
    )


def embedding_targets(
    model: str, preset: str | None = None, device: str | None = None
) -> Callable[[], TargetChooser]:
    """Target names "spacy_bel.EmbeddingTargets.v1": those most like the mention to a bi-encoder.

    model, preset, device: see `spacy_bel.retriever.encoder.Encoder.from_pretrained`; the published
    models of LongBEL tried CODER-all so. The encoder is read when training begins.
    """
    return partial(_load_embedding_targets, model, preset, device)


def _load_embedding_targets(model: str, preset: str | None, device: str | None) -> TargetChooser:
    from spacy_bel.longbel.training.targets import EmbeddingTargets
    from spacy_bel.retriever.encoder import Encoder

    return EmbeddingTargets(Encoder.from_pretrained(model, preset=preset, device=device))


def crossencoder_architecture(
    encoder: str | None = None,
    layout: Literal["base", "parallel", "multi", "passage", "document"] = "document",
    attention: Literal["full", "block"] = "block",
    repeat_mention: bool = False,
    markers: Literal["none", "brackets", "numbers"] = "none",
    max_length: int | None = None,
    input_tokens: int | None = None,
    candidate_tokens: int = 64,
    mention_tokens: int = 32,
    dtype: Literal["float32", "bfloat16"] = "float32",
) -> Model[Any, Any]:
    """Model "spacy_bel.CrossEncoder.v1": a transformer encoder read at masks.

    encoder, dtype: see `spacy_bel.crossencoder.architecture.crossencoder_model`; the other settings
    are those of `spacy_bel.crossencoder.layouts.Layout`.
    """
    from spacy_bel.crossencoder.architecture import crossencoder_model
    from spacy_bel.crossencoder.layouts import Layout

    chosen = Layout(
        name=layout,
        attention=attention,
        repeat_mention=repeat_mention,
        markers=markers,
        max_length=max_length,
        input_tokens=input_tokens,
        candidate_tokens=candidate_tokens,
        mention_tokens=mention_tokens,
    )
    return crossencoder_model(encoder, chosen, dtype)
