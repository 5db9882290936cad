"""Declares options once: `Options`, the frozen and strict base of every class of options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from gisttools.common.errors import ParameterError, did_you_mean, problems

O = TypeVar("O", bound="Options")  # noqa: E741


class Options(BaseModel):
    """Base of all options: keyword-only, frozen, of strict types; a field says its bounds and what it is.

        class Shape(Options):
            about = "shape"
            width: int = Field(3, ge=1, description="in characters")

    Whatever is wrong comes as one `ParameterError`: unknown names, wrong types, values out of range, and, once every
    value is right by itself, what `conflicts` finds between them.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, arbitrary_types_allowed=True
    )
    about: ClassVar[str] = "options"  # what errors call them
    gone: ClassVar[Mapping[str, str]] = {}  # names that earlier versions had, and what to do now

    def __init__(self, **values: Any) -> None:
        found = self.refused(values)
        try:
            super().__init__(**{name: value for name, value in values.items() if name not in found})
        except ValidationError as error:
            self._complain([*found.values(), *(self._explain(e) for e in _of_one_branch(error.errors(), values))])
        self._complain([*found.values(), *self.conflicts()])

    @classmethod
    def refused(cls, values: dict[str, Any]) -> dict[str, str]:
        """Names whose values are refused before they are looked at, and why. The message shows no such value."""
        return {}

    def conflicts(self) -> list[str]:
        """What does not go together, a line each; asked when every value is right by itself."""
        return []

    def part(self, kind: type[O], **more: Any) -> O:
        """Those of these options that another class has as well, as that class; `more` go over them."""
        own = type(self).model_fields
        return kind(**{name: getattr(self, name) for name in kind.model_fields if name in own} | more)

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """What each option is where nothing is said."""
        return {name: field.get_default(call_default_factory=True) for name, field in cls.model_fields.items()}

    def changed(self) -> dict[str, Any]:
        """The options that are not what their defaults are."""
        defaults = self.defaults()
        return {name: value for name, value in self.model_dump().items() if value != defaults[name]}

    @classmethod
    def field(cls, name: str, *default: Any) -> Any:
        """One of these fields, for another class to have too: its bounds, description and default, or another
        default."""
        found = copy(cls.model_fields[name])
        if default:
            found.default, found.default_factory = default[0], None
        return found

    @classmethod
    def names(cls) -> str:
        """Where all names are told, for whoever used an unknown one."""
        return f"Known parameters: {', '.join(cls.model_fields)}."

    @classmethod
    def _complain(cls, found: Sequence[str]) -> None:
        if found:
            known = cls.names() if any(map(_is_unknown, found)) else ""
            raise ParameterError(problems(f"{cls.about}: {len(found)} parameter problem(s)", found, known)) from None

    @classmethod
    def _explain(cls, error: ErrorDetails) -> str:
        name = ".".join(map(str, error["loc"]))
        if error["type"] == "extra_forbidden":
            fix = f" {cls.gone[name]}" if name in cls.gone else did_you_mean(name, cls.model_fields)
            return f"{_UNKNOWN} {name!r} = {error['input']!r}.{fix}"
        if error["type"] == "missing":
            return f"{name} is not given"
        return f"{name} = {error['input']!r}: {error['msg'][0].lower()}{error['msg'][1:]}"


_UNKNOWN = "unknown parameter"


def _is_unknown(problem: str) -> bool:
    return problem.startswith(_UNKNOWN)


def _of_one_branch(errors: Sequence[ErrorDetails], given: dict[str, Any]) -> list[ErrorDetails]:
    """Of a parameter that is a text or a list of texts pydantic tells what is wrong with it as either; one is meant. Of
    a number or a word what is wrong with it as either is one problem."""
    found: list[ErrorDetails] = []
    for error in errors:
        if str(error["loc"][-1]).startswith("literal[") and found and found[-1]["loc"][0] == error["loc"][0]:
            words = error["msg"].removeprefix("Input should be ")
            found[-1]["loc"] = error["loc"][:1]
            found[-1]["msg"] += f", or {words}"
            continue
        name, *branch = error["loc"]
        kind = str(branch[0]) if branch else ""
        is_list = isinstance(given.get(str(name)), list | tuple)
        if kind == "str" and not is_list:
            error["loc"], error["msg"] = (name,), "Input should be a valid string or a list of them"
            found.append(error)
        elif kind.startswith("list[") and is_list:
            error["loc"] = (name, *branch[1:])
            found.append(error)
        elif kind != "str" and not kind.startswith("list["):
            found.append(error)
    return found
