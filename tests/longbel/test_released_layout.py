"""Checkpoints in released layout: prompts byte for byte, and results against the plain path."""

from __future__ import annotations

import json
import shutil

import pytest
import spacy
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from benchmarks.naive import link_documents, nested_trie
from spacy_bel.errors import KnowledgeBaseError, ModelError, UnmappedLabelError
from spacy_bel.longbel.bigbio import sample
from spacy_bel.longbel.document import MemoryEntry
from spacy_bel.longbel.models.causal_lm import CausalLanguageModel
from spacy_bel.longbel.pages import read_page
from spacy_bel.longbel.prompts import get_prompt
from spacy_bel.longbel.released_kb import released_kb

from .helpers import make_engine
from .pages import CLINICAL, PAGE, starts_after_full_stops
from .released import TABLE, write_released

FORMATS = ["short", "hybrid_short", "hybrid_medium", "hybrid_long", "long"]
MEMORY = [
    MemoryEntry("cold", "Disorders", "Common cold"),
    MemoryEntry("Pain in the left arm", "Disorders", "Arm pain"),
    MemoryEntry("Pain in the leg", "Disorders", "Leg pain<+>Arm pain"),
    MemoryEntry("cold\u00a0fever", "Disorders", "Fever"),
]


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    return write_released(tmp_path_factory.mktemp("released") / "checkpoint")


def prompt_text(page, name, index, memory=()):
    document = read_page(page, sentence_starts=starts_after_full_stops).document
    prompt, mention = get_prompt(name), document.mentions[index]
    context = prompt.context(document, mention, prompt.window(document, mention))
    return prompt.assemble(context, memory, mention)


def test_first_prompt():
    assert prompt_text(PAGE, "hybrid_long", 0) == (
        "### Context\n"
        "A [cold] case\n"
        "Pain in the left arm and leg (acute).\n"
        "No cold fever. Cold again.\n"
        "\n"
        "### Previous Normalizations\n"
        "None\n"
        "\n"
        "### Prediction\n"
        "[cold]{Disorders}"
    )


def test_discontinuous_mention_in_the_second_passage():
    """The envelope is marked, and the text is that of the fragments."""
    assert prompt_text(PAGE, "hybrid_long", 2, MEMORY[:2]) == (
        "### Context\n"
        "A cold case\n"
        "[Pain in the left arm and leg] (acute).\n"
        "No cold fever. Cold again.\n"
        "\n"
        "### Previous Normalizations\n"
        "[cold]{Disorders} Common cold\n"
        "[Pain in the left arm]{Disorders} Arm pain\n"
        "\n"
        "### Prediction\n"
        "[Pain in the leg]{Disorders}"
    )


def test_third_passage_and_composite_memory():
    """Passages before the mention's own stand in reverse; names of a composite have no spaces."""
    assert prompt_text(PAGE, "hybrid_long", 4, MEMORY) == (
        "### Context\n"
        "Pain in the left arm and leg (acute).\n"
        "A cold case\n"
        "No cold fever. [Cold] again.\n"
        "\n"
        "### Previous Normalizations\n"
        "[cold]{Disorders} Common cold\n"
        "[Pain in the left arm]{Disorders} Arm pain\n"
        "[Pain in the leg]{Disorders} Leg pain<+>Arm pain\n"
        "[cold fever]{Disorders} Fever\n"
        "\n"
        "### Prediction\n"
        "[Cold]{Phenomena}"
    )


