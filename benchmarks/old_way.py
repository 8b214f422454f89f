"""The way of FATE's own build script, in our words: package, then base, then each module with docker build, in order.

It gets what fategen gets: warm download caches (Maven's repository in a volume, apt's and pip's in cache mounts), the
same base images and packages, the sample's sources.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import jinja2

from generator.workspace import Workspace

MODULES = ("federation", "proxy", "roll", "meta-service", "fateboard", "egg", "python")
JAVA = {
    "federation": ("arch/driver/federation", "fate-federation"),
    "proxy": ("arch/networking/proxy", "fate-proxy"),
    "roll": ("eggroll/framework/roll", "eggroll-roll"),
    "meta-service": ("eggroll/framework/meta-service", "eggroll-meta-service"),
}
VOLUME = "fategen-bench-m2"

BASE = """\
{{ m.apt_stage() }}
FROM {{ python }}
{{ m.apt_install(packages, cache) }}
COPY requirements.txt /data/projects/python/
RUN --mount=type=cache,id=fategen-pip,target=/root/.cache/pip --mount=type=secret,id=ca,target=/run/secrets/ca \
    python3 -m venv /data/projects/python/venv && \
    PIP_CERT=/run/secrets/ca /data/projects/python/venv/bin/pip install -q -r /data/projects/python/requirements.txt
