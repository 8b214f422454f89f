"""Publishes images, every tag or none: uploads everything by digest, then writes all tags in one short loop.

While tags are written a journal has what each of them pointed to before: a loop that fails puts them back. After one
that was killed, the same publication finishes it, and ``roll_back`` puts the tags back.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from generator.errors import EngineError, InputError, Problem
from generator.files import disk_errors, lock, write_atomically
from generator.images.image import Contents, sha256
from generator.images.oci import INDEX_TYPES, Descriptor, parse_index
from generator.images.strictjson import Malformed
from generator.progress import Progress, quiet, say
from generator.registry.client import RawManifest, Registry
from generator.registry.http import RegistryError
from generator.registry.session import workers
from generator.registry.transfer import OpenUploads, Upload
from generator.stdio import signals_deferred

STOPPING = "stopping as soon as the registry has answered; Ctrl-C once more stops at once"
AT_ONCE = 4
"""Blobs that are uploaded side by side."""
JOURNAL = "publish.json"
UPLOADS = "uploads.json"
AGAIN = "everything is uploaded: the same command again only writes the tags"
ROLL_BACK = "fategen rollback puts back the tags that were written"
Read = Callable[[Descriptor], Iterator[bytes]]
"""Yields a blob's bytes, the last piece only when all of them are right; else it raises an error of its own."""


@dataclass(frozen=True, eq=False)
class Publication:
    """An image to publish: the ``tags`` of the repository ``path`` are to point to ``target``, an index or a manifest.

    ``contents`` is everything below it; ``absent`` are digests of blobs that ``read`` does not have, and that some
    repository must have (a delta bundle's). ``read`` is None if the registry has all of it already.
    """

    path: str
    tags: tuple[str, ...]
    target: Descriptor
    contents: Contents
    read: Read | None = None
    absent: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Published:
    """A publication that was made: the digest behind each of its tags before ("": none), and the bytes sent for it."""

    publication: Publication
    before: Mapping[str, str]
    sent: int

    @property
    def replaced(self) -> str:
        """The digest of another image that one of its tags pointed to until now, or ""."""
        unlike = ("", self.publication.target.digest)
        return next((digest for digest in self.before.values() if digest not in unlike), "")

    @property
    def state(self) -> str:
        moved = any(digest != self.publication.target.digest for digest in self.before.values())
        return "pushed" if moved else "was there"


@dataclass(frozen=True)
class Tag:
    """A tag that a publication writes: the digest that it points to ``before`` ("": none) and after."""

    path: str
    name: str
    before: str
    digest: str

    def __str__(self) -> str:
        return f"{self.path}:{self.name}"


