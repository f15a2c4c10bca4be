"""From documents to inputs: every pair in exactly one, nothing dropped.

Contexts, mentions and candidates are tokenised once. A context that leaves too little room is read
in windows of whole sentences, and a mention in the window that shows most on both sides of it. With
block attention, mentions of the same text and candidates are read once for each window. All
candidates of a mention share an input. Where they do not fit, the context is shrunk around the
mention, and only if that is not enough, the candidates are split over several inputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from .contexts import Context, Range, around, build_context, window_of, windows
from .document import Document
from .inputs import Block, PackedInput, build_input, merge_equal
from .layouts import Layout, Unit, units
from .report import PackingReport
from .tokenization import PieceTokenizer

#: What a window leaves at least for mentions and candidates.
_RESERVE = 128
#: Shrinking stops at this share of the window; then candidates are split.
_LEAST_CONTEXT = 4


Marks = tuple[list[int], list[int], list[int]]


class Packer:
    """Puts the pairs of documents into inputs.

    tokens: the model's tokenizer. layout: which pairs share an input. longest: how many tokens the
    model reads at most, counted by position. Raises SettingsError if the layout asks for more.
    """

    def __init__(self, tokens: PieceTokenizer, layout: Layout, longest: int) -> None:
        self.tokens = tokens
        self.layout = layout
        self.limits = layout.limits(longest)
        # With block attention, the tokens of context that leave room for any candidate.
        self._room = self.limits.length - self.limits.mention - self.limits.candidate - 2

    def pack(
        self, documents: Iterable[Document], *, seed: int | None = None
    ) -> tuple[list[PackedInput], PackingReport]:
        """The inputs of all documents, in order, and what it took.

        seed: shuffle the candidates of each mention, the same seed always alike; None keeps the
        order of the retriever. A mention without candidates is in no input.
        """
        inputs: list[PackedInput] = []
        report = PackingReport()
        for index, document in enumerate(documents):
            report.documents += 1
            inputs += merge_equal(self._document(index, document, seed, report))
        report.inputs = len(inputs)
        report.tokens = sum(map(len, inputs))
        return inputs, report

    def _document(
        self, index: int, document: Document, seed: int | None, report: PackingReport
    ) -> Iterator[PackedInput]:
        pieces = self.tokens.pieces(
            text for m in document.mentions if m.candidates for text in (m.text, *m.candidates)
        )
        report.mentions += len(document.mentions)
        for unit in units(document, self.layout):
            marks = self._marks(unit)
            blocks = []
            for mention in unit.mentions:
                candidates = [pieces[text] for text in document.mentions[mention].candidates]
                if not candidates:
                    report.without_candidates += 1
                    continue
                report.pairs += len(candidates)
                report.cut_candidates += sum(len(c) > self.limits.candidate for c in candidates)
                name = [*marks[mention][2], *pieces[document.mentions[mention].text]]
                report.cut_mentions += len(name) > self.limits.mention
                order = np.arange(len(candidates))
                if seed is not None:
                    order = np.random.default_rng([seed, index, mention]).permutation(order)
                listed = [(int(i), candidates[i][: self.limits.candidate]) for i in order]
                blocks.append(Block(index, (mention,), name[: self.limits.mention], listed))
            if blocks:
                yield from self._unit(document, unit, blocks, marks, report)

    def _marks(self, unit: Unit) -> dict[int, Marks]:
        """What is written before and after each mention, and before its text in its block."""
        if self.layout.markers == "none":
            return {mention: ([], [], []) for mention in unit.mentions}
        numbers = {m: "" for m in unit.mentions}
        if self.layout.markers == "numbers":
            shared = self.layout.shares_context
            numbers = {m: str(i if shared else 1) for i, m in enumerate(unit.mentions, 1)}
        texts = self.tokens.pieces(
            text for number in numbers.values() for text in (f"[{number}", "]", f"[{number}]")
        )
        return {
            mention: (texts[f"[{number}"], texts["]"], texts[f"[{number}]"] if number else [])
            for mention, number in numbers.items()
        }

    def _unit(
        self,
        document: Document,
        unit: Unit,
        blocks: list[Block],
        marks: dict[int, Marks],
        report: PackingReport,
    ) -> Iterator[PackedInput]:
        ids, offsets = self.tokens.context(document.text[unit.start : unit.end])
        spans = {
            m: (document.mentions[m].start - unit.start, document.mentions[m].end - unit.start)
            for m in unit.mentions
        }
        sentences = [s - unit.start for s, _ in document.sentences if unit.start < s < unit.end]

        def context(marked: Sequence[int]) -> Context:
            around_mentions = {m: marks[m][:2] for m in marked}
            return build_context(ids, offsets, spans, around_mentions, sentences)

        if self.layout.shares_context:
            yield from self._shared(context(unit.mentions), blocks, report)
            return
        for block in blocks:
            own = context(block.mentions)
            whole = (0, len(own.ids))
            if self.layout.name == "parallel":
                yield from self._alone(own, whole, block, report)
            else:
                for candidate in block.candidates:
                    yield from self._alone(
                        own, whole, replace(block, candidates=[candidate]), report
                    )

    def _shared(
        self, context: Context, blocks: list[Block], report: PackingReport
    ) -> Iterator[PackedInput]:
        """Many mentions to a context, window by window."""
        size, room = 1 + len(context.ids), self._room
        costs = [self._cost(block) for block in blocks]
        if self.layout.attention == "full":
            if size + sum(costs) <= self.limits.input:
                yield self._build(context, (0, len(context.ids)), blocks)
                return
            reserve = min(max(_RESERVE, max(costs)), self.limits.input // 2)
            room = self.limits.input - reserve
        if size <= room:
            ranges = [(0, len(context.ids))]
        else:
            ranges = windows(context, room - 1)
            report.windowed += 1
        members: list[list[Block]] = [[] for _ in ranges]
        lonely: list[Block] = []
        for block in blocks:
            place = window_of(context.mentions[block.mentions[0]], ranges)
            (lonely if place is None else members[place]).append(block)
        for window, inside in zip(ranges, members, strict=True):
            yield from self._greedy(context, window, self._merged(inside), report)
        # No window holds the whole of these.
        for block in lonely:
            window = around(context.mentions[block.mentions[0]], (0, len(context.ids)), room - 1)
            yield from self._alone(context, window, block, report)

    def _merged(self, blocks: list[Block]) -> list[Block]:
        """Read mentions once that would be read alike: with block attention, one text is enough."""
        if self.layout.attention == "full" or self.layout.markers == "numbers":
            return blocks
        merged: dict[tuple[tuple[int, ...], ...], Block] = {}
        for block in blocks:
            # Candidates may be shuffled, each mention's in its own way.
            key = (tuple(block.header), *(tuple(ids) for _, ids in sorted(block.candidates)))
            same = merged.get(key)
            mentions = block.mentions if same is None else (*same.mentions, *block.mentions)
            merged[key] = replace(block if same is None else same, mentions=mentions)
        return list(merged.values())

    def _greedy(
        self, context: Context, window: Range, blocks: list[Block], report: PackingReport
    ) -> Iterator[PackedInput]:
        """Fill inputs one after another with the mentions of a window."""
        free = empty = self.limits.input - 1 - (window[1] - window[0])
        together: list[Block] = []
        for block in blocks:
            cost = self._cost(block)
            if cost > free and together:
                yield self._build(context, window, together)
                together, free = [], empty
            if cost > empty:
                yield from self._alone(context, window, block, report)
            else:
                together.append(block)
                free -= cost
        if together:
            yield self._build(context, window, together)

    def _alone(
        self, context: Context, window: Range, block: Block, report: PackingReport
    ) -> Iterator[PackedInput]:
        """One mention, with less context or in several inputs if need be."""
        mention, size = context.mentions[block.mentions[0]], 1 + window[1] - window[0]
        if self.layout.attention == "block":
            # How much context is read must not depend on the candidates.
            least, most = min(size, self._room), min(size, self._room)
        else:
            least = max(
                self.limits.input // _LEAST_CONTEXT,
                min(mention[1] - mention[0] + 3, self.limits.input // 2),
            )
            least, most = min(size, least), size
        parts = self._split(block, self.limits.input - least)
        report.split += len(block.mentions) * (len(parts) > 1)
        most = min(most, self.limits.input - max(map(self._cost, parts)))
        report.shrunk += most < size
        for part in parts:
            yield self._build(context, around(mention, window, most - 1), [part])

    def _split(self, block: Block, room: int) -> list[Block]:
        """As few parts of a block as fit into `room` tokens each, as even as possible."""

        def parts(limit: int) -> list[Block]:
            found: list[Block] = []
            for candidate in block.candidates:
                grown = [*found[-1].candidates, candidate] if found else [candidate]
                wider = replace(block, candidates=grown)
                if found and self._cost(wider) <= limit:
                    found[-1] = wider
                else:
                    found.append(replace(block, candidates=[candidate]))
            return found

        if self._cost(block) <= room:
            return [block]
        fewest = len(parts(room))
        low, high = -(-self._cost(block) // fewest) - 1, room
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if len(parts(middle)) == fewest else (middle, high)
        return parts(high)

    def _cost(self, block: Block) -> int:
        """The tokens of a block, of mention and candidates."""
        headers = len(block.candidates) if self.layout.repeat_mention else 1
        pieces = sum(1 + len(piece) for _, piece in block.candidates)
        return headers * (1 + len(block.header)) + pieces

    def _build(self, context: Context, window: Range, blocks: list[Block]) -> PackedInput:
        return build_input(context.ids[slice(*window)], blocks, self.layout, self.tokens)
