"""Errors that a user can act on: one clear line, and the exit code that goes with it."""

from __future__ import annotations


class TrainerError(Exception):
    """Bad usage or bad input; the text is the one line a user reads."""

    exit_code = 2


class DataError(TrainerError):
    """A dataset that cannot be trained on or scored; the text names the file."""


class RunFailure(TrainerError):
    """A run that went wrong by itself: a loss that diverged, an artifact that is too large,
    a target scored twice."""

    exit_code = 1


class OutOfMemory(TrainerError):
    """Memory ran out; the text says what to make smaller."""
