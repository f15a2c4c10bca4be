"""Links of training documents by models that have not seen them: memory with real mistakes in it.

A generator that learns with gold memory trusts at test time what it wrote itself. Here a corpus is
drawn into folds, a model learns from all but one, and links that one; examples built from the
result show wrong links among earlier ones, and right targets (robust memory, arXiv 2605.13451).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...candidates import Candidate
from ...corpora.document import CorpusDocument
from ...corpora.folds import without_copies
from ...errors import FingerprintMismatchError, SettingsError, TrainingError
from .folds import Fold, draw_folds

FoldTrainer = Callable[[Sequence[CorpusDocument], Path], object]
"""Leaves a model that learned from some documents in a directory; called again with the same
directory after an interruption, it goes on."""

FoldPredictor = Callable[[Path, Sequence[CorpusDocument]], Sequence[Sequence[Sequence[Candidate]]]]
"""Ranked links of each annotation of each document, by the model in a directory."""

PROVENANCE = "candidates"
"""Key of ``CorpusDocument.meta`` that says where the links of a document come from."""

_RUN, _TRAINED, _MODEL = "run.json", "trained", "model"
_HELD_OUT, _OTHERS = "held_out.jsonl", "others.jsonl"


@dataclass(frozen=True)
class RobustMemory:
    """How documents are linked by models that have not seen them.

    train, predict: a fold's model, and what it says. work: directory of what is finished; a fold
    that is done is not done again, so that a call that was interrupted is repeated to go on. folds:
    into how many parts documents are drawn. seed: of the drawing. about: what else the result
    depends on, such as settings and fingerprints, as plain data. keep_models: leave the models of
    finished folds in `work`. progress: told what is done next.
    """

    train: FoldTrainer
    predict: FoldPredictor
    work: Path
    folds: int = 5
    seed: int = 0
    about: Mapping[str, Any] = field(default_factory=dict)
    keep_models: bool = False
    progress: Callable[[str], None] = lambda message: None

    def link(
        self, documents: Sequence[CorpusDocument], others: Sequence[CorpusDocument] = ()
    ) -> tuple[list[CorpusDocument], list[CorpusDocument]]:
        """The documents, each with links by a model that has not learned from it or a copy of it.

        others: such as a development corpus; linked by the model of the first fold. Gold codes,
        order and all else stay; links that annotations had are replaced.

        Raises SettingsError if there are fewer documents than folds, or documents among `others`;
        FingerprintMismatchError if `work` belongs to a run with other documents or settings;
        TrainingError if it cannot be written or read.
        """
        if len(without_copies(others, documents)) < len(others):
            raise SettingsError(
                "Some development documents are in the training corpus, too: their links would be "
                "by a model that has learned them. Leave them out of either."
            )
        try:
            drawn = draw_folds(documents, self.folds, self.seed)
        except SettingsError as error:
            raise SettingsError(
                f"{error} Examples with gold memory, or with none, need no folds."
            ) from error
        self._begin(documents, others)
        linked: dict[int, CorpusDocument] = {}
        linked_others: list[CorpusDocument] = []
        for fold in drawn:
            held_out = [documents[i] for i in fold.held_out]
            beside = list(others) if fold.number == 0 else []
            links = self._fold(fold, documents, held_out, beside)
            found = self._with_links(held_out, links[0], fold)
            linked.update(zip(fold.held_out, found, strict=True))
            linked_others += self._with_links(beside, links[1], fold)
        return [linked[i] for i in range(len(documents))], linked_others

    def _begin(self, documents: Sequence[CorpusDocument], others: Sequence[CorpusDocument]) -> None:
        """Take up the work directory, or make it."""
        made_from = {
            **self.about,
            "folds": self.folds,
            "seed": self.seed,
            "documents": _fingerprint(documents),
            "development documents": _fingerprint(others),
        }
        run = self.work / _RUN
        if not run.is_file():
            if self.work.is_dir() and any(self.work.iterdir()):
                raise TrainingError(
                    f"{self.work} holds something else: move it away, or choose another output."
                )
            self._write(run, json.dumps(made_from, indent=2))
            return
        known, made_from = self._read(run, lambda text: dict(json.loads(text))), _plain(made_from)
        if known != made_from:
            differs = sorted(k for k in {*known, *made_from} if known.get(k) != made_from.get(k))
            raise FingerprintMismatchError(
                f"{self.work} belongs to a run with other {', '.join(differs)}: repeat that run to "
                "finish it, or delete the directory to start again."
            )

    def _fold(
        self,
        fold: Fold,
        documents: Sequence[CorpusDocument],
        held_out: Sequence[CorpusDocument],
        others: Sequence[CorpusDocument],
    ) -> tuple[list[list[list[Candidate]]], list[list[list[Candidate]]]]:
        """Links of the documents of a fold and of others, made now or before."""
        place = self.work / f"fold-{fold.number}"
        wanted = [(place / _HELD_OUT, held_out)]
        wanted += [(place / _OTHERS, others)] if others else []
        missing = [(path, texts) for path, texts in wanted if not path.is_file()]
        if missing:
            self.progress(
                f"Fold {fold.number + 1} of {self.folds}: learning from {len(fold.training)} "
                f"documents, linking {sum(len(texts) for _, texts in missing)}"
            )
            if not (place / _TRAINED).is_file():
                place.mkdir(parents=True, exist_ok=True)
                self.train([documents[i] for i in fold.training], place / _MODEL)
                self._write(place / _TRAINED, "")
            for path, texts in missing:
                links = self.predict(place / _MODEL, texts)
                self._write(path, "".join(f"{json.dumps(row)}\n" for row in links))
        if not self.keep_models:
            shutil.rmtree(place / _MODEL, ignore_errors=True)
        read = [self._read(path, _links) for path, _ in wanted]
        return read[0], read[1] if others else []

    def _with_links(
        self,
        documents: Sequence[CorpusDocument],
        links: Sequence[Sequence[Sequence[Candidate]]],
        fold: Fold,
    ) -> list[CorpusDocument]:
        about = {**self.about, "fold": fold.number, "folds": self.folds, "seed": self.seed}
        return [
            replace(
                document,
                annotations=[
                    replace(annotation, links=list(candidates))
                    for annotation, candidates in zip(document.annotations, found, strict=True)
                ],
                meta={**document.meta, PROVENANCE: about},
            )
            for document, found in zip(documents, links, strict=True)
        ]

    def _write(self, path: Path, content: str) -> None:
        """Write a file whole or not at all."""
        part = path.with_name(f"{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(content, encoding="utf-8")
            part.replace(path)
        except OSError as error:
            raise TrainingError(
                f"Cannot write {path} ({error.strerror or error}). What was finished is kept: make "
                "room, and run it again to go on."
            ) from error

    def _read(self, path: Path, parse: Callable[[str], Any]) -> Any:
        try:
            return parse(path.read_text("utf-8"))
        except (OSError, ValueError, TypeError) as error:
            raise TrainingError(
                f"{path} cannot be read ({error}): delete {path.parent}, and what was in it is "
                "done again."
            ) from error


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    """Data as it reads after having been written."""
    return dict(json.loads(json.dumps(data)))


def _links(text: str) -> list[list[list[Candidate]]]:
    """Links by document and annotation, from JSON lines."""
    rows = map(json.loads, text.splitlines())
    return [[[Candidate(*each) for each in candidates] for candidates in row] for row in rows]


def _fingerprint(documents: Sequence[CorpusDocument]) -> str:
    """What models learn from documents, and in which order they come."""
    digest = hashlib.sha256()
    for document in documents:
        mentions = [(a.start, a.end, a.type, a.codes) for a in document.annotations]
        known = [document.id, document.text, document.passages, document.sentences, mentions]
        digest.update(json.dumps(known).encode())
    return digest.hexdigest()
