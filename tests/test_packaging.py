"""What installing the package promises: light entry points, no warnings, nothing pickled."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from configparser import ConfigParser
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import spacy

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "spacy_bel"


def run(code, *flags):
    script = textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, *flags, "-c", script], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_entry_points_import_without_heavy_libraries():
    run("""
        import sys
        import spacy.language  # imports torch itself, through thinc, where it is installed

        class Block:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in blocked:
                    raise ImportError(f"{name} is heavy")

        blocked = {"torch", "transformers", "faiss", "sklearn", "scipy", "marisa_trie", "pandas"}
        for name in [m for m in sys.modules if m.split(".")[0] in blocked]:
            del sys.modules[name]
        sys.meta_path.insert(0, Block())
        import spacy_bel, spacy_bel.cli, spacy_bel.factories, spacy_bel.registry
    """)


HIDE_US = """
import importlib.metadata as metadata
everything = metadata.distributions
metadata.distributions = lambda **kwargs: (
    d for d in everything(**kwargs) if d.metadata["Name"] != "spacy-bel"
)
"""
LIST_MODULES = """
import spacy, sys
nlp = spacy.blank("en")
nlp.add_pipe("sentencizer")
print("\\n".join(sorted(sys.modules)))
"""


def test_a_pipeline_loads_nothing_more_because_of_us():
    without = set(run("import importlib.metadata\n" + HIDE_US + LIST_MODULES).split())
    added = set(run("import importlib.metadata\n" + LIST_MODULES).split()) - without
    assert not {m for m in without if m.startswith("spacy_bel")}
    assert "spacy_bel.factories" in added
    assert not {m for m in added if not m.startswith("spacy_bel")}


def test_our_modules_warn_about_nothing():
    modules = sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in PACKAGE.rglob("*.py")
    )
    run(f"""
        import warnings
        import spacy, torch, transformers, spacy.cli, sklearn.feature_extraction.text
        warnings.simplefilter("error")
        import importlib
        for name in {modules!r}:
            importlib.import_module(name)
    """)


def test_every_declared_entry_point_exists():
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    declared = {
        (group, line.split("=")[0].strip())
        for group, lines in config["options.entry_points"].items()
        for line in lines.strip().splitlines()
    }
    installed = {
        (point.group, point.name): point
        for group in config["options.entry_points"]
        for point in entry_points(group=group)
        if point.value.startswith("spacy_bel")
    }
    assert declared == installed.keys()
    assert all(callable(p.load()) or p.group == "spacy_cli" for p in installed.values())


@pytest.mark.parametrize(
    "name", ["bel_dictionary", "bel_retriever", "bel_setwise", "longbel_linker"]
)
def test_factories_are_found_and_complete_their_config(name):
    nlp = spacy.blank("en")
    nlp.add_pipe(name)
    assert nlp.config["components"][name]["factory"] == name
    assert nlp.get_pipe_meta(name).assigns
    assert spacy.blank("en").from_config(nlp.config).pipe_names == [name]


def test_nothing_unpickles_or_runs_remote_code():
    banned = re.compile(
        r"^\s*(import|from)\s+(pickle|joblib|dill|cloudpickle|shelve)\b|torch\.load|"
        r"allow_pickle\s*=\s*True|trust_remote_code\s*=\s*True|weights_only\s*=\s*False",
        re.MULTILINE,
    )
    found = {
        str(path.relative_to(ROOT)): match.group().strip()
        for folder in ("spacy_bel", "scripts")
        for path in (ROOT / folder).rglob("*.py")
        if (match := banned.search(path.read_text(encoding="utf-8")))
    }
    assert not found


def test_version_is_stated_once():
    import spacy_bel

    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    assert config["metadata"]["version"] == spacy_bel.__version__