def test_other_formats():
    assert prompt_text(PAGE, "short", 4) == (
        "### Context\n[Cold] again.\n\n### Prediction\n[Cold]{Phenomena}"
    )
    assert prompt_text(PAGE, "hybrid_short", 2, MEMORY[:1]) == (
        "### Context\n[Pain in the left arm and leg] (acute).\n\n"
        "### Previous Normalizations\n[cold]{Disorders} Common cold\n\n"
        "### Prediction\n[Pain in the leg]{Disorders}"
    )
    assert prompt_text(PAGE, "hybrid_medium", 3) == (
        "### Context\n"
        "Pain in the left arm and leg (acute).\nA cold case\nNo [cold fever]. Cold again.\n\n"
        "### Prediction\n[cold fever]{Disorders}"
    )
    assert prompt_text(PAGE, "long", 3, MEMORY[:3]) == (
        "### Context\n"
        "A [cold] case\n[[Pain in the left arm] and leg] (acute).\n"
        "No [cold fever]. [Cold] again.\n\n"
        "### Predictions\n"
        "[cold]{Disorders} Common cold<SEP>[Pain in the left arm]{Disorders} Arm pain<SEP>"
        "[Pain in the leg]{Disorders} Leg pain<+>Arm pain<SEP>[cold fever]{Disorders}"
    )


def test_a_page_of_one_passage():
    """Shaped like the example of the published model card: French, four mentions, no memory yet."""
    memory = [
        MemoryEntry("femme enceinte", "Living Beings", "Femmes enceintes"),
        MemoryEntry("céphalées", "Disorders", "Céphalée"),
    ]
    assert prompt_text(CLINICAL, "hybrid_long", 2, memory) == (
        "### Context\n"
        "Chez une femme enceinte, des céphalées et une [protéinurie] font craindre une "
        "pré-éclampsie.\n"
        "\n"
        "### Previous Normalizations\n"
        "[femme enceinte]{Living Beings} Femmes enceintes\n"
        "[céphalées]{Disorders} Céphalée\n"
        "\n"
        "### Prediction\n"
        "[protéinurie]{Disorders}"
    )


@pytest.mark.parametrize("name", FORMATS)
def test_results_equal_the_plain_path(released, name):
    """`generate` on one prompt at a time, under nested tries of each group's own names."""
    model = CausalLanguageModel.from_pretrained(released, device="cpu")
    pages = [PAGE, {**PAGE, "id": "again", "entities": PAGE["entities"][::2]}]
    documents = [read_page(p, sentence_starts=starts_after_full_stops).document for p in pages]
    prompt = get_prompt(name)
    end_token = getattr(model.tokenizer, prompt.end_token)
    expected = link_documents(
        model.model,
        model.tokenizer,
        documents,
        {
            group: nested_trie(model.tokenizer, list(names), end_token)
            for group, names in TABLE.items()
        },
        prompt,
        end_token,
        num_beams=4,
    )
    engine = make_engine(model, released_kb(released), name, num_beams=4, batch_size=2)
    records = sample(engine, pages, sentence_starts=starts_after_full_stops)
    for page, document, mentions in zip(pages, documents, expected, strict=True):
        for number, (mention, names) in enumerate(zip(document.mentions, mentions, strict=True), 1):
            rows = [r for r in records if r["mention_id"] == f"{page['id']}.{number}"]
            assert [r["pred_concept_name"] for r in rows] == [n for n, _ in names]
            assert [r["pred_concept_code"] for r in rows] == [
                TABLE[mention.group][n] for n, _ in names
            ]
            assert [r["beam_score"] for r in rows] == pytest.approx([s for _, s in names], rel=1e-3)


def pipeline(model, **config):
    nlp = spacy.blank("fr")
    nlp.add_pipe("longbel_linker", config={"model": str(model), **config})
    return nlp


def annotated(nlp, spans_key=None):
    """The page as a spaCy document."""
    texts = [passage["text"][0] for passage in PAGE["passages"]]
    doc = nlp.make_doc("\n".join(texts))
    doc.spans["passages"] = [
        doc.char_span(p["offsets"][0][0], p["offsets"][0][1], alignment_mode="expand")
        for p in PAGE["passages"]
    ]
    spans = [
        doc.char_span(e["offsets"][0][0], e["offsets"][-1][1], label=e["type"])
        for e in PAGE["entities"]
    ]
    if spans_key:
        doc.spans[spans_key] = spans
    else:
        doc.ents = [spans[1], spans[-1]]
    return doc


