"""BigBio-KB pages in and flat records out, as the published implementation of LongBEL has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from ..errors import ReadError, UnknownGroupError
from ..ranking import ScoredName, rank
from .answers import CODE_JOINT
from .document import JOINT, Mention
from .pages import Page, SentenceStarts, read_page

if TYPE_CHECKING:
    from ..kb.token_trie import MaskArray
    from .engine import Engine
    from .search import Hypothesis

#: Code of a generated name that the groups of the mention do not have.
NO_CODE = "NO_CODE"
#: Name where nothing was generated.
NO_PREDICTION = "NO_PREDICTION"


class Record(TypedDict):
    """One generated name of one mention.

    start_span, end_span: the envelope of the mention's fragments. gold_*: the first entry of
    "normalized", None if there is none. score: see `sample`. beam_score: length-normalised
    likelihood. rank: 1 for the best name.
    """

    mention: str
    doc_id: str
    mention_id: str
    start_span: int
    end_span: int
    semantic_group: str
    gold_concept_code: str | None
    gold_concept_name: str | None
    pred_concept_name: str
    pred_concept_code: str
    score: float
    beam_score: float
    rank: int


def sample(
    engine: Engine,
    bigbio_pages: Iterable[Mapping[str, Any]],
    *,
    compat: str | None = "longbel",
    sentence_starts: SentenceStarts | None = None,
) -> list[Record]:
    """Link the entities of BigBio-KB pages; one record for each generated name of each mention.

    Records stand in the order of pages, mentions and ranks. Names of one concept are not merged:
    there are as many ranks as beams, or as names to choose from. A mention that nothing was
    generated for has one record, `NO_PREDICTION`. `score` equals `beam_score`, see
    docs/compatibility.md.

    compat: see `read_page`. sentence_starts: splits passages for prompts that show sentences;
    without it a passage is one sentence. Raises ReadError for a page that is none or whose id
    occurs twice, UnknownGroupError for an entity whose type is no semantic group of the knowledge
    base.
    """
    pages = [
        read_page(page, compat=compat, sentence_starts=sentence_starts) for page in bigbio_pages
    ]
    seen: set[str] = set()
    for page in pages:
        if page.id in seen:
            raise ReadError(f"Two pages have the id '{page.id}'. Give each page an id of its own.")
        seen.add(page.id)
        _check_groups(engine, page)
    records: list[Record] = []
    for page, links in zip(pages, engine.generate(p.document for p in pages), strict=True):
        for number, hypotheses in enumerate(links):
            records += _records(engine, page, number, hypotheses)
    return records


def _check_groups(engine: Engine, page: Page) -> None:
    for mention in page.document.mentions:
        try:
            engine.group_mask(mention.groups)
        except UnknownGroupError as error:
            raise UnknownGroupError(
                f"Page '{page.id}', entity '{mention.text}': {error} The type of an entity has to "
                "be one of them."
            ) from error


def _records(
    engine: Engine, page: Page, number: int, hypotheses: Sequence[Hypothesis]
) -> list[Record]:
    mention = page.document.mentions[number]
    code, name = page.gold[number]
    mask = engine.group_mask(mention.groups)
    found = [(*_named(engine, mention, h, mask), h.score) for h in hypotheses]
    return [
        Record(
            mention=mention.text,
            doc_id=page.id,
            mention_id=f"{page.id}.{number + 1}",
            start_span=mention.start,
            end_span=mention.end,
            semantic_group=mention.group,
            gold_concept_code=code,
            gold_concept_name=name,
            pred_concept_name=predicted_name,
            pred_concept_code=predicted_code,
            score=score,
            beam_score=score,
            rank=position,
        )
        for position, (predicted_name, predicted_code, score) in enumerate(
            found or [(NO_PREDICTION, NO_CODE, 0.0)], 1
        )
    ]


def _named(
    engine: Engine, mention: Mention, hypothesis: Hypothesis, mask: MaskArray
) -> tuple[str, str]:
    """Name and code of a hypothesis; those of a composite joined, each code once."""
    parts = engine.trie.generated(hypothesis, mask, engine.tokenizer).parts
    written = [] if hypothesis.nodes else engine.tokenizer.generated_names(hypothesis.tokens)
    names, codes = [], []
    for i, part in enumerate(parts):
        # A table of a released checkpoint has one code for each name of a group; others may not.
        scored = (ScoredName(concept, name, 0.0) for concept, name in part)
        best = rank(engine.trie.kb, mention.text, scored)
        names.append(best[0].name if best else written[i])
        codes.append(best[0].code if best else NO_CODE)
    known = [code for code in dict.fromkeys(codes) if code != NO_CODE]
    return JOINT.join(names) or NO_PREDICTION, CODE_JOINT.join(known) or NO_CODE
