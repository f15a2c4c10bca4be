"""How components refer to a knowledge base: by nothing, a path, an object or a function."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import KnowledgeBaseError
from .default import load_default_kb
from .knowledge_base import KnowledgeBase

KBReference = str | Path | KnowledgeBase | Callable[[], KnowledgeBase] | None


def resolve_kb(reference: KBReference) -> KnowledgeBase:
    """Open what a reference names; None is the embedded default.

    Raises KnowledgeBaseError if it cannot be opened, or is none of these.
    """
    if reference is None:
        return load_default_kb()
    if isinstance(reference, KnowledgeBase):
        return reference
    if isinstance(reference, (str, Path)):
        return KnowledgeBase.from_disk(reference)
    if callable(reference):
        kb = reference()
        if isinstance(kb, KnowledgeBase):
            return kb
    raise KnowledgeBaseError(
        f"{reference!r} is no knowledge base: give a directory that `python -m spacy bel kb build` "
        "wrote, a KnowledgeBase, a function that returns one, or nothing for the default."
    )


class KnowledgeBaseHolder:
    """A component part that opens its knowledge base when it is first needed.

    So a saved pipeline can be loaded where the path of its config does not exist: `from_disk` puts
    its own copy in place first. store_kb: whether `to_disk` and `to_bytes` include the knowledge
    base; without it, the reference of the config is opened again.
    """

    store_kb: bool
    _kb_reference: KBReference
    _kb: KnowledgeBase | None = None

    @property
    def kb(self) -> KnowledgeBase:
        """The knowledge base, opened on first use."""
        if self._kb is None:
            self.set_kb(self._kb_reference)
        assert self._kb is not None
        return self._kb

    def set_kb(self, reference: KBReference) -> None:
        """Link to another knowledge base from now on."""
        self._kb = resolve_kb(reference)
        self._kb_reference = reference
        self._kb_changed()

    def _kb_changed(self) -> None:
        """Forget what was made from the knowledge base before."""

    def _kb_to_disk(self, path: Path) -> None:
        """Copy the knowledge base to a directory, if it is stored with the component."""
        if not self.store_kb or (self.kb.path is not None and self.kb.path == path.resolve()):
            return
        self.kb.to_disk(path, force=path.exists())

    def _kb_from_disk(self, path: Path) -> None:
        """Use the copy in a directory, if there is one."""
        if path.is_dir():
            self.set_kb(path)

    def _kb_to_bytes(self) -> bytes:
        """The knowledge base, or nothing if it is not stored with the component."""
        return self.kb.to_bytes() if self.store_kb else b""

    def _kb_from_bytes(self, data: Any) -> None:
        """Use the knowledge base in some bytes, if there is one."""
        if data:
            self.set_kb(KnowledgeBase.from_bytes(data))
