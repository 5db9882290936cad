"""Options are declared once, cannot be changed, and say everything that is wrong with them in one message."""

from __future__ import annotations

import pytest
from pydantic import Field, ValidationError

from gisttools.common.errors import ParameterError
from gisttools.common.options import Options


class Size(Options):
    about = "size"

    width: int = Field(3, ge=1, description="in characters")
    height: float = Field(1.0, gt=0, description="in lines")

    def conflicts(self) -> list[str]:
        return [f"width is {self.width} of height {self.height}"] if self.width < self.height else []


class Page(Size):
    about = "page"

    margin: int = Size.field("width", 7)
    title: str = Field("", description="on top")


def test_all_problems_come_in_one_error():
    with pytest.raises(ParameterError) as caught:
        Size(width="3", height=0.0, widht=2)
    told = str(caught.value)
    assert "size: 3 parameter problem(s)" in told
    assert "width = '3': input should be a valid integer" in told
    assert "height = 0.0: input should be greater than 0" in told
    assert "unknown parameter 'widht' = 2. Did you mean 'width'?" in told
    assert "Known parameters: width, height." in told


def test_what_does_not_go_together_is_looked_at_when_each_value_is_right():
    with pytest.raises(ParameterError, match="width is 1 of height 2"):
        Size(width=1, height=2)
    with pytest.raises(ParameterError, match="1 parameter problem"):
        Size(width=0, height=2)


@pytest.mark.parametrize("value", [True, "1", 1.5, None])
def test_types_are_strict(value):
    with pytest.raises(ParameterError, match="width = "):
        Size(width=value)


def test_options_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Size().width = 4


def test_a_field_is_taken_over_with_its_bounds_and_another_default():
    assert (Page().margin, Page.model_fields["margin"].description) == (7, "in characters")
    assert Size().width == 3
    with pytest.raises(ParameterError, match="margin = 0: input should be greater than or equal to 1"):
        Page(margin=0)


def test_a_part_of_options_is_another_class():
    assert Page(width=5, title="x").part(Size) == Size(width=5)
