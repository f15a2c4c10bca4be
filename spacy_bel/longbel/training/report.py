"""What became of the mentions of a corpus when examples were made of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ...errors import TrainingError
from ..document import Mention

_SHOWN = 5


class Reason(str, Enum):
    """Why no example was made of a mention."""

    no_gold = "no_gold"
    unknown_code = "unknown_code"
    unknown_group = "unknown_group"
    no_name = "no_name"
    altered_name = "altered_name"
    composite = "composite"
    composite_part = "composite_part"
    too_long = "too_long"
    pinned = "pinned"


#: What each reason means, and what to do about it.
REASONS: dict[Reason, tuple[str, str]] = {
    Reason.no_gold: (
        "without gold code",
        "give the annotated documents of the corpus",
    ),
    Reason.unknown_code: (
        "with a gold code that the knowledge base does not have",
        "check with `python -m spacy bel corpus check` that corpus and knowledge base fit",
    ),
    Reason.unknown_group: (
        "whose label maps to no semantic group of the knowledge base",
        "set label_groups",
    ),
    Reason.no_name: (
        "whose gold concept has no name in the groups that their label maps to",
        "set label_groups to the groups in which the knowledge base has these concepts",
    ),
    Reason.altered_name: (
        "whose names the tokenizer cannot write",
        "take a model whose tokenizer knows their characters",
    ),
    Reason.composite: (
        "of several concepts, for which the tokenizer has no separator or which were not wanted",
        "set composites, and add the separator of the prompt to the tokenizer",
    ),
    Reason.composite_part: (
        "of several concepts, one of which has no name that can be generated",
        "check with `python -m spacy bel corpus check` that corpus and knowledge base fit",
    ),
    Reason.too_long: (
        "too long for the model's window",
        "take a model with a longer window",
    ),
    Reason.pinned: (
        "whose link stands already",
        "take the links away, or set overwrite",
    ),
}


@dataclass
class BuildingReport:
    """Counts of a run of `ExampleBuilder`.

    documents, mentions: read. examples: made. targets: mentions for which a name is learned in
    them. skipped: mentions that are not, by reason; samples: the first few of each. remembered:
    links that entered memory. memory_trimmed, context_cut: prompts that left out earlier links, or
    sentences. split: documents of which several stretches were made.
    """

    documents: int = 0
    mentions: int = 0
    examples: int = 0
    targets: int = 0
    skipped: Counter[Reason] = field(default_factory=Counter)
    samples: dict[Reason, list[str]] = field(default_factory=dict)
    remembered: int = 0
    memory_trimmed: int = 0
    context_cut: int = 0
    split: int = 0

    def skip(self, reason: Reason, document: str, mention: Mention, codes: str) -> None:
        """Count a mention of which nothing is learned; codes: its gold codes, as text."""
        self.skipped[reason] += 1
        shown = self.samples.setdefault(reason, [])
        if len(shown) < _SHOWN:
            what = ", ".join(filter(None, (document, mention.group, codes)))
            shown.append(f"'{mention.text}' ({what})")

    def lines(self) -> Iterator[str]:
        """The report as text."""
        yield (
            f"{self.documents:,} documents with {self.mentions:,} mentions gave {self.examples:,} "
            f"examples, which teach {self.targets:,} mentions."
        )
        for reason, count in self.skipped.most_common():
            yield f"{count:,} mentions {REASONS[reason][0]}, such as {self.samples[reason][0]}."
        if self.memory_trimmed or self.context_cut:
            yield (
                f"Earlier links left out of {self.memory_trimmed:,} prompts, context cut to "
                f"sentences around the mention in {self.context_cut:,}."
            )
        if self.split:
            yield f"{self.split:,} documents were too long and became several examples each."

    def check(self) -> None:
        """Raise TrainingError, which says why and what to do, if there is nothing to learn."""
        if self.examples:
            return
        if not self.mentions:
            raise TrainingError(
                f"The {self.documents:,} documents to learn from have no mentions: check with "
                "`python -m spacy bel corpus info` that they are annotated, and spans_key."
            )
        said = "".join(
            f"\n  {count:,} {REASONS[reason][0]}, such as {self.samples[reason][0]}: "
            f"{REASONS[reason][1]}."
            for reason, count in self.skipped.most_common()
        )
        raise TrainingError(
            f"There is nothing to learn from {self.mentions:,} mentions of {self.documents:,} "
            f"documents:{said}"
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            **{k: v for k, v in vars(self).items() if isinstance(v, int)},
            "skipped": {reason.value: count for reason, count in self.skipped.items()},
            "samples": {reason.value: list(shown) for reason, shown in self.samples.items()},
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> BuildingReport:
        """What `to_json` gave."""
        counts = {k: v for k, v in data.items() if k not in ("skipped", "samples")}
        skipped = Counter({Reason(reason): count for reason, count in data["skipped"].items()})
        samples = {Reason(reason): shown for reason, shown in data["samples"].items()}
        return cls(**counts, skipped=skipped, samples=samples)
