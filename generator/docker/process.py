"""The one place that starts processes: argument lists, streamed output, signals passed on, secrets redacted.

Every child gets a process group of its own: a Ctrl-C reaches this program alone and is passed on once, and ``docker``
is stopped together with the plugin that it starts (``docker-buildx``).

Standard library alone, for Python 3.8 too: the offline loader is made of it.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Literal

from generator.docker.hints import GET_DOCKER, explain
from generator.errors import EngineError
from generator.stdio import signals_as_exceptions
from generator.text import printable

GRACE = 10.0
"""Seconds that a child has to end after SIGINT, and again after SIGTERM, before it is killed."""

_URL_LOGIN = re.compile(r"://(?!git@)[^/\s\"']*@(?!sha256:)")
"""A token may stand in the place of the user's name; ssh's ``git`` and ``docker-image://x@sha256:…`` are no logins."""


@dataclass(frozen=True)
class Completed:
    """What a process left: its arguments (the program first), its exit code, its output as UTF-8 text."""

    args: tuple[str, ...]
    code: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.code == 0

    @property
    def last_line(self) -> str:
        """The last line of stderr, else of stdout, without its ``ERROR:`` in front: it may quote a stranger."""
        for text in (self.stderr, self.stdout):
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            if lines:
                return printable(re.sub(r"^(?:ERROR|error|Error)(?: response from daemon)?: ", "", lines[-1]))
        return f"exit code {self.code}, no message"


@dataclass(frozen=True)
class Docker:
    """The docker command, or another program, run in ``cwd`` if that is set. No message shows one of ``secrets``."""

    binary: str
    secrets: tuple[str, ...] = ()
    cwd: str = ""

    def with_secrets(self, *values: str) -> Docker:
        """The same command, which also keeps ``values`` out of messages."""
        return replace(self, secrets=(*self.secrets, *(value for value in values if value)))

    def at(self, directory: Path) -> Docker:
        """The same command, run in ``directory``."""
        return replace(self, cwd=str(directory))

    def redact(self, text: str) -> str:
        """``text`` without any registered secret and without the login of any URL."""
        for value in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(value, "***")
        return _URL_LOGIN.sub("://***@", text)

    def run(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        input: bytes | None = None,
        timeout: float | None = None,
    ) -> Completed:
        """Run ``docker ARGS`` to its end and keep its output. EngineError when ``timeout`` (seconds) is over.

        The output is as the engine gave it (it may be data): ``redact`` it before it is shown.
        """
        with self.start(args, env=env, feed=input is not None) as child:
            if input is not None:
                # a child that ends without reading all of it says why on stderr; its exit code decides
                with contextlib.suppress(BrokenPipeError):
                    child.pipe.write(input)
            return child.finish(timeout)

    def check(self, args: Sequence[str], *, env: Mapping[str, str] | None = None, hint: str = "") -> Completed:
        """Like ``run``; EngineError with the engine's own last line and the next step when it fails."""
        done = self.run(args, env=env)
        if not done.ok:
            raise self.failure(done, hint=hint)
        return done

    def failure(self, done: Completed, *, hint: str = "") -> EngineError:
        """The error for a command that failed; a known reason has its own message and next step."""
        known = explain(done.stderr or done.stdout)
        if known is not None:
            return EngineError(self.redact(known.message), hint=known.hint)
        message = f"{self.describe(done.args)} failed: {self.redact(done.last_line)}"
        return EngineError(message, hint=hint or "fategen doctor")

    def ask(self, args: Sequence[str]) -> bool:
        """Run ``docker ARGS`` at the terminal, since it may ask for a passphrase; returns whether it succeeded."""
        command = [self.binary, *args]
        try:
            return subprocess.run(command, cwd=self.cwd or None, stdout=sys.stderr.fileno()).returncode == 0
        except OSError as error:
            raise EngineError(f"{self.binary} cannot be started: {error.strerror}", hint="fategen doctor") from error

    def describe(self, args: Sequence[str]) -> str:
        """The command in a message: the words before its flags."""
        words = " ".join((Path(self.binary).name, *args[1:4]))
        return self.redact(words.partition(" -")[0])

    @contextlib.contextmanager
    def start(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        feed: bool = False,
        output: Literal["keep", "lines", "bytes"] = "keep",
    ) -> Iterator[Child]:
        """Start ``docker ARGS`` for the block, which may run others beside it; its end stops the process.

        ``feed``: what is written to ``pipe`` is its standard input; a child that ends early makes the write fail, which
        becomes an EngineError with the engine's own last line. ``output``: what is kept is in ``finish()``; of
        ``lines``, ``lines()`` gives stdout and stderr while it runs; of ``bytes``, ``output`` is its stdout.
        """
        # The handlers, for who calls this as a library, come first: a SIGTERM before them would leave the child behind.
        # Output that nobody reads line by line goes to files: no thread is needed, and no full pipe can block.
        with signals_as_exceptions(), tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            command = (self.binary, *args)
            try:
                process = subprocess.Popen(
                    command,
                    env=None if env is None else dict(env),
                    cwd=self.cwd or None,
                    stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
                    stdout=out if output == "keep" else subprocess.PIPE,
                    stderr=subprocess.STDOUT if output == "lines" else err,
                    start_new_session=True,
                )
            except OSError as error:
                raise EngineError(
                    f"{self.binary} cannot be started: {error.strerror}", hint="fategen doctor"
                ) from error
            child = Child(self, command, process, out, err)
            try:
                yield child
            except BrokenPipeError as error:
                # it may also be that of the terminal that this program writes to
                if feed and child.wait(GRACE):
                    raise self.failure(child.finish()) from error
                raise
            finally:
                child.close()


