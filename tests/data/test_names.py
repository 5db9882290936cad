"""Names of people, found by a pipeline of spaCy that is trained and installed here."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from gisttools.data.names import find_names

TRAIN = """
import sys
import spacy
from spacy.training import Example

spacy.util.fix_random_seed(0)
nlp = spacy.blank("en")
nlp.add_pipe("ner").add_label("PERSON")
texts = ["My name is Anna Schmidt.", "Ask Tom Lee about the card.", "The card was refused.", "Where is my card?"]
names = ["Anna Schmidt", "Tom Lee", None, None]
spans = [[(t.index(n), t.index(n) + len(n), "PERSON")] if n else [] for t, n in zip(texts, names)]
examples = [Example.from_dict(nlp.make_doc(t), {"entities": s}) for t, s in zip(texts, spans)]
nlp.initialize(lambda: examples)
for _ in range(40):
    nlp.update(examples)
nlp.to_disk(sys.argv[1])
"""
COUNT = """
import json, sys
from gisttools.data.leaving import contents
from gisttools.data.names import find_names

texts = json.load(sys.stdin)
found = find_names(tuple(texts))
print(json.dumps([found.different, found.texts, contents(texts)]))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder to import from, in which a pipeline is installed."""
    folder = tmp_path_factory.mktemp("site")
    package, about = folder / "en_little_names", folder / "en_little_names-1.0.dist-info"
    package.mkdir()
    about.mkdir()
    (package / "__init__.py").write_text(
        "import pathlib, spacy\n\n\ndef load(**told):\n"
        "    return spacy.load(pathlib.Path(__file__).parent / 'pipeline', **told)\n"
    )
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: en-little-names\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[spacy_models]\nen_little_names = en_little_names\n")
    subprocess.run([sys.executable, "-c", TRAIN, str(package / "pipeline")], check=True)
    return folder


def told_of(installed, texts):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(installed), *sys.path])}
    ran = subprocess.run(
        [sys.executable, "-c", COUNT],
        input=json.dumps(texts),
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(ran.stdout)


def test_each_name_counts_once(installed):
    texts = [
        "My name is Anna Schmidt.",
        "My name is Anna Schmidt. ",
        "Ask Tom Lee about the card.",
        "Where is my card?",
    ]
    different, read, words = told_of(installed, texts)
    assert (different, read) == (2, 4)
    assert words == "In them: no addresses, no long numbers, 2 names of people (names by en_little_names)."


def test_of_very_many_texts_a_part_is_read_and_that_is_told(installed):
    long = "My name is Anna Schmidt. " + "Where is my card? " * 2_000
    different, read, words = told_of(installed, [f"{long}{i}" for i in range(40)])
    assert different >= 1
    assert read == 14  # every third of 40 texts of 36,000 characters
    assert f"{different} name" in words
    assert "of people in 14 of them (names by en_little_names)" in words


def test_a_pipeline_that_cannot_be_loaded_stops_nothing(installed, tmp_path):
    about = tmp_path / "en_broken_names-1.0.dist-info"
    about.mkdir()
    (tmp_path / "en_broken_names").mkdir()
    (tmp_path / "en_broken_names" / "__init__.py").write_text(
        "def load(**told):\n    raise OSError('of another spaCy')\n"
    )
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: en-broken-names\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[spacy_models]\nen_broken_names = en_broken_names\n")
    paths = os.pathsep.join([str(tmp_path), str(installed)])
    assert told_of(paths, ["My name is Anna Schmidt."])[2].endswith("1 name of people (names by en_little_names).")


def test_no_name_is_told_as_none(installed):
    assert told_of(installed, ["Where is my card?"])[2] == (
        "In them: no addresses, no long numbers, no names of people (names by en_little_names)."
    )


def test_without_a_pipeline_nothing_is_looked_for():
    assert find_names(("My name is Anna Schmidt.",)) is None