class Publisher:
    """Publishes to one registry; ``state`` is a directory for the journal.

    Raises RegistryError until the first tag is written, then an EngineError that says what every tag points to now.
    """

    def __init__(
        self, registry: Registry, publications: Sequence[Publication], state: Path, progress: Progress = quiet
    ) -> None:
        self._registry, self._publications, self._state, self._progress = registry, publications, state, progress
        self._before: dict[tuple[str, str], str] = {}
        """what each tag points to ("": nothing)"""
        self._repositories: dict[str, str] = {}
        """digest of a blob -> a repository that has it"""
        self._uploads = OpenUploads(state / UPLOADS)
        self._lock = threading.Lock()
        self._done = self._total = 0

    def publish(self, movable: Callable[[str], bool], if_taken: str = "") -> tuple[Published, ...]:
        """Checks the tags, uploads, writes the tags.

        ``movable`` says which tags may move to another image, ``if_taken`` what to do about one that may not.
        """
        with locked(self._state):
            earlier = self._earlier()
            self._before = self._read_tags()
            self._publications = [self._attested(publication, movable) for publication in self._publications]
            self._check_tags(movable, if_taken)
            sent = self._upload_all()
            self._uploads.forget()
            # an upload takes its time, in which another machine may have published
            if sent and (now := self._read_tags()) != self._before:
                self._before = now
                self._check_tags(movable, if_taken)
            tags = [tag for publication in self._publications for tag in self._changed(publication)]
            # put back too if this run fails
            written = [tag for tag in earlier if self._before[tag.path, tag.name] == tag.digest]
            _write(self._registry, written, tags, self._state)
        before = self._before | {(tag.path, tag.name): tag.before for tag in written}
        return tuple(
            Published(p, {tag: before[p.path, tag] for tag in p.tags}, sent.get(p, 0)) for p in self._publications
        )

    def _read_tags(self) -> dict[tuple[str, str], str]:
        tags = [(publication.path, tag) for publication in self._publications for tag in publication.tags]
        with workers(AT_ONCE) as pool:
            return dict(zip(tags, pool.map(lambda tag: self._registry.digest(*tag), tags), strict=True))

    def _attested(self, publication: Publication, movable: Callable[[str], bool]) -> Publication:
        """The publication; or, if it has tags that may not move, what they point to if only attestations differ.

        Those of a second build state its time, so that the same images would never be pushed twice.
        """
        fixed = [tag for tag in publication.tags if not movable(tag)]
        digests = {self._before[publication.path, tag] for tag in fixed}
        if len(digests) != 1 or digests & {"", publication.target.digest}:
            return publication
        try:
            existing = self._registry.manifest(publication.path, digests.pop())
            children = parse_index(existing.data, existing.media_type) if existing.media_type in INDEX_TYPES else ()
        except (Malformed, RegistryError):
            # the check of the tags says what is wrong
            return publication
        images = {child.descriptor.digest for child in children if not child.attestation}
        if images != set(publication.contents.digests.values()):
            return publication
        name = f"{self._registry.access.host}/{publication.path}:{', '.join(fixed)}"
        say(f"{name}: already points to these images, with the attestations of another build")
        return replace(publication, target=existing.descriptor, read=None)

    def _check_tags(self, movable: Callable[[str], bool], if_taken: str) -> None:
        """Raises InputError with every tag that points to another image and may not move, or would lose a platform."""
        problems = [
            problem
            for publication in self._publications
            for tag in self._changed(publication)
            if (problem := tag_problem(self._registry, tag, publication.contents.platforms, movable))
        ]
        if problems:
            raise InputError(problems, hint="; ".join(filter(None, (not_written(self._state), if_taken))))

    def _earlier(self) -> list[Tag]:
        """The tags of this publication's earlier run, if it was killed. EngineError if it was another publication."""
        host, tags = interrupted(self._state)
        wanted = {(p.path, name): p.target.digest for p in self._publications for name in p.tags}
        if tags and (host != self._registry.access.host or any(wanted.get((t.path, t.name)) != t.digest for t in tags)):
            raise EngineError(
                f"an earlier publication (of {host}/{tags[0]}) was interrupted while it wrote tags",
                hint=f"{ROLL_BACK}; or run the earlier command again, which finishes it",
            )
        return tags

    def _upload_all(self) -> dict[Publication, int]:
        """Sends what the registry lacks, by digest; the bytes that were sent for each publication."""
        readable = [publication for publication in self._publications if publication.read is not None]
        with workers(AT_ONCE) as pool:
            uploads = [p for p, missing in zip(readable, pool.map(self._missing, readable), strict=True) if missing]
        self._find_absent(uploads)
        self._total = sum({blob.digest: blob.size for p in uploads for blob in p.contents.blobs}.values())
        sent = {}
        for publication in uploads:
            try:
                sent[publication] = self._upload(publication)
            except RegistryError as error:
                raise RegistryError(error.kind, f"{publication.path}: {error.detail}", code=error.code) from error
        return sent

    def _changed(self, publication: Publication) -> list[Tag]:
        digest = publication.target.digest
        tags = (Tag(publication.path, tag, self._before[publication.path, tag], digest) for tag in publication.tags)
        return [tag for tag in tags if tag.before != digest]

    def _missing(self, publication: Publication) -> bool:
        """Whether the repository lacks the image, or a manifest below its index (a clean-up may have taken that).

        A manifest that is there has its blobs.
        """
        path, manifests = publication.path, (publication.target, *publication.contents.manifests)
        return not all(self._registry.digest(path, manifest.digest) for manifest in manifests)

    def _find_absent(self, uploads: Sequence[Publication]) -> None:
        """Finds a repository for each blob that a source lacks; else its ``read`` raises before anything is sent."""
        for publication in uploads:
            paths = dict.fromkeys((publication.path, *(other.path for other in self._publications)))
            for blob in publication.contents.blobs:
                if blob.digest not in publication.absent or blob.digest in self._repositories:
                    continue
                path = next((path for path in paths if self._registry.has_blob(path, blob.digest)), "")
                if path:
                    self._repositories[blob.digest] = path
                elif publication.read is not None:
                    next(publication.read(blob))

    def _upload(self, publication: Publication) -> int:
        """Sends blobs, then the manifests, then the index; returns the bytes of blobs that were sent."""
        assert publication.read is not None
        with workers(AT_ONCE) as pool:
            futures = [pool.submit(self._send, publication, blob) for blob in dict.fromkeys(publication.contents.blobs)]
            try:
                # in the order in which they end: the first refusal ends it all
                sent = sum(future.result() for future in as_completed(futures))
            except BaseException:
                self._registry.stop()
                raise
        for manifest in dict.fromkeys((*publication.contents.manifests, publication.target)):
            data = b"".join(publication.read(manifest))
            raw = RawManifest(sha256(data), manifest.media_type, data)
            self._registry.put_manifest(publication.path, manifest.digest, raw)
        return sent

    def _send(self, publication: Publication, blob: Descriptor) -> int:
        assert publication.read is not None
        path, read = publication.path, publication.read
        repository = self._repositories.get(blob.digest, path)
        mount = repository if repository != path else ""
        sent = Upload(self._registry, path, blob, lambda: read(blob), self._uploads).run(mount)
        with self._lock:
            if blob.digest not in self._repositories:
                self._repositories[blob.digest] = path
                self._done += blob.size
            self._progress(f"blob {blob.digest}", self._done, self._total)
        return blob.size if sent else 0


