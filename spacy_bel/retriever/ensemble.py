"""Several retrievers that search together."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import srsly

from spacy_bel.disk import explains_full_disk
from spacy_bel.errors import FingerprintMismatchError, KnowledgeBaseError, SettingsError
from spacy_bel.expansion import Query
from spacy_bel.fusion import RANK_CONSTANT
from spacy_bel.kb.atomic import new_directory
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.kb.text import fold
from spacy_bel.retriever.distinct import search_keys
from spacy_bel.retriever.fusion import Frequency, Fusion, FusionName, fit_weights
from spacy_bel.retriever.index import DECIMALS, CandidateIndex, Hit, Mixture, Retriever
from spacy_bel.retriever.stored import REBUILD

_KIND = "ensemble index"
_META = "ensemble.json"
_LEAST_DEPTH = 100


class EnsembleIndex(CandidateIndex):
    """Asks every member for more concepts than are wanted, and fuses what they find.

    members: indexes of one knowledge base, by name. fusion: how their results become one.
    depth: how many concepts each member is asked for, at least k; max(4 k, 100) if None.
    """

    def __init__(
        self, members: Mapping[str, CandidateIndex], fusion: Fusion, *, depth: int | None = None
    ) -> None:
        self.members = dict(members)
        self.kb = next(iter(self.members.values())).kb
        self.fusion = fusion
        self.depth = depth
        self.frequency = _frequency(self.kb)

    def search(
        self, mentions: Sequence[str], group_masks: np.ndarray | None = None, k: int = 25
    ) -> list[list[Hit]]:
        """As in `CandidateIndex.search`; scores are those of `Fusion`."""
        return self.search_queries([[Query(mention)] for mention in mentions], group_masks, k)

    def search_mixtures(
        self,
        mixtures: Sequence[Mixture],
        group_masks: np.ndarray | None = None,
        k: int = 25,
    ) -> list[list[Hit]]:
        """As in `CandidateIndex.search_mixtures`, by what every member makes of a mixture."""
        return self.search_queries([[m._replace(weight=1.0)] for m in mixtures], group_masks, k)

    def search_queries(
        self,
        queries: Sequence[Sequence[Query | Mixture]],
        group_masks: np.ndarray | None = None,
        k: int = 25,
    ) -> list[list[Hit]]:
        """The k best concepts of each mention that is searched for by several weighted strings.

        Every member merges the results of a mention's queries, in which its scores can be compared,
        before the results of members are fused. Ties are broken by exact match with any query, then
        as everywhere.
        """
        keys = search_keys([""] * len(queries), group_masks, k)
        # Equal mentions are fused once, as every member searches them once.
        distinct: dict[tuple[Any, bytes], int] = {}
        for row, (alternatives, (_, mask)) in enumerate(zip(queries, keys, strict=True)):
            distinct.setdefault((tuple(alternatives), mask), row)
        rows = list(distinct.values())
        masks = None if group_masks is None else np.asarray(group_masks)[rows]
        results = self.fetch([queries[row] for row in rows], masks, k)
        fused = {
            key: self._fuse(key[0], {member: found[i] for member, found in results.items()}, k)
            for i, key in enumerate(distinct)
        }
        return [
            list(fused[tuple(alternatives), mask])
            for alternatives, (_, mask) in zip(queries, keys, strict=True)
        ]

    def fetch(
        self,
        queries: Sequence[Sequence[Query | Mixture]],
        group_masks: np.ndarray | None = None,
        k: int = 25,
    ) -> dict[str, list[list[Hit]]]:
        """What every member finds for each mention: the results that are fused."""
        depth = self.depth_for(k)
        return {
            name: member.search_queries(queries, group_masks, depth)
            for name, member in self.members.items()
        }

    def depth_for(self, k: int) -> int:
        """How many concepts each member is asked for."""
        return max(k, self.depth or max(4 * k, _LEAST_DEPTH))

    def _fuse(
        self, queries: Sequence[Query | Mixture], results: Mapping[str, list[Hit]], k: int
    ) -> list[Hit]:
        scores = self.fusion.scores(results, self.depth_for(k), self.frequency)
        surfaces = {fold(query.text) for query in queries}
        # The name is that of the member which ranks the concept best, unless another is exact.
        names: dict[str, tuple[bool, int, str]] = {}
        for hits in results.values():
            for rank, (code, name, _) in enumerate(hits):
                found = (fold(name) not in surfaces, rank, name)
                if code not in names or found[:2] < names[code][:2]:
                    names[code] = found
        ranked = sorted((-round(score, DECIMALS), code) for code, score in scores.items())
        # Looking concepts up takes long: only where a tie has to be broken, or may be cut.
        least = ranked[min(k, len(ranked)) - 1][0] if ranked else 0.0
        chosen = [
            (score, *self._tie(code, names[code]), code) for score, code in ranked if score <= least
        ]
        return [(code, names[code][2], -score) for score, *_, code in sorted(chosen)[:k]]

    def _tie(self, code: str, name: tuple[bool, int, str]) -> tuple[bool, int, bool]:
        """What decides between equal scores: exact match, frequency in training, preferred name."""
        mentioned = self.kb.training_mentions
        frequency = 0 if mentioned is None else int(mentioned[self.kb.concept_id(code)])
        return name[0], -frequency, name[2] != self.kb.preferred_name(code)

    def to_disk(self, path: str | Path, *, force: bool = False) -> None:
        """Write a directory with one of each member in it; ``force`` replaces one that is there."""
        path = Path(path).absolute()
        # force replaces an index, never somebody's home directory.
        if force and path.exists() and not (path / _META).is_file():
            raise KnowledgeBaseError(
                f"{path} has no {_META}, it is not replaced: choose another path."
            )
        try:
            with explains_full_disk(path), new_directory(path, force=force) as temporary:
                for name, member in self.members.items():
                    member.to_disk(temporary / name)
                (temporary / _META).write_bytes(_meta(self.members))
        except FileExistsError as error:
            raise KnowledgeBaseError(
                f"{path} exists already: choose another path or pass force=True."
            ) from error

    def to_bytes(self) -> bytes:
        """All members, without their knowledge base, as one msgpack message."""
        members = {name: member.to_bytes() for name, member in self.members.items()}
        return srsly.msgpack_dumps({_META: _meta(members), "members": members})


@dataclass(frozen=True)
class EnsembleRetriever(Retriever):
    """Several retrievers at once.

    members: retrievers by name; the names are those of directories and of weights.
    fusion: "rrf", "max" or "weighted", see `Fusion`; weights, rank_weights, rank_constant and
        frequency_weight, too.
    depth: how many concepts each member is asked for; max(4 k, 100) if None.

    Raises SettingsError for names that are no plain words, weights of unknown members and the like.
    """

    members: Mapping[str, Retriever]
    fusion: FusionName = "rrf"
    weights: Mapping[str, float] | None = None
    rank_weights: Mapping[str, float] | None = None
    rank_constant: int = RANK_CONSTANT
    frequency_weight: float = 0.0
    depth: int | None = None

    def __post_init__(self) -> None:
        if not self.members:
            raise SettingsError("An ensemble needs members: give at least one retriever.")
        for name in self.members:
            if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise SettingsError(
                    f"{name!r} is no name of a member: use letters, digits, - and _."
                )
        if unknown := {*(self.weights or {}), *(self.rank_weights or {})} - self.members.keys():
            raise SettingsError(
                f"Weights are given for {', '.join(sorted(unknown))}, but the members are "
                f"{', '.join(self.members)}."
            )
        if self.depth is not None and self.depth < 1:
            raise SettingsError(f"depth is {self.depth}: ask for at least one concept.")
        self._fusion()

    def build(self, kb: KnowledgeBase, *, progress: bool = False) -> EnsembleIndex:
        """Build the index of every member."""
        return self._index({n: m.build(kb, progress=progress) for n, m in self.members.items()})

    def from_disk(self, path: str | Path, kb: KnowledgeBase) -> EnsembleIndex:
        """Open what ``EnsembleIndex.to_disk`` wrote; the fusion is that of this retriever."""
        path = Path(path)
        try:
            meta = (path / _META).read_bytes()
        except OSError as error:
            raise KnowledgeBaseError(
                f"{path} holds no {_KIND}, {_META} cannot be read: it is of another retriever, or "
                f"damaged. Use the retriever that made it, or {REBUILD}."
            ) from error
        return self._open(meta, lambda name, member: member.from_disk(path / name, kb))

    def from_bytes(self, data: bytes, kb: KnowledgeBase) -> EnsembleIndex:
        """Read what ``EnsembleIndex.to_bytes`` gave; the fusion is that of this retriever."""
        try:
            message = srsly.msgpack_loads(data)
            meta, members = message[_META], message["members"]
        except Exception as error:  # msgpack raises a different class for each kind of damage
            raise KnowledgeBaseError(
                f"These bytes are no {_KIND} or damaged: build it again."
            ) from error
        return self._open(meta, lambda name, member: member.from_bytes(members[name], kb))

    def fitted(
        self,
        index: EnsembleIndex,
        queries: Sequence[Sequence[Query | Mixture]],
        gold: Sequence[Collection[str]],
        group_masks: np.ndarray | None = None,
        *,
        k: int = 25,
        ranks: bool = False,
    ) -> EnsembleRetriever:
        """The same with the weights that fit a development corpus best, see `fit_weights`.

        index: what this retriever built. queries, group_masks: as searched for; gold: the right
        codes of each mention. k: how many concepts will be wanted.
        """
        weights = fit_weights(
            index.fetch(queries, group_masks, k),
            gold,
            depth=index.depth_for(k),
            k=k,
            rank_constant=self.rank_constant,
            ranks=ranks,
            frequency=index.frequency,
        )
        return replace(self, fusion="weighted", **weights._asdict())

    def _fusion(self) -> Fusion:
        return Fusion(
            self.fusion,
            self.weights,
            self.rank_weights,
            self.rank_constant,
            self.frequency_weight,
        )

    def _index(self, members: Mapping[str, CandidateIndex]) -> EnsembleIndex:
        return EnsembleIndex(members, self._fusion(), depth=self.depth)

    def _open(
        self, meta: bytes, open_member: Callable[[str, Retriever], CandidateIndex]
    ) -> EnsembleIndex:
        try:
            content = json.loads(meta)
            kind, names = content["kind"], content["members"]
        except (ValueError, KeyError, TypeError) as error:
            raise KnowledgeBaseError(f"{_META} is damaged ({error}): build it again.") from error
        if kind != _KIND or not isinstance(names, list):
            raise KnowledgeBaseError(f"{_META} describes no {_KIND}: build it again.")
        if set(names) != set(self.members):
            raise FingerprintMismatchError(
                f"The {_KIND} has the members {', '.join(map(str, names))}, the settings have "
                f"{', '.join(self.members)}: build it again, or name them as it does."
            )
        return self._index({n: open_member(n, member) for n, member in self.members.items()})


def _frequency(kb: KnowledgeBase) -> Frequency | None:
    """How often each concept is mentioned in training, on a logarithmic scale, if that is known."""
    mentions = kb.training_mentions
    if mentions is None:
        return None
    shares = np.log1p(mentions) / np.log1p(max(1, int(mentions.max(initial=0))))
    return lambda code: float(shares[kb.concept_id(code)])


def _meta(members: Collection[str]) -> bytes:
    return (json.dumps({"kind": _KIND, "members": list(members)}, indent=2) + "\n").encode("ascii")
