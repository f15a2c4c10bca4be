"""Training examples on disk: built once, then read as far as they are needed.

A directory with a Parquet file, whose rows are read group by group, so that a corpus may be larger
than memory, and a JSON file that says what they were made from and what was left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ...disk import explains_full_disk
from ...errors import FingerprintMismatchError, MissingExtraError, SettingsError, TrainingError
from ...kb.atomic import new_directory
from ..calibrating import GoldDocument
from ..models.base import tokenizer_fingerprint
from .building import ExampleBuilder
from .example import TrainingExample, Turn
from .report import BuildingReport

_VERSION = 1
_ROWS, _META = "examples.parquet", "meta.json"
#: Rows that are read together, few enough that examples can be drawn at random.
_GROUP_ROWS = 256
_GROUP_CHARACTERS = 2_000_000
_GROUPS_HELD = 32


class ExampleDataset(Sequence[TrainingExample]):
    """Examples of a directory that `build_dataset` wrote; those asked for are read from disk.

    report: what was made and left out when it was built. made_from: everything it depends on.
    lengths: characters of each example, int64, by which examples of like length can be found.

    Examples next to each other are read together, and those read last are kept, some 64 million
    characters; in a larger corpus a random order takes much longer than the order of the corpus.
    Raises TrainingError if the directory is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        parquet = _parquet()
        try:
            meta = json.loads((self.path / _META).read_text("utf-8"))
            self.made_from: dict[str, Any] = meta["made_from"]
            self.report = BuildingReport.from_json(meta["report"])
            self._file = parquet.ParquetFile(self.path / _ROWS, memory_map=True)
            self.lengths = self._file.read(columns=["characters"])["characters"].to_numpy()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(_damaged(self.path, error)) from error
        about = self._file.metadata
        rows = [about.row_group(i).num_rows for i in range(about.num_row_groups)]
        self._ends = np.cumsum(rows, dtype=np.int64)
        self._held: dict[int, list[TrainingExample]] = {}

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"There are {len(self):,} examples, none at {index}.")
        group = int(np.searchsorted(self._ends, place, side="right"))
        return self._group(group)[place - int(self._ends[group])]

    def __iter__(self) -> Iterator[TrainingExample]:
        return chain.from_iterable(map(self._group, range(len(self._ends))))

    def __reduce__(self) -> tuple[Any, ...]:
        return ExampleDataset, (self.path,)  # other processes open the same files

    def _group(self, number: int) -> list[TrainingExample]:
        examples = self._held.pop(number, None)
        if examples is None:
            try:
                rows = self._file.read_row_group(number, ["document", "prompts", "names"])
            except (OSError, ValueError) as error:
                raise TrainingError(_damaged(self.path, error)) from error
            examples = [_example(row) for row in rows.to_pylist()]
        self._held[number] = examples  # behind those that were asked for before
        if len(self._held) > _GROUPS_HELD:
            del self._held[next(iter(self._held))]
        return examples


def build_dataset(
    path: str | Path,
    builder: ExampleBuilder,
    documents: Iterable[tuple[str, GoldDocument]],
    *,
    corpus: str,
    force: bool = False,
) -> ExampleDataset:
    """The examples of a corpus in a directory, built unless they are there.

    path: appears whole or not at all. documents: with their ids; not read if the examples are
    there. corpus: what the documents are and how they were read, such as the `file_fingerprint` of
    their files and the settings of reading. force: replace examples made from something else.

    Raises FingerprintMismatchError if there are examples made from something else, TrainingError if
    nothing can be learned from the corpus, NoSpaceError if the disk is full, and MissingExtraError
    without pyarrow.
    """
    path, made_from = Path(path), _made_from(builder, corpus)
    parquet = _parquet()
    if path.exists():
        try:
            known = ExampleDataset(path)
        except TrainingError:
            # What is replaced has to be such a dataset, and not the user's own directory.
            if not (force and (path / _META).is_file()):
                raise
        else:
            if known.made_from == made_from:
                return known
            if not force:
                raise FingerprintMismatchError(_differs(path, known.made_from, made_from))
    with explains_full_disk(path), new_directory(path, force=force) as part:
        _write(parquet, part / _ROWS, builder.stream(documents))
        meta = {"made_from": made_from, "report": builder.report.to_json()}
        (part / _META).write_text(json.dumps(meta, indent=2, ensure_ascii=False), "utf-8")
    return ExampleDataset(path)


