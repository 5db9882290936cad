"""Templates of users: every way to fail is one error with file and line, and none runs or grows for ever."""

from __future__ import annotations

import time

import pytest

from gisttools.common.errors import DataError
from gisttools.synthesis.prompts import load_prompt
from gisttools.synthesis.templates import TemplateFault, render, variables_of

PROMPT = """\
name: p
version: 1
description: d
variables: {domain: where}
system: You write.
user: |
  Hello.
  %s
output: {type: object, properties: {query: {type: string}}, required: [query], additionalProperties: false}
row: {anchor: query}
examples: %s
"""
FAILING = [
    "{{ domain.nothing }}",  # UndefinedError
    "{{ domain",  # TemplateSyntaxError
    "{{ domain | nofilter }}",  # TemplateAssertionError
    "{{ domain + 1 }}",  # TypeError
    "{{ 1 / 0 }}{{ domain }}",  # ZeroDivisionError
    "{{ domain | int / 0 }}",
    "{{ [].pop() }}{{ domain }}",  # SecurityError or IndexError
    "{{ domain.__class__.__mro__ }}",
    "{% include 'x' %}{{ domain }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}{{ domain }}",  # RecursionError
    "{{ '{:d}'.format(domain) }}",  # ValueError
    "{% for x in domain %}{{ x.y.z }}{% endfor %}",
    "{{ domain | json(1, 2) }}",
]
ENDLESS = [
    "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(100) }}",
    "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{{ 10 ** 10 ** 10 }}",
    "{{ 'a' * 10 ** 6 * 10 ** 6 }}",
    "{{ 'a' * 9999999999 }}",
    "{{ [1] * 9999999999 }}",
    "{{ 'a' | center(9999999999) }}",
    "{{ 'a'.ljust(9999999999) }}",
    "{{ '%9999999999d' % 1 }}",
    "{{ '{:9999999999d}'.format(1) }}",
    "{{ range(9999999999) }}",
    "{% set s = 'a' * 1000 %}{% for i in range(100000) %}{{ s }}{% endfor %}",
    "{% set ns = namespace(s='aa') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
]


@pytest.mark.parametrize("template", FAILING)
@pytest.mark.parametrize("examples", ["[]", "[{values: {domain: owls}, answer: {query: q}}]"])
def test_a_template_that_fails_is_one_error_with_its_file_and_line(tmp_path, template, examples):
    path = tmp_path / "mine.yaml"
    path.write_text(PROMPT % (template, examples), encoding="utf-8")
    with pytest.raises(DataError, match=r"mine\.yaml, user, line 2 \(line 8 of the file\): "):
        load_prompt(path).render({"domain": "owls"})


def test_with_an_example_a_template_that_fails_is_refused_when_it_is_read(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(PROMPT % ("{{ domain + 1 }}", "[{values: {domain: owls}, answer: {query: q}}]"), encoding="utf-8")
    with pytest.raises(DataError, match=r"examples\[0\]: .*user, line 2 .*TypeError"):
        load_prompt(path)


@pytest.mark.parametrize("template", ENDLESS)
def test_a_template_that_never_ends_or_takes_all_memory_is_stopped(template):
    begin = time.monotonic()
    with pytest.raises(TemplateFault):
        render(template, {})
    assert time.monotonic() - begin < 5


def test_what_templates_usually_do_stays_as_it_is():
    template = (
        "{% for x in xs %}{{ loop.index }}. {{ x | json }}{% if not loop.last %}, {% endif %}{% endfor %} {{ 2 * 3 }}"
    )
    assert variables_of(template) == {"xs"}
    assert render(template, {"xs": ["a", 'b"']}) == '1. "a", 2. "b\\"" 6'


def test_a_long_list_of_values_is_no_endless_loop():
    assert len(render("{% for x in xs %}{{ x }}{% endfor %}", {"xs": ["ab"] * 50_000})) == 100_000
