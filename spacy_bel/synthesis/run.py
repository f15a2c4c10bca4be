"""Annotated sentences for concepts: asked for, judged, and as documents of a corpus.

SynCABEL, arXiv 2601.19667.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from spacy_bel.corpora.document import Annotation, CorpusDocument
from spacy_bel.errors import SettingsError
from spacy_bel.kb.concept import Concept
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.synthesis.acceptance import Judge, Rules, Verdict
from spacy_bel.synthesis.asking import Asking
from spacy_bel.synthesis.base import Answer, Request
from spacy_bel.synthesis.languages import Language
from spacy_bel.synthesis.prompt import find_language, messages
from spacy_bel.synthesis.report import SynthesisReport
from spacy_bel.synthesis.store import AnswerStore
from spacy_bel.synthesis.style import StyleSentences

logger = logging.getLogger(__name__)

Progress = Callable[[int], None]


@dataclass(slots=True)
class Judged:
    """What there is for a concept.

    missing: the request that is to be sent next; None if there are sentences enough, or it has been
    sent as often as it may be.
    """

    concept: Concept
    answers: list[Answer]
    verdict: Verdict
    missing: Request | None


class Synthesis:
    """Sentences that mention concepts of a knowledge base.

    store: answers that there are, and where new ones go. language: "en", "fr" or "es". n: sentences
    of a concept. retries: how often a concept is asked for again whose answers have fewer; what was
    taken is kept. rules: which sentences are taken. style: sentences to follow in style. group:
    which group of a concept of several is the type of its mentions, the first of these that it has;
    else its first.

    Every attempt sends the same messages: they do not depend on what was taken before, so that
    other rules find the same answers. Raises SettingsError for numbers that cannot be used.
    """

    def __init__(
        self,
        kb: KnowledgeBase,
        store: AnswerStore,
        *,
        language: str = "en",
        n: int = 3,
        retries: int = 5,
        rules: Rules | None = None,
        style: StyleSentences | None = None,
        groups: Sequence[str] = (),
    ) -> None:
        if n < 1 or retries < 0:
            raise SettingsError("Sentences of a concept are at least 1, retries at least 0.")
        self.kb, self.store = kb, store
        self.language: Language = find_language(language)
        self.n, self.retries = n, retries
        self.judge = Judge(kb, self.language, n, rules)
        self.style = style
        self.groups = tuple(groups)

    def ask(
        self, codes: Iterable[str], asking: Asking, progress: Progress = lambda done: None
    ) -> None:
        """Ask for what is missing, until every concept has enough or was asked for often enough.

        progress: called with the number of concepts that nothing is asked for any more.
        """
        done = 0

        def missing() -> Iterator[Request]:
            nonlocal done
            for code in codes:
                request = self.judged(code).missing
                if request is None:
                    done += 1
                    progress(done + len(asking.failed))
                else:
                    yield request

        with closing(asking.run(missing())) as answered:
            for request in answered:
                further = self.judged(request.code).missing
                if further is None:
                    done += 1
                else:
                    asking.again(further)
                progress(done + len(asking.failed))

    def judged(self, code: str) -> Judged:
        """What the stored answers for a concept give."""
        concept = self.kb[code]
        style = self.style.draw(concept) if self.style else []
        turns = messages(concept, self.language, self.n, style)
        answers: list[Answer] = []
        verdict = Verdict()
        for attempt in range(self.retries + 1):
            request = Request(concept.code, turns, attempt)
            answer = self.store.get(request)
            if answer is None:
                return Judged(concept, answers, verdict, request)
            answers.append(answer)
            verdict = self.judge.judge(concept, answers, style)
            if len(verdict.accepted) >= self.n:
                break
        return Judged(concept, answers, verdict, None)

    def documents(
        self, codes: Iterable[str], report: SynthesisReport | None = None
    ) -> Iterator[CorpusDocument]:
        """One document for each sentence that is taken; nothing is asked for.

        report: where to count what was taken and what was not.
        """
        for code in codes:
            judged = self.judged(code)
            if report is not None:
                report.add(judged.concept.code, judged.answers, judged.verdict, self.n)
            kind = self._type(judged.concept)
            taken = zip(judged.verdict.accepted, judged.verdict.attempts, strict=True)
            for number, (sentence, attempt) in enumerate(taken, 1):
                mention = Annotation(
                    sentence.start,
                    sentence.end,
                    sentence.mention,
                    kind,
                    [[judged.concept.code]],
                    id="M0",
                )
                yield CorpusDocument(
                    f"{judged.concept.code}-{number}",
                    sentence.text,
                    [(0, len(sentence.text))],
                    [mention],
                    {"synthesis": {"model": self.store.model, "attempt": attempt}},
                    ["sentence"],
                )

    def _type(self, concept: Concept) -> str:
        return next((group for group in self.groups if group in concept.groups), concept.groups[0])