def file_fingerprint(paths: Iterable[str | Path]) -> str:
    """sha256 of the names and contents of files, and of all files of directories."""
    digest = hashlib.sha256()
    for path in map(Path, paths):
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            digest.update(f"{file.relative_to(path.parent)}\n".encode("utf-8", "surrogateescape"))
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()


def _made_from(builder: ExampleBuilder, corpus: str) -> dict[str, Any]:
    if builder.encode is not None and builder.tokenizer is None:
        raise SettingsError("A stored dataset has to know its tokenizer: give the builder one.")
    tokenizer = builder.tokenizer
    return {
        "version": _VERSION,
        "corpus": corpus,
        "kb": builder.kb.fingerprint,
        "prompt": repr(builder.prompt),
        "targets": builder.targets.fingerprint,
        "memory": builder.memory,
        "policy": repr(builder.policy),
        "groups": builder.groups,
        "tokenizer": None if tokenizer is None else tokenizer_fingerprint(tokenizer.tokenizer),
        "budget": builder.budget,
        "composites": builder.composites,
        "consistent": builder.consistent,
    }


def _damaged(path: Path, error: Exception) -> str:
    return (
        f"'{path}' holds no training examples, or damaged ones ({error}): delete it, and they are "
        "built again."
    )


def _differs(path: Path, known: dict[str, Any], wanted: dict[str, Any]) -> str:
    differing = [key for key in wanted if known.get(key) != wanted[key]]
    return (
        f"The examples in '{path}' were made from another {', '.join(differing)}: delete them, "
        "replace them (--force), or choose another place."
    )


@dataclass
class _Rows:
    """Rows that are not written yet."""

    rows: list[dict[str, Any]]
    characters: int = 0

    def add(self, example: TrainingExample) -> None:
        texts = [turn.prompt for turn in example.turns]
        names = [list(turn.names) for turn in example.turns]
        characters = sum(map(len, chain(texts, chain.from_iterable(names))))
        self.rows.append(
            {
                "document": example.document,
                "prompts": texts,
                "names": names,
                "characters": characters,
            }
        )
        self.characters += characters

    @property
    def full(self) -> bool:
        return len(self.rows) >= _GROUP_ROWS or self.characters >= _GROUP_CHARACTERS


def _write(parquet: Any, path: Path, examples: Iterable[TrainingExample]) -> None:
    import pyarrow as pa

    schema = pa.schema(
        [
            ("document", pa.string()),
            ("prompts", pa.list_(pa.string())),
            ("names", pa.list_(pa.list_(pa.string()))),
            ("characters", pa.int64()),
        ]
    )
    # Prompts of one document repeat each other, which compression makes up for.
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:

        def flush(rows: _Rows) -> _Rows:
            if rows.rows:
                writer.write_table(pa.Table.from_pylist(rows.rows, schema))
            return _Rows([])

        waiting = _Rows([])
        for example in examples:
            waiting.add(example)
            if waiting.full:
                waiting = flush(waiting)
        flush(waiting)


def _example(row: dict[str, Any]) -> TrainingExample:
    turns = zip(row["prompts"], row["names"], strict=True)
    return TrainingExample(
        tuple(Turn(text, tuple(names)) for text, names in turns), row["document"]
    )


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError(
            "Stored training examples need pyarrow: pip install 'spacy-bel[train]'."
        ) from error
    return pyarrow.parquet
