"""What commands say to people: on standard error, so that results can be piped."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer
from rich.console import Console

from spacy_bel.errors import BelError

P = ParamSpec("P")
R = TypeVar("R")


def say(message: str, style: str | None = None) -> None:
    """Print one message to standard error, as it is: brackets in it are no markup."""
    Console(stderr=True).print(message, style=style, markup=False, highlight=False, soft_wrap=True)


def say_error(message: str) -> None:
    """Print one error in red."""
    say(f"Error: {' '.join(message.split())}", "bold red")


def reports_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Turn the package's own errors into one clear line and exit code 1."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except BelError as error:
            say_error(str(error))
            raise typer.Exit(1) from error

    return wrapper
