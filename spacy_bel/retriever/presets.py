"""How published bi-encoders turn a string into a vector, each as its authors compute it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from spacy_bel.errors import ModelError

Pooling = Literal["cls", "pooler", "mean", "mean_all"]
Padding = Literal["longest", "max_length"]


def _check(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ModelError(f"There is no {what} {value!r}: use one of {', '.join(known)}.")


@dataclass(frozen=True)
class EncoderSettings:
    """From a string to a vector.

    pooling: "cls", the last hidden state of the first token; "pooler", what the model's own pooling
        layer makes of it; "mean", the mean of the last hidden states of the tokens; "mean_all", the
        mean over all positions, padding included, which needs a fixed length.
    normalize: divide by the Euclidean norm, so that inner products are cosines in [-1, 1];
        otherwise scores are unbounded inner products.
    max_length: longer strings are cut; in tokens, special ones included.
    padding: pad to the longest string of a batch, or always to max_length.
    mask_padding: hide padding from attention and from "mean". False only with padding "max_length",
        or a vector would depend on the batch.
    lower_case: lower-case strings before the tokenizer sees them.
    """

    pooling: Pooling = "cls"
    normalize: bool = False
    max_length: int = 128
    padding: Padding = "longest"
    mask_padding: bool = True
    lower_case: bool = False

    def __post_init__(self) -> None:
        _check("pooling", self.pooling, get_args(Pooling))
        _check("padding", self.padding, get_args(Padding))
        if self.max_length < 3:
            raise ModelError(f"max_length is {self.max_length}: give at least 3 tokens.")
        visible = self.pooling == "mean_all" or not self.mask_padding
        if visible and self.padding != "max_length":
            raise ModelError(
                "Padding that is not masked must have a fixed length, or vectors depend on their "
                'batch: use padding="max_length", or mask_padding=True and pooling="mean".'
            )


#: Used where neither the caller nor the model's files say anything: what fits most encoders.
DEFAULT = EncoderSettings(pooling="mean", normalize=True, max_length=128)

_SAPBERT = EncoderSettings(pooling="cls", normalize=False, max_length=25, lower_case=True)
_CLINLINKER = EncoderSettings(pooling="cls", normalize=True, max_length=256)
_CODER = EncoderSettings(
    pooling="pooler", normalize=True, max_length=32, padding="max_length", mask_padding=False
)

PRESETS: dict[str, EncoderSettings] = {
    # SapBERT, Liu et al. 2021, doi 10.18653/v1/2021.naacl-main.334: lower-cased names, [CLS],
    # inner product. Its evaluation pads to 25 positions, which the mask makes no difference to.
    "sapbert": _SAPBERT,
    # Multilingual SapBERT over XLM-R, Liu et al. 2021, doi 10.18653/v1/2021.acl-short.72.
    "sapbert-xlmr": _SAPBERT,
    # The mean-token SapBERT of the same authors: the mean of all 25 positions, padding included.
    "sapbert-mean": EncoderSettings(
        pooling="mean_all", normalize=False, max_length=25, padding="max_length", lower_case=True
    ),
    # CODER, Yuan et al. 2022, doi 10.1016/j.jbi.2021.103983: pooling layer, trained and evaluated
    # without attention mask on 32 padded positions, so that padding is part of the input.
    "coder": _CODER,
    # CODER++, Zeng et al. 2022, arXiv 2204.00391: the same with the mean of all 32 positions.
    "coder-pp": EncoderSettings(
        pooling="mean_all", normalize=True, max_length=32, padding="max_length", mask_padding=False
    ),
    # BERGAMOT, Sakhovskiy et al. 2024, doi 10.18653/v1/2024.findings-naacl.288: SapBERT's protocol.
    "bergamot": _SAPBERT,
    # ClinLinker and ClinLinker-KB, Gallego et al. 2024, doi 10.1007/978-3-031-63775-9_19: [CLS] of
    # a Spanish clinical RoBERTa, vectors normalised for an inner-product index, 256 tokens.
    "clinlinker": _CLINLINKER,
    # The MedProcNER bi-encoder of the same authors, model card ICB-UMA/MedProcNER-bi-encoder.
    "medprocner": _CLINLINKER,
    # all-MiniLM-L6-v2, model card sentence-transformers/all-MiniLM-L6-v2: mean, normalised.
    "minilm": EncoderSettings(pooling="mean", normalize=True, max_length=256),
}

#: The preset that reads what a model directory in the layout of sentence-transformers says.
FROM_FILES = "sentence-transformers"

_HUB: dict[str, str] = {
    "cambridgeltl/SapBERT-from-PubMedBERT-fulltext": "sapbert",
    "cambridgeltl/SapBERT-from-PubMedBERT-fulltext-mean-token": "sapbert-mean",
    "cambridgeltl/SapBERT-UMLS-2020AB-all-lang-from-XLMR": "sapbert-xlmr",
    "cambridgeltl/SapBERT-UMLS-2020AB-all-lang-from-XLMR-large": "sapbert-xlmr",
    "GanjinZero/coder_eng": "coder",
    "GanjinZero/coder_all": "coder",
    "GanjinZero/UMLSBert_ENG": "coder",
    "GanjinZero/UMLSBert_ALL": "coder",
    "GanjinZero/coder_eng_pp": "coder-pp",
    "andorei/BERGAMOT-multilingual-GAT": "bergamot",
    "ICB-UMA/ClinLinker": "clinlinker",
    "ICB-UMA/ClinLinker-KB-P": "clinlinker",
    "ICB-UMA/ClinLinker-KB-GP": "clinlinker",
    "ICB-UMA/MedProcNER-bi-encoder": "medprocner",
    "sentence-transformers/all-MiniLM-L6-v2": "minilm",
}


def preset_settings(name: str) -> EncoderSettings:
    """The settings of a preset; raises ModelError if there is none of that name."""
    _check("preset", name, tuple(PRESETS))
    return PRESETS[name]


def known_model(hub_id: str) -> EncoderSettings | None:
    """The settings of a published model, None if it is not one of those known here."""
    preset = _HUB.get(hub_id)
    return None if preset is None else PRESETS[preset]


def check_overrides(overrides: dict[str, Any]) -> None:
    """Raise ModelError for the name of a setting that does not exist."""
    names = tuple(field.name for field in fields(EncoderSettings))
    for name in overrides:
        _check("setting", name, names)