"""
MODULE = """\
FROM {{ jre }}
WORKDIR /data/projects/fate/{{ name }}/
COPY {{ name }}.tar.gz ./
COPY conf ./conf
RUN tar -xzf {{ name }}.tar.gz && rm {{ name }}.tar.gz && ln -s {{ jar }}-*.jar {{ name }}.jar
CMD java -cp "conf/:lib/*:{{ name }}.jar" Main
"""
FATEBOARD = """\
FROM {{ jre }}
WORKDIR /data/projects/fate/fateboard/
COPY fateboard-1.3.0.jar ./
COPY conf ./conf
RUN ln -s fateboard-*.jar fateboard.jar
CMD java -jar fateboard.jar
"""
EGG = """\
{{ m.apt_stage() }}
FROM old-way/base-image:1
COPY --from={{ jre }} /opt/java/openjdk /opt/java/openjdk
{{ m.apt_install(packages, cache) }}
WORKDIR /data/projects/fate/eggroll/
COPY computing.tar.gz api.tar.gz conf.tar.gz egg.tar.gz storage.tar.gz ./
COPY lmdb-safe ./lmdb-safe
COPY federatedml ./python/federatedml
COPY federatedrec ./python/federatedrec
COPY arch ./python/arch
COPY fate_flow ./python/fate_flow
COPY conf ./egg/conf
RUN set -eu; mkdir -p egg python/eggroll/api python/eggroll/computing python/eggroll/conf storage-service-cxx; \\
    tar -C egg -xf egg.tar.gz; tar -C python/eggroll/computing -xf computing.tar.gz; \\
    tar -C python/eggroll/api -xf api.tar.gz; tar -C python/eggroll/conf -xf conf.tar.gz; \\
    tar -C storage-service-cxx -xf storage.tar.gz; rm ./*.tar.gz; \\
    cp lmdb-safe/* storage-service-cxx/third_party/lmdb-safe/; \\
    cd storage-service-cxx; LDFLAGS=-Wl,--copy-dt-needed-entries make CXXFLAGS="-O2 -std=c++17"
"""
PYTHON = """\
FROM old-way/base-image:1
WORKDIR /data/projects/fate/python
COPY fate_flow ./fate_flow
COPY arch ./arch
COPY federatedml ./federatedml
COPY federatedrec ./federatedrec
COPY examples/ ./examples
COPY api.tar.gz ./
RUN mkdir -p eggroll/api && tar -C eggroll/api -xf api.tar.gz && rm api.tar.gz
"""


class OldWay:
    """Works in a copy of the sources; ``ca`` is a file of certificates or ""."""

    def __init__(self, sample: Path, work: Path, workspace: Workspace, ca: str) -> None:
        self._work = work
        self._ca = ca
        self._targets = {t.name: t for t in workspace.plan.targets}
        self._bases = {b.name: b.reference for t in workspace.plan.targets for b in t.bases}
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader([str(p) for p in workspace.project.search_path("templates")]),
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.source = work / "fate"
        shutil.copytree(sample / "fate", self.source)
        shutil.copytree(sample / "eggroll", self.source / "eggroll")
        shutil.copytree(sample / "fateboard", self.source / "fateboard")
        self._lmdb_safe = sample / "lmdb-safe"

    def warm(self) -> None:
        """Fills Maven's repository, with the CA where there is one; not part of any time."""
        image = self._docker("build", "-q", "--target", "maven", "dockerfiles/packages", cwd=self._work.parent).strip()
        secret = ["-v", f"{self._ca}:/run/secrets/ca:ro"] if self._ca else []
        for directory in ("eggroll", "fateboard", "arch"):
            self._run_in(image, directory, "fategen-mvn -q clean package", secret)

    def everything(self) -> None:
        self.package()
        self.base()
        self.modules()

    def package(self) -> None:
        for directory in ("eggroll", "fateboard", "arch"):
            self._run_in(self._bases["maven"], directory, "mvn -q -o -B clean package -DskipTests", [])

    def base(self) -> None:
        params = dict(self._targets["base-image"].params)
        packages = [*params["build-packages"], *params["packages"]]
        context = self._context("base")
        shutil.copy(self.source / "requirements.txt", context)
        self._build(
            "base-image", context, BASE, packages=packages, cache_id="old-way", python=self._bases["python-base"]
        )

    def modules(self) -> None:
        """Stages each module's files, then builds it, one after the other."""
        for name in MODULES:
            context = self._context(name)
            if name in JAVA:
                self._java(name, context)
            elif name == "fateboard":
                shutil.copy(self.source / "fateboard/target/fateboard-1.3.0.jar", context)
                self._conf(context, "fateboard")
                self._build(name, context, FATEBOARD, jre=self._bases["jre"])
            else:
                self._python_trees(name, context)

    def _java(self, name: str, context: Path) -> None:
        module, jar = JAVA[name]
        target = self.source / module / "target"
        jars = [p.name for p in target.glob(f"{jar}-*.jar")]
        subprocess.run(["tar", "-C", target, "-czf", context / f"{name}.tar.gz", *jars, "lib"], check=True)
        self._conf(context, module)
        self._build(name, context, MODULE, jre=self._bases["jre"], name_=name, jar=jar)

    def _python_trees(self, name: str, context: Path) -> None:
        for tree in ("fate_flow", "arch", "federatedml", "federatedrec", "examples"):
            shutil.copytree(self.source / tree, context / tree)
        self._tar(context / "api.tar.gz", "eggroll/api")
        if name == "python":
            self._build(name, context, PYTHON)
            return
        self._tar(context / "computing.tar.gz", "eggroll/computing")
        self._tar(context / "conf.tar.gz", "eggroll/conf")
        self._tar(context / "egg.tar.gz", "eggroll/framework/egg/target")
        self._tar(context / "storage.tar.gz", "eggroll/storage/storage-service-cxx")
        shutil.copytree(self._lmdb_safe, context / "lmdb-safe")
        self._conf(context, "eggroll/framework/egg")
        packages = dict(self._targets["egg"].params)["build-packages"]
        self._build(name, context, EGG, packages=packages, cache_id="old-way-egg", jre=self._bases["jre"])

    def _conf(self, context: Path, module: str) -> None:
        (context / "conf").mkdir()
        for file in (self.source / module / "src/main/resources").glob("*.*"):
            if file.is_file():
                shutil.copy(file, context / "conf")

    def _tar(self, file: Path, directory: str) -> None:
        """Members in a fixed order and without times, so that docker's layer cache gets its chance."""
        fixed = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0"]
        subprocess.run(["tar", "-C", self.source / directory, *fixed, "-I", "gzip -n", "-cf", file, "."], check=True)

    def _context(self, name: str) -> Path:
        context = self._work / "contexts" / name
        shutil.rmtree(context, ignore_errors=True)
        context.mkdir(parents=True)
        return context

    def _build(self, image: str, context: Path, template: str, **values: object) -> None:
        text = self._environment.from_string('{% import "macros.j2" as m %}' + template).render(
            {"name": values.pop("name_", image), "cache": values.pop("cache_id", ""), **values}
        )
        (context / "Dockerfile").write_text(text, encoding="utf-8")
        options = ["--secret", f"id=ca,src={self._ca}"] if self._ca else []
        self._docker("build", "-q", *options, "-t", f"old-way/{image}:1", str(context))

    def _run_in(self, image: str, directory: str, command: str, options: list[str]) -> None:
        mounts = ["-v", f"{self.source}:/data/projects/fate", "-v", f"{VOLUME}:/root/.m2"]
        where = f"cd /data/projects/fate/{directory} && {command}"
        self._docker("run", "--rm", "-e", "LC_ALL=C.UTF-8", *mounts, *options, image, "sh", "-c", where)

    def _docker(self, *args: str, cwd: Path | None = None) -> str:
        done = subprocess.run(["docker", *args], cwd=cwd, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"docker {' '.join(args)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout
