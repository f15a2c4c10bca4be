"""Put the default pipeline together from its config and a trained model.

    python scripts/assemble_default_pipeline.py training/default_model assets/en_bel_hpo
    python -m spacy bel calibrate assets/en_bel_hpo assets/hpo_notes/dev.jsonl --force

The ontology itself is not stored: it is built from the extra `hpo` where the pipeline is loaded.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from spacy import util

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="directory of the trained model")
    parser.add_argument("output", type=Path, help="directory of the pipeline")
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "default.cfg")
    args = parser.parse_args()
    nlp = util.load_model_from_config(util.load_config(args.config), auto_fill=True)
    nlp.get_pipe("longbel_linker").set_model(args.model)
    nlp.meta.update(
        name="bel_hpo",
        version="0.1.0",
        description="Dictionary mentions of the Human Phenotype Ontology, linked by a small model.",
        author="the spacy-bel authors",
        license="MIT",
        requirements=["spacy-bel[hpo]>=0.1.0,<0.2.0"],
    )
    nlp.to_disk(args.output)


if __name__ == "__main__":
    main()
