"""Keeps the whole log of a run: one file for each image below ``.fategen/logs``, one for what belongs to none."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TextIO

from generator.bake.events import Change, Step, StepName
from generator.bake.job import Job


def step_label(name: StepName) -> str:
    """``linux/arm64 storage 3/5``, as far as the step has them."""
    return " ".join(part for part in (name.platform, name.stage) if part)


class Logs:
    """Appends changes to the logs as they come, under the phase's title; ``clear_logs`` comes before the first one."""

    def __init__(self, directory: Path, job: Job, title: str) -> None:
        self._directory = directory
        self._job = job
        self._title = title
        self._files: dict[str, TextIO] = {}

    def shown(self, target: str) -> str:
        """The path of a target's log as messages name it, from the project's root."""
        return str(self._path(target).relative_to(self._directory.parent.parent))

    def _path(self, target: str) -> Path:
        return self._directory / f"{self._job.shown(target) or 'bake'}.log"

    def change(self, change: Change) -> None:
        if change.step is None:
            self._write("", change.text)
        elif change.kind not in ("planned", "progress"):
            self._write(change.step.name.target, _log_line(change, change.step))

    def _write(self, target: str, line: str) -> None:
        path = self._path(target)
        file = self._files.get(path.name)
        if file is None:
            file = self._files[path.name] = path.open("a", encoding="utf-8")
            file.write(f"== {self._title}\n")
        file.write(line + "\n")

    def __enter__(self) -> Logs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()


def clear_logs(directory: Path, job: Job) -> None:
    """Removes what earlier runs wrote about the images of this one; its phases then append."""
    for name in {"bake", *(job.shown(target.name) for target in job.involved)}:
        (directory / f"{name}.log").unlink(missing_ok=True)


def _log_line(change: Change, step: Step) -> str:
    label = f"[{step_label(step.name)}] " if step_label(step.name) else ""
    if change.kind == "log":
        return f"{label}| {change.text}"
    if change.kind == "finished":
        return f"{label}{step.name.text}  {'cached' if step.cached else f'{step.seconds:.1f} s'}"
    return f"{label}{step.name.text}  {change.kind}{f': {change.text}' if change.text else ''}"
