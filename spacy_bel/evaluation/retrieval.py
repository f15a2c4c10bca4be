"""How well an index of names finds the gold concepts of mentions, before anything reranks them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np

from spacy_bel.corpora.document import Annotation, CorpusDocument
from spacy_bel.evaluation.bootstrap import LEVEL, REPLICATES, SEED
from spacy_bel.evaluation.evaluation import Evaluation, RankedMention
from spacy_bel.evaluation.gold import GoldMention, Judge
from spacy_bel.evaluation.policies import Policies
from spacy_bel.evaluation.repeated import chosen_mentions
from spacy_bel.evaluation.seen import Seen
from spacy_bel.expansion import expand
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.mentions import GroupMapping, LabelGroups, UnmappedLabels
from spacy_bel.retriever.index import CandidateIndex

KS = (1, 5, 10, 25, 50, 100, 200)
#: A retriever proposes single concepts, so that one of a composite mention is all it can find.
POLICIES = Policies(composite="any")
UNSEEN_MENTIONS, UNSEEN_CODES = "unseen mentions", "unseen codes"

_DOCS_AT_ONCE = 32


@dataclass(slots=True)
class RetrievalEvaluation:
    """What an index found for the gold mentions of a corpus.

    kb: the knowledge base of the index, by whose name the figures go.
    evaluation: the mentions that count, and where the index had their codes.
    oracle: the same with rank 1 for every mention that any retriever could find: those of which
        the knowledge base has a concept, in the groups that are searched.
    subsets: for each named part of the mentions which ones belong to it, by document.
    skipped: mentions that were neither searched for nor counted, since their label is not mapped.
    """

    kb: KnowledgeBase
    evaluation: Evaluation
    oracle: Evaluation
    subsets: dict[str, list[list[bool]]] = field(default_factory=dict)
    skipped: int = 0

    def subset(self, name: str) -> RetrievalEvaluation:
        """The mentions of one part only."""
        chosen = self.subsets[name]
        return RetrievalEvaluation(
            self.kb, chosen_mentions(self.evaluation, chosen), chosen_mentions(self.oracle, chosen)
        )

    def report(
        self,
        ks: Sequence[int] = KS,
        *,
        baseline: RetrievalEvaluation | None = None,
        replicates: int = REPLICATES,
        level: float = LEVEL,
        seed: int = SEED,
    ) -> dict[str, Any]:
        """Counts and estimates as `Evaluation.report` gives them, as plain data.

        Every row also has the "ceiling", which no retriever can exceed. "kb" says what was
        searched, "per_subset" has a row for each part of the mentions, with a baseline also
        "difference_per_subset". Parts without mentions are {"mentions": 0}.

        baseline: another index on the same documents; its knowledge base may be another one.
        Raises EvaluationError if no mention counts, or the baseline counts other mentions.
        """
        options: dict[str, Any] = {"replicates": replicates, "level": level, "seed": seed}
        report = self.evaluation.report(
            ks, baseline=baseline.evaluation if baseline else None, **options
        )
        ceiling = self.oracle.report((1,), **options)
        pairs = [(report["scores"], ceiling["scores"])]
        for rows in ("per_label", "per_group"):
            pairs += [(report[rows][name], ceiling[rows][name]) for name in report[rows]]
        for row, best in pairs:
            row["ceiling"] = best["recall@1"]
        meta = self.kb.meta
        result = {
            "kb": {
                "name": meta.name,
                "release": meta.release,
                "concepts": meta.concepts,
                "names": meta.names,
                "fingerprint": meta.fingerprint,
            },
            "skipped": self.skipped,
            **report,
            "per_subset": {},
        }
        if baseline:
            result["difference_per_subset"] = {}
        for name in self.subsets:
            part = self.subset(name)
            if not part.evaluation.mentions:
                result["per_subset"][name] = {"mentions": 0}
                continue
            other = baseline.subset(name) if baseline else None
            of_part = part.report(ks, baseline=other, **options)
            result["per_subset"][name] = of_part["scores"]
            if baseline:
                result["difference_per_subset"][name] = of_part["difference"]
        return result


def evaluate_retriever(
    index: CandidateIndex,
    documents: Iterable[CorpusDocument],
    *,
    train: Iterable[CorpusDocument] | None = None,
    abbreviations: bool = True,
    composites: bool = True,
    label_groups: LabelGroups | None = None,
    unmapped_labels: UnmappedLabels = "error",
    policies: Policies = POLICIES,
    k: int = max(KS),
) -> RetrievalEvaluation:
    """Search for every gold mention of some documents.

    index: what to search; gold codes are those of its knowledge base.
    documents: with gold codes, of which `policies` decides what counts. A composite mention is
        found if one of its concepts is, unless they say otherwise.
    train: training documents. With them two parts of the mentions are set apart: "unseen
        mentions", equal to no training mention and no name of the knowledge base, and "unseen
        codes", none of whose concepts occurs in training.
    abbreviations, composites: widen queries, as `bel_retriever` does.
    label_groups, unmapped_labels: see `GroupMapping`; with "skip", mentions whose label is not
        mapped do not count.
    k: how many candidates to fetch; no recall grows beyond it.

    For several indexes call it for each with the same documents, and give one evaluation as the
    baseline of the others' reports.
    """
    kb = index.kb
    mapping = GroupMapping(kb, label_groups or {}, unmapped_labels)
    seen = None if train is None else Seen(train, kb)
    judge = Judge(policies, kb)
    result = RetrievalEvaluation(kb, Evaluation(judge), Evaluation(judge))
    if seen is not None:
        result.subsets = {UNSEEN_MENTIONS: [], UNSEEN_CODES: []}
    stream = iter(documents)
    while batch := list(islice(stream, _DOCS_AT_ONCE)):
        searched = [_mapped(document, mapping) for document in batch]
        found = _search(index, mapping, searched, abbreviations, composites, k)
        for document, whole in zip(searched, batch, strict=True):
            result.skipped += len(whole.annotations) - len(document.annotations)
            _add(result, document, list(islice(found, len(document.annotations))), mapping, seen)
    return result


def _mapped(document: CorpusDocument, mapping: GroupMapping) -> CorpusDocument:
    """The document with those mentions only that are searched for."""
    kept = [a for a in document.annotations if mapping.groups(a.type) is not None]
    return replace(document, annotations=kept)


def _search(
    index: CandidateIndex,
    mapping: GroupMapping,
    documents: Sequence[CorpusDocument],
    abbreviations: bool,
    composites: bool,
    k: int,
) -> Iterator[list[str]]:
    """Ranked codes for every mention of some documents."""
    queries = [
        alternatives
        for document in documents
        for alternatives in expand(
            document.text,
            [(a.start, a.end) for a in document.annotations],
            abbreviations=abbreviations,
            composites=composites,
        )
    ]
    if not queries:
        return
    masks = [_mask(mapping, a) for document in documents for a in document.annotations]
    for hits in index.search_queries(queries, np.stack(masks), k):
        yield [code for code, _, _ in hits]


def _mask(mapping: GroupMapping, annotation: Annotation) -> np.ndarray:
    return mapping.kb.group_mask(mapping.groups(annotation.type) or ())


def _add(
    result: RetrievalEvaluation,
    document: CorpusDocument,
    found: Sequence[Sequence[str]],
    mapping: GroupMapping,
    seen: Seen | None,
) -> None:
    evaluation, oracle = result.evaluation, result.oracle
    judge = evaluation.judge
    ranked, best = [], []
    parts: dict[str, list[bool]] = {name: [] for name in result.subsets}
    mentions = judge.mentions(document)
    for annotation, mention, codes in zip(document.annotations, mentions, found, strict=True):
        if not mention.counted:
            continue
        ranked.append(RankedMention(mention.label, mention.groups, judge.rank(mention, codes)))
        reachable = _reachable(mention, judge, _mask(mapping, annotation))
        best.append(RankedMention(mention.label, mention.groups, 1 if reachable else None))
        evaluation.candidates = max(evaluation.candidates, len(codes))
        if seen is not None:
            parts[UNSEEN_MENTIONS].append(not seen.mention(annotation.text))
            parts[UNSEEN_CODES].append(not seen.code(mention))
    for run, mentions_of_run in ((evaluation, ranked), (oracle, best)):
        run.ids.append(document.id)
        run.documents.append(mentions_of_run)
        run.annotations += len(document.annotations)
    for name, chosen in parts.items():
        result.subsets[name].append(chosen)


def _reachable(mention: GoldMention, judge: Judge, mask: np.ndarray) -> bool:
    """Whether some concept of the groups that are searched would be right."""
    kb = judge.kb
    assert kb is not None
    known = [code for part in mention.parts for code in part if code in kb]
    allowed = [c for c in known if (kb.concept_group_masks[kb.concept_id(c)] & mask).any()]
    return judge.rank(mention, allowed) is not None
