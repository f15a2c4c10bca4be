"""The result that a training run leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spacy_bel.checkpoints import disk_errors
from spacy_bel.errors import TrainingError
from spacy_bel.kb.atomic import new_directory
from spacy_bel.retriever.encoder import Encoder

REPORT = "training.json"


def write_encoder(encoder: Encoder, output: Path, report: dict[str, Any]) -> None:
    """Replace the output by an encoder and a report, whole or not at all.

    Raises TrainingError if there is no room.
    """
    with disk_errors(output), new_directory(output, force=True) as directory:
        encoder.to_disk(directory)
        _write_json(directory / REPORT, report)


def write_report(output: Path, report: dict[str, Any]) -> None:
    """Replace the report of an output, whole or not at all."""
    part = output / f".{REPORT}.part"
    with disk_errors(output):
        _write_json(part, report)
        part.replace(output / REPORT)


def check_output(output: Path, run_id: str, *, resumed: bool) -> None:
    """Raise TrainingError if an output must not be written, or is needed and missing."""
    report = output / REPORT
    try:
        known = report.is_file() and json.loads(report.read_text("utf-8")).get("run") == run_id
    except (OSError, ValueError, AttributeError):
        known = False
    if resumed and not known:
        raise TrainingError(
            f"The best epoch of the interrupted run is no longer at {output}: put it back, or "
            "force a new start."
        )
    if not resumed and output.exists():
        what = "is the finished result of this very run" if known else "exists already"
        raise TrainingError(f"{output} {what}: give another output, or force a new start.")


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