def test_the_directory_is_all_that_the_config_needs(released, tmp_path):
    moved = tmp_path / "checkpoint"
    shutil.copytree(released, moved)
    nlp = pipeline(moved)
    linker = nlp.get_pipe("longbel_linker")
    doc = nlp(annotated(nlp))
    for ent in doc.ents:
        assert ent.kb_id_ in TABLE[ent.label_].values()
        assert all(TABLE[ent.label_][c.name] == c.code for c in ent._.kb_candidates)
    assert linker.prompt.name == "hybrid_long"
    nlp.to_disk(tmp_path / "pipeline")
    shutil.rmtree(moved)
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    again = spacy.load(tmp_path / "pipeline")
    other = again(annotated(again))
    assert [e._.kb_candidates for e in other.ents] == [e._.kb_candidates for e in doc.ents]
    assert not list((tmp_path / "pipeline").rglob("*.pkl"))
    assert not list((tmp_path / "pipeline").rglob("*.py"))


def test_without_its_table_it_needs_a_knowledge_base(tmp_path, kb_dir):
    directory = write_released(tmp_path / "checkpoint", table=None)
    nlp = pipeline(directory)
    with pytest.raises(KnowledgeBaseError, match=r"no text_to_code\.json.*set kb"):
        nlp(annotated(nlp))
    nlp = pipeline(directory, kb=str(kb_dir))
    doc = nlp(annotated(nlp))
    assert doc.ents[0].kb_id_.startswith("D")


def test_a_group_that_the_table_lacks(released):
    nlp = pipeline(released)
    doc = annotated(nlp)
    doc.ents = [doc.char_span(2, 6, label="Anatomy")]
    with pytest.raises(UnmappedLabelError, match="Groups: Disorders, Phenomena"):
        nlp(doc)


def test_mentions_of_one_span(released):
    """With compat the last one stands alone; otherwise each keeps its own links."""
    nlp = pipeline(released, spans_key="sc")
    both = nlp(annotated(nlp, "sc"))
    first, last = (span for span in both.spans["sc"] if span.text == "cold\u00a0fever")
    assert first.kb_id_ in TABLE["Phenomena"].values()
    nlp = pipeline(released, spans_key="sc", compat="longbel")
    linked = nlp(annotated(nlp, "sc"))
    first, last = (span for span in linked.spans["sc"] if span.text == "cold\u00a0fever")
    assert (first.label_, first._.kb_candidates) == ("Phenomena", [])
    assert last.kb_id_ in TABLE["Disorders"].values()


def test_sampling_of_the_linker(released):
    """The one call for those who come from the published implementation."""
    linker = pipeline(released).get_pipe("longbel_linker")
    records = linker.sample([PAGE], num_beams=3)
    assert [r["rank"] for r in records] == [1, 2, 3] * 5
    model = CausalLanguageModel.from_pretrained(released, device="cpu")
    engine = make_engine(model, released_kb(released), num_beams=3)
    assert records == sample(engine, [PAGE])


def test_a_sampling_generation_config_changes_nothing(released, tmp_path):
    config = json.loads((released / "generation_config.json").read_text())
    assert config["do_sample"] is True
    plain = shutil.copytree(released, tmp_path / "plain")
    (plain / "generation_config.json").unlink()
    results = [pipeline(d).get_pipe("longbel_linker").sample([PAGE]) for d in (released, plain)]
    assert results[0] == results[1]


def test_a_tokenizer_that_merges_brackets(released, tmp_path):
    directory = shutil.copytree(released, tmp_path / "merging")
    characters = [chr(i) for i in range(32, 127)] + ["\n"]
    vocab = {token: i for i, token in enumerate(["<s>", "</s>", "<unk>", *characters, "} "])}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[("}", " ")], unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
    PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>"
    ).save_pretrained(directory)
    linker = pipeline(directory).get_pipe("longbel_linker")
    with pytest.raises(ModelError, match="The tokenizer merges"):
        linker.sample([PAGE])


def test_neither_code_nor_pickle_was_opened(released):
    pipeline(released).get_pipe("longbel_linker").sample([PAGE], num_beams=1)
    assert not (released / "unpickled").exists()
