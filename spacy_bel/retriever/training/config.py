"""A training run as a config file: which encoder, which names, which development corpora."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from confection import Config
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from spacy_bel.corpora.document import CorpusDocument
from spacy_bel.corpora.reading import read_documents
from spacy_bel.errors import BelError, ReadError
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.retriever.encoder import Encoder
from spacy_bel.retriever.training.mentions import development_mentions, training_mentions
from spacy_bel.retriever.training.names import TrainingNames
from spacy_bel.retriever.training.selection import DevelopmentSet
from spacy_bel.retriever.training.settings import BiEncoderSettings

#: Sections that other sections take values from.
_VARIABLES = ("paths", "vars", "system")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class EncoderSection(_Section):
    """``[encoder]``: the one to start from; see `Encoder.from_pretrained`."""

    model: str
    preset: str | None = None
    pooling: Literal["cls", "pooler", "mean", "mean_all"] | None = None
    normalize: bool | None = None
    max_length: int | None = None
    lower_case: bool | None = None
    padding: Literal["longest", "max_length"] | None = None
    mask_padding: bool | None = None
    device: str | None = None
    dtype: Literal["float32", "bfloat16"] | None = None


class DataSection(_Section):
    """``[data]``: how much of the names and the mentions to take.

    pairs_per_concept: of synonyms; 50 in SapBERT, 15 in ClinLinker, 45 with grandparents.
    confusable: how many concepts of each development mention, those that n-grams rank highest, the
        gold concept is looked for among.
    """

    pairs_per_concept: int = Field(default=50, ge=1)
    confusable: int = Field(default=10, ge=1)


class NamesSection(_Section):
    """``[names.…]``: a terminology to learn from; see `TrainingNames.add_kb`."""

    kb: str
    groups: list[str] | None = None
    ancestors: int = Field(default=0, ge=0)


class CorpusSection(_Section):
    """``[mentions.…]`` and ``[development.…]``: gold mentions of a corpus.

    corpus: file or directory. format: of it; told from the files if None. kb: terminology of its
    codes. label_groups: semantic groups of each label; if given, mentions of other labels are left
    out. documents: only so many of them, from the beginning. ids: file of the ids that count.
    """

    corpus: str
    kb: str
    format: str | None = None
    label_groups: dict[str, str | list[str]] | None = None
    ids: str | None = None
    documents: int | None = Field(default=None, ge=1)

    def read(self) -> Iterator[CorpusDocument]:
        """The documents, with the annotations that count."""
        labels = self.label_groups
        for document in islice(
            read_documents(self.corpus, self.format, ids=self.ids), self.documents
        ):
            if labels is not None:
                kept = [a for a in document.annotations if a.type in labels]
                document = replace(document, annotations=kept)
            yield document


class RetrieverTrainingConfig(_Section):
    """A whole run.

    names, mentions and development have a section for each source, under a name of its own.
    """

    encoder: EncoderSection
    names: dict[str, NamesSection] = Field(min_length=1)
    mentions: dict[str, CorpusSection] = Field(default_factory=dict)
    development: dict[str, CorpusSection] = Field(default_factory=dict)
    data: DataSection = DataSection()
    training: BiEncoderSettings = BiEncoderSettings()

    @model_validator(mode="before")
    @classmethod
    def _known_settings(cls, content: Any) -> Any:
        # A dataclass would pass over what it does not know.
        training = content.get("training") if isinstance(content, dict) else None
        known = [field.name for field in fields(BiEncoderSettings)]
        for name in training if isinstance(training, Mapping) else ():
            if name not in known:
                close = get_close_matches(name, known, 1)
                hint = f"did you mean {close[0]}?" if close else f"use {', '.join(known)}"
                raise ValueError(f"[training] has no setting {name!r}: {hint}")
        return content

    @classmethod
    def from_file(
        cls, path: str | Path, overrides: Mapping[str, Any] | None = None
    ) -> RetrieverTrainingConfig:
        """Read a config file, in spaCy's format.

        overrides: values by their dotted names, as in ``{"paths.kb": "medic"}``.
        Raises ReadError if it does not say what it must.
        """
        try:
            data = Config().from_disk(Path(path), overrides=dict(overrides or {}))
        except (OSError, ValueError) as error:
            message = " ".join(str(error).split())
            raise ReadError(f"Cannot read the config {path}: {message}") from error
        try:
            return cls(**{key: value for key, value in data.items() if key not in _VARIABLES})
        except ValidationError as error:
            problems = "; ".join(map(_problem, error.errors()))
            raise ReadError(f"The config {path} is not right: {problems}.") from error

    def load_encoder(self) -> Encoder:
        """The encoder to start from."""
        with _named("encoder"):
            return Encoder.from_pretrained(**self.encoder.model_dump())

    def training_names(self) -> TrainingNames:
        """All names and training mentions, paired."""
        names = TrainingNames()
        for name, section in self.names.items():
            with _named(f"names.{name}"):
                kb = KnowledgeBase.from_disk(section.kb)
                names.add_kb(kb, section.groups, ancestors=section.ancestors)
        for name, corpus in self.mentions.items():
            with _named(f"mentions.{name}"):
                kb = KnowledgeBase.from_disk(corpus.kb)
                names.add_mentions(training_mentions(kb, corpus.read()))
        names.pair(self.data.pairs_per_concept, self.training.seed)
        return names

    def development_sets(self) -> list[DevelopmentSet]:
        """What chooses the epoch."""
        sets = []
        for name, section in self.development.items():
            with _named(f"development.{name}"):
                kb = KnowledgeBase.from_disk(section.kb)
                mentions = list(development_mentions(kb, section.read(), section.label_groups))
                sets.append(DevelopmentSet(name, kb, mentions, confusable=self.data.confusable))
        return sets


def _problem(error: Any) -> str:
    """One thing that is wrong, with its section and key."""
    *section, key = map(str, error["loc"] or ("",))
    where = f"[{'.'.join(section)}]"
    message = str(error["msg"]).removeprefix("Value error, ").rstrip(".")
    if error["type"] == "missing":
        return f"{where} lacks {key}" if section else f"the section [{key}] is missing"
    if error["type"] == "extra_forbidden":
        return f"{where if section else 'the config'} has no {key!r}"
    if not section:
        return f"[{key}] {message}" if key else message
    return f"{where} {key}: {message}"


@contextmanager
def _named(section: str) -> Iterator[None]:
    """Put the section in front of what is wrong with it."""
    try:
        yield
    except BelError as error:
        raise type(error)(f"[{section}] {error}") from error
