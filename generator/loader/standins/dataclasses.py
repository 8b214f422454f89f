"""For Pythons without ``dataclasses``: fields, defaults, equality, hashing, freezing and ``replace``; nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")
_FIELDS = "__dataclass_fields__"


class FrozenInstanceError(AttributeError):
    """A field of a frozen dataclass was to be set."""


class Field:
    """``default_factory`` makes the default, None where there is a ``default`` or none at all (MISSING)."""

    def __init__(self, default: object, default_factory: Callable[[], object] | None) -> None:
        self.default, self.default_factory = default, default_factory


MISSING = object()


def field(*, default: Any = MISSING, default_factory: Callable[[], Any] | None = None) -> Any:
    return Field(default, default_factory)


def dataclass(cls: type | None = None, *, frozen: bool = False) -> Any:
    """``@dataclass`` and ``@dataclass(frozen=True)``."""
    return _made(cls, frozen) if cls is not None else lambda found: _made(found, frozen)


def replace(instance: T, **changes: object) -> T:
    found: Mapping[str, Field] = getattr(instance, _FIELDS)
    return type(instance)(**{**{name: getattr(instance, name) for name in found}, **changes})


def _made(cls: Any, frozen: bool) -> Any:
    found: dict[str, Field] = {}
    for base in reversed(cls.__mro__[1:]):
        found.update(getattr(base, _FIELDS, {}))
    own: Mapping[str, object] = vars(cls).get("__annotations__", {})
    for name, annotation in own.items():
        if str(annotation).startswith(("ClassVar", "typing.ClassVar")):
            continue
        default = cls.__dict__.get(name, MISSING)
        found[name] = default if isinstance(default, Field) else Field(default, None)
        if isinstance(default, Field):
            delattr(cls, name)
            if default.default is not MISSING:
                setattr(cls, name, default.default)

    def init(self: object, *args: object, **given: object) -> None:
        if len(args) > len(found):
            raise TypeError(f"{cls.__name__} has {len(found)} fields, not {len(args)}")
        values = dict(zip(found, args))  # noqa: B905 (Python 3.8 has no strict=)
        twice = [name for name in given if name in values or name not in found]
        if twice:
            raise TypeError(f"{cls.__name__} has no field {twice[0]}, or it is given twice")
        values.update(given)
        for name, one in found.items():
            if name not in values and one.default_factory is not None:
                values[name] = one.default_factory()
            elif name not in values and one.default is MISSING:
                raise TypeError(f"{cls.__name__} lacks {name}")
            object.__setattr__(self, name, values.get(name, one.default))
        if hasattr(self, "__post_init__"):
            self.__post_init__()

    def content(self: object) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in found)

    def equal(self: object, other: object) -> bool:
        return content(self) == content(other) if type(other) is type(self) else NotImplemented

    def hashed(self: object) -> int:
        return hash(content(self))

    def shown(self: object) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in found)})"

    def refuse(_self: object, name: str, *_: object) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    methods = {"__init__": init, "__repr__": shown, "__eq__": equal, "__hash__": hashed if frozen else None}
    for name, value in methods.items():
        if name not in cls.__dict__ or (name == "__hash__" and "__eq__" not in cls.__dict__):
            setattr(cls, name, value)
    if frozen:
        cls.__setattr__ = cls.__delattr__ = refuse
    setattr(cls, _FIELDS, found)
    return cls