def movable_tags(patterns: Sequence[str], overwrite: bool) -> Callable[[str], bool]:
    """Which tags may move to another image: those that match one of MOVABLE_TAGS, or with --overwrite every tag."""
    return lambda tag: overwrite or any(fnmatch.fnmatchcase(tag, pattern) for pattern in patterns)


def tag_problem(
    registry: Registry, tag: Tag, platforms: Collection[str], movable: Callable[[str], bool]
) -> Problem | None:
    """Why a tag must not move to an image with these platforms; None if it may, or does not exist."""
    where = f"{registry.access.host}/{tag}"
    if not tag.before:
        return None
    try:
        existing = registry.platforms(tag.path, tag.before)
    except (Malformed, RegistryError) as error:
        if isinstance(error, RegistryError) and error.kind != "missing":
            raise
        # damaged or incomplete: a push may repair it
        existing = ()
    if lost := sorted(set(existing).difference(platforms)):
        message = (
            f"has {', '.join(lost)}, which this image does not have ({', '.join(platforms)}): publish all "
            "platforms at once (bake them in one run, or fategen join; a bundle: save it with every --platform)"
        )
        return Problem(where, message)
    if movable(tag.name):
        return None
    return Problem(where, f"already points to another image, {tag.before[:19]}…; --overwrite moves the tag")


# the tag loop and its journal


@contextlib.contextmanager
def locked(state: Path) -> Iterator[None]:
    """While the block runs, no other process publishes with a journal in ``state``, which is made if need be."""
    with contextlib.ExitStack() as closing:
        while True:
            with disk_errors(state):
                state.mkdir(parents=True, exist_ok=True)
            # another publication may remove the directory between these two
            with contextlib.suppress(FileNotFoundError):
                closing.enter_context(lock(state / f"{JOURNAL}.lock", lambda: say("waiting for another publication")))
                break
        try:
            yield
        finally:
            (state / f"{JOURNAL}.lock").unlink()
            # unless it is a project's, or a journal is left
            with contextlib.suppress(OSError):
                state.rmdir()


def interrupted(state: Path) -> tuple[str, list[Tag]]:
    """The registry and the tags of a publication that was killed while it wrote tags; none if there is no journal."""
    try:
        content = json.loads((state / JOURNAL).read_text(encoding="utf-8"))
        return content["registry"], [Tag(**tag) for tag in content["tags"]]
    except FileNotFoundError:
        return "", []
    except (ValueError, LookupError, TypeError) as error:
        message = f"{state / JOURNAL}: not a journal of fategen ({error})"
        raise EngineError(message, hint="remove it, and compare the release's tags by hand") from None


@dataclass(frozen=True)
class TagState:
    """What a tag points to after a roll-back ("": nothing). ``problem`` says why it was not put back, or is not known.

    ``final``: to try again would not help.
    """

    digest: str
    problem: str = ""
    final: bool = False


