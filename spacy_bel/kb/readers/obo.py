"""Ontologies in OBO format (https://owlcollab.github.io/oboformat/doc/GO.format.obo-1_4.html).

Released files often break the grammar (unescaped brackets, spaces in identifiers), which strict
parsers refuse as a whole; this reader takes the tags that linking needs, stanza by stanza.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from spacy_bel.errors import KnowledgeBaseError
from spacy_bel.kb.builder import KnowledgeBaseBuilder
from spacy_bel.kb.concept import Concept
from spacy_bel.kb.readers.branches import top_branches
from spacy_bel.kb.readers.damage import OnError, report_damage
from spacy_bel.kb.readers.lines import read_lines

_SCOPES = ("EXACT", "NARROW", "BROAD", "RELATED")  # closest to the preferred name first
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(\w*)')
_ESCAPE = re.compile(r"\\(.)")
_WHITESPACE_ESCAPES = {"n": " ", "t": " ", "W": " "}
_MODIFIERS = re.compile(r"\s+\{[^{}]*=[^{}]*\}\s*$")
_COMMENT = re.compile(r"(?<!\\)\s!\s.*$")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_PROPERTY = re.compile(r'(?:dc|dcterms|terms):(title|license)\s+"?([^"]*?)"?(?:\s+xsd:\w+)?$')


@dataclass(slots=True)
class _Stanza:
    kind: str  # "" for the header
    line: int
    tags: list[tuple[int, str, str]] = field(default_factory=list)  # line, tag, value


@dataclass(slots=True)
class _Term:
    line: int
    code: str = ""
    name: str = ""
    synonyms: list[tuple[str, str]] = field(default_factory=list)  # scope, name
    definition: str = ""
    cross_references: list[str] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)
    alternatives: list[str] = field(default_factory=list)
    replaced_by: list[str] = field(default_factory=list)
    obsolete: bool = False


class _StanzaError(Exception):
    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def read_obo(
    path: str | Path,
    *,
    name: str | None = None,
    group: str | None = None,
    release: str | None = None,
    on_error: OnError = "raise",
    progress: bool = False,
) -> KnowledgeBaseBuilder:
    """Read the terms of an OBO file, gzipped or not.

    Names are the term's name, then its synonyms by scope: exact, narrow, broad, related. Obsolete
    terms are retired codes, whose cross-references pass to their replacement. Terms of all
    identifier prefixes are kept; relations are not read.

    group: semantic group of all terms. By default the groups of a term are the names of the top
        branches it lies under: the children of the roots; a root has a group of its own.
    on_error: raise ReadError at the first stanza that cannot be read, or skip and count them.
    """
    path = Path(path)
    stanzas = _stanzas(path, progress=progress)
    title, found_release, licence = _header(next(stanzas))
    builder = KnowledgeBaseBuilder(
        name or title or path.name.split(".")[0],
        source=path.name,
        release=release or found_release,
        licence=licence,
    )
    terms: dict[str, _Term] = {}
    for stanza in stanzas:
        try:
            if stanza.kind != "Term":
                _check_kind(stanza)
                continue
            builder.entries += 1
            term = _term(stanza)
            if term.code in terms:
                raise _StanzaError(term.line, f"the term {term.code!r} occurs twice; merge them.")
            terms[term.code] = term
        except _StanzaError as error:
            report_damage(builder, path, error.line, error, on_error)
    current = _retire_obsolete(builder, terms)
    groups = _groups(current, group, fallback=builder.name)
    for code, term in current.items():
        try:
            builder.add(_concept(term, groups[code]))
        except KnowledgeBaseError as error:
            report_damage(builder, path, term.line, error, on_error)
    return builder


def recognises(path: Path, first_line: str) -> bool:
    """Whether a file looks like OBO."""
    return ".obo" in path.suffixes or first_line.startswith("format-version:")


def _retire_obsolete(builder: KnowledgeBaseBuilder, terms: dict[str, _Term]) -> dict[str, _Term]:
    """Retire the obsolete terms; return the current ones."""
    current = {code: term for code, term in terms.items() if not term.obsolete}
    for code, term in terms.items():
        if not term.obsolete:
            continue
        replacement = term.replaced_by[0] if term.replaced_by else None
        for retired in (code, *term.alternatives):
            builder.retire(retired, replacement)
        # Whoever holds the other system's identifier must still arrive somewhere.
        if replacement in current:
            current[replacement].cross_references.extend(term.cross_references)
    return current


def _groups(
    terms: dict[str, _Term], group: str | None, *, fallback: str
) -> dict[str, tuple[str, ...]]:
    if group:
        return dict.fromkeys(terms, (group,))
    branches = top_branches({code: term.parents for code, term in terms.items()})
    return {
        code: tuple(sorted({terms[branch].name for branch in above})) or (fallback,)
        for code, above in branches.items()
    }


def _concept(term: _Term, groups: tuple[str, ...]) -> Concept:
    synonyms = sorted(term.synonyms, key=lambda synonym: _SCOPES.index(synonym[0]))
    return Concept(
        code=term.code,
        names=(term.name, *(synonym for _, synonym in synonyms)),
        groups=groups,
        definition=term.definition,
        cross_references=tuple(term.cross_references),
        parents=tuple(term.parents),
        alternative_codes=tuple(term.alternatives),
    )


def _stanzas(path: Path, *, progress: bool) -> Iterator[_Stanza]:
    """The header, then one stanza after the other."""
    stanza = _Stanza("", 1)
    for number, line in read_lines(path, progress=progress):
        line = line.strip()
        if line.startswith("["):
            yield stanza
            stanza = _Stanza(line[1:].partition("]")[0], number)
        elif line and not line.startswith("!"):
            tag, _, value = line.partition(":")
            stanza.tags.append((number, tag.strip(), value.strip()))
    yield stanza


def _check_kind(stanza: _Stanza) -> None:
    if stanza.kind not in ("Typedef", "Instance"):
        raise _StanzaError(
            stanza.line, f"unknown stanza [{stanza.kind}]; use [Term], [Typedef] or [Instance]."
        )


def _header(stanza: _Stanza) -> tuple[str, str, str]:
    """Title, release and licence, empty where the header does not give them."""
    tags = {tag: value for _, tag, value in reversed(stanza.tags)}
    properties = {
        match[1]: match[2]
        for _, tag, value in stanza.tags
        if tag == "property_value" and (match := _PROPERTY.match(value))
    }
    version = tags.get("data-version") or tags.get("date", "")
    date = _DATE.search(version)
    ontology = tags.get("ontology", "").removesuffix(".obo")
    return (
        properties.get("title") or ontology,
        date[0] if date else version,
        properties.get("license", ""),
    )


def _term(stanza: _Stanza) -> _Term:
    term = _Term(stanza.line)
    for line, tag, value in stanza.tags:
        if tag == "id":
            term.code = _plain(value)
        elif tag == "name":
            term.name = _plain(value)
        elif tag == "def":
            term.definition = _quoted(line, tag, value)[0]
        elif tag == "synonym":
            synonym, scope = _quoted(line, tag, value)
            # The scope may be left out; what stands there then is a synonym type.
            term.synonyms.append((scope if scope in _SCOPES else "RELATED", synonym))
        elif tag == "xref":
            term.cross_references.append(_first_word(value))
        elif tag == "is_a":
            term.parents.append(_first_word(value))
        elif tag == "alt_id":
            term.alternatives.append(_first_word(value))
        elif tag == "replaced_by":
            term.replaced_by.append(_first_word(value))
        elif tag == "is_obsolete":
            term.obsolete = _first_word(value) == "true"
    if not term.code:
        raise _StanzaError(stanza.line, "the term has no id; give it one.")
    if not term.name and not term.obsolete:
        raise _StanzaError(stanza.line, f"the term {term.code!r} has no name; give it one.")
    return term


def _quoted(line: int, tag: str, value: str) -> tuple[str, str]:
    """The text in double quotes at the start of a value, and the word after it."""
    match = _QUOTED.match(value)
    if match is None:
        raise _StanzaError(line, f"the {tag} has no text in double quotes; quote it.")
    return _unescape(match[1]), match[2]


def _plain(value: str) -> str:
    return _unescape(_MODIFIERS.sub("", _COMMENT.sub("", value))).strip()


def _first_word(value: str) -> str:
    words = value.split(None, 1)
    return _unescape(words[0]) if words else ""


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda match: _WHITESPACE_ESCAPES.get(match[1], match[1]), text)
