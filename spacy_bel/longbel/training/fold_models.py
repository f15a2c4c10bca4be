"""Fold models that learn and link as `longbel_linker` does; knows spaCy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from spacy.language import Language

from ...candidates import Candidate, get_candidates
from ...corpora.docs import mention_span, split_sentences, to_doc
from ...corpora.document import CorpusDocument
from ...default import default_model_directory
from ..component import LongBELLinker
from .building import ExampleBuilder, GroupSource, MemorySource
from .dataset import file_fingerprint
from .golden import golden
from .settings import TrainingSettings
from .targets import TargetChooser
from .training import train


@dataclass
class FoldModels:
    """What trains and predicts for `RobustMemory`.

    nlp: tokenises. linker: says which mentions are linked and how; its model is replaced by that of
    each fold. start: directory or hub id of the model that all folds start from; None for the
    default. targets: chooses which names are learned. settings: of training. groups: see
    `ExampleBuilder`. progress: told what the examples are.
    """

    nlp: Language
    linker: LongBELLinker
    start: str | Path | None
    targets: TargetChooser
    settings: TrainingSettings
    groups: GroupSource = "label"
    progress: Callable[[str], None] = field(default=lambda message: None)

    def train(self, documents: Sequence[CorpusDocument], directory: Path) -> None:
        """Train a model on some documents, or go on training it."""
        linker = self.linker
        # Read anew: training changes weights, and every fold starts from the same.
        linker.set_model(self.start)
        linker.prepare()
        builder = self.builder()
        read = golden(
            documents,
            self.nlp,
            linker.mapping,
            linker.spans_key,
            abbreviations=linker.abbreviations,
        )
        examples = list(builder.stream(read))
        for line in builder.report.lines():
            self.progress(line)
        train(linker.language_model, linker.prompt, examples, self.settings, directory)

    def builder(self, memory: MemorySource = "gold") -> ExampleBuilder:
        """What makes examples of documents as the linker would read them."""
        return self.linker.new_builder(self.targets, memory, self.groups)

    def about(self) -> dict[str, Any]:
        """What the models depend on, apart from what they learn from, as plain data."""
        engine = self.linker.single_engine("training")
        return {
            "prompt": self.linker.prompt.name,
            "model": fingerprint_of_model(self.start),
            "kb": self.linker.kb.meta.name,
            "kb_fingerprint": self.linker.kb.fingerprint,
            "memory": repr(engine.memory),
            "targets": self.targets.fingerprint,
            "groups": self.groups,
            "label_groups": {k: list(v) for k, v in self.linker.mapping.label_groups.items()},
            "unmapped_labels": self.linker.unmapped_labels,
            "abbreviations": self.linker.abbreviations,
            "training": asdict(self.settings),
        }

    def predict(
        self, directory: Path, documents: Sequence[CorpusDocument]
    ) -> list[list[list[Candidate]]]:
        """Links of each annotation by the model in a directory."""
        self.linker.set_model(directory)
        docs = [to_doc(document, self.nlp, gold=False) for document in documents]
        for doc in docs:
            split_sentences(doc)
        return [
            [
                get_candidates(span) if (span := mention_span(doc, annotation)) is not None else []
                for annotation in document.annotations
            ]
            for document, doc in zip(documents, self.linker.pipe(docs), strict=True)
        ]


def fingerprint_of_model(reference: str | Path | None) -> str:
    """What tells a model from others: the sha256 of its files, or its hub id."""
    directory = Path(default_model_directory() if reference is None else reference)
    return file_fingerprint([directory]) if directory.is_dir() else str(reference)
