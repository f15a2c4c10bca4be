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
from spacy_bel.kb.text import clean, fold


class KnowledgeBaseBuilder:
    """Takes concepts in any order; equal content gives an equal knowledge base.

    Concepts are kept as packed columns, so that millions of them fit in memory.

    name: what users call the terminology.
    source, release, licence: where it comes from, recorded in ``meta.json``.
    """

    def __init__(
        self, name: str, *, source: str = "", release: str = "", licence: str = ""
    ) -> None:
        self.name = name
        self.source = source
        self.release = release
        self.licence = licence
        self.skipped = 0  # entries a reader left out, for its report
        self._codes: set[str] = set()
        self._code_column = _Strings()
        self._names = _Strings()
        self._names_per_concept = array("q")
        self._group_sets: dict[tuple[str, ...], int] = {}
        self._set_per_concept = array("q")
        self._texts = {column: _Strings() for column in TEXT_COLUMNS}
        self._alternatives: list[tuple[str, str]] = []
        self._retired: dict[str, str | None] = {}

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
        self._code_column.append(code)
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
        self._retired[clean(code)] = clean(replaced_by) if replaced_by else None

    def build(self) -> KnowledgeBase:
        """Lay out everything that was added. Raises KnowledgeBaseError if that is nothing."""
        if not self._codes:
            raise KnowledgeBaseError(
                f"The terminology {self.name!r} has no concept: check that its source has "
                "entries and is read in the right format."
            )
        codes = marisa_trie.Trie(self._code_column)
        names = marisa_trie.Trie(self._names)
        # Row i of the builder becomes concept_of_row[i]: ids follow from the trie, not the order.
        concept_of_row = np.fromiter((codes[c] for c in self._code_column), np.int32, len(codes))
        order = np.argsort(concept_of_row)
        counts = np.frombuffer(self._names_per_concept, np.int64)
        name_of_row = np.fromiter((names[n] for n in self._names), np.int32, len(self._names))
        alias_offsets = offsets(counts[order])
        alias_rows = runs(offsets(counts)[order], counts[order])
        alias_names = name_of_row[alias_rows]
        alias_concepts = np.repeat(np.arange(len(codes), dtype=np.int32), counts[order])
        by_name = np.argsort(alias_names, kind="stable")

        # Folded twice rather than kept: ten million strings would take a gigabyte.
        folded = marisa_trie.Trie(fold(name) for name in _keys(names))
        folded_ids = np.fromiter((folded[fold(n)] for n in _keys(names)), np.int32, len(names))

        groups = sorted({group for groups in self._group_sets for group in groups})
        masks = self._group_masks(groups)[order]
        alternatives, alternative_concepts = self._resolve(codes)
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

    def _resolve(self, codes: marisa_trie.Trie) -> tuple[marisa_trie.Trie, np.ndarray]:
        """Other codes and the concept ids they stand for, -1 for retired without replacement."""
        meant: dict[str, int] = {}
        # Sorted, so that the first claim on a shared code does not depend on the order of adding.
        for other, code in sorted(self._alternatives):
            if other not in self._codes:
                meant.setdefault(other, codes[code])
        for code in self._retired:
            if code in self._codes or code in meant:
                continue
            target: str | None = code
            seen: set[str] = set()  # replacements may form a cycle
            while target in self._retired and target not in seen and target not in meant:
                if target in self._codes:
                    break
                seen.add(target)
                target = self._retired[target]
            meant[code] = codes[target] if target in self._codes else meant.get(target or "", -1)
        trie = marisa_trie.Trie(meant)
        concepts = np.full(len(trie), -1, np.int32)
        for code, concept in meant.items():
            concepts[trie[code]] = concept
        return trie, concepts


class _Strings:
    """A growing column of strings as packed UTF-8."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._ends = array("q")

    def append(self, text: str) -> None:
        self._text += text.encode("utf-8")
        self._ends.append(len(self._text))

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[str]:
        start = 0
        for end in self._ends:
            yield self._text[start:end].decode("utf-8")
            start = end

    def packed(self, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The bytes in another order (uint8) and where each string starts (int64, one more)."""
        starts = np.concatenate(([0], np.frombuffer(self._ends, np.int64)))
        lengths = np.diff(starts)[order]
        text = np.frombuffer(bytes(self._text), np.uint8)
        return text[runs(starts[:-1][order], lengths)], offsets(lengths)


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(cleaned for text in texts if (cleaned := clean(text))))


def _keys(trie: marisa_trie.Trie) -> Iterator[str]:
    return (trie.restore_key(key) for key in range(len(trie)))
