"""What generated names mean: the concepts that bear them, alone or joined."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ..candidates import Candidate
from ..kb import KnowledgeBase
from ..ranking import TIE, ScoredName, rank
from .document import JOINT

#: Between the codes of a mention of several concepts.
CODE_JOINT = "+"


class GeneratedName(NamedTuple):
    """A generated name, or several that a composite mention joins, and what it may mean.

    parts: for each name the concepts that bear it within the groups, as (concept id, name).
    log_probability: summed over its tokens, the end token included. log_score: the same divided by
    length ** length_penalty.
    """

    parts: Sequence[Sequence[tuple[int, str]]]
    log_probability: float
    log_score: float


class Form(NamedTuple):
    """A generated sequence that names an answer.

    names: as which it reads; several where a tokenizer cannot tell them apart. concepts: how many
    concepts share it.
    """

    names: tuple[str, ...]
    log_probability: float
    log_score: float
    concepts: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A concept, or several that a composite mention names, and how it was generated."""

    code: str
    preferred_name: str
    forms: list[Form] = field(default_factory=list)


class Answers(list[Answer]):
    """Distinct answers; for `rank` they take the place of the concepts of a knowledge base."""

    def code(self, concept_id: int) -> str:
        """The code of the answer at a place of the list."""
        return self[concept_id].code

    def preferred_name(self, code: str) -> str:
        """The preferred name of the answer with a code."""
        return next(answer.preferred_name for answer in self if answer.code == code)

    def ranked(
        self,
        mention: str,
        scores: Sequence[float],
        best_by: Literal["log_score", "log_probability"],
        linked: Container[str],
    ) -> list[Candidate]:
        """Candidates by score, each with its best name."""
        rows = []
        for i, (answer, score) in enumerate(zip(self, scores, strict=True)):
            best = max(getattr(form, best_by) for form in answer.forms)
            for form in answer.forms:
                if getattr(form, best_by) >= best - TIE:
                    rows += [ScoredName(i, name, score) for name in form.names]
        return rank(self, mention, rows, linked)


def gather(
    kb: KnowledgeBase, mention: str, generated: Iterable[GeneratedName], linked: Container[str]
) -> Answers:
    """The distinct answers; the order of a composite's parts makes none distinct."""
    distinct: dict[tuple[tuple[tuple[int, str], ...], ...], GeneratedName] = {}
    for name in generated:
        # A name that was found and also scored by request must not count twice.
        distinct.setdefault(tuple(tuple(part) for part in name.parts if part), name)
    answers, places = Answers(), dict[tuple[str, ...], int]()
    for parts, name in sorted(distinct.items(), key=lambda item: (-item[1].log_score, item[0])):
        meanings: dict[tuple[int, ...], list[str]] = {}
        if len(parts) > 1:
            concepts = _composite(kb, mention, parts, linked)
            meanings[tuple(concepts)] = [JOINT.join(concepts.values())]
        else:
            for concept, written in (pair for part in parts for pair in part):
                meanings.setdefault((concept,), []).append(written)
        for ids, names in meanings.items():
            codes = [kb.code(concept) for concept in ids]
            # Split again, since a terminology may itself have codes that are joined.
            key = tuple(sorted(CODE_JOINT.join(codes).split(CODE_JOINT)))
            if key not in places:
                places[key] = len(answers)
                preferred = JOINT.join(map(kb.preferred_name, codes))
                answers.append(Answer(CODE_JOINT.join(codes), preferred))
            form = Form(tuple(names), name.log_probability, name.log_score, len(meanings))
            answers[places[key]].forms.append(form)
    return answers


def pinned_candidate(kb: KnowledgeBase, mention: str, code: str) -> Candidate | None:
    """The candidate of a link that a user has fixed, with a score of 1; None for unknown codes.

    mention: its surface, which is the name if the concept is called so, otherwise its preferred
    name is. code: of a concept, an alternative or replaced one too, or of several, joined.
    """
    codes = [code] if code in kb else code.split(CODE_JOINT)
    main = [kb.resolve(part.strip()) for part in codes]
    known = list(dict.fromkeys(part for part in main if part is not None))
    if None in main:
        return None
    if len(known) > 1:
        name = JOINT.join(map(kb.preferred_name, known))
        return Candidate(CODE_JOINT.join(known), name, 1.0)
    concept = kb.concept_id(known[0])
    names = (ScoredName(concept, kb.name(int(i)), 1.0) for i in kb.names_of_concept(concept))
    return rank(kb, mention, names)[0]


def _composite(
    kb: KnowledgeBase,
    mention: str,
    parts: Iterable[Sequence[tuple[int, str]]],
    linked: Container[str],
) -> dict[int, str]:
    """The concepts of a composite mention with their names, as generated, each once.

    Of several concepts that bear a part's name the one that `rank` puts first.
    """
    chosen: dict[int, str] = {}
    for part in parts:
        best = rank(kb, mention, (ScoredName(c, name, 0.0) for c, name in part), linked)[0]
        chosen.setdefault(kb.concept_id(best.code), best.name)
    return chosen
