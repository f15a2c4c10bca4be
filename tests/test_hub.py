"""A model that is named but not there: one clear error, and no network unless a hub id is given."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
from huggingface_hub import HfApi

from spacy_bel.errors import ModelError
from spacy_bel.hub import check_id
from spacy_bel.retriever.encoder import Encoder
from tests.retriever.tiny_encoders import write_encoder


@pytest.fixture
def network(monkeypatch):
    """Every attempt to reach another machine, each of which fails."""
    attempts = []

    def refuse(*arguments, **_):
        attempts.append(arguments)
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return attempts


@pytest.mark.parametrize(
    "model",
    [
        "encodr",
        "./encoder",
        "../encoder",
        "/x/y",
        "~/encoder",
        "a/b/c",
        "C:\\models",
        "a b",
        "here/x",
    ],
)
def test_a_path_that_is_not_there_is_sent_nowhere(model, network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    with pytest.raises(ModelError, match="There is no model directory .* Give a directory"):
        Encoder.from_pretrained(model)
    assert not network


def test_a_hub_model_that_cannot_be_had_is_asked_for_once(monkeypatch):
    asked = []

    def model_info(self, model, **_):
        asked.append(model)
        raise ConnectionError("no network")

    monkeypatch.setattr(HfApi, "model_info", model_info)
    check_id("nobody/nothing")
    with pytest.raises(ModelError, match=r"nobody/nothing.*nor from the hub \(ConnectionError\)"):
        Encoder.from_pretrained("nobody/nothing")
    assert asked == ["nobody/nothing"]


def test_a_cached_model_is_read_without_network(tmp_path):
    """In a process of its own, since the place of the cache is read when libraries are imported."""
    repository = tmp_path / "models--somebody--encoder"
    write_encoder(repository / "snapshots" / "0123abcd", "bert")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abcd")
    script = """
import socket
def refuse(*_, **__): raise SystemExit("asked for the network")
socket.getaddrinfo = socket.socket.connect = refuse
from spacy_bel.retriever.encoder import Encoder
print(Encoder.from_pretrained("somebody/encoder").width)
"""
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path)}
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "TRANSFORMERS_CACHE"):
        environment.pop(name, None)
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment
    )
    assert run.stdout == "32\n", run.stderr
