"""Texts by any service that speaks the chat completions protocol of OpenAI."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, Literal

from spacy_bel.errors import MissingExtraError, SettingsError
from spacy_bel.synthesis.base import Answer, Failure, GenerationError, Request

#: A service that has no key of its own is sent this one, since the client wants one.
_NO_KEY = "none"
_LONGEST_MESSAGE = 300


class OpenAIGenerator:
    """Texts by a service, such as OpenAI's, vLLM's, llama.cpp's or Ollama's.

    model: as the service calls it. base_url: its address, up to and with ``/v1``; OpenAI's if None.
    api_key_variable: environment variable with the key, which is read when the first request is
        sent and kept nowhere else. It may be unset where `base_url` is given.
    temperature, top_p: of sampling; None leaves a value to the service. max_tokens: of an answer.
    limit_parameter: what the service calls that; newer models of OpenAI want
        "max_completion_tokens". extra: further keys of the request, such as
        ``{"chat_template_kwargs": {"enable_thinking": False}}`` for vLLM.
    timeout: seconds until an answer is given up. in_flight: requests at a time.

    A request is sent once: the client's own retries, which nobody sees or counts, are off, and
    `spacy_bel.synthesis.asking` sees to others. Raises SettingsError for numbers below 1 or times
    that are not positive; when asked, MissingExtraError without the package openai, SettingsError
    without a key, GenerationError where key, address or model are not accepted.
    """

    batch_size = 1

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        *,
        api_key_variable: str = "OPENAI_API_KEY",
        temperature: float | None = 0.6,
        top_p: float | None = 0.9,
        max_tokens: int = 512,
        limit_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens",
        extra: Mapping[str, Any] | None = None,
        timeout: float = 120.0,
        in_flight: int = 8,
    ) -> None:
        if max_tokens < 1 or in_flight < 1 or not timeout > 0:
            raise SettingsError(
                "max_tokens and the requests in flight are at least 1, the timeout more than 0."
            )
        self.name = model
        self.base_url = base_url
        self.api_key_variable = api_key_variable
        self.max_tokens = max_tokens
        self.in_flight = in_flight
        self.timeout = timeout
        sampling = {"temperature": temperature, "top_p": top_p, limit_parameter: max_tokens}
        self._parameters = {key: value for key, value in sampling.items() if value is not None}
        self._extra = dict(extra or {})
        self._client: Any = None
        self._lock = threading.Lock()

    @property
    def sampling(self) -> dict[str, Any]:
        """What the service is told besides model and messages."""
        return {**self._parameters, **({"extra": self._extra} if self._extra else {})}

    def generate(self, requests: Sequence[Request]) -> list[Answer | Failure]:
        """The answer to each request, one after the other; threads may call this at once."""
        return [self._ask(request) for request in requests]

    def _ask(self, request: Request) -> Answer | Failure:
        client = self._open()
        import openai

        try:
            response = client.chat.completions.with_raw_response.create(
                model=self.name,
                messages=[message._asdict() for message in request.messages],
                extra_body=self._extra or None,
                **self._parameters,
            )
            body = response.text
            text = body() if callable(body) else body
        except openai.APIStatusError as error:
            return self._turned_away(error)
        except openai.APIConnectionError as error:  # timeouts among them
            return self._unanswered(error)
        return read_completion(str(text))

    def _unanswered(self, error: Exception) -> Failure:
        """What became of a request without any HTTP status."""
        cause = error.__cause__ or error
        # Before there is a connection nothing can have been answered.
        if type(cause).__name__ in ("ConnectError", "ConnectTimeout", "PoolTimeout"):
            return Failure("busy", self._clean(f"no connection to {self._where()} ({cause})"))
        if "Timeout" in type(cause).__name__:
            return Failure("lost", f"no answer within {self.timeout:g} seconds")
        return Failure("lost", self._clean(f"{self._where()} closed the connection ({cause})"))

    def _turned_away(self, error: Any) -> Failure:
        """What an HTTP status says. Raises GenerationError for those that all requests will get."""
        status = int(error.status_code)
        message = self._clean(f"HTTP {status}: {error.message}")
        if status in (401, 403, 404, 405) or error.code == "insufficient_quota":
            raise GenerationError(
                f"{self._where()} does not serve {self.name!r} ({message}). Check the address, the "
                f"name of the model, and the key in {self.api_key_variable}. What was answered is "
                "kept."
            )
        if status in (408, 409, 425, 429) or status >= 500:
            wait = retry_after(error.response.headers)
            if wait is None and status == 429:
                wait = 1.0
            # A gateway that gives up waiting does not know what the model did meanwhile.
            return Failure("lost" if status in (408, 504) else "busy", message, wait)
        return Failure("refused", message)

    def _open(self) -> Any:
        with self._lock:
            if self._client is None:
                try:
                    import openai
                except ImportError as error:
                    raise MissingExtraError(
                        "Asking a service takes the package openai: "
                        'pip install "spacy-bel[synthesis]".'
                    ) from error
                key = os.environ.get(self.api_key_variable, "").strip()
                if not key and self.base_url is None:
                    raise SettingsError(
                        f"There is no key in the environment variable {self.api_key_variable}: "
                        "set it, or give the address of a service that needs none."
                    )
                self._client = openai.OpenAI(
                    api_key=key or _NO_KEY,
                    base_url=self.base_url,
                    timeout=self.timeout,
                    max_retries=0,
                )
            return self._client

    def _where(self) -> str:
        return self.base_url or "The service of OpenAI"

    def _clean(self, message: str) -> str:
        """A message in one line that holds no key."""
        key = os.environ.get(self.api_key_variable, "").strip()
        if key:
            message = message.replace(key, "…")
        return " ".join(message.split())[:_LONGEST_MESSAGE]


def read_completion(body: str) -> Answer:
    """The answer in the JSON of a service; the JSON as it is where none can be found in it.

    Whatever came has been paid for, and is kept to be looked at.
    """
    try:
        completion = json.loads(body)
        choice = completion["choices"][0]
        text = choice["message"]["content"] or ""
        usage = completion.get("usage") or {}
        finish = str(choice.get("finish_reason") or "")
        tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return Answer(body, finish="unreadable")
    if not isinstance(text, str):
        return Answer(body, finish="unreadable")
    prompt, completed = (n if type(n) is int and n >= 0 else None for n in tokens)
    return Answer(text, prompt, completed, finish)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a service asks to be left alone, from ``Retry-After`` in either of its forms."""
    milliseconds, value = headers.get("retry-after-ms"), headers.get("retry-after")
    try:
        if milliseconds:
            return max(0.0, float(milliseconds) / 1000)
        if value:
            return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value or "").timestamp() - time())
    except (ValueError, TypeError, OverflowError):
        return None
