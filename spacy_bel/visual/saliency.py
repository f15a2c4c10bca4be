"""What a generated name rests on: prompts shaded from white to red, for terminals and browsers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import NamedTuple

from spacy_bel.longbel.saliency import Part, Saliency, memory_lines, sections, words
from spacy_bel.visual.page import FOOTER, header

#: Dark letters are readable on every shade from white to red.
_INK = (17, 17, 17)
_RESET = "\x1b[0m"
_BOX = (
    "background: #fff; color: #111; border: 1px solid #d9dee5; border-radius: .4rem; "
    "padding: .75rem 1rem; white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.8"
)
_METHODS = {
    "gradient": "norm of the gradient of the name’s log-probability with respect to the token",
    "integrated_gradients": "integrated gradients of the name’s log-probability",
}


class _Unit(NamedTuple):
    """Characters of a prompt that are shaded alike; no score for those of no token."""

    text: str
    score: float | None
    attribution: float


def saliency_ansi(saliency: Saliency) -> str:
    """The prompt in 24-bit colours for a terminal, with ``→ name (code)`` behind it.

    Control characters of the text are replaced, so that a document cannot steer the terminal.
    """
    ink = ";".join(map(str, _INK))
    pieces = []
    for unit in _units(saliency):
        if unit.score is None:
            pieces.append(unit.text)
            continue
        style = f"\x1b[38;2;{ink}m\x1b[48;2;255;{shade(unit.score)};{shade(unit.score)}m"
        # Closed before each line break, which would otherwise colour the rest of the line.
        lines = unit.text.split("\n")
        pieces.append("\n".join(f"{style}{line}{_RESET}" if line else "" for line in lines))
    return f"{''.join(pieces)} → {printable(saliency.suffix)}"


def saliency_html(
    saliencies: Saliency | Iterable[Saliency], *, title: str = "What links rest on", top: int = 8
) -> str:
    """A page of its own that shows the prompt of every mention, shaded by score.

    saliencies: of one mention or of several. title: heading of the page. top: words with the
    highest scores to list below each prompt.
    """
    several = [saliencies] if isinstance(saliencies, Saliency) else saliencies
    shown = [saliency_section(each, number, top=top) for number, each in enumerate(several, 1)]
    body = "".join(shown) or "<p>There is no mention to explain.</p>\n"
    return header(title) + _legend() + body + FOOTER


def saliency_section(saliency: Saliency, number: int = 1, *, top: int = 8) -> str:
    """One mention as a section of a page; number: distinguishes its heading from the others'."""
    identifier = f"mention-{number}"
    heading = escape(printable(f"{saliency.mention or 'Mention'} → {saliency.suffix}"))
    facts = f"log-probability {saliency.log_probability:.3f}; {_METHODS[saliency.method]}"
    if saliency.convergence_delta is not None:
        facts += f"; convergence delta {saliency.convergence_delta:.3g}"
    return (
        f'<section aria-labelledby="{identifier}">\n<h2 id="{identifier}">{heading}</h2>\n'
        f'<div style="{_BOX}">{saliency_spans(saliency)}'
        f"<strong> → {escape(printable(saliency.suffix))}</strong></div>\n"
        f"<p>{escape(facts)}</p>\n{_table(saliency, top)}</section>\n"
    )


def saliency_spans(saliency: Saliency) -> str:
    """The prompt as HTML spans with the score of each as a hint, without a page around it."""
    signed = saliency.method != "gradient"
    pieces = []
    for unit in _units(saliency):
        text = escape(unit.text)
        if unit.score is None:
            pieces.append(text)
            continue
        hint = f"score {unit.score:.3f}"
        if signed:
            hint += f", attribution {unit.attribution:+.3f}"
        red = shade(unit.score)
        style = f"background: rgb(255,{red},{red}); color: #111"
        pieces.append(f'<span style="{style}" title="{hint}">{text}</span>')
    return "".join(pieces)


def shade(score: float) -> int:
    """Green and blue of a score's colour: 255, white, at 0, and 0, red, at 1."""
    return int(255 * (1 - min(max(score, 0.0), 1.0)))


def printable(text: str) -> str:
    """Text without control characters other than tabs and line breaks."""
    return "".join(c if c in "\t\n" or not _controls(c) else "\ufffd" for c in text)


def _controls(character: str) -> bool:
    return character < " " or "\x7f" <= character <= "\x9f" or "\ud800" <= character <= "\udfff"


def _units(saliency: Saliency) -> Iterator[_Unit]:
    """The text of a prompt in order, pieces of one character together with the highest score."""
    position = 0
    text = saliency.text
    spans: list[tuple[int, int, float, float]] = []
    columns = (saliency.offsets.tolist(), saliency.scores, saliency.attributions)
    for (start, end), score, attribution in zip(*columns, strict=True):
        if start >= end:
            continue
        if spans and start < spans[-1][1]:
            before = spans.pop()
            start, end = before[0], max(end, before[1])
            score, attribution = max(score, before[2]), attribution + before[3]
        spans.append((start, end, float(score), float(attribution)))
    for start, end, score, attribution in spans:
        if position < start:
            yield _Unit(printable(text[position:start]), None, 0.0)
        yield _Unit(printable(text[start:end]), score, attribution)
        position = end
    if position < len(text):
        yield _Unit(printable(text[position:]), None, 0.0)


def _legend() -> str:
    steps = "".join(
        f'<span style="background: rgb(255,{shade(s)},{shade(s)}); color: #111; padding: 0 .6rem">'
        f"{s:.2f}</span>"
        for s in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    return (
        "<p>Score of a token, from 0 to the most important token of the prompt: "
        f'<span style="border: 1px solid #d9dee5">{steps}</span></p>\n'
    )


def _table(saliency: Saliency, top: int) -> str:
    """Sections, earlier links, and the words with the highest scores."""
    best = sorted(words(saliency), key=lambda word: -word.score)[:top]
    groups = [
        ("Section", sections(saliency)),
        ("Earlier link", memory_lines(saliency)),
        ("Word", [word for word in best if word.score > 0]),
    ]
    signed = saliency.method != "gradient"
    names = ["Part", "Text", "Tokens", "Highest score", "Share of all scores"]
    names += ["Attribution"] if signed else []
    columns = "".join(f'<th scope="col">{name}</th>' for name in names)
    bodies = "".join(
        "<tbody>" + "".join(_row(kind, part, signed) for part in parts) + "</tbody>\n"
        for kind, parts in groups
        if parts
    )
    return (
        '<div class="scroll"><table>\n<caption>What the name rests on</caption>\n'
        f"<thead><tr>{columns}</tr></thead>\n{bodies}</table></div>\n"
    )


def _row(kind: str, part: Part, signed: bool) -> str:
    cells = [
        kind,
        printable(part.label),
        str(part.tokens),
        f"{part.score:.3f}",
        f"{part.share:.1%}",
    ]
    cells += [f"{part.attribution:+.3f}"] if signed else []
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>\n"
