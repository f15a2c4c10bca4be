"""What a language model is asked for a concept: the task once, the concept in the user's turn."""

from __future__ import annotations

from collections.abc import Sequence

from spacy_bel.errors import SettingsError
from spacy_bel.kb.concept import Concept
from spacy_bel.synthesis.base import Message
from spacy_bel.synthesis.languages import LANGUAGES, Language

#: More names of a concept are hardly more to choose from, and are paid for in each request.
MOST_NAMES = 30
#: Characters of a definition that are shown.
LONGEST_DEFINITION = 1500


def find_language(code: str) -> Language:
    """The language of an ISO 639-1 code. Raises SettingsError for others than `LANGUAGES` has."""
    if code not in LANGUAGES:
        raise SettingsError(
            f"There is no prompt in the language {code!r}: choose one of {', '.join(LANGUAGES)}."
        )
    return LANGUAGES[code]


def messages(
    concept: Concept, language: Language, n: int, style: Sequence[str] = ()
) -> tuple[Message, Message]:
    """The system's and the user's turn that ask for `n` sentences.

    style: sentences whose style is to be followed.
    """
    return (
        Message("system", instructions(language, n, style)),
        Message("user", describe(concept, language)),
    )


def instructions(language: Language, n: int, style: Sequence[str] = ()) -> str:
    """The task, two worked examples, and sentences to follow in style, if there are any."""
    rules = language.rules.format(
        n=n, shortest=language.shortest, longest=language.longest, line=language.line
    )
    lines = min(n, *(len(sentences) for _, sentences in language.worked))
    parts = [rules, language.heading_worked.format(lines=lines)]
    for concept, sentences in language.worked:
        answer = "\n".join(language.line + sentence for sentence in sentences[:lines])
        parts.append(f"{concept}\n\n{answer}")
    if style:
        parts.append("\n".join([language.heading_style, *(f"- {one_line(s)}" for s in style)]))
    return "\n\n".join(parts)


def describe(concept: Concept, language: Language) -> str:
    """Code, title, groups, definitions and names of a concept, a line each."""
    before, behind = language.quotes
    definitions = [one_line(text) for text in concept.definition.split("\n") if text.strip()]
    rows = [
        (language.code, concept.code),
        (language.title, concept.names[0]),
        (language.group, ", ".join(concept.groups)),
        *(
            (
                f"{language.definition.rstrip()} {number}"
                + language.definition[len(language.definition.rstrip()) :]
                if len(definitions) > 1
                else language.definition,
                text[:LONGEST_DEFINITION],
            )
            for number, text in enumerate(definitions, 1)
        ),
        (
            language.names,
            ", ".join(f"{before}{one_line(n)}{behind}" for n in concept.names[:MOST_NAMES]),
        ),
    ]
    return "\n".join(f"{label}: {one_line(text)}" for label, text in rows)


def worked_sentences(language: Language) -> list[str]:
    """Sentences of the worked examples, which an answer must not give back."""
    return [sentence for _, sentences in language.worked for sentence in sentences]


def one_line(text: str) -> str:
    """A text without line breaks, so that it cannot be taken for another line of a prompt."""
    return " ".join(text.split())
