"""Models that bring code: it runs only where that was asked for, and only the commit that was pinned."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import MINILM
from huggingface_hub import constants

from gisttools.common.errors import ModelError, ParameterError
from gisttools.models import GuideOptions, VectorCache
from gisttools.models.custom_code import keep_code, pins_of
from gisttools.models.loading import open_model, reading_sha

MODEL = """
from pathlib import Path
from transformers import BertConfig, BertModel

Path({ran!r}).touch()

class OwnConfig(BertConfig):
    model_type = "own_bert"

class OwnModel(BertModel):
    config_class = OwnConfig
    made_by = {made_by!r}
"""
MODULE = """
from pathlib import Path
from sentence_transformers.models import Normalize

Path({ran!r}).touch()

class OwnNormalize(Normalize):
    made_by = {made_by!r}
"""


@pytest.fixture(scope="module")
def plain(minilm, tmp_path_factory):
    """MiniLM as a folder: copy it."""
    folder = tmp_path_factory.mktemp("plain") / "minilm"
    minilm.save(str(folder))
    return folder


@pytest.fixture
def ran(tmp_path):
    """The file that the model's code makes when it is run."""
    return tmp_path / "the code ran"


def with_model_code(plain: Path, folder: Path, ran: Path, *, home: str = "", model_type: str = "own_bert") -> Path:
    """A folder whose transformer is a class of its own, which lies in the repository `home` or next to it."""
    shutil.copytree(plain, folder)
    config = json.loads((folder / "config.json").read_text())
    classes = {"AutoConfig": f"{home}own_code.OwnConfig", "AutoModel": f"{home}own_code.OwnModel"}
    config |= {"auto_map": classes, "model_type": model_type}
    (folder / "config.json").write_text(json.dumps(config))
    if not home:
        (folder / "own_code.py").write_text(MODEL.format(ran=str(ran), made_by="here"))
    return folder


def with_module_code(plain: Path, folder: Path, ran: Path) -> Path:
    """A folder whose last module is a class of its own."""
    shutil.copytree(plain, folder)
    modules = json.loads((folder / "modules.json").read_text())
    modules[-1]["type"] = "own_code.OwnNormalize"
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "own_code.py").write_text(MODULE.format(ran=str(ran), made_by="here"))
    return folder


def on_hub(name: str, commit: str, folder: Path | dict[str, str]) -> None:
    """Put a repository at a commit into the hub's cache, as its newest one."""
    home = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"
    place = home / "snapshots" / commit
    if isinstance(folder, Path):
        shutil.copytree(folder, place)
    else:
        place.mkdir(parents=True)
        for file, content in folder.items():
            (place / file).write_text(content)
    (home / "refs").mkdir(exist_ok=True)
    (home / "refs" / "main").write_text(commit)


@pytest.mark.parametrize("make", [with_model_code, with_module_code])
def test_code_of_a_folder_is_not_run_unless_told(plain, tmp_path, ran, make, minilm):
    folder = make(plain, tmp_path / "own", ran)
    with pytest.raises(ModelError, match=r"brings code of its own \(own_code\.Own.*set trust_remote_code = true\."):
        open_model(str(folder))
    assert not ran.exists()
    model = open_model(str(folder), trust_remote_code=True)
    assert ran.exists()
    assert np.allclose(model.encode(["a key"]), minilm.encode(["a key"]), atol=1e-5)


@pytest.mark.parametrize("make", [with_model_code, with_module_code])
def test_a_saved_model_keeps_its_code(plain, tmp_path, ran, make):
    model = open_model(str(make(plain, tmp_path / "own", ran)), trust_remote_code=True)
    saved = tmp_path / "saved"
    model.save(str(saved))
    keep_code(model, saved)
    shutil.rmtree(tmp_path / "own")
    again = open_model(str(saved), trust_remote_code=True)
    assert np.array_equal(again.encode(["a key"]), model.encode(["a key"]))


def test_code_that_a_library_has_too_is_not_needed(plain, tmp_path, ran, caplog):
    folder = with_model_code(plain, tmp_path / "own", ran, model_type="bert")
    assert type(open_model(str(folder))[0].auto_model).__name__ == "BertModel"
    assert "brings code of its own" in caplog.text
    assert not ran.exists()


def test_a_hub_model_must_be_pinned_to_a_commit(plain, tmp_path, ran):
    commit = "a1" * 20
    on_hub("own/pinned", commit, with_model_code(plain, tmp_path / "own", ran))
    for revision in (None, "main"):
        with pytest.raises(ModelError, match=f"pin its commit, revision = {commit}: a branch"):
            open_model("own/pinned", revision, trust_remote_code=True)
    with pytest.raises(ModelError, match="set trust_remote_code = true and pin its commit"):
        open_model("own/pinned")
    assert not ran.exists()
    model = open_model("own/pinned", commit, trust_remote_code=True)
    saved = tmp_path / "saved"
    model.save(str(saved))
    keep_code(model, saved)
    shutil.rmtree(Path(constants.HF_HUB_CACHE) / "models--own--pinned")
    assert np.array_equal(open_model(str(saved), trust_remote_code=True).encode(["a key"]), model.encode(["a key"]))


def test_code_of_another_repository_is_pinned_as_well_and_not_its_newest_is_run(plain, tmp_path, ran):
    old, new = "b1" * 20, "b2" * 20
    on_hub("own/code", old, {"own_code.py": MODEL.format(ran=str(ran), made_by="old")})
    on_hub("own/code", new, {"own_code.py": MODEL.format(ran=str(ran) + " new", made_by="new")})
    commit = "c1" * 20
    on_hub("own/elsewhere", commit, with_model_code(plain, tmp_path / "own", ran, home="own/code--"))
    for trust in (True, [f"own/other@{old}"]):
        with pytest.raises(ModelError, match=r"which lies in own/code\. .*trust_remote_code = \[own/code@"):
            open_model("own/elsewhere", commit, trust_remote_code=trust)
    model = open_model("own/elsewhere", commit, trust_remote_code=[f"own/code@{old}"])
    assert type(model[0].auto_model).made_by == "old"
    assert not Path(f"{ran} new").exists()


@pytest.mark.parametrize("pin", ["own/code", "own/code@main", "code@" + "b1" * 20, "own/code@" + "B1" * 20, ""])
def test_a_pin_is_a_name_and_a_whole_commit(pin):
    with pytest.raises(ParameterError, match="is no org/name@commit"):
        pins_of([pin])


def test_other_code_is_another_guide(plain, tmp_path, ran):
    shas = []
    for made_by in ("here", "there"):
        folder = with_model_code(plain, tmp_path / made_by, ran)
        (folder / "own_code.py").write_text(MODEL.format(ran=str(ran), made_by=made_by))
        shas.append(reading_sha(open_model(str(folder), trust_remote_code=True)))
    assert shas[0] != shas[1]
    assert reading_sha(open_model(str(plain))) == reading_sha(open_model(MINILM))


def test_a_guide_is_told_too(plain, tmp_path, ran):
    folder = str(with_model_code(plain, tmp_path / "own", ran))
    with pytest.raises(ModelError, match="trust_remote_code"):
        VectorCache(folder, folder=tmp_path / "cache")
    guide = VectorCache(GuideOptions(name=folder, trust_remote_code=True), folder=tmp_path / "cache")
    assert guide.embed(["a key"]).shape == (1, 384)
