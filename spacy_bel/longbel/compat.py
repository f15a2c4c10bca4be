"""What the published implementation of LongBEL does to a document, where this one would not.

All of it is listed, with what is not reproduced, in docs/compatibility.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from ..errors import SettingsError

Item = TypeVar("Item")

#: Values of the setting `compat`.
COMPAT = (None, "longbel")


def check_compat(compat: str | None) -> str | None:
    """The value of the setting `compat`. Raises SettingsError if there is no such value."""
    if compat not in COMPAT:
        raise SettingsError(f"compat is '{compat}'. Leave it out, or set it to 'longbel'.")
    return compat


def last_of_each_span(items: Sequence[Item], spans: Sequence[tuple[int, int]]) -> list[Item]:
    """Mentions that remain where those of one span overwrite each other: the last one of each.

    items, spans: the mentions and their (start, end), in the order in which the document lists
    them. The published implementation keys the mentions of a document by span.
    """
    last = {span: index for index, span in enumerate(spans)}
    return [items[index] for index in sorted(last.values())]
