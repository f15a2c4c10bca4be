"""A terminology opened by memory map; looking things up needs no spaCy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from spacy_bel.errors import KnowledgeBaseError, UnknownGroupError
from spacy_bel.kb import storage
from spacy_bel.kb.concept import Concept
from spacy_bel.kb.scattered import ScatteredRows
from spacy_bel.kb.text import clean, fold

TEXT_COLUMNS = ("definitions", "cross_references", "parents", "alternative_codes")
_ARRAYS = {
    *("alias_offsets", "alias_names", "alias_concepts", "name_offsets", "name_concepts"),
    *("folded_offsets", "folded_names", "alternative_concepts", "concept_group_masks"),
    *(f"{column}_{part}" for column in TEXT_COLUMNS for part in ("text", "offsets")),
}
_TRIES = {"codes", "names", "folded", "alternatives"}


@dataclass(frozen=True, slots=True)
class KnowledgeBaseMeta:
    """What ``meta.json`` says about a knowledge base.

    concepts, names, aliases: how many concepts, distinct names, and (concept, name) pairs.
    alternatives, retired: how many further codes stand for a concept, and how many are no longer
        in use (0 if a directory does not say).
    groups: number of concepts of each semantic group.
    fingerprint: sha256 of the content; name, source, release and licence are not part of it.
    """

    name: str
    source: str
    release: str
    licence: str
    format_version: int
    concepts: int
    names: int
    aliases: int
    groups: Mapping[str, int]
    fingerprint: str
    alternatives: int = 0
    retired: int = 0


class KnowledgeBase:
    """Concepts of a terminology with their names, groups and relations; read-only.

    Use ``from_disk``, ``from_bytes`` or ``KnowledgeBaseBuilder`` to get one.

    alias_names, alias_concepts: int32, one row per (concept, name); the rows of a concept stand
        together, its preferred name first.
    concept_group_masks: uint64, shape (concepts, ceil(groups / 64)); bit ``g % 64`` of word
        ``g // 64`` is set if the concept belongs to ``groups[g]``.
    training_mentions: int32, how often training documents mention each concept; None unless their
        mentions were added as names (`spacy_bel.corpora.training_mentions`).
    """

    def __init__(
        self, meta: Mapping[str, Any], columns: storage.Columns, *, path: Path | None = None
    ) -> None:
        missing = (_ARRAYS - columns.arrays.keys()) | (_TRIES - columns.tries.keys())
        if missing:
            raise KnowledgeBaseError(
                f"{storage.META} lists no file for {', '.join(sorted(missing))}. "
                "Rebuild it from its source."
            )
        self._raw_meta = meta
        self._columns = columns
        self._path = path
        try:
            known = {
                field.name: meta[field.name]
                for field in fields(KnowledgeBaseMeta)
                if field.name in meta or field.default is MISSING
            }
        except KeyError as error:
            raise KnowledgeBaseError(
                f"{storage.META} lacks {error}. Rebuild it from its source."
            ) from error
        self.meta = KnowledgeBaseMeta(**known)
        self.groups: tuple[str, ...] = tuple(sorted(self.meta.groups))
        arrays, tries = columns.arrays, columns.tries
        self.alias_names: np.ndarray = arrays["alias_names"]
        self.alias_concepts: np.ndarray = arrays["alias_concepts"]
        self.concept_group_masks: np.ndarray = arrays["concept_group_masks"]
        self.training_mentions: np.ndarray | None = arrays.get("training_mentions")
        # Lookups read single rows, engines go through whole arrays.
        self._rows = {name: ScatteredRows(array) for name, array in arrays.items()}
        self._codes, self._names = tries["codes"], tries["names"]
        self._alternatives = tries["alternatives"]

    @classmethod
    def from_disk(cls, path: str | Path, *, verify: bool | None = None) -> KnowledgeBase:
        """Open a directory by memory map.

        verify: compare the sha256 of every file (True), only sizes (False), or the sha256 unless
            the directory is larger than 256 MB (None).
        Raises KnowledgeBaseError if it is missing, damaged or of another format version.
        """
        path = Path(path).resolve()
        meta, columns = storage.open_directory(path, verify=verify)
        return cls(meta, columns, path=path)

    def to_disk(self, path: str | Path, *, force: bool = False) -> None:
        """Write a directory that appears whole or not at all.

        force: replace the knowledge base at ``path``; otherwise an existing path raises
            KnowledgeBaseError.
        """
        storage.write_directory(Path(path).absolute(), self._raw_meta, self._columns, force=force)

    def to_bytes(self) -> bytes:
        """The whole knowledge base as one msgpack message."""
        return storage.to_bytes(self._raw_meta, self._columns)

    @classmethod
    def from_bytes(cls, data: bytes) -> KnowledgeBase:
        """Read what ``to_bytes`` gave. Raises KnowledgeBaseError if it was altered."""
        return cls(*storage.from_bytes(data))

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process opens the same files instead of receiving their content.
        if self._path is not None:
            return (_reopen, (self._path, self.fingerprint))
        return (KnowledgeBase.from_bytes, (self.to_bytes(),))

    @property
    def release(self) -> str:
        """Its release, as its publisher writes it."""
        return self.meta.release

    @property
    def fingerprint(self) -> str:
        """The sha256 of the content: equal content, equal fingerprint."""
        return self.meta.fingerprint

    @property
    def path(self) -> Path | None:
        """The directory it was opened from, None if it is in memory."""
        return self._path

    @property
    def n_names(self) -> int:
        """Number of distinct name strings; name ids are below it."""
        return len(self._names)

    def __repr__(self) -> str:
        return f"<KnowledgeBase {self.meta.name!r} {self.release}: {len(self)} concepts>"

    def __len__(self) -> int:
        return len(self._codes)

    def __iter__(self) -> Iterator[str]:
        return (self._codes.restore_key(concept) for concept in range(len(self)))

    def __contains__(self, code: object) -> bool:
        return isinstance(code, str) and self.resolve(code) is not None

    def __getitem__(self, code: str) -> Concept:
        """The concept of a main, alternative or replaced code; KnowledgeBaseError if unknown."""
        concept = self.concept_id(code)
        mask = self._rows["concept_group_masks"].row(concept)
        return Concept(
            code=self.code(concept),
            names=tuple(self.name(name) for name in self.names_of_concept(concept)),
            groups=tuple(
                group
                for bit, group in enumerate(self.groups)
                if int(mask[bit // 64]) >> (bit % 64) & 1
            ),
            definition=self._text("definitions", concept),
            cross_references=self._texts("cross_references", concept),
            parents=self._texts("parents", concept),
            alternative_codes=self._texts("alternative_codes", concept),
        )

    def resolve(self, code: str) -> str | None:
        """The main code that a code stands for, None if unknown or retired without replacement."""
        concept = self._find(code)
        return None if concept < 0 else self.code(concept)

    def other_codes(self) -> Iterator[tuple[str, str | None]]:
        """Alternative and retired codes, each with the main code that it stands for, if any."""
        concepts = self._columns.arrays["alternative_concepts"]
        for other, concept in enumerate(concepts.tolist()):
            yield self._alternatives.restore_key(other), None if concept < 0 else self.code(concept)

    def find(self, name: str) -> list[str]:
        """Codes, sorted, that have a name equal to this one up to case and whitespace."""
        folded = self.folded_id(name)
        if folded < 0:
            return []
        names = self._run("folded_offsets", "folded_names", folded)
        concepts = {int(c) for n in names for c in self.concepts_of_name(int(n))}
        return sorted(self.code(concept) for concept in concepts)

    def preferred_name(self, code: str) -> str:
        """The first name of a concept."""
        return self.name(int(self.names_of_concept(self.concept_id(code))[0]))

    def cross_references(self, code: str, system: str | None = None) -> tuple[str, ...]:
        """Identifiers of a concept elsewhere as ``"SYSTEM:identifier"``, of one system if given."""
        references = self._texts("cross_references", self.concept_id(code))
        if system is None:
            return references
        prefix = f"{system}:".casefold()
        return tuple(ref for ref in references if ref.casefold().startswith(prefix))

    @property
    def has_definitions(self) -> bool:
        """Whether any concept has a definition."""
        return self._columns.arrays["definitions_text"].size > 0

    def code(self, concept_id: int) -> str:
        """The code of a concept id."""
        return self._codes.restore_key(int(concept_id))

    def concept_id(self, code: str) -> int:
        """The id of the concept that a code stands for; KnowledgeBaseError if there is none."""
        concept = self._find(code)
        if concept < 0:
            raise KnowledgeBaseError(
                f"The knowledge base {self.meta.name!r} ({self.release}) has no concept {code!r}: "
                "check the code and the release it comes from."
            )
        return concept

    def name(self, name_id: int) -> str:
        """The string of a name id."""
        return self._names.restore_key(int(name_id))

    def name_id(self, name: str) -> int:
        """The id of a name, exactly as it is written; -1 if there is none."""
        return int(self._names.get(clean(name), -1))

    def names(self) -> Iterator[str]:
        """All distinct names, in the order of their ids."""
        return (self._names.restore_key(name) for name in range(self.n_names))

    def folded_names(self) -> list[str]:
        """The distinct forms of names under ``fold``, in the order of their ids."""
        folded = self._columns.tries["folded"]
        return [folded.restore_key(form) for form in range(len(folded))]

    def folded_id(self, name: str) -> int:
        """The id of the folded form of a name, -1 if no name has it."""
        return int(self._columns.tries["folded"].get(fold(name), -1))

    def folded_ids(self) -> np.ndarray:
        """For each name id, the id (int32) of its folded form."""
        offsets = self._columns.arrays["folded_offsets"]
        ids = np.empty(self.n_names, np.int32)
        ids[self._columns.arrays["folded_names"]] = np.repeat(
            np.arange(len(offsets) - 1, dtype=np.int32), np.diff(offsets)
        )
        return ids

    def names_of_concept(self, concept_id: int) -> np.ndarray:
        """Name ids (int32) of a concept, the preferred one first."""
        return self._run("alias_offsets", "alias_names", concept_id)

    def is_preferred(self, rows: np.ndarray) -> np.ndarray:
        """For rows of ``alias_names``, whether that name is the preferred one of its concept."""
        return self._columns.arrays["alias_offsets"][self.alias_concepts[rows]] == rows

    def concepts_of_name(self, name_id: int) -> np.ndarray:
        """Concept ids (int32, ascending) that carry a name."""
        return self._run("name_offsets", "name_concepts", name_id)

    def group_mask(self, groups: Iterable[str]) -> np.ndarray:
        """The bits (uint64, one row of ``concept_group_masks``) of some groups.

        Raises UnknownGroupError if the knowledge base has no such group.
        """
        mask = np.zeros(self.concept_group_masks.shape[1], np.uint64)
        for group in groups:
            if group not in self.meta.groups:
                raise UnknownGroupError(
                    f"The knowledge base {self.meta.name!r} has no semantic group {group!r}; "
                    f"use one of: {', '.join(self.groups)}."
                )
            word, bit = divmod(self.groups.index(group), 64)
            mask[word] |= np.uint64(1) << np.uint64(bit)
        return mask

    def _find(self, code: str) -> int:
        # Codes are stored cleaned; a lone surrogate would not even encode.
        code = clean(code)
        concept = self._codes.get(code)
        if concept is not None:
            return int(concept)
        other = self._alternatives.get(code)
        return -1 if other is None else int(self._rows["alternative_concepts"].row(other))

    def _text(self, column: str, concept: int) -> str:
        text = self._run(f"{column}_offsets", f"{column}_text", concept)
        return text.tobytes().decode("utf-8")

    def _run(self, offsets: str, values: str, index: int) -> np.ndarray:
        """The values that belong to one entry of a column of offsets."""
        start, end = self._rows[offsets].rows(index, index + 2)
        return self._rows[values].rows(start, end)

    def _texts(self, column: str, concept: int) -> tuple[str, ...]:
        text = self._text(column, concept)
        return tuple(text.split("\n")) if text else ()


def _reopen(path: Path, fingerprint: str) -> KnowledgeBase:
    kb = KnowledgeBase.from_disk(path, verify=False)
    if kb.fingerprint != fingerprint:
        raise KnowledgeBaseError(
            f"The knowledge base at {path} was replaced while in use: load it again."
        )
    return kb
