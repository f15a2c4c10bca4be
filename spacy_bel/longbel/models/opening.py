"""How decoders begin, and what tokenizers put around a text."""

from __future__ import annotations

from typing import Any

from ...errors import ModelError


def decoder_opening(model: Any, tokenizer: Any) -> list[int]:
    """Token ids with which the decoder of a model begins.

    Its start token, then the one that generation forces behind it; if it forces none, what the
    tokenizer puts before target texts, since targets were written so in training. Of the same token
    twice, one is left. Raises ModelError if nothing says what the start token is.
    """
    start = _generation_setting(model, "decoder_start_token_id")
    for name in ("bos_token_id", "cls_token_id"):
        start = getattr(tokenizer, name, None) if start is None else start
    if start is None:
        raise ModelError(
            "The model does not say which token its decoder starts with. Set "
            "decoder_start_token_id in its generation_config.json."
        )
    forced = _generation_setting(model, "forced_bos_token_id")
    if forced is not None:
        return [int(start), int(forced)]
    key = "text" if getattr(tokenizer, "tgt_lang", None) is None else "text_target"
    front, _ = added_tokens(tokenizer, key)
    return [int(start), *front] if front != [start] else [int(start)]


def added_tokens(tokenizer: Any, key: str = "text") -> tuple[list[int], list[int]]:
    """Ids that a tokenizer puts before and behind a text. key: "text", or "text_target".

    Raises ModelError if it writes the text itself in another way then.
    """
    plain, whole = (
        list(tokenizer(**{key: "a"}, add_special_tokens=special, verbose=False)["input_ids"])
        for special in (False, True)
    )
    for at in range(len(whole) - len(plain) + 1):
        if whole[at : at + len(plain)] == plain:
            return whole[:at], whole[at + len(plain) :]
    raise ModelError("The tokenizer splits text differently with special tokens.")


def _generation_setting(model: Any, name: str) -> Any:
    for config in (getattr(model, "generation_config", None), model.config):
        if (value := getattr(config, name, None)) is not None:
            return value
    return None
