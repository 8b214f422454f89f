"""The README and every page of docs/ are run as they stand, on a real engine with the sample's sources.

What stands for what is all here, and nothing else of a page is changed: NAMES of registries, mirrors and files that the
pages use, and SETTINGS that a machine on the internet would not need, put into every new ``.env`` for those keys that
the page itself does not set; the project is then rendered, as ``fategen init`` had left it.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bundle.layouts import image
from tests.e2e.checkouts import served_sources
from tests.e2e.conftest import bridge_address, docker
from tests.e2e.console import Session, outside, steps
from tests.e2e.mirror import FORWARD, Mirror, packages
from tests.sample_project import SAMPLE_1_11

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# test_harbor runs its page: it needs more than a name in another's place
PAGES = [p for p in PAGES if "```console" in p.read_text(encoding="utf-8") and p.name != "harbor.md"]

LONG = (
    "air-gapped.md", "first-release.md", "kubefate.md", "lines.md", "party.md", "proxy.md", "publish.md", "verify.md",
    "your-own-family.md",
)  # fmt: skip
"""Pages that do for minutes what the README or other tests do."""

Values = dict[str, str]
Provider = Callable[[Path], contextlib.AbstractContextManager[tuple[Values, Values]]]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Values]]:
    """(checkouts of FATE's repositories, the settings that name them at a server)"""
    directory = tmp_path_factory.mktemp("git")
    with served_sources(directory) as settings:
        yield directory, settings


@contextlib.contextmanager
def mirrors_and_proxy(home: Path) -> Iterator[tuple[Values, Values]]:
    """What docs/proxy.md needs: a proxy, mirrors of Debian, a package index and a Maven repository, a CA."""
    address = bridge_address()
    (home / "company.pem").write_bytes(Path(os.environ["FATEGEN_SANDBOX_CA"]).read_bytes())
    with (
        Mirror(address=address, upstreams=FORWARD) as proxy,
        Mirror(address=address, upstreams=packages()) as mirror,
    ):
        names = {
            "http://proxy.example.com:3128": f"http://{proxy.host}",
            "http://mirror.example.com/debian": f"http://{mirror.host}/debian",
            "https://pypi.example.com/simple": f"http://{mirror.host}/simple",
            "pypi.example.com": address,
            "https://maven.example.com/repository/public": f"http://{mirror.host}/maven2",
            "/etc/ssl/certs/company.pem": str(home / "company.pem"),
        }
        yield names, {}
        assert proxy.asked, "nothing went through the proxy"
        # Maven's is asked where its results are not cached: tests/e2e/test_offline.py has it cold
        for start in ("/debian/", "/simple/"):
            assert any(path.startswith(start) for _, path, _ in mirror.asked), (
                f"nothing was asked of the mirror's {start}"
            )


@contextlib.contextmanager
def no_party_left(home: Path) -> Iterator[tuple[Values, Values]]:
    """What docs/party.md starts is gone afterwards, also where the page fails."""
    try:
        yield {}, {}
    finally:
        docker("compose", "--project-name", "fate", "down", "--volumes", "--remove-orphans")


@contextlib.contextmanager
def sources_of_1_11(home: Path) -> Iterator[tuple[Values, Values]]:
    """docs/lines.md builds the other sample, from where it lies."""
    names = [path.name for path in SAMPLE_1_11.iterdir() if path.is_dir()]
    yield {}, {f"{name.upper()}_SOURCE": os.path.relpath(SAMPLE_1_11 / name, home / "my-fate") for name in names}


@contextlib.contextmanager
def layout_and_types(home: Path) -> Iterator[tuple[Values, Values]]:
    """docs/library.md's program carries an image that a layout holds, and has its types right."""
    image(home / "layouts", "egg")
    yield {}, {}
    command = [sys.executable, "-m", "mypy", "--strict", str(home / "carry.py")]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


@contextlib.contextmanager
def completed(home: Path) -> Iterator[tuple[Values, Values]]:
    """What docs/completion.md puts into ~/.bashrc completes the name of an image."""
    yield {}, {}
    (home / ".env").write_text("PREFIX=federatedai\nBASE_TAG=1\nTAG=1\n", encoding="utf-8")
    script = 'COMP_WORDS=(fategen bake ro); COMP_CWORD=2; _fategen_completion fategen; echo "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", f". ~/.bashrc; complete -p fategen; {script}"],
        cwd=home,
        env={**os.environ, "HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "complete -o nosort -F _fategen_completion fategen\nroll\n", done.stderr
    assert done.stderr == ""


PROVIDERS: dict[str, Provider] = {
    "completion.md": completed,
    "library.md": layout_and_types,
    "proxy.md": mirrors_and_proxy,
    "party.md": no_party_left,
    "lines.md": sources_of_1_11,
}
"""What a page needs besides: page -> (names, settings) for as long as it runs."""


def put(env: Path, settings: Values, commands: str) -> None:
    """Sets keys of a new ``.env``, in place of the line that has them, and has it rendered."""
    lines = env.read_text(encoding="utf-8").splitlines()
    for key, value in settings.items():
        # not the sources of another line
        if not re.search(rf"\b{key}=", commands) and re.search(rf"^#?{key}=", "\n".join(lines), re.MULTILINE):
            lines = [line for line in lines if not line.startswith(f"{key}=")] + [f"{key}={value}"]
    env.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if (ca := os.environ.get("FATEGEN_SANDBOX_CA")) and "CA_BUNDLE=" not in commands:
        (env.parent / ".env.local").write_text(f"CA_BUNDLE={ca}\n", encoding="utf-8")
    subprocess.run([sys.executable, "-m", "generator", "render"], cwd=env.parent, check=True, capture_output=True)


@pytest.fixture
def home(tmp_path: Path, sources: tuple[Path, Values]) -> Path:
    """A home directory as a reader has one: git knows who he is, and a clone of this repository is in ~/src/fategen."""
    directory = tmp_path / "home"
    (directory / "src").mkdir(parents=True)
    (directory / "src" / "fategen").symlink_to(ROOT)
    (directory / ".gitconfig").write_text(
        "[user]\n  name = A Reader\n  email = reader@example.com\n[init]\n  defaultBranch = main\n"
        f'[url "file://{sources[0]}/fate.git"]\n  insteadOf = https://github.com/FederatedAI/FATE.git\n',
        encoding="utf-8",
    )
    # as the skopeo package of a distribution installs it
    policy = directory / ".config/containers/policy.json"
    policy.parent.mkdir(parents=True)
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}', encoding="utf-8")
    return directory


@pytest.mark.parametrize(
    "page", [pytest.param(p, marks=pytest.mark.full if p.name in LONG else (), id=p.name) for p in PAGES]
)
def test_a_page_is_run_as_it_stands(page: Path, home: Path, sources: tuple[Path, Values], registry: str) -> None:
    # of its own: what another page pushed would be there already
    ours = f"docs-{os.getpid()}-{page.stem.lower()}"
    names = {
        "10.0.0.5:8443/federatedai": f"{registry}/{ours}",
        "10.0.0.5:8443/dockerhub": registry,
    }
    settings = {**sources[1], "PREFIX": f"{registry}/{ours}", "BASE_REGISTRY": registry}
    text = page.read_text(encoding="utf-8")
    run = steps(text)
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "VIRTUAL_ENV"))},
        "DOCKER_CONFIG": os.environ.get("DOCKER_CONFIG", str(Path.home() / ".docker")),
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    nothing = contextlib.nullcontext[tuple[Values, Values]](({}, {}))
    with PROVIDERS.get(page.name, lambda _: nothing)(home) as (more_names, more_settings):
        # the README is read in a clone, a page at home
        session = Session(ROOT if page.parent == ROOT else home, env, names | more_names)
        for program in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            (home / "carry.py").write_text(session.here(program), encoding="utf-8")
        known: set[Path] = set()
        try:
            for step in run:
                assert not outside(session.here(step.command)), f"{step.command}: nothing here stands for that"
            for step in run:
                session.run(step)
                for project_env in {*home.glob("*/.env")} - known:
                    put(project_env, settings | more_settings, "\n".join(s.command for s in run))
                    known.add(project_env)
        finally:
            session.close()
            tidy(f"{registry}/{ours}")


def tidy(prefix: str) -> None:
    """Removes the containers of the pages."""
    listed = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", f"--filter=reference={prefix}/*").split()
    for reference in listed:
        if containers := docker("ps", "--all", "--quiet", f"--filter=ancestor={reference}").split():
            docker("rm", "--force", "--volumes", *containers)


def test_every_page_is_named_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not [page.name for page in (ROOT / "docs").glob("*.md") if f"(docs/{page.name})" not in readme]
