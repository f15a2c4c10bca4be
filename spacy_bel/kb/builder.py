"""Collects concepts and lays them out as a KnowledgeBase."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import marisa_trie
import numpy as np

from spacy_bel.errors import KnowledgeBaseError
from spacy_bel.kb import storage
from spacy_bel.kb.arrays import offsets, runs
from spacy_bel.kb.concept import Concept
from spacy_bel.kb.knowledge_base import TEXT_COLUMNS, KnowledgeBase
from spacy_bel.kb.packed import Codes, PackedStrings
from spacy_bel.kb.text import clean, fold

MAX_DAMAGE = 10_000


class KnowledgeBaseBuilder:
    """Takes concepts in any order; equal content gives an equal knowledge base.

    Concepts are kept as packed columns, so that millions of them fit in memory.

    name: what users call the terminology.
    source, release, licence: where it comes from, recorded in ``meta.json``.

    entries, skipped, damage: what a reader says about reading: how many entries of the source it
        read, how many it left out, and what was wrong with those.
    training_mentions: how often training documents mention the concept of a code, where their
        mentions were added as names.
    """

    def __init__(
        self, name: str, *, source: str = "", release: str = "", licence: str = ""
    ) -> None:
        self.name = name
        self.source = source
        self.release = release
        self.licence = licence
        self.entries = 0  # what a reader read, in the source's own units
        self.skipped = 0  # entries a reader left out
        self.damage: list[str] = []  # what was wrong with them, the first MAX_DAMAGE
        self.training_mentions: Counter[str] = Counter()
        self._codes = Codes()
        self._names = PackedStrings()
        self._names_per_concept = array("q")
        self._group_sets: dict[tuple[str, ...], int] = {}
        self._set_per_concept = array("q")
        self._texts = {column: PackedStrings() for column in TEXT_COLUMNS}
        self._alternatives: list[tuple[str, str]] = []
        self._retired = PackedStrings()
        self._replacements = PackedStrings()  # "" for none

    def __len__(self) -> int:
        return len(self._codes)

    def __contains__(self, code: object) -> bool:
        return code in self._codes

    def add(self, concept: Concept) -> None:
        """Add a concept; its names are trimmed and freed of control characters.

        Raises KnowledgeBaseError for an empty or repeated code, no usable name or no group.
        """
        code = clean(concept.code)
        if not code:
            raise KnowledgeBaseError(
                f"A concept named {concept.names[:1]} has an empty code: give every concept a code."
            )
        if code in self._codes:
            raise KnowledgeBaseError(
                f"The code {code!r} occurs twice: merge its entries into one concept."
            )
        names = _distinct(concept.names)
        if not names:
            raise KnowledgeBaseError(
                f"The concept {code!r} has no usable name: give it one or leave it out."
            )
        groups = _distinct(concept.groups)
        if not groups:
            raise KnowledgeBaseError(
                f"The concept {code!r} has no semantic group: give it at least one."
            )
        self._codes.add(code)
        for name in names:
            self._names.append(name)
        self._names_per_concept.append(len(names))
        self._set_per_concept.append(
            self._group_sets.setdefault(tuple(sorted(groups)), len(self._group_sets))
        )
        alternatives = [other for other in _distinct(concept.alternative_codes) if other != code]
        self._alternatives.extend((other, code) for other in alternatives)
        self._texts["definitions"].append(clean(concept.definition))
        self._texts["cross_references"].append("\n".join(_distinct(concept.cross_references)))
        self._texts["parents"].append("\n".join(_distinct(concept.parents)))
        self._texts["alternative_codes"].append("\n".join(alternatives))

    def retire(self, code: str, replaced_by: str | None = None) -> None:
        """Record a code that is no longer in use, and the code that stands for it now, if any.

        A code that is also the main or alternative code of a concept keeps that meaning.
        """
        if code := clean(code):
            self._retired.append(code)
            self._replacements.append(clean(replaced_by) if replaced_by else "")

    def build(self) -> KnowledgeBase:
        """Lay out everything that was added. Raises KnowledgeBaseError if that is nothing."""
        if not len(self._codes):
            raise KnowledgeBaseError(
                f"The terminology {self.name!r} has no concept: check that its source has "
                "entries and is read in the right format."
            )
        # Tries first: building them takes the most memory, so little else should be held.
        codes = marisa_trie.Trie(self._codes.column)
        names = marisa_trie.Trie(self._names)
        # Folded twice rather than kept: ten million strings would take a gigabyte.
        folded = marisa_trie.Trie(fold(name) for name in _keys(names))
        folded_ids = np.fromiter((folded[fold(n)] for n in _keys(names)), np.int32, len(names))
        name_of_row = np.fromiter((names[n] for n in self._names), np.int32, len(self._names))
        # Row i of the builder becomes concept_of_row[i]: ids follow from the trie, not the order.
        concept_of_row = np.fromiter(
            (codes[code] for code in self._codes.column), np.int32, len(codes)
        )
        order = np.argsort(concept_of_row)
        counts = np.frombuffer(self._names_per_concept, np.int64)
        alias_offsets = offsets(counts[order])
        alias_names = name_of_row[runs(offsets(counts)[order], counts[order])]
        alias_concepts = np.repeat(np.arange(len(codes), dtype=np.int32), counts[order])
        by_name = np.argsort(alias_names, kind="stable")

        groups = sorted({group for groups in self._group_sets for group in groups})
        masks = self._group_masks(groups)[order]
        alternatives, alternative_concepts, retired = self._resolve(codes)
        arrays: dict[str, np.ndarray] = {
            "alias_offsets": alias_offsets,
            "alias_names": alias_names,
            "alias_concepts": alias_concepts,
            "name_offsets": offsets(np.bincount(alias_names, minlength=len(names))),
            "name_concepts": alias_concepts[by_name],
            "folded_offsets": offsets(np.bincount(folded_ids, minlength=len(folded))),
            "folded_names": np.argsort(folded_ids, kind="stable").astype(np.int32),
            "alternative_concepts": alternative_concepts,
            "concept_group_masks": masks,
        }
        if self.training_mentions:
            mentioned = np.zeros(len(codes), np.int32)
            for code, count in self.training_mentions.items():
                if code in codes:
                    mentioned[codes[code]] = count
            arrays["training_mentions"] = mentioned
        for column, strings in self._texts.items():
            arrays[f"{column}_text"], arrays[f"{column}_offsets"] = strings.packed(order)
        columns = storage.Columns(
            arrays,
            {"codes": codes, "names": names, "folded": folded, "alternatives": alternatives},
        )
        files = storage.describe(columns)
        meta = {
            "format_version": storage.FORMAT_VERSION,
            "name": self.name,
            "source": self.source,
            "release": self.release,
            "licence": self.licence,
            "concepts": len(codes),
            "names": len(names),
            "aliases": len(alias_names),
            "alternatives": len(alternatives) - retired,
            "retired": retired,
            "groups": self._concepts_per_group(),
            "files": files,
            "fingerprint": storage.fingerprint(files, groups),
        }
        return KnowledgeBase(meta, columns)

    def write(self, path: str | Path, *, force: bool = False) -> KnowledgeBase:
        """Build, write to a directory and open it memory-mapped."""
        self.build().to_disk(path, force=force)
        return KnowledgeBase.from_disk(path)

    def _concepts_per_group(self) -> dict[str, int]:
        per_set = np.bincount(np.frombuffer(self._set_per_concept, np.int64)).tolist()
        per_group: Counter[str] = Counter()
        for members, count in zip(self._group_sets, per_set, strict=True):
            per_group.update(dict.fromkeys(members, count))
        return dict(sorted(per_group.items()))

    def _group_masks(self, groups: list[str]) -> np.ndarray:
        """One row per concept in the order of adding, as described in KnowledgeBase."""
        bits = {group: divmod(bit, 64) for bit, group in enumerate(groups)}
        masks = np.zeros((len(self._group_sets), -(-len(groups) // 64)), np.uint64)
        for members, row in self._group_sets.items():
            for group in members:
                word, bit = bits[group]
                masks[row, word] |= np.uint64(1) << np.uint64(bit)
        return masks[np.frombuffer(self._set_per_concept, np.int64)]

    def _resolve(self, codes: marisa_trie.Trie) -> tuple[marisa_trie.Trie, np.ndarray, int]:
        """Other codes, the concept ids they stand for (-1: none), and how many are retired."""
        repeated = marisa_trie.Trie(
            code
            for column in ((other for other, _ in self._alternatives), self._retired)
            for code in column
            if code not in codes
        )
        # A trie's bytes depend on how often a key was given.
        trie = marisa_trie.Trie(_keys(repeated))
        concepts = np.full(len(trie), -1, np.int32)
        # Sorted, so that the first claim on a shared code does not depend on the order of adding.
        for other, code in sorted(self._alternatives, reverse=True):
            if other not in codes:
                concepts[trie[other]] = codes[code]
        is_retired = concepts < 0
        replaced_by = np.arange(len(trie), dtype=np.int32)  # itself: nothing
        for code, replacement in zip(self._retired, self._replacements, strict=True):
            row = trie.get(code, -1)
            if row < 0 or not is_retired[row]:
                continue
            concepts[row] = codes.get(replacement, -1)
            replaced_by[row] = trie.get(replacement, row) if concepts[row] < 0 else row
        # Replacements of replacements: each round doubles the steps taken, and cycles find nothing.
        for _ in range(len(trie).bit_length()):
            concepts = np.where(concepts < 0, concepts[replaced_by], concepts)
            replaced_by = replaced_by[replaced_by]
        return trie, concepts, int(is_retired.sum())


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(cleaned for text in texts if (cleaned := clean(text))))


def _keys(trie: marisa_trie.Trie) -> Iterator[str]:
    return (trie.restore_key(key) for key in range(len(trie)))
