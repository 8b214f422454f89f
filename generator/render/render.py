"""``Plan`` -> tree, through Jinja: one Dockerfile per image of our own, ``out/docker-bake.hcl``, and
``out/compose.yaml`` if the line has a party.

Pure: the same plan and the same templates give the same text. ``StrictUndefined`` turns a misspelt name in a template
into an error with the template's file and line. Templates may be a stranger's (CI checks what a pull request renders):
they run in Jinja's sandbox, with bounds on time and memory. Jinja is slow to import: so is this module.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from generator import __version__
from generator.errors import FategenError, InputError, Problem, did_you_mean
from generator.plan.plan import Plan, Target
from generator.project import template_name
from generator.render import hcl
from generator.render.dockerfile import names_in
from generator.render.tree import BAKE_FILE, COMPOSE_FILE, HEADER, is_generated

SECONDS = 20
"""of the processor that one file may take; the largest packaged one takes 0.03"""
MEMORY_KB = 1 << 20
TICK = 0.2
LONGEST_REPEAT = 1 << 20
"""Characters, or items, that ``*`` may make at once."""
PACKAGED = "packaged/"
"""What a template writes before the name of a packaged one, to extend that of its own name."""


def render(plan: Plan, templates: Sequence[Path], read: dict[str, Path] | None = None) -> dict[str, str]:
    """The tree of a plan: path relative to the project -> text. ``templates`` are searched in order, file by file.

    ``read`` gets the file of every template that was used, by its name.
    """
    environment = _environment(templates)
    header = f"{HEADER}{plan.line}.yaml: edit those or templates/, then run: fategen render"
    keys = {own.name: plan.settings.other(own.name) for own in plan.family.keys}
    unset = {own.context: own.name for own in plan.family.keys if own.type == "file" and not keys[own.name]}
    common = {"plan": plan, "settings": plan.settings, "keys": keys, "header": header}
    tree = {}
    for target in plan.targets:
        if target.dockerfile and not target.inherits:
            bases = {base.name: base.reference for base in target.bases}
            values = {**common, "image": target, "params": dict(target.params), "bases": bases}
            template = f"dockerfiles/{target.template}"
            text = _fill(environment, template, values, f"{target.name} in the catalogue")
            _check_names(text, target, Path(environment.get_template(template).filename or template), unset)
            tree[target.dockerfile] = text
    tree[BAKE_FILE] = _fill(environment, "docker-bake.hcl.j2", common)
    if plan.party is not None:
        tree[COMPOSE_FILE] = _fill(environment, plan.party.template, common, f"party: in catalogue/{plan.line}.yaml")
    if read is not None and environment.cache is not None:
        read.update({name: Path(template.filename or "") for (_, name), template in environment.cache.items()})
    return tree


def _check_names(dockerfile: str, target: Target, file: Path, unset: Mapping[str, str]) -> None:
    """Every bare name in ``FROM`` and ``--from=`` must be known: BuildKit looks for any other on Docker Hub.

    A stage's name must be its own: of two, BuildKit takes the last, and a named context replaces a stage. The stage of
    a source is there to be replaced. ``unset``: names of files that ``.env`` does not name -> their keys.
    """
    template = template_name(file)
    sources = {source.name for source in target.sources}
    contexts = {context.name for context in target.contexts} - sources
    names, stages, numbers = {"scratch", *contexts, *sources}, set[str](), set[str]()
    for name, stage in names_in(dockerfile):
        if name.lower() not in names | stages | numbers and not re.search(r"[/:@$]", name):
            known = sorted(names | stages)
            wrong = f"{name}: {target.name} has no parent, base, source or stage with this name; it has "
            wrong += ", ".join(known) + did_you_mean(name, known)
            lines = file.read_text(encoding="utf-8").splitlines()
            said = [n for n, line in enumerate(lines, 1) if re.search(rf"(?i)from[= ]{re.escape(name)}(?![\w-])", line)]
            place = f"{template}:{said[0]}" if len(said) == 1 else template
            hint = "declare it in from:, needs:, sources: or files: in the catalogue"
            if key := unset.get(name):
                wrong = f"{name}: .env does not set {key}, so there is no such file"
                hint = f"set it, or wrap the lines that need it in {{% if keys.{key} %}} … {{% endif %}}"
            raise InputError(Problem(place, wrong), hint=hint)
        if stage is None:
            continue
        numbers.add(str(len(numbers)))
        if stage in stages:
            raise InputError(Problem(template, f"AS {stage}: two stages of {target.name} have this name"))
        if stage in contexts:
            wrong = f"AS {stage}: {target.name} has a parent of this name, which would replace the stage"
            raise InputError(Problem(template, wrong), hint="rename the stage")
        stages |= {stage} - {""}
    if target.stage and target.stage.lower() not in stages:
        wrong = f"{target.name}: stage: {target.stage} is not a stage of its Dockerfile"
        raise InputError(Problem(template, f"{wrong}; it has {', '.join(sorted(stages)) or 'none with a name'}"))


class _Sandbox(ImmutableSandboxedEnvironment):
    """What one operation could take without end is refused; the rest is bounded by ``_bounded``."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**":
            raise RuntimeError("** is not available in templates")
        for one, other in ((left, right), (right, left)):
            if isinstance(one, Sized) and isinstance(other, int) and len(one) * other > LONGEST_REPEAT:
                raise RuntimeError(f"* makes {len(one) * other} characters or items")
        return super().call_binop(context, operator, left, right)


