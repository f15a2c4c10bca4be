"""Named errors. Each message says what is wrong and what to do about it."""


class BelError(Exception):
    """Base of every error that spacy-bel raises on purpose.

    None of them is a KeyError: spaCy turns those of a component into "could not be run".
    """


class KnowledgeBaseError(BelError, ValueError):
    """A terminology directory is missing, damaged or of another format."""


class ReadError(BelError, ValueError):
    """A terminology or corpus file cannot be read; names file and line where they are known."""


class UnknownGroupError(BelError, ValueError):
    """A semantic group that the knowledge base does not have."""


class UnmappedLabelError(BelError, ValueError):
    """A mention label that maps to no semantic group of the knowledge base."""


class FingerprintMismatchError(BelError, ValueError):
    """An index, trie or pipeline made from another knowledge base, tokenizer or model."""


class ModelError(BelError, ValueError):
    """A model directory that cannot be used for linking."""


class SettingsError(BelError, ValueError):
    """A setting of a component or of a training run that cannot be used; the message says why."""


class TrainingError(BelError, OSError):
    """A training run that must not begin, or cannot go on, because of what is on disk."""


class NoSpaceError(BelError, OSError):
    """The disk is full; what was computed is kept."""


class FootprintError(BelError, RuntimeError):
    """A process in which an index was measured came to no end."""


class MissingExtraError(BelError, ImportError):
    """An optional dependency is not installed; the message names the extra to install."""


class MissingDefaultError(BelError, FileNotFoundError):
    """The default model or pipeline is not installed."""
