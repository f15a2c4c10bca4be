"""Turns the marked-up notes of assets/hpo_notes into BigBio-KB pages, checking every code.

    python scripts/hpo_notes.py [--fill]

``notes.markup`` holds the notes; ``dev.jsonl`` and ``test.jsonl`` are made from it:

    # note-id | kind of note | dev               a note begins; its paragraphs follow, one a line
    She had [fits|HP:0001250 Seizure].           a mention, its code and the code's preferred name
    [bilateral [cleft lip|…]|…]                  one mention within another
    [cleft lip and palate|HP:1 Name ++ HP:2 Name]  a composite mention
    [odd gait|NIL]                               a mention that no concept fits
    {ab short} {a third} and {b fourth} {ab metacarpals}   pieces of the mentions a and b, whose
    @a HP:0010041 Short 3rd metacarpal           codes follow below the paragraph

With ``--fill`` targets may be names ([fits|Seizure], or [seizures] for a mention that is a name
itself): they are looked up in the ontology and the file is rewritten with the codes.
"""

from __future__ import annotations

import argparse
import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spacy_bel import load_default_kb
from spacy_bel.kb import KnowledgeBase
from spacy_bel.retriever.ngrams import NgramIndex

FOLDER = Path(__file__).parent.parent / "assets" / "hpo_notes"
SOURCE = FOLDER / "notes.markup"
SPLITS = ("dev", "test")
JOIN = " ++ "
NIL = "NIL"
NIL_TYPE = "Phenotypic abnormality"
PIECE = re.compile(r"\{([a-z]+) ([^{}]*)\}")
DEFINITION = re.compile(r"@([a-z]) (.+)")
CODE = re.compile(r"(HP:\d{7}) (.+)")


class MarkupError(ValueError):
    """A note that does not follow the rules."""


@dataclass
class Mention:
    """Fragments within the note, and the target as written."""

    fragments: list[tuple[int, int]]
    target: str


