"""Stand-ins for standard modules behave as those do, as far as the loader's modules ask."""

from __future__ import annotations

import dataclasses
import difflib
import json
import shutil
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.loader.standins import dataclasses as own_dataclasses
from generator.loader.standins import difflib as own_difflib
from generator.loader.standins import json as own_json
from generator.loader.standins import shutil as own_shutil
from generator.loader.standins.concurrent import futures as own_futures

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


class TestJson:
    @settings(max_examples=100, deadline=None)
    @given(VALUES)
    def test_it_writes_and_reads_the_same(self, value: object) -> None:
        for options in ({}, {"indent": 2}, {"separators": (",", ":"), "sort_keys": True}):
            text = json.dumps(value, **options)  # type: ignore[arg-type]
            assert own_json.dumps(value, **options) == text
            assert own_json.loads(text) == value
        assert own_json.loads(json.dumps(value, ensure_ascii=False)) == value

    @settings(max_examples=100, deadline=None)
    @given(VALUES.map(json.dumps), st.data())
    def test_it_takes_and_refuses_the_same_documents(self, text: str, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(text)))
        changed = text[:at] + data.draw(st.text('{}[]",:\\ue0-.1Nnt \n\x01', max_size=2)) + text[at + 1 :]
        assert _read(own_json, changed) == _read(json, changed)

    CORNERS = (
        '"\\ud83d\\ude00"', '"\\ud83d"', '"\\ud83dx"', '"\\udc00\\ud83d"', '"\\u00e4"', '"\\u00E4"', '"\\u 0e4"',
         "01", "-", "-0", "1.", "1e5", "1E+5", ".5", "+1", "NaN", "-Infinity", "tru", "nulll", "", " ", "[1,]", '{"a"}',
         '{"a":1,}', "{1:2}", "[", "{", '"', '"\\', '"\t"', "\ufeff1", "1 2", "\u00a01", "٣", '"\u2028"',
    )  # fmt: skip

    def test_corners(self) -> None:
        assert {text: _read(own_json, text) for text in self.CORNERS} == {t: _read(json, t) for t in self.CORNERS}

    def test_too_deep_is_told_as_there(self) -> None:
        with pytest.raises(RecursionError):
            own_json.loads("[" * 100_000)

    def test_hooks_are_called(self) -> None:
        found = own_json.loads('{"a": 1, "a": 2.5}', object_pairs_hook=list, parse_int=str)
        assert found == [("a", "1"), ("a", 2.5)]


def _read(module: Any, text: str) -> object:
    """The value, as its own repr to tell 1 from 1.0, or that it is refused."""
    try:
        return repr(module.loads(text))
    except module.JSONDecodeError:
        return "refused"


@pytest.mark.parametrize("module", [dataclasses, own_dataclasses])
class TestDataclasses:
    def test_fields_defaults_and_inheritance(self, module: Any) -> None:
        @module.dataclass(frozen=True)
        class Base:
            first: int
            second: str = "x"

        @module.dataclass(frozen=True)
        class Derived(Base):
            third: tuple[int, ...] = ()

            @property
            def whole(self) -> str:
                return f"{self.first}{self.second}"

        found = Derived(1, third=(2,))
        assert (found.first, found.second, found.third, found.whole) == (1, "x", (2,), "1x")
        assert found == Derived(1, "x", (2,)) != Derived(2, "x", (2,))
        assert found != Base(1, "x")
        assert len({found, Derived(1, "x", (2,)), Derived(1)}) == 2
        assert module.replace(found, first=3) == Derived(3, "x", (2,))
        assert repr(found).endswith("Derived(first=1, second='x', third=(2,))")
        for wrong in ((), (1, 2, 3, 4)):
            with pytest.raises(TypeError):
                Derived(*wrong)
        for more in ({"first": 1, "fourth": 1}, {}):
            with pytest.raises(TypeError):
                Derived(**more)
        with pytest.raises(TypeError):
            module.replace(found, fourth=1)
        with pytest.raises(AttributeError):
            found.first = 2
        with pytest.raises(AttributeError):
            del found.first

    def test_one_that_is_not_frozen(self, module: Any) -> None:
        @module.dataclass
        class Plain:
            kept: list[int] = module.field(default_factory=list)

            def __post_init__(self) -> None:
                self.more = len(self.kept)

        one, other = Plain(), Plain([1])
        one.kept.append(2)
        assert (one.kept, other.more, Plain().kept) == ([2], 1, [])
        with pytest.raises(TypeError):
            hash(one)


@pytest.mark.parametrize("module", [shutil, own_shutil])
def test_which_finds_what_can_be_run(module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'none'}:{tmp_path}")
    (tmp_path / "tool").write_text("")
    assert module.which("tool") is None
    (tmp_path / "tool").chmod(0o755)
    assert module.which("tool") == str(tmp_path / "tool")
    assert module.which("other") is None


def test_rmtree_takes_a_directory_away(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c").write_text("")
    own_shutil.rmtree(str(tmp_path / "a"))
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("module", [futures, own_futures])
def test_work_is_done_and_its_error_kept(module: Any) -> None:
    with module.ThreadPoolExecutor(2) as pool:
        good, bad = pool.submit(divmod, 7, 2), pool.submit(divmod, 7, 0)
        assert good.result() == (3, 1)
        with pytest.raises(ZeroDivisionError):
            bad.result()
        assert not good.cancel()


@pytest.mark.parametrize("module", [difflib, own_difflib])
def test_a_word_that_is_far_from_all_has_no_neighbour(module: Any) -> None:
    assert module.get_close_matches("egg", ["python"], n=1, cutoff=0.6) == []
