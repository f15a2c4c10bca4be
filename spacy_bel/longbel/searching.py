"""Which search a mention gets, by the settings of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..candidates import Candidate
from ..errors import SettingsError
from ..kb.token_trie import MaskArray
from .beam_search import BeamSearch
from .best_first import BestFirstSearch
from .document import Mention
from .forced_scoring import ForcedScoring, Together
from .free_search import FreeBeamSearch
from .name_trie import NameTrie
from .search import Search
from .tokenization import PromptTokenizer

Decoding = Literal["constrained", "exact", "free"]

#: Tokens that a mention of several concepts may generate, as the published implementation has it.
_COMPOSITE_TOKENS = 128


@dataclass(frozen=True)
class SearchSettings:
    """How names are looked for.

    num_beams: beams, and the largest number of names. length_penalty: see `BeamSearch`. decoding:
    "constrained" for beam search over the names of the terminology, "exact" for a search that does
    not miss the best of them, "free" for beam search over all strings, of which those that are no
    name give nothing. composites: a mention may get several names, joined by the tokenizer's
    separator. candidates: so many of a mention's retrieved candidates are scored beside what is
    generated. max_reads: tokens after which an exact search gives up proving what it found.
    read_ahead: read what the trie forces at once.

    Raises SettingsError if they do not go together.
    """

    num_beams: int = 5
    length_penalty: float = 1.0
    decoding: Decoding = "constrained"
    composites: bool = False
    candidates: int = 0
    max_reads: int = 2048
    read_ahead: bool = True

    def __post_init__(self) -> None:
        if self.decoding not in ("constrained", "exact", "free"):
            raise SettingsError(
                f"decoding is {self.decoding!r}: use 'constrained', 'exact' or 'free'."
            )
        if self.candidates < 0:
            raise SettingsError(f"candidates is {self.candidates}: give 0 or more.")
        if self.decoding != "constrained" and self.composites:
            raise SettingsError(
                "Mentions of several concepts are found by constrained decoding only: set "
                "decoding='constrained', or composites=False."
            )
        if self.decoding == "free" and self.candidates:
            raise SettingsError(
                "Candidates cannot be scored beside free decoding: set decoding='constrained' or "
                "candidates=0."
            )

    def longest(self, trie: NameTrie) -> int:
        """Tokens that may follow a prompt. No name is longer than the longest one."""
        depth = trie.trie.depth
        return max(_COMPOSITE_TOKENS, depth) if self.composites else depth

    def search(
        self,
        trie: NameTrie,
        tokenizer: PromptTokenizer,
        mention: Mention,
        group_mask: MaskArray,
        counted: int = 0,
    ) -> Search:
        """A search for one mention.

        counted: tokens of the prompt that count in the length of a name.
        """
        search: Search
        if self.decoding == "exact":
            search = BestFirstSearch(
                trie.trie,
                trie.longest_below,
                group_mask,
                trie.end_token,
                self.num_beams,
                self.length_penalty,
                offset=counted,
                num_proven=1,
                max_reads=self.max_reads,
            )
        elif self.decoding == "free":
            search = FreeBeamSearch(
                trie.end_token,
                self.num_beams,
                self.length_penalty,
                offset=counted,
                max_new_tokens=trie.trie.depth,
            )
        else:
            search = BeamSearch(
                trie.trie,
                group_mask,
                trie.end_token,
                self.num_beams,
                self.length_penalty,
                offset=counted,
                separator=tokenizer.separator if self.composites else None,
                max_tokens=self.longest(trie),
                read_ahead=self.read_ahead,
            )
        chosen = mention.retrieved[: self.candidates]
        if not chosen:
            return search
        return Together([search, self._scoring(trie, tokenizer, chosen, counted)])

    def _scoring(
        self,
        trie: NameTrie,
        tokenizer: PromptTokenizer,
        candidates: Sequence[Candidate],
        counted: int,
    ) -> ForcedScoring:
        """Scores the names of candidates that the terminology knows."""
        kb = trie.kb
        names = [
            candidate.name if kb.name_id(candidate.name) >= 0 else kb.preferred_name(candidate.code)
            for candidate in candidates
            if candidate.code in kb
        ]
        sequences = tokenizer.split_sequences(names)
        nodes = [trie.trie.find(sequence) for sequence in sequences]
        known = [i for i, node in enumerate(nodes) if node >= 0]
        return ForcedScoring(
            [sequences[i] for i in known],
            [(nodes[i],) for i in known],
            self.length_penalty,
            offset=counted,
        )
