"""Training examples for the default generator, made from the names of a terminology alone.

A mention is a name of a concept, usually disturbed the way clinicians disturb names; the target is
the name of the same concept that looks most like it. In a share of the examples the mention itself
is not offered as a target, so that the generator has to learn synonyms instead of copying.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from name_noise import disturb, fold
from sklearn.feature_extraction.text import TfidfVectorizer

from spacy_bel.longbel.document import MemoryEntry, Mention
from spacy_bel.longbel.prompts import PROMPTS
from spacy_bel.longbel.prompts.text import normalise

VECTORS_KEPT = 50_000
SHARES = {
    "mention": 0.76,
    "short": 0.11,
    "hybrid_short": 0.09,
    "hybrid_medium": 0.01,
    "hybrid_long": 0.03,
}
OTHER_GROUPS = ("Disease", "Disorders", "Phenotype", "Symptom", "Clinical finding", "DISO")


class Term(NamedTuple):
    """A concept: code, distinct names (preferred first) and semantic groups."""

    code: str
    names: tuple[str, ...]
    groups: tuple[str, ...]


class Example(NamedTuple):
    """A prompt and the name to write after it."""

    prompt: str
    target: str


def read_templates(path: Path) -> tuple[list[str], list[str]]:
    """Sentence templates for training and for evaluation (every sixth line)."""
    lines = path.read_text(encoding="utf-8").splitlines()
    lines = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    evaluation = lines[::6]
    return [line for line in lines if line not in evaluation], evaluation


def distinct(names: Sequence[str]) -> list[str]:
    """Names that differ in more than the order of their words, or a plural.

    Thesauri list many of these, and disturbed names have them anyway.
    """
    bags: dict[tuple[str, ...], str] = {}
    for name in names:
        words = re.findall(r"[^\W_]+", fold(name))
        bags.setdefault(tuple(sorted(word.rstrip("s") for word in words)), name)
    return list(bags.values())


def sentence(template: str, mention: str, other: str) -> str:
    """A template with the bracketed mention and a distractor in place."""
    return template.replace("{other}", other).replace("{mention}", f"[{mention}]")


def build_prompt(
    kind: str, mention: str, group: str, context: str, memory: Sequence[MemoryEntry]
) -> str:
    """The text that the generator continues, as the linker writes it."""
    target = Mention(0, len(mention), mention, group, (group,))
    return PROMPTS[kind].assemble(context, memory, target)


class Similarity:
    """Char n-gram TF-IDF cosine between a mention and a few names."""

    def __init__(self, names: Iterable[str]) -> None:
        vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
        vectorizer.fit(names)
        self._analyze = vectorizer.build_analyzer()
        self._idf = dict(
            zip(vectorizer.get_feature_names_out(), vectorizer.idf_.tolist(), strict=True)
        )
        self._vectors: dict[str, dict[str, float]] = {}

    def _vector(self, text: str) -> dict[str, float]:
        grams: dict[str, float] = {}
        for gram in self._analyze(text):
            grams[gram] = self._idf.get(gram, 0.0)
        norm = float(np.sqrt(sum(v * v for v in grams.values()))) or 1.0
        return {gram: value / norm for gram, value in grams.items()}

    def closest(self, mention: str, names: Sequence[str]) -> str:
        """The most similar name; the first one wins a tie."""
        if len(names) == 1:
            return names[0]
        vector = self._vector(mention)
        if len(self._vectors) > VECTORS_KEPT:
            self._vectors.clear()
        best, best_score = names[0], -1.0
        for name in names:
            if name not in self._vectors:
                self._vectors[name] = self._vector(name)
            other = self._vectors[name]
            score = sum(value * other.get(gram, 0.0) for gram, value in vector.items())
            if score > best_score + 1e-9:
                best, best_score = name, score
        return best


class ExampleMaker:
    """An endless, seeded stream of examples; each pass uses every distinct name as a mention.

    terms: the terminology without its held-out names. held_out: folded names that must not occur
    as a mention, not even by chance.
    """

    def __init__(
        self, terms: Sequence[Term], held_out: set[str], templates: Sequence[str], seed: int
    ) -> None:
        self.rng = random.Random(seed)
        self.terms = terms
        self.templates = templates
        self.pairs = [(i, name) for i, term in enumerate(terms) for name in distinct(term.names)]
        self.similarity = Similarity(name for term in terms for name in term.names)
        self.owners: dict[str, set[str]] = {}
        for term in terms:
            for name in term.names:
                self.owners.setdefault(fold(name), set()).add(term.code)
        self.held_out = held_out
        self.passes = 0
        self._queue: list[tuple[int, str]] = []

    def take(self, count: int) -> list[Example]:
        """The next examples."""
        examples = []
        while len(examples) < count:
            if not self._queue:
                self._queue = list(self.pairs)
                self.rng.shuffle(self._queue)
                self.passes += 1
            examples.append(self._example(*self._queue.pop()))
        return examples

    def _mention(self, index: int, name: str, noise: float) -> str:
        if self.rng.random() >= noise:
            return fold(name)
        mention = disturb(name, self.rng)
        # A change can produce the name of another concept, or one that was set aside.
        clash = (
            bool(self.owners.get(mention, set()) - {self.terms[index].code})
            or mention in self.held_out
        )
        return fold(name) if clash or not mention else mention

    def _example(self, index: int, name: str) -> Example:
        term, rng = self.terms[index], self.rng
        names: Sequence[str] = term.names
        if len(names) > 1 and rng.random() < 0.6:
            mention = self._mention(index, name, 0.25)
            names = [other for other in names if fold(other) not in (fold(name), mention)]
            names = names or term.names
        else:
            mention = self._mention(index, name, 0.75)
        target = self.similarity.closest(mention, names)
        kind = rng.choices(tuple(SHARES), tuple(SHARES.values()))[0]
        group = rng.choice(term.groups) if rng.random() < 0.85 else rng.choice(OTHER_GROUPS)
        mention = normalise(mention)
        context = ""
        memory: list[MemoryEntry] = []
        if kind != "mention":
            others = [normalise(fold(rng.choice(self.pairs)[1])) for _ in range(2)]
            context = sentence(rng.choice(self.templates), mention, others[0])
            if kind in ("hybrid_medium", "hybrid_long"):
                rest = sentence(rng.choice(self.templates), others[1], others[0])
                rest = rest.replace("[", "").replace("]", "")
                context = " ".join([context, rest] if rng.random() < 0.5 else [rest, context])
        if PROMPTS[kind].uses_memory:
            memory, remembered = self._memory(index, group)
            # A document keeps one name per concept, as long as the memory can be believed.
            target = remembered or target
        return Example(build_prompt(kind, mention, group, context, memory), normalise(target))

    def _memory(self, index: int, group: str) -> tuple[list[MemoryEntry], str | None]:
        rng = self.rng
        lines: list[MemoryEntry] = []
        remembered = None
        for _ in range(rng.choice((0, 1, 1, 2, 3, 4))):
            other = index if rng.random() < 0.15 else rng.randrange(len(self.terms))
            mention = self._mention(other, rng.choice(self.terms[other].names), 0.3)
            name = self.similarity.closest(mention, self.terms[other].names)
            if rng.random() < 0.15:
                name = rng.choice(self.terms[rng.randrange(len(self.terms))].names)
            elif other == index:
                remembered = remembered or name
            lines.append(MemoryEntry(mention, group, name))
        return lines, remembered
