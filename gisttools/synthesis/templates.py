"""Renders templates that users write: Jinja2 in a sandbox, bounded in steps, time and size; errors tell the line.

A template that runs into a mistake raises whatever Python raises there, and one that never ends is as easily written as
one that does. So loops and macros are counted, and numbers and texts that an operation makes have a largest size.
"""

from __future__ import annotations

import json
import re
import time
import traceback
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, meta, nodes
from jinja2.sandbox import SandboxedEnvironment

from gisttools.common import DataError, first_line

_STEPS = 100_000  # loops' rounds and macros' calls, of one rendering
_SECONDS = 10.0  # of one rendering
_LONGEST = 1_000_000  # characters that a template may give
_LARGEST = (
    1_000_000  # number that a template may compute with, and characters or items of what it makes of an operation
)
_WIDE = re.compile(r":[^}]*\d{7,}")
_FILE = "<template>"
_TICK = "_tick"


class TemplateFault(DataError):
    """A template that cannot be read or rendered; `line` is that of the template, counted from 1, where it is known."""

    def __init__(self, why: str, line: int | None) -> None:
        super().__init__(why)
        self.line = line


@dataclass
class _Meter:
    """What one rendering has used."""

    ends: float
    steps: int = 0

    def tick(self) -> str:
        self.steps += 1
        if self.steps > _STEPS:
            raise DataError(f"it takes more than {_STEPS:,} rounds of its loops")
        self.check_time()
        return ""

    def check_time(self) -> None:
        if time.monotonic() > self.ends:
            raise DataError(f"it takes longer than {_SECONDS:g} seconds")


_meter: ContextVar[_Meter] = ContextVar("meter")


class _Environment(SandboxedEnvironment):
    """The sandbox, which also bounds what an operation or a call may make."""

    intercepted_binops = frozenset(["+", "*", "**", "%"])

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        _check_operation(operator, left, right)
        made = super().call_binop(context, operator, left, right)
        if isinstance(made, str | list | tuple) and len(made) > _LARGEST:
            raise DataError(f"{operator} makes a text or list of {len(made):,} characters or items")
        return made

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        for value in (*args, *kwargs.values()):
            _check_number(value)
        text = getattr(getattr(obj, "__wrapped__", obj), "__self__", None)  # of "{:9d}".format
        if isinstance(text, str) and _WIDE.search(text):
            raise DataError(f"a width is larger than {_LARGEST:,}")
        return super().call(context, obj, *args, **kwargs)


def _check_number(value: object) -> None:
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise DataError(f"a number is larger than {_LARGEST:,}")


def _check_operation(operator: str, left: Any, right: Any) -> None:
    """Refuse before it is done what would take all memory or for ever."""
    if operator == "%" and isinstance(left, str):
        raise DataError("texts are not formatted by %; put values into {{ }}")
    _check_number(left)
    _check_number(right)
    if operator == "*":
        size = next((len(x) for x in (left, right) if isinstance(x, str | list | tuple)), 1)
        times = next((abs(x) for x in (right, left) if isinstance(x, int)), 1)
        if size * times > _LARGEST:
            raise DataError(f"* makes more than {_LARGEST:,} of something")
    if operator == "**" and all(isinstance(x, int) for x in (left, right)):
        bits = max(abs(left).bit_length(), 1) * abs(right)
        if bits > 20 and abs(left) > 1:
            raise DataError(f"** makes a number larger than {_LARGEST:,}")


_environment = _Environment(undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True)
_environment.filters["json"] = lambda value: json.dumps(value, ensure_ascii=False)
_environment.globals[_TICK] = lambda: _meter.get().tick()
del _environment.globals["lipsum"]  # text that nobody wrote


def variables_of(template: str) -> set[str]:
    """The variables that a template takes from outside.

    Raises:
        TemplateFault: it cannot be read.
    """
    try:
        _compiled(template)
        return meta.find_undeclared_variables(_environment.parse(template))
    except TemplateFault:
        raise
    except Exception as error:  # what Python says of the code that Jinja makes of it is no error of Jinja's
        raise TemplateFault(_why(error), _line(error)) from error


def own_words(template: str) -> str:
    """What a template says itself, without what is put in."""
    return "".join(value for _, kind, value in _environment.lex(template) if kind == "data")


def render(template: str, values: dict[str, Any]) -> str:
    """The text that a template makes of these values.

    Raises:
        TemplateFault: it cannot be read, it fails, or it goes beyond a limit.
    """
    meter = _meter.set(_Meter(time.monotonic() + _SECONDS))
    try:
        parts, size = [], 0
        for part in _compiled(template).generate(values):
            _meter.get().check_time()
            parts.append(part)
            size += len(part)
            if size > _LONGEST:
                raise DataError(f"it makes more than {_LONGEST:,} characters")
        return "".join(parts)
    except TemplateFault:
        raise
    except Exception as error:  # a template may fail in any way that Python can
        raise TemplateFault(_why(error), _line(error)) from error
    finally:
        _meter.reset(meter)


@lru_cache(maxsize=64)  # compiling takes a hundred times as long as rendering
def _compiled(template: str) -> Template:
    tree = _environment.parse(template)
    for const in tree.find_all(nodes.Const):
        try:
            _check_number(const.value)
        except DataError as error:
            raise TemplateFault(str(error), const.lineno) from None
    blocks: list[Any] = list(tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock)))
    for block in blocks:
        tick = nodes.ExprStmt(nodes.Call(nodes.Name(_TICK, "load"), [], [], None, None))
        block.body.insert(0, tick.set_lineno(block.lineno, override=True))
    tree.set_environment(_environment)
    code = _environment.compile(tree, filename=_FILE)
    return Template.from_code(_environment, code, _environment.make_globals(None))


def _why(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "a macro calls itself without an end, or it is nested too deeply"
    if isinstance(error, MemoryError):
        return "it takes more memory than there is"
    if isinstance(error, TemplateError | DataError):
        return first_line(error).rstrip(".")
    return f"{type(error).__name__}: {first_line(error).rstrip('.')}"


def _line(error: BaseException) -> int | None:
    """The line of the template in which an error was raised."""
    told = getattr(error, "lineno", None)
    frames = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == _FILE]
    return told if isinstance(told, int) else frames[-1] if frames else None