def roll_back(
    registry: Registry, tags: Sequence[Tag], state: Path, unanswered: Tag | None = None
) -> dict[Tag, TagState]:
    """Puts back every tag that a publication wrote. A tag that somebody else moved meanwhile is left alone.

    A write of ``unanswered`` may still arrive at the registry. The journal is removed if another roll-back would change
    nothing: it stays with a problem that may pass, and with an unanswered tag.
    """
    states = {tag: _put_back(registry, tag, tag == unanswered) for tag in tags}
    if unanswered is None and not any(state.problem and not state.final for state in states.values()):
        (state / JOURNAL).unlink(missing_ok=True)
    return states


def _put_back(registry: Registry, tag: Tag, unanswered: bool) -> TagState:
    digest = ""
    try:
        digest = registry.digest(tag.path, tag.name)
        if digest != tag.digest and not (unanswered and digest == tag.before):
            return TagState(digest)
        if tag.before:
            registry.put_manifest(tag.path, tag.name, registry.manifest(tag.path, tag.before))
            return TagState(tag.before)
        if not digest:
            return TagState("")
        if registry.delete_tag(tag.path, tag.name):
            return TagState("")
        return TagState(digest, "this registry deletes no tags", final=True)
    except RegistryError as error:
        # what is refused has changed nothing; anything else may have been done
        known = digest if error.status and not error.transient else ""
        # "missing": a clean-up of the registry took the earlier image
        return TagState(known, error.detail or "the registry does not answer", final=error.kind == "missing")


def _write(registry: Registry, written: Sequence[Tag], tags: Sequence[Tag], state: Path) -> None:
    """The loop over ``tags``; ``written`` are those that an earlier run wrote of the same publication.

    A signal is looked at between two tags: a write that is cut off could still arrive. A second one ends the loop where
    it is, and the journal tells the next run.
    """
    everything = [*written, *tags]
    if not everything:
        return
    # read before the loop: it waits for a registry that does not show yet what was pushed
    with workers(AT_ONCE) as pool:
        manifests = [*pool.map(lambda tag: registry.pushed(tag.path, tag.digest), tags)]
    content = {"registry": registry.access.host, "tags": [asdict(tag) for tag in everything]}
    with disk_errors(state):
        write_atomically(state / JOURNAL, json.dumps(content, indent=1))
    try:
        with signals_deferred(STOPPING) as signals:
            for tag, manifest in zip(tags, manifests, strict=True):
                error = None if signals else _put(registry, tag, manifest)
                if signals or error:
                    break
            else:
                (state / JOURNAL).unlink()
                return
            unanswered = tag if error and error.kind in ("unreachable", "unknown") else None
            states = roll_back(registry, everything, state, unanswered)
    except KeyboardInterrupt:
        say(f"some tags may be written and others not: {ROLL_BACK}, or run the same command again")
        raise
    if error is None:
        step = f"{ROLL_BACK}, or run the same command again" if (state / JOURNAL).exists() else AGAIN
        say(f"interrupted while the tags were written; they point to\n{listed(registry, states)}\nnext: {step}")
        raise KeyboardInterrupt
    message = f"{registry.access.host}/{tag}: the tag was not written: {error.detail}\n{listed(registry, states)}"
    raise EngineError(message, hint=f"{ROLL_BACK}, or try again" if (state / JOURNAL).exists() else AGAIN) from error


def _put(registry: Registry, tag: Tag, manifest: RawManifest) -> RegistryError | None:
    """Writes a tag; the error if it is not there then."""
    try:
        registry.put_manifest(tag.path, tag.name, manifest)
    except RegistryError as error:
        # a repeated write of an immutable tag is refused although the first one, whose answer was lost, succeeded
        with contextlib.suppress(RegistryError):
            if registry.digest(tag.path, tag.name) == tag.digest:
                return None
        return error
    return None


def listed(registry: Registry, states: Mapping[Tag, TagState]) -> str:
    """What each tag points to, one line each."""

    def described(tag: Tag, state: TagState) -> str:
        if state.problem and not state.digest:
            return f"unknown: {state.problem}"
        if state.digest == tag.before:
            return f"{state.digest or 'nothing'} (as before)"
        if state.digest == tag.digest:
            return f"{state.digest} (new{'; ' if state.problem else ''}{state.problem})"
        return f"{state.digest or 'nothing'} (changed by somebody else)"

    host = registry.access.host
    return "\n".join(f"  {host}/{tag} → {described(tag, state)}" for tag, state in states.items())


def not_written(state: Path) -> str:
    """What a publication that failed before its tags says of them."""
    _, tags = interrupted(state)
    if not tags:
        return "no tag was written"
    return "an earlier run wrote some tags: run the same command again to finish, or fategen rollback"
