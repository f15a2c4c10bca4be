"""Figures of retrievers as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from spacy_bel.cli.scores import Row, conditions_text, scores_table

_ANY = 1000
_MB = 1e6


def show(result: Mapping[str, Any]) -> None:
    """Print what `bel evaluate-retriever` has measured.

    result: "systems" by name, each a report of `RetrievalEvaluation` with its "footprint".
    """
    systems = result["systems"]
    reports = list(systems.values())
    first, *others = systems
    searched = f"{Path(result['corpus']).name}, searched in {reports[0]['kb']['name']}"
    title = f"Recall@k and MRR in %: {searched}"
    if not others:
        print_whole(scores_table(_rows(reports[0]), title=f"{title}, {first}"))
    else:
        for part, _ in _rows(reports[0]):
            rows = [(name, dict(_rows(report))[part]) for name, report in systems.items()]
            print_whole(scores_table(rows, title=f"{title}; {part}"))
        differences = [
            (f"{name} - {first}", _short(systems[name]["difference"])) for name in others
        ]
        print_whole(scores_table(differences, title="Difference in points", signed=True))
    if reports[0]["footprint"]:
        print_whole(_costs(systems))
    Console().print(_counts(result), markup=False, highlight=False, soft_wrap=True)


def print_whole(table: Table) -> None:
    """Print a table in full, even where the terminal is narrower."""
    console = Console()
    wanted = Measurement.get(console, console.options.update(width=_ANY), table).maximum
    Console(width=max(console.width, wanted)).print(table)


def _short(row: Row) -> Row:
    """The same figures under names that fit many columns."""
    return {name.removeprefix("recall"): figure for name, figure in row.items()}


def _rows(report: Mapping[str, Any]) -> Iterator[tuple[str, Row]]:
    yield "all", _short(report["scores"])
    if len(report["per_label"]) > 1:
        for label, row in report["per_label"].items():
            yield label, _short(row)
    if len(report["per_group"]) > 1 and set(report["per_group"]) - set(report["per_label"]):
        for group, row in report["per_group"].items():
            yield f"group {group}", _short(row)
    for name, row in report["per_subset"].items():
        if row["mentions"]:
            yield name, _short(row)


def _costs(systems: Mapping[str, Any]) -> Table:
    table = Table(title="Costs", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("", style="bold", overflow="fold", min_width=16)
    columns = ("build s", "peak MB", "disk MB", "open s", "resident MB", "peak MB", "mentions/s")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for name, report in systems.items():
        costs = report["footprint"]
        table.add_row(
            Text(name),
            f"{costs['build_seconds']:,.1f}",
            f"{costs['build_peak_bytes'] / _MB:,.0f}",
            f"{costs['disk_bytes'] / _MB:,.1f}",
            f"{costs['open_seconds']:.3f}",
            f"{costs['resident_bytes'] / _MB:,.0f}",
            f"{costs['peak_bytes'] / _MB:,.0f}",
            f"{costs['mentions_per_second']:,.0f}",
        )
    return table


def _counts(result: Mapping[str, Any]) -> str:
    report = next(iter(result["systems"].values()))
    kb = report["kb"]
    on_off = ("off", "on")
    lines = [
        f"{kb['name']}, release {kb['release'] or 'not known'}: {kb['concepts']:,} concepts, "
        f"{kb['names']:,} names. Long forms of abbreviations {on_off[result['abbreviations']]}, "
        f"parts of composite mentions {on_off[result['composites']]}."
    ]
    if report["skipped"]:
        lines.append(f"{report['skipped']:,} mentions with labels of no group were left out.")
    train = ", ".join(Path(path).name for path in result["train"])
    for name, row in report["per_subset"].items():
        lines.append(f"{row['mentions']:,} {name}, beside {train}.")
    lines.append(
        f"{report['mentions']:,} of {report['annotations']:,} gold mentions in "
        f"{report['documents']:,} documents count."
    )
    lines.append(conditions_text(report))
    if costs := report["footprint"]:
        lines.append(
            f"Speed: {costs['mentions']:,} distinct mentions, each searched for the first time, "
            f"to their {costs['k']} best concepts. Memory is that of a whole process, while it "
            "builds the index, and after it has opened and searched it."
        )
    return "\n".join(lines)
