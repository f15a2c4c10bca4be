"""Which sentences are taken, and for which reason the others are not.

SynCABEL (arXiv 2601.19667) takes every line with its prefix and a bracket. These rules look at what
a linker would learn from it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from spacy_bel.errors import SettingsError
from spacy_bel.kb.concept import Concept
from spacy_bel.kb.knowledge_base import KnowledgeBase
from spacy_bel.kb.text import fold
from spacy_bel.synthesis.answers import Rejection, Sentence, read_answer
from spacy_bel.synthesis.base import Answer
from spacy_bel.synthesis.languages import LANGUAGES, Language
from spacy_bel.synthesis.prompt import worked_sentences

REASONS = {
    "no_prefix": "the line does not begin as it should",
    "cut_off": "the answer ends in the middle of the line",
    "no_brackets": "no mention is marked",
    "unbalanced_brackets": "a bracket is not closed, or there are brackets in brackets",
    "several_mentions": "more than one mention is marked",
    "empty_mention": "nothing stands in the brackets",
    "within_word": "the brackets begin or end inside a word",
    "length": "the sentence is too short or too long",
    "markup": "markup, an address, or characters that no sentence has",
    "template_text": "words of the prompt, or the code of the concept",
    "script": "letters that are neither Latin nor Greek",
    "gibberish_mention": "the mention is hardly letters, too long, or repeats itself",
    "gibberish_sentence": "the sentence is hardly letters, or repeats itself",
    "capitals": "the mention is written in capitals",
    "punctuation": "the mention has commas or parentheses",
    "mention_repeated": "the mention stands in the sentence once more, unmarked",
    "other_concept": "the mention is a name of another concept of the same group, not of this one",
    "ambiguous_name": "the mention is a name of this concept and of another one of the same group",
    "copied": "the sentence is one of those that the prompt shows",
    "duplicate": "the concept has the sentence already",
    "surplus": "the concept has enough sentences",
}
"""Every reason for which a line is not taken."""

_MARKUP = re.compile(r"[<>{}|\\`~^\ufffd]|\*\*|__|##|https?:|www\.|&[a-z]+;|\]\(")
_WORD = re.compile(r"\w+")
_REPEATED_LETTER = re.compile(r"([^\W\d_])\1{3,}", re.IGNORECASE)
_PLACEHOLDERS = {
    *("mention", "the mention", "concept", "the concept", "title", "name", "term", "synonym"),
    *("mention du concept", "le concept", "titre", "nom", "terme", "formulation"),
    *("mención", "la mención", "concepto", "el concepto", "título", "nombre", "término"),
}


@dataclass(frozen=True, slots=True)
class Rules:
    """Limits of what is taken.

    min_words, max_words: of a sentence. max_mention_words, max_mention_characters: of a mention.
    mention_letters, sentence_letters: share of letters among the characters that are no blanks.
    distinct_words: share of different words in a sentence. longest_word: letters of a word.
    plain_mentions: the mention is not in capitals, and has no commas or parentheses.
    latin: no letters but Latin and Greek ones. ambiguous: take mentions that are names of this
    concept and of another one, too.

    Raises SettingsError for limits that nothing can keep.
    """

    min_words: int = 5
    max_words: int = 60
    max_mention_words: int = 12
    max_mention_characters: int = 100
    mention_letters: float = 0.5
    sentence_letters: float = 0.75
    distinct_words: float = 0.5
    longest_word: int = 50
    plain_mentions: bool = True
    latin: bool = True
    ambiguous: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.min_words <= self.max_words:
            raise SettingsError(
                f"A sentence of {self.min_words} to {self.max_words} words cannot be: give "
                "min_words of at least 1, and max_words that are not fewer."
            )


@dataclass(slots=True)
class Verdict:
    """What is taken from the answers for a concept, in order, and what is not.

    attempts: which answer each sentence is from. unreadable: answers without any line that begins
    as it should.
    """

    accepted: list[Sentence] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    unreadable: int = 0


class Judge:
    """Takes sentences for concepts of a knowledge base.

    n: sentences that a concept needs. Lookups of names are those of the knowledge base, up to case
    and white space.
    """

    def __init__(
        self, kb: KnowledgeBase, language: Language, n: int, rules: Rules | None = None
    ) -> None:
        self.kb, self.language, self.n = kb, language, n
        self.rules = rules or Rules()
        self._shown = {_same(_bare(sentence)) for sentence in worked_sentences(language)}

    def judge(
        self, concept: Concept, answers: Sequence[Answer], shown: Iterable[str] = ()
    ) -> Verdict:
        """What is taken of a concept's answers.

        shown: sentences that the prompt showed as style.
        """
        verdict = Verdict()
        seen: set[str] = set()
        copies = self._shown | {_same(_bare(sentence)) for sentence in shown}
        for attempt, answer in enumerate(answers):
            lines = read_answer(answer, self.language)
            begun = [line for line in lines if getattr(line, "reason", "") != "no_prefix"]
            verdict.unreadable += not begun
            for line in lines:
                if isinstance(line, Rejection):
                    verdict.rejected.append(line)
                    continue
                reason = self.reason(concept, line)
                key = _same(line.text)
                if not reason and key in copies:
                    reason = "copied"
                if not reason and key in seen:
                    reason = "duplicate"
                if not reason and len(verdict.accepted) >= self.n:
                    reason = "surplus"
                if reason:
                    verdict.rejected.append(Rejection(reason, _marked(line)))
                    continue
                seen.add(key)
                verdict.accepted.append(line)
                verdict.attempts.append(attempt)
        return verdict

    def reason(self, concept: Concept, sentence: Sentence) -> str:
        """Why a sentence by itself is not taken; "" if it is."""
        rules, text, mention = self.rules, sentence.text, sentence.mention
        words = text.split()
        if not rules.min_words <= len(words) <= rules.max_words:
            return "length"
        if _MARKUP.search(text) or not text.isprintable():
            return "markup"
        if self._is_template(concept, text, mention):
            return "template_text"
        if rules.latin and not all(map(_is_latin, filter(str.isalpha, text))):
            return "script"
        if self._is_gibberish_mention(mention, fold(mention) in map(fold, concept.names)):
            return "gibberish_mention"
        if self._is_gibberish(text, text[: sentence.start] + text[sentence.end :]):
            return "gibberish_sentence"
        if rules.plain_mentions and _in_capitals(mention):
            return "capitals"
        if rules.plain_mentions and any(mark in mention for mark in ",;()"):
            return "punctuation"
        if _occurrences(text, mention) > 1:
            return "mention_repeated"
        return self._name_reason(concept, mention)

    def _name_reason(self, concept: Concept, mention: str) -> str:
        """Whether the knowledge base says that a mention means something else."""
        codes = self.kb.find(mention)
        own = concept.code in codes
        if own and self.rules.ambiguous:
            return ""
        groups = set(concept.groups)
        if any(code != concept.code and groups & set(self.kb[code].groups) for code in codes):
            return "ambiguous_name" if own else "other_concept"
        return ""

    def _is_template(self, concept: Concept, text: str, mention: str) -> bool:
        # Of short codes, such as a number, a sentence may be full.
        coded = len(concept.code) > 4 and concept.code.casefold() in text.casefold()
        prefixed = any(
            re.search(rf"\b{other.prefix}\s*\d*\s*:", text, re.IGNORECASE)
            for other in LANGUAGES.values()
        )
        return coded or prefixed or fold(mention) in _PLACEHOLDERS - set(map(fold, concept.names))

    def _is_gibberish_mention(self, mention: str, is_name: bool) -> bool:
        rules, words = self.rules, _WORD.findall(mention.casefold())
        if (
            len(mention) < 2
            or len(mention) > rules.max_mention_characters
            or len(mention.split()) > rules.max_mention_words
        ):
            return True
        # What the terminology itself writes, such as "beri-beri", is none.
        return not is_name and (
            _letters(mention) < rules.mention_letters
            or bool(_REPEATED_LETTER.search(mention))
            or any(first == second for first, second in zip(words, words[1:], strict=False))
            or any(len(word) > rules.longest_word for word in words)
        )

    def _is_gibberish(self, text: str, around: str) -> bool:
        """Whether a sentence, or what stands around its mention, is hardly one."""
        rules, words = self.rules, _WORD.findall(text.casefold())
        return (
            not words
            or _letters(text) < rules.sentence_letters
            or bool(_REPEATED_LETTER.search(around))
            or any(len(word) > rules.longest_word for word in _WORD.findall(around))
            or len(set(words)) / len(words) < rules.distinct_words
            or any(len(set(words[i : i + 3])) == 1 for i in range(len(words) - 2))
        )


def _letters(text: str) -> float:
    characters = [character for character in text if not character.isspace()]
    return sum(map(str.isalpha, characters)) / max(1, len(characters))


def _in_capitals(mention: str) -> bool:
    letters = [character for character in mention if character.isalpha()]
    return len(letters) > 1 and mention.upper() == mention and mention.lower() != mention


@lru_cache(maxsize=4096)
def _is_latin(letter: str) -> bool:
    # Such as "ª" and "µ", which are compatible forms of Latin and Greek letters.
    name = unicodedata.name(unicodedata.normalize("NFKC", letter)[0], "")
    return name.startswith(("LATIN", "GREEK")) or "ORDINAL" in name


def _occurrences(text: str, mention: str) -> int:
    """How often a mention stands in a text as words of its own, up to case."""
    pattern = r"(?<!\w)" + re.escape(mention.casefold()) + r"(?!\w)"
    return len(re.findall(pattern, text.casefold()))


def _same(text: str) -> str:
    """What two sentences share that differ in case, punctuation and blanks alone."""
    return " ".join(_WORD.findall(text.casefold()))


def _bare(sentence: str) -> str:
    return sentence.replace("[", "").replace("]", "")


def _marked(sentence: Sentence) -> str:
    text, start, end = sentence.text, sentence.start, sentence.end
    return f"{text[:start]}[{text[start:end]}]{text[end:]}"
