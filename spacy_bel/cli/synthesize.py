"""`bel synthesize`: annotated sentences for concepts, written by a language model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spacy_bel.cli.console import reports_errors, say
from spacy_bel.cli.kb import Directory
from spacy_bel.cli.mention_options import (
    CorpusFormat,
    LabelGroups,
    Unmapped,
    UnmappedLabels,
    parse_label_groups,
)

if TYPE_CHECKING:
    from spacy_bel.kb.knowledge_base import KnowledgeBase
    from spacy_bel.synthesis import Asking, Generator, StyleSentences, Synthesis
    from spacy_bel.synthesis.style import Groups

#: Seconds between messages where standard error is no terminal.
_PERIOD = 60


@reports_errors
def synthesize(
    directory: Directory,
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="BigBio pages to write, a .jsonl file.")
    ],
    model: Annotated[
        str, typer.Option(help="Model as the service calls it; with --local a directory or hub id.")
    ],
    local: Annotated[bool, typer.Option("--local", help="Run the model in this process.")] = False,
    base_url: Annotated[
        str | None, typer.Option(help="Address of the service, up to /v1; else OpenAI's.")
    ] = None,
    api_key_variable: Annotated[
        str, typer.Option(metavar="NAME", help="Environment variable with the service's key.")
    ] = "OPENAI_API_KEY",
    language: Annotated[str, typer.Option(help="Language of the sentences: en, fr or es.")] = "en",
    n: Annotated[int, typer.Option("-n", min=1, help="Sentences of a concept.")] = 3,
    retries: Annotated[
        int, typer.Option(min=0, help="Times to ask again where fewer are accepted.")
    ] = 5,
    group: Annotated[
        list[str] | None, typer.Option(help="Only concepts of this group; may be repeated.")
    ] = None,
    codes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Only these concepts, a code a line.")
    ] = None,
    without_mentions_in: Annotated[
        list[str] | None,
        typer.Option(metavar="CORPUS", help="Only concepts that it has no mention of; repeatable."),
    ] = None,
    defined: Annotated[
        bool, typer.Option("--defined", help="Only concepts with a definition.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="So many of these concepts, drawn with --seed.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of all that is drawn.")] = 0,
    style: Annotated[
        list[str] | None,
        typer.Option(metavar="CORPUS", help="Training corpus whose style to follow; repeatable."),
    ] = None,
    label_groups: LabelGroups = None,
    unmapped_labels: UnmappedLabels = Unmapped.error,
    format: CorpusFormat = None,
    temperature: Annotated[float, typer.Option(help="Temperature of sampling.")] = 0.6,
    top_p: Annotated[float, typer.Option(help="Share of likely tokens to sample from.")] = 0.9,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of an answer at most.")] = 512,
    extra: Annotated[
        str | None, typer.Option(metavar="JSON", help="Further keys of each request.")
    ] = None,
    limit_parameter: Annotated[
        str, typer.Option(help="What the service calls --max-tokens, or max_completion_tokens.")
    ] = "max_tokens",
    in_flight: Annotated[int, typer.Option(min=1, help="Requests at a time.")] = 8,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for an answer.")] = 120.0,
    batch_size: Annotated[int, typer.Option(min=1, help="With --local: prompts at once.")] = 8,
    device: Annotated[str | None, typer.Option(help="With --local: cpu, cuda, …")] = None,
    dtype: Annotated[str | None, typer.Option(help="With --local: bfloat16, …")] = None,
    price_in: Annotated[float, typer.Option(help="Price of a million prompt tokens.")] = 0.0,
    price_out: Annotated[float, typer.Option(help="Price of a million answer tokens.")] = 0.0,
    max_cost: Annotated[
        float | None, typer.Option(help="Stop before all answers cost more than this.")
    ] = None,
    min_words: Annotated[int, typer.Option(help="Accept sentences of so many words.")] = 5,
    max_words: Annotated[int, typer.Option(help="Accept sentences of up to so many words.")] = 60,
    any_mention: Annotated[
        bool,
        typer.Option("--any-mention", help="Accept mentions in CAPITALS, with commas or brackets."),
    ] = False,
    ambiguous: Annotated[
        bool, typer.Option("--ambiguous", help="Accept names that other concepts share.")
    ] = False,
    answers: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where answers are kept; else beside OUT.")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask for nothing; judge the answers that are kept.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace OUT.")] = False,
) -> None:
    """Have a language model write annotated sentences for concepts that nobody has annotated.

    The model is that of any service that speaks OpenAI's protocol (OpenAI, vLLM, llama.cpp,
    Ollama, …), or with --local one of transformers. Sentences are accepted by rules: the mention is
    marked once, is no gibberish, no name of another concept, and so on; OUT.report.json counts what
    was not accepted, by reason, with examples, and what was paid.

    Each answer is kept in OUT.answers.jsonl before anything is made of it. A run that was stopped,
    by whatever, goes on where it was when the same command is given again, and nothing is asked for
    twice. What changes a prompt, a model or its sampling makes new answers; --group, --limit,
    --retries and the rules of acceptance do not, and --offline applies them at no cost.

    The key of a service is read from an environment variable, and never written anywhere. Mind the
    terms under which your terminology and your style sentences may be sent to a service.

    \b
    Examples:
      python -m spacy bel synthesize medic synthetic.jsonl --model gpt-4.1-mini --limit 1000 \\
        --price-in 0.4 --price-out 1.6 --max-cost 5 --without-mentions-in train.txt
      python -m spacy bel synthesize hpo hpo.jsonl --base-url http://localhost:8000/v1 \\
        --model meta-llama/Llama-3.3-70B-Instruct --in-flight 64 --style train.txt
      python -m spacy bel synthesize hpo hpo.jsonl --local --model models/qwen3-4b --limit 20
      python -m spacy bel corpus convert synthetic.jsonl synthetic.spacy --to docbin
    """
    from spacy_bel.cli.kb import open_kb
    from spacy_bel.cli.output import check_free, written_at_the_end
    from spacy_bel.corpora.bigbio_writer import write_bigbio
    from spacy_bel.mentions import GroupMapping
    from spacy_bel.synthesis import (
        AnswerStore,
        Asking,
        Budget,
        Prices,
        Rules,
        Synthesis,
        SynthesisReport,
    )
    from spacy_bel.synthesis.prompt import find_language

    check_free(output, force)
    find_language(language)
    rules = Rules(min_words, max_words, plain_mentions=not any_mention, ambiguous=ambiguous)
    prices = Prices(price_in, price_out)
    generator: Generator
    if local:
        from spacy_bel.synthesis.local import CausalLMGenerator

        generator = CausalLMGenerator(
            model, temperature=temperature, top_p=top_p, seed=seed, max_tokens=max_tokens,
            batch_size=batch_size, device=device, dtype=dtype,
        )  # fmt: skip
    else:
        generator = _service(
            model, base_url, api_key_variable=api_key_variable, temperature=temperature,
            top_p=top_p, max_tokens=max_tokens, limit_parameter=limit_parameter,
            extra=_json(extra), timeout=timeout, in_flight=in_flight,
        )  # fmt: skip
    kb = open_kb(directory)
    chosen = _concepts(kb, group or [], codes, without_mentions_in, format, defined, limit, seed)
    shown = None
    if style:
        groups = GroupMapping(kb, parse_label_groups(label_groups), unmapped_labels.value).groups
        shown = _style(style, format, groups, language, seed)
    kept = answers or output.with_name(output.name + ".answers.jsonl")
    report = SynthesisReport()
    with AnswerStore(kept, generator.name, generator.sampling, read_only=offline) as store:
        if store.damaged:
            say(f"{kept}: {store.damaged} lines cannot be read and are passed over.", "yellow")
        synthesis = Synthesis(
            kb, store, language=language, n=n, retries=retries, rules=rules, style=shown,
            groups=group or (),
        )  # fmt: skip
        asking = Asking(generator, store, Budget(prices, store.usage, max_cost), tell=say)
        if not offline:
            say(f"{len(chosen):,} concepts; answers are kept in {kept}.")
            _ask(synthesis, chosen, asking, kept)
        with written_at_the_end(output) as stream:
            write_bigbio(synthesis.documents(chosen, report), stream)
        settings = {
            "kb": kb.meta.name, "kb_fingerprint": kb.fingerprint, "licence": kb.meta.licence,
            "model": model, "sampling": dict(generator.sampling), "language": language, "n": n,
            "retries": retries, "seed": seed, "style": list(style or ()),
        }  # fmt: skip
        content = report.to_json(asking.budget, asking.failed, asking.stopped, settings)
    with written_at_the_end(output.with_name(output.name + ".report.json")) as stream:
        json.dump(content, stream, ensure_ascii=False, indent=2)
    _tell(content, output)
    if asking.stopped and not asking.short_of_money:
        raise typer.Exit(1)


def _service(model: str, base_url: str | None, **settings: Any) -> Generator:
    from spacy_bel.synthesis import OpenAIGenerator

    if settings["limit_parameter"] not in ("max_tokens", "max_completion_tokens"):
        raise typer.BadParameter(
            "write max_tokens or max_completion_tokens", param_hint="--limit-parameter"
        )
    return OpenAIGenerator(model, base_url, **settings)


def _json(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise typer.BadParameter("write a JSON object", param_hint="--extra")
    return value


def _concepts(
    kb: KnowledgeBase,
    groups: Sequence[str],
    file: Path | None,
    corpora: Sequence[str] | None,
    format: str | None,
    defined: bool,
    limit: int | None,
    seed: int,
) -> list[str]:
    """Codes of the concepts that the options name. Raises SettingsError if there are none."""
    from spacy_bel.cli.corpora import read_corpora
    from spacy_bel.corpora.files import numbered_lines
    from spacy_bel.errors import SettingsError
    from spacy_bel.synthesis import annotated_codes, choose_concepts

    codes = None
    if file is not None:
        codes = [line.strip() for _, line in numbered_lines(file) if line.strip()]
        unknown = [code for code in codes if kb.resolve(code) is None]
        if unknown:
            say(
                f"{len(unknown):,} of {len(codes):,} codes are not in {kb.meta.name}, such as "
                f"{unknown[0]!r}, and are left out.",
                "yellow",
            )
    without = annotated_codes(kb, read_corpora(corpora, format)) if corpora else set()
    chosen = choose_concepts(
        kb, groups=groups, codes=codes, without=without, defined=defined, limit=limit, seed=seed
    )
    if not chosen:
        raise SettingsError(
            f"No concept of {kb.meta.name} is left: ask for more groups or codes, or leave out "
            "--without-mentions-in or --defined."
        )
    return chosen


def _style(
    corpora: Sequence[str], format: str | None, groups: Groups, language: str, seed: int
) -> StyleSentences:
    """Sentences of corpora by semantic group."""
    from spacy_bel.cli.corpora import read_corpora
    from spacy_bel.cli.corpus import blank_pipeline
    from spacy_bel.corpora.docs import split_sentences, to_doc
    from spacy_bel.corpora.document import CorpusDocument
    from spacy_bel.synthesis import StyleSentences

    nlp = blank_pipeline(language)

    def split(document: CorpusDocument) -> list[tuple[int, int]]:
        doc = to_doc(document, nlp)
        split_sentences(doc)
        return [(sentence.start_char, sentence.end_char) for sentence in doc.sents]

    return StyleSentences.from_documents(read_corpora(corpora, format), groups, split, seed=seed)


def _ask(synthesis: Synthesis, chosen: Sequence[str], asking: Asking, kept: Path) -> None:
    """Ask for all that is missing, and say how it goes."""
    try:
        with _progress(len(chosen), asking) as progress:
            synthesis.ask(chosen, asking, progress)
    except KeyboardInterrupt:
        say(
            f"Stopped. {asking.answers:,} answers of this run are kept in {kept}; the same command "
            "goes on from there.",
            "yellow",
        )
        raise typer.Exit(130) from None


@contextmanager
def _progress(total: int, asking: Asking) -> Iterator[Callable[[int], None]]:
    """A bar, or a line a minute where standard error is no terminal."""
    from tqdm import tqdm

    begun = told = monotonic()
    with tqdm(total=total, unit="concept", disable=None, leave=False) as bar:

        def progress(done: int) -> None:
            nonlocal told
            usage, spent = asking.budget.usage, asking.budget.spent
            tokens = usage.prompt_tokens + usage.completion_tokens
            about = f"{asking.answers:,} answers, {tokens:,} tokens in all, cost {spent:.2f}"
            bar.set_postfix_str(about, refresh=False)
            bar.update(done - bar.n)
            now = monotonic()
            if bar.disable and now - told > _PERIOD and done:
                told = now
                left = (total - done) * (now - begun) / done
                say(f"{done:,} of {total:,} concepts, {about}, {left / 60:,.0f} minutes left.")

        yield progress


def _tell(content: dict[str, Any], output: Path) -> None:
    """What was written, what was not, and what it cost."""
    concepts, paid = content["concepts"], content["paid"]
    say(
        f"{content['sentences']:,} sentences of {concepts['wanted']:,} concepts: "
        f"{concepts['complete']:,} complete, {concepts['partial']:,} with fewer, "
        f"{concepts['without_sentence']:,} without, {concepts['unanswered']:,} not answered."
    )
    for reason in content["rejected"].values():
        say(f"  {reason['lines']:,} lines not accepted: {reason['why']}.")
    say(
        f"Answers kept: {paid['answers']:,}, with {paid['prompt_tokens']:,} tokens read and "
        f"{paid['completion_tokens']:,} written; cost {paid['cost']:.4f}."
    )
    if paid["lost"]:
        say(f"{paid['lost']:,} requests got no answer and may have been charged.", "yellow")
    for code, message in list(content["failed"]["messages"].items())[:3]:
        say(f"No answer for {code}: {message}", "yellow")
    if content["stopped"]:
        say(f"Stopped early: {content['stopped']}. The same command goes on with --force.", "red")
    say(f"Wrote {output} and {output.name}.report.json.")
