"""Training examples for the default generator, made from the names of a terminology alone.

A mention is a name of a concept, usually disturbed the way clinicians disturb names; the target is
the name of the same concept that looks most like it. In a share of the examples the mention itself
is not offered as a target, so that the generator has to learn synonyms instead of copying.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

PROMPTS = ("mention", "short", "hybrid_short", "hybrid_medium")
OTHER_GROUPS = ("Disease", "Disorders", "Phenotype", "Symptom", "Clinical finding", "DISO")
VOWELS = "aeiou"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SPELLINGS = (
    ("aemia", "emia"), ("aem", "em"), ("oedema", "edema"), ("oeso", "eso"), ("paed", "ped"),
    ("haem", "hem"), ("anaes", "anes"), ("tumour", "tumor"), ("colour", "color"),
    ("behaviour", "behavior"), ("fibre", "fiber"), ("centre", "center"), ("rrhoea", "rrhea"),
    ("gynaec", "gynec"), ("orthopae", "orthope"), ("leuk", "leuc"), ("isation", "ization"),
    ("faec", "fec"), ("caec", "cec"), ("coel", "cel"), ("foet", "fet"), ("sulph", "sulf"),
)  # fmt: skip
WORDS = (
    ("kidney", "renal"), ("liver", "hepatic"), ("heart", "cardiac"), ("lung", "pulmonary"),
    ("brain", "cerebral"), ("stomach", "gastric"), ("skin", "cutaneous"), ("eye", "ocular"),
    ("nose", "nasal"), ("ear", "aural"), ("mouth", "oral"), ("teeth", "dental"), ("bone", "osseous"),
    ("muscle", "muscular"), ("blood", "serum"), ("vessel", "vascular"), ("nerve", "neural"),
    ("chest", "thoracic"), ("finger", "digit"), ("hand", "manual"), ("foot", "pedal"),
    ("increased", "elevated"), ("increased", "high"), ("increased", "raised"),
    ("decreased", "reduced"), ("decreased", "low"), ("decreased", "diminished"),
    ("absent", "missing"), ("absent", "lack of"), ("absence of", "lack of"), ("absent", "no"),
    ("abnormal", "anomalous"), ("abnormality of", "abnormal"), ("abnormality of", "anomaly of"),
    ("abnormality of", "problem with"), ("abnormal", "atypical"), ("small", "hypoplastic"),
    ("underdeveloped", "hypoplastic"), ("hypoplasia of", "small"), ("hypoplasia of", "underdeveloped"),
    ("aplasia of", "absent"), ("large", "big"), ("large", "enlarged"), ("short", "shortened"),
    ("wide", "broad"), ("wide", "broadened"), ("thin", "slender"), ("narrow", "thin"),
    ("tumor", "neoplasm"), ("neoplasm", "cancer"), ("carcinoma", "cancer"), ("delayed", "late"),
    ("delayed", "delay in"), ("impaired", "defective"), ("impaired", "poor"), ("weakness", "weak"),
    ("pain", "ache"), ("inflammation", "swelling"), ("infection", "infections"), ("level", "levels"),
    ("concentration", "level"), ("circulating", "serum"), ("circulating", "plasma"),
    ("upper limb", "arm"), ("lower limb", "leg"), ("child", "childhood"), ("frequent", "recurrent"),
    ("recurrent", "repeated"), ("progressive", "worsening"), ("paralysis", "palsy"),
    ("loss", "decrease"), ("deficiency", "lack"), ("defect", "anomaly"), ("disorder", "disease"),
    ("multiple", "many"), ("bilateral", "both sided"), ("involuntary", "uncontrolled"),
    ("duplication", "double"), ("fused", "fusion of"), ("crowded", "crowding of"),
    ("abnormality", "abnormalities"), ("malformation", "anomaly"), ("swallowing", "deglutition"),
    ("walking", "gait"), ("seizure", "fit"), ("seizures", "convulsions"), ("vision", "sight"),
    ("visual", "vision"), ("hearing", "auditory"), ("intellectual", "mental"), ("gut", "intestinal"),
)  # fmt: skip
MODIFIERS = ("mild", "severe", "marked", "slight", "possible", "new", "known", "persistent", "some")


class Term(NamedTuple):
    """A concept: code, distinct names (preferred first) and semantic groups."""

    code: str
    names: tuple[str, ...]
    groups: tuple[str, ...]


class Example(NamedTuple):
    """A prompt and the name to write after it."""

    prompt: str
    target: str


def fold(text: str) -> str:
    """Comparison key of a name: case and whitespace do not count."""
    return " ".join(text.lower().split())


def plain(text: str) -> str:
    """A name or mention as prompts hold it: square and curly brackets become round ones."""
    return text.translate(str.maketrans("[]{}\n\u00a0", "()()  "))


def read_templates(path: Path) -> tuple[list[str], list[str]]:
    """Sentence templates for training and for evaluation (every sixth line)."""
    lines = path.read_text(encoding="utf-8").splitlines()
    lines = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    evaluation = lines[::6]
    return [line for line in lines if line not in evaluation], evaluation


def sentence(template: str, mention: str, other: str) -> str:
    """A template with the bracketed mention and a distractor in place."""
    return template.replace("{other}", other).replace("{mention}", f"[{mention}]")


def build_prompt(kind: str, mention: str, group: str, context: str, memory: Sequence[str]) -> str:
    """The text that the generator continues; mentions hold no brackets."""
    parts = []
    if kind != "mention":
        parts.append(f"### Context\n{context}")
    if kind.startswith("hybrid"):
        parts.append("### Previous Normalizations\n" + ("\n".join(memory) or "None"))
    parts.append(f"### Prediction\n[{mention}]{{{group}}}")
    return "\n\n".join(parts)


def _pick(items: Sequence[str], rng: random.Random) -> int:
    return rng.randrange(len(items))


def _typo(text: str, rng: random.Random) -> str:
    at = _pick(text, rng)
    kind = rng.randrange(4)
    if kind == 0:
        return text[:at] + text[at + 1 :]
    if kind == 1:
        return text[:at] + rng.choice(LETTERS) + text[at:]
    if kind == 2:
        return text[:at] + rng.choice(LETTERS) + text[at + 1 :]
    return text[:at] + text[at : at + 2][::-1] + text[at + 2 :]


def _plural(text: str, rng: random.Random) -> str:
    words = text.split()
    at = len(words) - 1 if rng.random() < 0.8 else _pick(words, rng)
    word = words[at]
    if word.endswith("ies"):
        word = word[:-3] + "y"
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    elif word.endswith("y") and len(word) > 2 and word[-2] not in VOWELS:
        word = word[:-1] + "ies"
    elif word.endswith("is"):
        word = word[:-2] + "es"
    else:
        word += "s"
    return " ".join([*words[:at], word, *words[at + 1 :]])


def _invert(text: str, rng: random.Random) -> str:
    """Move a part across a comma or an "of", or split at a word."""
    if ", " in text:
        head, tail = text.split(", ", 1)
        return f"{tail} {head}"
    if " of the " in text:
        head, tail = text.split(" of the ", 1)
        return f"{tail} {head}"
    if " of " in text:
        head, tail = text.split(" of ", 1)
        return f"{tail} {head}"
    words = text.split()
    if len(words) < 2:
        return text
    at = rng.randrange(1, len(words))
    head, tail = " ".join(words[:at]), " ".join(words[at:])
    return rng.choice((f"{tail}, {head}", f"{tail} of {head}", f"{tail} of the {head}"))


def _hyphen(text: str, rng: random.Random) -> str:
    spots = [i for i, c in enumerate(text) if c in " -"]
    if not spots:
        return text
    at = rng.choice(spots)
    return text[:at] + rng.choice((" ", "-", "")) + text[at + 1 :]


def _drop(text: str, rng: random.Random) -> str:
    words = text.split()
    if len(words) < 3:
        return text
    del words[_pick(words, rng)]
    return " ".join(words)


def _shuffle(text: str, rng: random.Random) -> str:
    words = text.replace(",", "").split()
    rng.shuffle(words)
    return " ".join(words)


def _swap(
    table: Sequence[tuple[str, str]], whole_words: bool
) -> Callable[[str, random.Random], str]:
    def noise(text: str, rng: random.Random) -> str:
        edge = " " if whole_words else ""
        padded = f" {text} "
        fits = [
            (a, b)
            for pair in table
            for a, b in (pair, pair[::-1])
            if f"{edge}{a}{edge}" in padded
        ]
        if not fits:
            return text
        old, new = rng.choice(fits)
        return padded.replace(f"{edge}{old}{edge}", f"{edge}{new}{edge}", 1)

    return noise


def _modifier(text: str, rng: random.Random) -> str:
    return f"{rng.choice(MODIFIERS)} {text}"


def _initials(text: str, rng: random.Random) -> str:
    words = [w for w in text.replace("-", " ").split() if w not in ("of", "the", "and", "in")]
    return "".join(w[0] for w in words) if len(words) >= 3 else text


def _cut_suffix(text: str, rng: random.Random) -> str:
    """Another ending of the same stem, such as dysplasia and dysplastic."""
    words = text.split()
    at = _pick(words, rng)
    for old, new in (
        ("ic", "ia"), ("ia", "ic"), ("al", ""), ("ity", ""), ("ed", "ing"), ("ing", "ed"),
        ("ous", ""), ("osis", "otic"), ("otic", "osis"), ("tion", "ted"), ("ar", ""), ("y", "ic"),
    ):  # fmt: skip
        if words[at].endswith(old) and len(words[at]) > len(old) + 3:
            words[at] = words[at][: -len(old)] + new
            break
    return " ".join(words)


_word_swap, _spelling_swap = _swap(WORDS, True), _swap(SPELLINGS, False)
NOISES: tuple[tuple[Callable[[str, random.Random], str], float], ...] = (
    (_typo, 2.0), (_plural, 2.0), (_invert, 2.0), (_hyphen, 1.0), (_drop, 1.5), (_shuffle, 1.0),
    (_word_swap, 3.0), (_spelling_swap, 1.0), (_modifier, 0.7), (_initials, 0.2),
    (_cut_suffix, 1.0),
)  # fmt: skip


def disturb(name: str, rng: random.Random) -> str:
    """A name as it might be written in a note: one to three changes."""
    text = fold(name)
    functions, weights = zip(*NOISES, strict=True)
    for noise in rng.choices(functions, weights, k=rng.choice((1, 1, 1, 2, 2, 3))):
        text = " ".join(noise(text, rng).split()) or text
    return text


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
    """An endless, seeded stream of examples; each pass uses every name once as a mention.

    terms: the terminology without its held-out names. held_out: folded names that must not occur
    as a mention, not even by chance.
    """

    def __init__(
        self, terms: Sequence[Term], held_out: set[str], templates: Sequence[str], seed: int
    ) -> None:
        self.rng = random.Random(seed)
        self.terms = terms
        self.templates = templates
        self.pairs = [(i, name) for i, term in enumerate(terms) for name in term.names]
        self.similarity = Similarity(name for term in terms for name in term.names)
        self.owners: dict[str, set[int]] = {}
        for index, name in self.pairs:
            self.owners.setdefault(fold(name), set()).add(index)
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
        clash = bool(self.owners.get(mention, set()) - {index}) or mention in self.held_out
        return fold(name) if clash or not mention else mention

    def _example(self, index: int, name: str) -> Example:
        term, rng = self.terms[index], self.rng
        names: Sequence[str] = term.names
        if len(names) > 1 and rng.random() < 0.5:
            mention = self._mention(index, name, 0.35)
            names = [other for other in names if fold(other) not in (fold(name), mention)]
            names = names or term.names
        else:
            mention = self._mention(index, name, 0.75)
        target = self.similarity.closest(mention, names)
        kind = rng.choices(PROMPTS, (0.54, 0.25, 0.17, 0.04))[0]
        group = rng.choice(term.groups) if rng.random() < 0.85 else rng.choice(OTHER_GROUPS)
        mention = plain(mention)
        context, memory = "", []
        if kind != "mention":
            others = [plain(fold(rng.choice(self.pairs)[1])) for _ in range(2)]
            context = sentence(rng.choice(self.templates), mention, others[0])
            if kind == "hybrid_medium":
                rest = sentence(rng.choice(self.templates), others[1], others[0])
                rest = rest.replace("[", "").replace("]", "")
                context = " ".join([context, rest] if rng.random() < 0.5 else [rest, context])
        if kind.startswith("hybrid"):
            memory, remembered = self._memory(index, group)
            # A document keeps one name per concept, as long as the memory can be believed.
            target = remembered or target
        return Example(build_prompt(kind, mention, group, context, memory), plain(target))

    def _memory(self, index: int, group: str) -> tuple[list[str], str | None]:
        rng = self.rng
        lines, remembered = [], None
        for _ in range(rng.choice((0, 1, 1, 2, 3, 4))):
            other = index if rng.random() < 0.15 else rng.randrange(len(self.terms))
            mention = self._mention(other, rng.choice(self.terms[other].names), 0.3)
            name = self.similarity.closest(mention, self.terms[other].names)
            if rng.random() < 0.15:
                name = rng.choice(self.terms[rng.randrange(len(self.terms))].names)
            elif other == index:
                remembered = remembered or name
            lines.append(f"[{plain(mention)}]{{{group}}} {plain(name)}")
        return lines, remembered