@dataclass
class Child:
    """A running process in a group of its own, which ``Docker.start`` makes and ends."""

    docker: Docker
    args: tuple[str, ...]
    process: subprocess.Popen[bytes]
    kept: IO[bytes]
    errors: IO[bytes]

    @property
    def pipe(self) -> IO[bytes]:
        """The standard input of a child that is fed."""
        assert self.process.stdin is not None
        return self.process.stdin

    @property
    def output(self) -> IO[bytes]:
        """The standard output of a child whose bytes are read."""
        assert self.process.stdout is not None
        return self.process.stdout

    def lines(self, tick: float | None = None) -> Iterator[str]:
        """The output of a child whose lines are read; an empty line for every quiet ``tick`` (seconds)."""
        assert self.process.stdout is not None
        rest = b""
        while True:
            if not select.select([self.process.stdout], [], [], tick)[0]:
                yield ""
                continue
            chunk = os.read(self.process.stdout.fileno(), 1 << 16)
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines if chunk else [rest] if rest else []:
                yield line.decode("utf-8", "replace").rstrip("\r")
            if not chunk:
                return

    def finish(self, timeout: float | None = None) -> Completed:
        """Close its input, wait for its end and return what it left. EngineError when ``timeout`` seconds are over."""
        self._close_input()
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            self.abort()
            message = f"{self.docker.describe(self.args)} did not answer within {timeout:g} s"
            raise EngineError(message, hint="check whether the engine is busy or stuck") from error
        return Completed(self.args, code, _text(self.kept), _text(self.errors))

    def close(self) -> None:
        """End it in any case: with SIGINT, then SIGTERM to its group, ``GRACE`` seconds after each, then SIGKILL."""
        try:
            # at once if it reads a stream: it must not take a cut one for a whole one
            for number in (signal.SIGINT, signal.SIGTERM) if self.process.stdin is None else ():
                if self.process.poll() is None:
                    self._kill(number)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        # what it still prints is dropped: a full pipe must not keep it
                        self.process.communicate(timeout=GRACE)
        finally:
            self.abort()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def abort(self) -> None:
        """Kill it at once. Its input is closed only afterwards: it never takes a cut stream for a whole one."""
        self._kill(signal.SIGKILL)
        self.process.wait()
        self._close_input()

    def _kill(self, number: signal.Signals) -> None:
        # a reaped child is not signalled: its number may be someone else's by now
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def wait(self, seconds: float) -> bool:
        """Whether it ended within that time."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.poll() is not None

    def _close_input(self) -> None:
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def find_program(name: str, hint: str = "") -> Docker:
    """An engine's command on ``PATH`` (docker, podman, ctr). Raises EngineError if there is none."""
    binary = shutil.which(name)
    if binary is None:
        raise EngineError(f"{name} is not installed (no {name} command on PATH)", hint=hint or f"install {name}")
    return Docker(binary)


def find_docker() -> Docker:
    """The docker command on ``PATH``. Raises EngineError if there is none."""
    return find_program("docker", GET_DOCKER)