class _Loader(jinja2.FileSystemLoader):
    """Reads no file of the machine through a link: ``--diff`` would show it.

    What is wrong with a template's blocks is told here, once for all images that share it.
    """

    def __init__(self, templates: Sequence[Path]) -> None:
        super().__init__([str(directory) for directory in templates])
        self.packaged = jinja2.FileSystemLoader(str(templates[-1]))
        self.inside = [directory.resolve() for directory in templates]

    def get_source(self, environment: jinja2.Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        text, file, fresh = self._read(environment, template)
        if "extends" in text:
            self._check_blocks(environment, template, text)
        return text, file, fresh

    def _read(self, environment: jinja2.Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        if template.startswith(PACKAGED):
            return self.packaged.get_source(environment, template.removeprefix(PACKAGED))
        text, file, fresh = super().get_source(environment, template)
        if not any(Path(file).resolve().is_relative_to(directory) for directory in self.inside):
            raise InputError(Problem(f"templates/{template}", "is a link that leads out of templates/"))
        return text, file, fresh

    def _check_blocks(self, environment: jinja2.Environment, name: str, text: str) -> None:
        """A block that no extended template has would be dropped without a word."""
        above, known = [name], set[str]()
        try:
            tree = environment.parse(text)
            own = [node for node in tree.body if isinstance(node, nodes.Block)]
            while (extends := tree.find(nodes.Extends)) and isinstance(extends.template, nodes.Const):
                above.append(extends.template.value)
                if above[-1] in above[:-1]:
                    return
                tree = environment.parse(self._read(environment, above[-1])[0])
                known |= {block.name for block in tree.find_all(nodes.Block)}
        except jinja2.TemplateError:
            return  # rendering it says what is wrong
        for block in own if above[1:] else []:
            if block.name not in known:
                wrong = f"{above[1]} has no block {block.name}{did_you_mean(block.name, known)}"
                raise InputError(Problem(f"templates/{name}:{block.lineno}", wrong))


class _Cache(jinja2.FileSystemBytecodeCache):
    """Compiled templates: compiling them is a third of a run's time."""

    def load_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        try:
            super().load_bytecode(bucket)
        except Exception:  # damaged, in whatever way pickle and marshal put it
            bucket.reset()

    def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        # what cannot be kept is compiled again
        with contextlib.suppress(OSError):
            Path(self.directory).mkdir(mode=0o700, parents=True, exist_ok=True)
            super().dump_bytecode(bucket)


def _environment(templates: Sequence[Path]) -> jinja2.Environment:
    home = os.environ.get("HOME")
    directory = os.environ.get("XDG_CACHE_HOME") or (f"{home}/.cache" if home else "")
    # Jinja's own key is a template's text; the compiler and our filters change what it becomes
    compiler = Path(jinja2.__file__).with_name("compiler.py").stat().st_mtime_ns
    cache = f"{directory}/fategen/templates-{__version__}-sandbox-{compiler:x}"
    environment = _Sandbox(
        loader=_Loader(templates),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # none for a user without a home
        bytecode_cache=_Cache(cache) if directory else None,
    )
    environment.filters |= hcl.FILTERS
    return environment


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """Raises RuntimeError in the block once it has taken SECONDS of the processor, or MEMORY_KB more than before.

    A signal is the only way into a loop of a template. Only the main thread gets it; elsewhere there is no bound.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, ticks = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0

    def look(*_: object) -> None:
        nonlocal ticks
        ticks += 1
        if ticks * TICK > SECONDS:
            raise RuntimeError(f"it takes more than {SECONDS} s: is there an endless loop?")
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > MEMORY_KB:
            raise RuntimeError("it takes more than 1 GB of memory")

    old = signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, TICK, TICK)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, old)


def _fill(environment: jinja2.Environment, name: str, values: dict[str, object], wanted_by: str = "") -> str:
    try:
        with _bounded():
            text = environment.get_template(name).render(values).rstrip("\n") + "\n"
        text.encode()  # as it will be written
    except jinja2.TemplateNotFound as error:
        by = f", used by {wanted_by}" if wanted_by else ""
        wanted = f"templates/{error.name}"
        if error.name == name:
            problem = Problem(wanted, f"does not exist{by}")
        else:
            problem = Problem(_template_line(error, name)[0], f"{wanted} does not exist")
        raise InputError(problem, hint="write it, or correct its name") from error
    except jinja2.TemplateSyntaxError as error:
        place = f"{template_name(Path(error.filename or f'/templates/{error.name}'))}:{error.lineno}"
        what = f"not a template: {error.message}"
        if missing := re.fullmatch(r"No (filter|test) named '(.*)'\.", str(error.message)):
            known = [*(environment.filters if missing[1] == "filter" else environment.tests)]
            what = what.rstrip(".") + did_you_mean(missing[2], known)
        raise InputError(Problem(place, what)) from error
    except FategenError:
        raise
    except Exception as error:  # whatever a template does
        place, inside = _template_line(error, name)
        limits = {
            RecursionError: "it includes or calls itself without end",
            MemoryError: "it takes too much memory",
            UnicodeEncodeError: "it renders half of a UTF-16 pair, which is not text",
        }
        # of an object of ours a template's author knows the name of its class alone
        what = limits.get(type(error)) or re.sub(r"'(?:generator|jinja2)\.\S*?(\w+) object'", r"\1", str(error))
        if missing := re.fullmatch(r"'dict object' has no attribute '(.*)'", what):
            mappings = [(name, values.get(name)) for name in ("params", "bases", "keys")]
            owner = {key: name for name, mapping in mappings if isinstance(mapping, dict) for key in mapping}
            what = f"params, bases and keys have no {missing[1]}{did_you_mean(missing[1], owner)}"
            if dashed := next((name for name in owner if name.startswith(f"{missing[1]}-")), ""):
                what += f'; write {owner[dashed]}["{dashed}"]: to Jinja a hyphen is a minus'
        elif missing := re.fullmatch(r"'(\w+)' is undefined", what):
            what += did_you_mean(missing[1], values)
        elif missing := re.fullmatch(r"(\w+) has no attribute '(.*)'", what):
            of_class = [value for value in values.values() if type(value).__name__ == missing[1]]
            what += did_you_mean(missing[2], [known for value in of_class for known in dir(value) if known[0] != "_"])
        by = f" (rendering {wanted_by})" if wanted_by else ""
        raise InputError(Problem(place, f"{what}{inside}{by}")) from error
    if not is_generated(text):
        wrong = "renders no header, which marks generated files; begin it with: # {{ header }}"
        raise InputError(Problem(f"templates/{name}:1", wrong))
    return text


def _template_line(error: BaseException, name: str) -> tuple[str, str]:
    """The place of an error, and what it was in.

    Jinja rewrites a traceback so that its frames name template files and lines: the innermost one is the place. What is
    wrong in a packaged macro is what the project's own template gave it.
    """
    places, frame = [f"templates/{name}"], error.__traceback__
    while frame is not None:
        file = frame.tb_frame.f_code.co_filename
        if file.endswith(".j2"):
            places.append(f"{template_name(Path(file))}:{frame.tb_lineno}")
        frame = frame.tb_next
    inner = places[-1]
    own = next((place for place in reversed(places[1:]) if not place.startswith("packaged ")), inner)
    return own, "" if own == inner else f" (in {inner})"
