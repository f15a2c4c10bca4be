"""How names and codes are cleaned when stored and folded when looked up."""

from __future__ import annotations

_CONTROLS = [*range(0x20), *range(0x7F, 0xA0)]
_TABLE: dict[int, str | None] = {
    **dict.fromkeys(_CONTROLS),
    **dict.fromkeys(map(ord, "\t\n\v\f\r\x85"), " "),
    # UTF-8 has no form for a lone surrogate.
    **dict.fromkeys(range(0xD800, 0xE000), "\ufffd"),
}


def clean(text: str) -> str:
    """Text without control characters and outer whitespace; line breaks and tabs become spaces.

    Lone surrogates become U+FFFD, so that the result can always be written as UTF-8.
    """
    if text.isprintable():  # the usual case, and much faster than the table
        return text.strip()
    return text.translate(_TABLE).strip()


def fold(name: str) -> str:
    """The form under which names are compared: case and runs of whitespace do not matter."""
    return " ".join(clean(name).casefold().split())
