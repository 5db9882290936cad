"""`Params`: the base of every notebook's parameters, strict in what it takes; and the models that are defaults."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

WORDLLAMA = "embedded:wordllama-256"
MINILM = "embedded:all-MiniLM-L6-v2"


class Params(BaseModel):
    """Base of all parameter models: strict types, no unknown names."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """What each parameter is where nothing is said."""
        return {name: field.get_default(call_default_factory=True) for name, field in cls.model_fields.items()}

    def changed(self) -> dict[str, Any]:
        """The parameters that are not what their defaults are."""
        defaults = self.defaults()
        return {name: value for name, value in self.model_dump().items() if value != defaults[name]}

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_in_yaml(cls, value: Any, info: ValidationInfo) -> Any:
        # YAML 1.1 reads 1e-5 (no dot) as a string
        wants_number = cls.model_fields[info.field_name].annotation in (float, float | None)
        if wants_number and isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
            return float(value)
        return value
