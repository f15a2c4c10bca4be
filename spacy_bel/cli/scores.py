"""Scores as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

Row = Mapping[str, Any]
"""Number of "mentions", and an estimate {"value", "low", "high"} for each measure."""


def scores_table(
    rows: Iterable[tuple[str, Row]], *, title: str = "", heading: str = "", signed: bool = False
) -> Table:
    """One row per system, label or group: its number of mentions, each measure in percent.

    heading: of the first column. signed: the numbers are differences.
    """
    rows = list(rows)
    table = Table(title=title or None, title_justify="left", box=SIMPLE_HEAD)
    table.add_column(heading, style="bold", overflow="fold", min_width=16)
    table.add_column("n", justify="right", no_wrap=True)
    names = [name for name in (rows[0][1] if rows else ()) if name != "mentions"]
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for label, row in rows:
        cells = [_percent(row[name], signed) for name in names]
        table.add_row(Text(label or "(no label)"), f"{row['mentions']:,}", *cells)
    return table


def counts_text(report: Mapping[str, Any]) -> str:
    """What was counted and left out, in words."""
    lines = [
        f"{report['mentions']:,} of {report['annotations']:,} gold mentions in "
        f"{report['documents']:,} documents count; {report['missed']:,} of them are not marked in "
        f"the predictions, which mark {report['superfluous']:,} others and list up to "
        f"{report['candidates']:,} candidates for each.",
    ]
    if report["documents_missed"] or report["documents_superfluous"]:
        lines.append(
            f"{report['documents_missed']:,} documents have no predictions, "
            f"{report['documents_superfluous']:,} have no gold."
        )
    return "\n".join([*lines, conditions_text(report)])


def conditions_text(report: Mapping[str, Any]) -> str:
    """By which policies mentions were counted, and where the intervals come from."""
    policies = report["policies"].items()
    stated = ", ".join(
        f"{name}={policy['choice']} ({policy['mentions']:,})" for name, policy in policies
    )
    bootstrap = report["bootstrap"]
    return (
        f"Policies, and the gold mentions they concern: {stated}.\n"
        f"Below each figure: {bootstrap['level']:.0%} intervals, {bootstrap['replicates']:,} "
        f"draws of documents, seed {bootstrap['seed']}."
    )


def _percent(estimate: Mapping[str, float], signed: bool) -> Text:
    sign = "+" if signed else ""
    value, low, high = (100 * estimate[key] for key in ("value", "low", "high"))
    interval = f"{low:{sign}.1f}{'…' if signed else '-'}{high:{sign}.1f}"
    return Text.assemble(f"{value:{sign}.1f}\n", (interval, "dim"))
