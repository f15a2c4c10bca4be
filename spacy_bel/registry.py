"""Functions that configs refer to by name; setup.cfg registers them. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.training import Example

    from spacy_bel.kb.knowledge_base import KnowledgeBase
    from spacy_bel.longbel.models.base import LanguageModel


def make_linking_scorer(
    spans_key: str | None = None, ks: Sequence[int] = (1, 5)
) -> Callable[..., dict[str, Any]]:
    """Scorer "spacy_bel.linking_scorer.v1": see `spacy_bel.evaluation.scorer.score_links`."""
    return partial(_score_links, spans_key=spans_key, ks=ks)


def _score_links(examples: Iterable[Example], **settings: Any) -> dict[str, Any]:
    from spacy_bel.evaluation.scorer import score_links

    return score_links(examples, **settings)


def read_pubtator(
    path: str | Path, gold_mentions: bool = True
) -> Callable[[Language], Iterator[Example]]:
    """Reader "spacy_bel.PubTator.v1" of a PubTator file.

    gold_mentions: also mark the mentions, without codes, in the documents that the pipeline gets.
    """

    def read(nlp: Language) -> Iterator[Example]:
        from spacy_bel.corpora.docs import examples
        from spacy_bel.corpora.pubtator import read_pubtator

        return examples(read_pubtator(path), nlp, gold_mentions=gold_mentions)

    return read


def read_bigbio(
    path: str | Path, gold_mentions: bool = True
) -> Callable[[Language], Iterator[Example]]:
    """Reader "spacy_bel.BigBio.v1" of BigBio-KB pages in JSON or JSON lines.

    gold_mentions: also mark the mentions, without codes, in the documents that the pipeline gets.
    """

    def read(nlp: Language) -> Iterator[Example]:
        from spacy_bel.corpora.bigbio import read_bigbio
        from spacy_bel.corpora.docs import examples

        return examples(read_bigbio(path), nlp, gold_mentions=gold_mentions)

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
