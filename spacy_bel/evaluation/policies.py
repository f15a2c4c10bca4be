"""What to do with mentions about which evaluations differ."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from spacy_bel.errors import BelError

CHOICES: dict[str, tuple[str, ...]] = {
    "composite": ("strict", "any", "drop"),
    "nil": ("drop", "count"),
    "out_of_kb": ("miss", "drop"),
    "obsolete": ("resolve", "miss"),
    "overlapping": ("keep", "drop"),
    "discontinuous": ("keep", "drop"),
}


class EvaluationError(BelError, ValueError):
    """Predictions and gold, or the settings of an evaluation, do not fit."""


@dataclass(frozen=True, slots=True)
class Policies:
    """How gold mentions count; `CHOICES` lists what each may be, the default first.

    composite: of several concepts. "strict": a candidate is right if it names them all and no
        other ("A+B"); "any": if it names one of them; "drop": such mentions do not count.
    nil: without concept. "drop": they do not count; "count": right if the prediction is "NIL", and
        everywhere else a prediction "NIL" stands before the candidates.
    out_of_kb: with a part of which the knowledge base knows no code. "miss": they count, codes as
        written; "drop": they do not.
    obsolete: with a code that the knowledge base has replaced. "resolve": it counts as its
        replacement; "miss": as written, which no candidate is.
    overlapping: sharing characters with a longer mention. "keep" or "drop" them; of two mentions of
        the same length the first counts as the longer one.
    discontinuous: of several pieces. "keep" or "drop".

    Raises EvaluationError for any other choice.
    """

    composite: str = "strict"
    nil: str = "drop"
    out_of_kb: str = "miss"
    obsolete: str = "resolve"
    overlapping: str = "keep"
    discontinuous: str = "keep"

    def __post_init__(self) -> None:
        for name, choice in asdict(self).items():
            if choice not in CHOICES[name]:
                raise EvaluationError(
                    f"The policy {name} cannot be {choice!r}: choose one of "
                    f"{', '.join(CHOICES[name])}."
                )

    @classmethod
    def parse(cls, settings: Iterable[str]) -> Policies:
        """Policies from strings such as "nil=count"; raises EvaluationError for any other."""
        chosen = {}
        for setting in settings:
            name, equals, choice = setting.partition("=")
            name = name.strip().replace("-", "_")
            if not equals or name not in CHOICES:
                raise EvaluationError(
                    f"{setting!r} is no policy: write e.g. 'nil=count'. Policies: "
                    + "; ".join(f"{key}={'|'.join(values)}" for key, values in CHOICES.items())
                )
            chosen[name] = choice.strip()
        return cls(**chosen)