@dataclass
class Note:
    """A note: its paragraphs without markup, and its mentions."""

    id: str
    kind: str
    split: str
    paragraphs: list[str] = field(default_factory=list)
    mentions: list[Mention] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Where the next paragraph begins."""
        return sum(len(paragraph) + 1 for paragraph in self.paragraphs)


def read_notes(lines: list[str]) -> Iterator[Note]:
    """Parse the marked-up file."""
    note: Note | None = None
    pieces: dict[str, list[tuple[int, int]]] = {}
    # The empty line at the end lets the last note be checked like the others.
    for number, line in enumerate([*lines, ""], 1):
        try:
            if note and (definition := DEFINITION.fullmatch(line)):
                note.mentions.append(Mention(pieces.pop(definition[1]), definition[2]))
                continue
            if pieces:
                raise MarkupError(f"no target for the pieces {sorted(pieces)} above")
            if line.startswith("# "):
                if note:
                    yield note
                identifier, kind, split = (part.strip() for part in line[2:].split("|"))
                note = Note(identifier, kind, split)
            elif note and line:
                offset = note.length
                text, found, parts = parse(line)
                note.paragraphs.append(text)
                note.mentions += [Mention([(a + offset, b + offset)], t) for a, b, t in found]
                for letter, start, end in parts:
                    pieces.setdefault(letter, []).append((start + offset, end + offset))
        except (ValueError, KeyError) as error:
            raise MarkupError(f"line {number}: {error}") from error
    if note:
        yield note


def parse(line: str) -> tuple[str, list[tuple[int, int, str]], list[tuple[str, int, int]]]:
    """Text of a paragraph, its mentions (start, end, target), its pieces (letter, start, end)."""
    text, found, pieces = "", [], []
    open_at: list[int] = []
    position = 0
    while position < len(line):
        character = line[position]
        if piece := PIECE.match(line, position):
            pieces += [(letter, len(text), len(text) + len(piece[2])) for letter in piece[1]]
            text += piece[2]
            position = piece.end()
            continue
        position += 1
        if character == "[":
            open_at.append(len(text))
        elif character in "|]":
            if not open_at:
                raise MarkupError(f"'{character}' outside a mention")
            start = open_at.pop()
            end = line.index("]", position) if character == "|" else position - 1
            target = line[position:end] if character == "|" else text[start:]
            found.append((start, len(text), target))
            position = end + 1
        else:
            text += character
    if open_at:
        raise MarkupError("a mention is not closed")
    return text, found, pieces


def codes(target: str, kb: KnowledgeBase) -> list[str]:
    """Codes of a target, each checked against the ontology."""
    if target == NIL:
        return []
    result = []
    for part in target.split(JOIN):
        match = CODE.fullmatch(part)
        if not match:
            raise MarkupError(f"{part!r} is no code with its name: run with --fill")
        code, name = match.groups()
        if kb.resolve(code) != code:
            raise MarkupError(f"{code} is no current code of the ontology")
        if kb.preferred_name(code) != name:
            raise MarkupError(f"{code} is {kb.preferred_name(code)!r}, not {name!r}")
        result.append(code)
    return result


def page(note: Note, kb: KnowledgeBase) -> dict[str, Any]:
    """The BigBio-KB page of a note."""
    text = "\n".join(note.paragraphs)
    entities = []
    passages = []
    offset = 0
    for number, paragraph in enumerate(note.paragraphs, 1):
        kind = "title" if number == 1 else "paragraph"
        span = [offset, offset + len(paragraph)]
        passages.append({"id": f"P{number}", "type": kind, "text": [paragraph], "offsets": [span]})
        offset += len(paragraph) + 1
    ordered = sorted(note.mentions, key=lambda mention: (mention.fragments, mention.target))
    for number, mention in enumerate(ordered, 1):
        pieces = [text[start:end] for start, end in mention.fragments]
        if any(not piece or piece != piece.strip() for piece in pieces):
            raise MarkupError(f"{note.id}: the mention {pieces} begins or ends with a space")
        try:
            found = codes(mention.target, kb)
        except MarkupError as error:
            raise MarkupError(f"{note.id}: {' … '.join(pieces)!r}: {error}") from error
        entities.append(
            {
                "id": f"T{number}",
                "type": kb[found[0]].groups[0] if found else NIL_TYPE,
                "text": pieces,
                "offsets": [list(fragment) for fragment in mention.fragments],
                "normalized": [{"db_name": "HPO", "db_id": "+".join(found)}] if found else [],
            }
        )
    return {
        "id": note.id,
        "document_id": note.id,
        "kind": note.kind,
        "passages": passages,
        "entities": entities,
        "events": [],
        "coreferences": [],
        "relations": [],
    }


def fill(lines: list[str], kb: KnowledgeBase) -> list[str]:
    """Lines with names replaced by codes and names; MarkupError lists what is not found."""
    problems: list[str] = []

    def filled(target: str, where: int) -> str:
        return JOIN.join(_look_up(part, kb, where, problems) for part in target.split(JOIN))

    result = []
    for number, line in enumerate(lines, 1):
        if line.startswith("# ") or not line:
            result.append(line)
        elif definition := DEFINITION.fullmatch(line):
            result.append(f"@{definition[1]} {filled(definition[2], number)}")
        else:
            explicit = re.sub(r"\|([^\[\]|]+)\]", lambda m, n=number: f"|{filled(m[1], n)}]", line)
            result.append(
                re.sub(
                    r"\[([^\[\]|]+)\]",
                    lambda m, n=number: f"[{m[1]}|{filled(m[1], n)}]",
                    explicit,
                )
            )
    if problems:
        raise MarkupError("\n".join(problems))
    return result


def _look_up(target: str, kb: KnowledgeBase, where: int, problems: list[str]) -> str:
    if target == NIL or CODE.fullmatch(target):
        return target
    found = kb.find(target)
    preferred = [code for code in found if kb.preferred_name(code).casefold() == target.casefold()]
    chosen = preferred if len(preferred) == 1 else found
    if len(chosen) == 1:
        return f"{chosen[0]} {kb.preferred_name(chosen[0])}"
    similar = found or [(c, n) for c, n, _ in _index(kb).search([target], k=6)[0]]
    problems.append(f"line {where}: {target!r} is no name of one concept; similar: {similar}")
    return target


@functools.cache
def _index(kb: KnowledgeBase) -> NgramIndex:
    return NgramIndex(kb)


def main() -> None:
    """Check the notes and write the pages."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--fill", action="store_true", help="look up targets written as names")
    parser.add_argument("--source", type=Path, default=SOURCE)
    parser.add_argument("--output", type=Path, default=FOLDER)
    args = parser.parse_args()
    kb = load_default_kb()
    lines = args.source.read_text(encoding="utf-8").splitlines()
    if args.fill:
        lines = fill(lines, kb)
        args.source.write_text("\n".join(lines) + "\n", encoding="utf-8")
    notes = list(read_notes(lines))
    if len({note.id for note in notes}) < len(notes):
        raise MarkupError("two notes have the same id")
    for split in SPLITS:
        pages = [page(note, kb) for note in notes if note.split == split]
        text = "".join(json.dumps(p, ensure_ascii=False) + "\n" for p in pages)
        (args.output / f"{split}.jsonl").write_text(text, encoding="utf-8", newline="\n")
        print(f"{split}: {len(pages)} notes, {sum(len(p['entities']) for p in pages)} mentions")


if __name__ == "__main__":
    main()
