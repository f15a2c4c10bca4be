"""A terminology and an encoder on disk."""

from __future__ import annotations

import pytest

from .samples import write_model
from .tiny_pipelines import make_nlp, write_kb


@pytest.fixture(scope="session")
def kb_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("terminology") / "kb"
    write_kb(path)
    return path


@pytest.fixture(scope="session")
def encoder_dir(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("encoder") / "bert", "bert")


@pytest.fixture
def build(kb_dir, encoder_dir):
    """Make a pipeline with bel_crossencoder from settings of the component and its model."""

    def made(**settings):
        return make_nlp(
            settings.pop("kb", kb_dir), settings.pop("encoder", encoder_dir), **settings
        )

    return made
