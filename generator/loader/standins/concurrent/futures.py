"""For Pythons without ``concurrent.futures``: work is done at once, by whoever asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Future(Generic[T]):
    """Something that is done."""

    def __init__(self, value: T | None, error: BaseException | None) -> None:
        self._value, self._error = value, error

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]

    def cancel(self) -> bool:
        """It is too late for that."""
        return False


E = TypeVar("E", bound="Executor")


class Executor:
    """One thread: that of the caller."""

    def __enter__(self: E) -> E:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, function: Callable[..., T], *args: object) -> Future[T]:
        try:
            return Future(function(*args), None)
        except Exception as error:
            return Future(None, error)


class ThreadPoolExecutor(Executor):
    """No more threads than that, whatever was asked for."""

    def __init__(self, max_workers: int | None = None) -> None:
        pass
