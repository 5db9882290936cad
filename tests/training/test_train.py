"""Training on a small real table: it learns, it is repeatable, it goes on where it was killed, it can be opened."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import ROOT
from helpers.training_rows import MINILM, TEXTS, WORDLLAMA, table, train
from sentence_transformers import SentenceTransformer

from gisttools.common.errors import DataError, ModelError, ParameterError
from gisttools.data.triplets import make_triplets
from gisttools.models.loading import open_model
from gisttools.models.vectors import VectorCache
from gisttools.training.callbacks import SCORE, DevelopmentScore, Recorder
from gisttools.training.loss import GISTLoss
from gisttools.training.model_card import write_card
from gisttools.training.options import LossOptions, MadeFrom, TrainSettings
from gisttools.training.rates import USUAL, rate_of
from gisttools.training.soup import SHARES
from gisttools.training.store import GuideStore
from gisttools.training.train import choose_precision, finetune
from gisttools.workflow.params import check_params

TESTS = ROOT / "tests"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{TESTS}{os.pathsep}{ROOT}"}


@pytest.fixture(scope="module")
def guide(tmp_path_factory):
    return VectorCache(MINILM, folder=tmp_path_factory.mktemp("guide"))


@pytest.mark.slow
@pytest.mark.parametrize("guided", [True, False], ids=["guided", "unguided"])
@pytest.mark.parametrize("ragged", [False, True], ids=["one-negative", "ragged"])
def test_learns_and_can_be_opened_again(guide, tmp_path, guided, ragged):
    trained = train(table(ragged=ragged), guide if guided else None, tmp_path / "model")
    assert trained.history["loss"].iloc[-1] < 0.5 * trained.history["loss"].iloc[0]
    assert trained.steps == trained.best_step == 8
    opened = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    texts = TEXTS["late"]
    torch.testing.assert_close(
        opened.encode(texts, convert_to_tensor=True), trained.student.encode(texts, convert_to_tensor=True)
    )
    assert trained.met() == ""
    assert len(trained.masked_examples()) > 0


@pytest.mark.slow
def test_same_seed_same_curve_other_seed_another(guide, tmp_path):
    curves = [
        train(table(), guide, tmp_path / str(i), seed=seed).history["loss"].tolist() for i, seed in enumerate([1, 1, 2])
    ]
    assert curves[0] == curves[1]
    assert curves[0] != curves[2]


@pytest.mark.slow
def test_deterministic_mode_ends_with_the_training(guide, tmp_path):
    curves = [train(table(), guide, tmp_path / str(i), deterministic=True).history["loss"].tolist() for i in range(2)]
    assert curves[0] == curves[1]
    assert not torch.are_deterministic_algorithms_enabled()


def test_max_steps_ends_training_with_the_schedule_run_through(guide, tmp_path):
    trained = train(table(), guide, tmp_path, max_steps=5, schedule="cosine")
    rates = trained.history["learning_rate"]
    assert trained.steps == 5
    assert rates.max() == 1e-2
    assert rates.iloc[-1] < 0.2 * rates.max()


def test_history_tells_masked_shares_between_0_and_1(guide, tmp_path):
    history = train(table(), guide, tmp_path).history
    shares = history[["masked_ap", "masked_aa", "masked_pp", "masked_an"]]
    assert ((shares >= 0) & (shares <= 1)).all().all()
    assert shares["masked_aa"].max() > 0  # a batch of 6 from 3 labels holds texts of one label


def test_the_temperature_moves_in_a_straight_line(guide, tmp_path):
    history = train(table(), guide, tmp_path, max_steps=5, final_temperature=0.01).history
    np.testing.assert_allclose(history["temperature"], [0.05, 0.04, 0.03, 0.02, 0.01])


def test_one_set_a_batch_meets_only_its_own_rows(guide, tmp_path):
    """Each label a set: every candidate of a batch has the anchor's label, and all but the negatives are masked."""
    sets = np.repeat([0, 1, 2], 4)
    history = train(table(), guide, tmp_path, sets=sets, batches="one_set", batch_size=4).history
    assert (history[["masked_ap", "masked_aa", "masked_pp"]] == 1).all().all()
    assert (history["masked_an"] < 1).all()


@pytest.mark.slow
def test_matryoshka_trains_the_first_dimensions(guide, tmp_path):
    """At 8 dimensions the loss of the trained set falls further with Matryoshka than without."""
    rows, losses = table(), []
    for dims in ([], [256, 8]):
        trained = train(rows, guide, tmp_path / f"{len(dims)}", matryoshka_dims=dims, epochs=8)
        trained.student.truncate_dim = 8
        a, p = (trained.student.encode(rows[c][:], normalize_embeddings=True) for c in ("anchor", "positive"))
        scores = torch.from_numpy(a @ p.T) / 0.05
        losses.append(float(torch.nn.functional.cross_entropy(scores, torch.arange(len(rows)))))
    assert losses[1] < losses[0]


def test_lora_trains_adapters_and_saves_a_plain_model(guide, tmp_path):
    pytest.importorskip("peft")
    before = open_model(MINILM, device="cpu")
    options = {"student": MINILM, "lora_rank": 4, "learning_rate": 1e-2, "max_steps": 4, "precision": "float32"}
    trained = train(table(), guide, tmp_path / "model", **options)
    opened = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    assert opened.state_dict().keys() == before.state_dict().keys()
    changed = {k for k, w in opened.state_dict().items() if not torch.equal(w, before.state_dict()[k])}
    assert changed
    assert all("attention" in k or "dense" in k for k in changed)  # no embedding, no norm: the weights stay frozen
    texts = TEXTS["code"]
    torch.testing.assert_close(
        opened.encode(texts, convert_to_tensor=True), trained.student.encode(texts, convert_to_tensor=True)
    )


@pytest.mark.parametrize("lora", [None, 4], ids=["static", "lora"])
def test_a_share_of_the_start_is_mixed_into_the_saved_weights(guide, tmp_path, lora):
    if lora:
        pytest.importorskip("peft")
    given = {"student": MINILM if lora else WORDLLAMA, "lora_rank": lora, "max_steps": 3, "precision": "float32"}
    start = open_model(given["student"], device="cpu").state_dict()
    plain, kept = (
        SentenceTransformer(str(train(table(), guide, tmp_path / f"{k}", keep_start=k, **given).folder), device="cpu")
        for k in (0.0, 0.25)
    )
    tuned = plain.state_dict()
    assert any(not torch.equal(value, tuned[name]) for name, value in start.items())
    for name, value in kept.state_dict().items():
        wanted = 0.75 * tuned[name] + 0.25 * start[name] if value.is_floating_point() else tuned[name]
        torch.testing.assert_close(value, wanted)


def test_what_is_mixed_in_stands_in_record_card_and_headline(guide, tmp_path, caretaker):
    dev = developing(tmp_path, caretaker)
    trained = train(table(), guide, tmp_path / "model", keep_start=0.3, max_steps=4, development=dev)
    saved = dev(SentenceTransformer(str(trained.folder), device="cpu"))[SCORE]
    assert trained.score == pytest.approx(saved)
    assert trained.average.score == trained.score
    made_from = MadeFrom(student=WORDLLAMA, dev=[str(tmp_path)])
    summary = trained.summary(made_from)
    assert (summary["settings"]["keep_start"], summary["development_score"]) == (0.3, trained.score)
    card = write_card(trained, made_from).read_text(encoding="utf-8")
    assert "70 % the trained ones and 30 % those of embedded:wordllama-256" in card
    assert f"averaged, the score is {saved:.4f}" in card
    assert f"with 30 % of the start ({100 * saved:.1f})" in trained.headline()


def developing(folder: Path, caretaker: Path) -> DevelopmentScore:
    """Scored on texts that are not trained on."""
    for name, file in (("train", "train"), ("dev", "test")):
        shutil.copy(caretaker / f"{file}.jsonl", folder / f"{name}.jsonl")
    return DevelopmentScore([str(folder)])


def test_the_share_of_the_start_may_be_left_to_the_development_data(guide, tmp_path, caretaker):
    dev = developing(tmp_path, caretaker)
    trained = train(table(), guide, tmp_path / "model", keep_start="auto", learning_rate=0.3, development=dev)
    tried = trained.average.tried
    assert tried["start_share"].tolist() == list(SHARES)
    best = tried["score"].max()
    assert trained.settings.keep_start == tried[tried["score"] == best]["start_share"].max()
    assert trained.score == pytest.approx(best)
    saved = dev(SentenceTransformer(str(trained.folder), device="cpu"))[SCORE]
    assert saved == pytest.approx(best)


def test_the_share_of_the_start_cannot_be_chosen_by_nothing(tmp_path):
    with pytest.raises(ParameterError, match="keep_start is 'auto', but there is no development data"):
        train(table(), None, tmp_path, keep_start="auto")


def test_other_trainings_are_averaged_with_this_one_and_stay_as_they_are(guide, tmp_path, caretaker):
    others = [train(table(), guide, tmp_path / f"{seed}", seed=seed).student for seed in (1, 2)]
    start, before = open_model(WORDLLAMA, device="cpu").state_dict(), copy.deepcopy([o.state_dict() for o in others])
    alone = train(table(), guide, tmp_path / "alone", seed=3).student.state_dict()
    trained = train(table(), guide, tmp_path / "model", seed=3, soup=others, keep_start=0.1)
    (name,) = start
    wanted = 0.9 * (alone[name] + sum(b[name] for b in before)) / 3 + 0.1 * start[name]
    torch.testing.assert_close(trained.student.state_dict()[name], wanted)
    assert (trained.average.trainings, trained.average.of, trained.score) == (3, 3, None)
    assert all(torch.equal(o.state_dict()[name], b[name]) for o, b in zip(others, before, strict=True))
    assert "average of 3 of 3 trainings and 10 % of the start" in trained.headline()
    card = write_card(trained, MadeFrom(student=WORDLLAMA)).read_text(encoding="utf-8")
    assert "average of 3 of 3 trainings from one start" in card


def test_a_training_that_spoils_the_average_stays_out_of_it(guide, tmp_path, caretaker):
    dev, spoilt = developing(tmp_path, caretaker), open_model(WORDLLAMA, device="cpu")
    with torch.no_grad():
        spoilt[0].embedding.weight.normal_()
    trained = train(table(), guide, tmp_path / "model", soup=[spoilt], development=dev)
    assert (trained.average.trainings, trained.average.of) == (1, 2)
    assert trained.score == pytest.approx(trained.development[SCORE].max())


def test_models_of_another_shape_are_refused_before_the_training(guide, tmp_path):
    with pytest.raises(ModelError, match="cannot be averaged"):
        train(table(), guide, tmp_path / "model", soup=[open_model(MINILM, device="cpu")])
    assert not (tmp_path / "model").exists()


def test_lora_needs_a_transformer(guide, tmp_path):
    pytest.importorskip("peft")
    with pytest.raises(ModelError, match="lora_rank is 4, but this student has no transformer"):
        train(table(), guide, tmp_path, lora_rank=4)


@pytest.mark.slow
def test_gradient_checkpointing_gives_the_same_weights(guide, tmp_path):
    weights = []
    for on in (False, True):
        options = {"student": MINILM, "max_steps": 2, "learning_rate": 5e-5, "precision": "float32"}
        trained = train(table(), guide, tmp_path / str(on), gradient_checkpointing=on, **options)
        weights.append(torch.cat([w.detach().flatten() for w in trained.student.parameters()]))
    torch.testing.assert_close(weights[0], weights[1], atol=2e-5, rtol=0)


@pytest.mark.slow
def test_gradient_checkpointing_in_bfloat16_takes_short_and_long_texts(guide, tmp_path):
    rows = [{"anchor": f"{'word ' * n} {i}", "positive": f"text {i}"} for i, n in enumerate((2, 200, 3, 190))]
    options = {"student": MINILM, "max_steps": 2, "batch_size": 4, "precision": "bfloat16",
               "learning_rate": 5e-5}  # fmt: skip
    trained = train(make_triplets(rows), guide, tmp_path / "model", gradient_checkpointing=True, **options)
    assert trained.history["loss"].notna().all()


def test_float16_is_refused_where_there_is_no_cuda(guide, tmp_path):
    with pytest.raises(ParameterError, match="the student is on cpu: float16, with its loss scaling, is for GPUs"):
        train(table(), guide, tmp_path / "model", max_steps=2, precision="float16")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="float16 is trained in on CUDA alone")
def test_float16_trains_under_a_scaler(guide, tmp_path):
    loss = GISTLoss(open_model(MINILM, device="cuda"), GuideStore.build(table(), guide), LossOptions(temperature=0.05))
    trained = finetune(loss, tmp_path / "model", TrainSettings(max_steps=8, batch_size=6, precision="float16"))
    assert trained.precision == "float16"
    assert trained.history["loss"].notna().all()


def killed_in_another_process(folder: Path, when: str, **given) -> None:
    """Train in a process of its own; kill it (-9) as soon as a file of the pattern `when` is in the folder."""
    process = subprocess.Popen(
        [sys.executable, str(TESTS / "helpers" / "training_rows.py"), json.dumps({"folder": str(folder), **given})],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not list(folder.glob(when)):
        time.sleep(0.01)  # waits for a file, not for a time
    process.kill()
    assert process.wait() == -signal.SIGKILL


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_as_if_it_had_not_been_killed(guide, tmp_path):
    settings = {"max_steps": 8, "learning_rate": 1e-2, "checkpoint_minutes": 0, "final_temperature": 0.02}
    whole = train(table(), guide, tmp_path / "whole", **settings)
    killed_in_another_process(
        tmp_path, "checkpoints/checkpoint-[3-6]/note.json", checkpoints=str(tmp_path / "checkpoints"), **settings
    )
    assert not (tmp_path / "model").exists()
    # the half-written checkpoint of a process killed while it wrote
    (tmp_path / "checkpoints" / "checkpoint-7").mkdir(exist_ok=True)
    gone_on = train(table(), guide, tmp_path / "model", checkpoints=tmp_path / "checkpoints", **settings)
    np.testing.assert_allclose(gone_on.history["loss"], whole.history["loss"], rtol=1e-4)
    for one, other in zip(gone_on.student.parameters(), whole.student.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.slow
def test_a_training_that_fails_can_be_tried_again_in_the_same_process(guide, tmp_path, monkeypatch):
    options = {"checkpoints": tmp_path / "checkpoints", "max_steps": 4, "checkpoint_minutes": 0}
    with monkeypatch.context() as broken:
        broken.setattr(Recorder, "on_log", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(table(), guide, tmp_path / "model", **options)
    assert train(table(), guide, tmp_path / "model", **options).steps == 4


EIGHT_STEPS = {"max_steps": 8, "learning_rate": 1e-2, "checkpoint_minutes": 0}


@pytest.fixture(scope="module")
def killed(guide, tmp_path_factory):
    """The losses of a training of eight steps, and the checkpoints of the same that was killed after four to six."""
    folder = tmp_path_factory.mktemp("killed")
    whole = train(table(), guide, folder / "whole", **EIGHT_STEPS)
    checkpoints = folder / "checkpoints"
    killed_in_another_process(
        folder, "checkpoints/checkpoint-[4-6]/note.json", checkpoints=str(checkpoints), **EIGHT_STEPS
    )
    return whole.history["loss"], checkpoints


@pytest.mark.slow
@pytest.mark.parametrize("what", ["the newest", "all", "all notes", "training.json"])
def test_damaged_checkpoints_are_set_aside(guide, killed, tmp_path, caplog, what):
    """The training goes on from the last whole one, else it begins anew; it ends as if nothing had been damaged."""
    losses, checkpoints = killed
    folder = shutil.copytree(checkpoints, tmp_path / "checkpoints")
    noted = sorted(folder.glob("checkpoint-*/note.json"))
    chosen = {
        "the newest": [p for p in noted[-1].parent.rglob("*") if p.is_file() and p.name != "note.json"],
        "all": [p for p in folder.glob("checkpoint-*/**/*") if p.is_file()],
        "all notes": noted,
        "training.json": [folder / "training.json"],
    }[what]
    for path in chosen:
        path.write_bytes(path.read_bytes()[:100])
    gone_on = train(table(), guide, tmp_path / "model", checkpoints=folder, **EIGHT_STEPS)
    np.testing.assert_allclose(gone_on.history["loss"], losses, rtol=1e-4)
    assert "set aside" in caplog.text


def test_checkpoints_of_another_training_are_refused(guide, tmp_path):
    options = {"checkpoints": tmp_path / "checkpoints", "max_steps": 3}
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "training.json").write_text(json.dumps({"seed": 7, "steps": 3}), encoding="utf-8")
    with pytest.raises(DataError, match=r"of another training .*seed: 7 there, 42 now"):
        train(table(), guide, tmp_path / "model", **options)


@pytest.mark.slow
def test_two_processes_train_as_one(guide, tmp_path):
    """Each takes half of every batch; candidates come from both."""
    settings = {"max_steps": 4, "learning_rate": 1e-2, "batch_size": 8}  # 12 rows: every second batch is half as large
    single = train(table(), guide, tmp_path / "single", **settings)
    given = json.dumps({"folder": str(tmp_path), **settings})
    command = [
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--standalone",
        str(TESTS / "helpers" / "training_rows.py"),
    ]
    done = subprocess.run([sys.executable, *command, given], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    weights = np.concatenate([w.detach().numpy().ravel() for w in single.student.parameters()])
    for rank in (0, 1):
        np.testing.assert_allclose(np.load(tmp_path / f"weights_{rank}.npy"), weights, atol=1e-5)
        history = pd.read_json(tmp_path / f"history_{rank}.json")
        np.testing.assert_allclose(history["loss"], single.history["loss"], rtol=1e-4)


def test_one_row_is_refused(guide, tmp_path):
    with pytest.raises(DataError, match="has 1 row"):
        train(table().select([0]), guide, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_all_bad_settings_are_named_at_once():
    with pytest.raises(ParameterError) as caught:
        TrainSettings(epochs=0, batch_size=-1, learning_rate=0.0, warmup_ratio=2, max_steps=0)
    for name in ("epochs = 0", "batch_size = -1", "learning_rate = 0.0", "warmup_ratio = 2", "max_steps = 0"):
        assert name in str(caught.value)
    with pytest.raises(ParameterError, match=r"matryoshka_dims are \[0\], must be > 0"):
        TrainSettings(matryoshka_dims=[0])


def test_what_does_not_fit_the_student_is_refused_before_anything_runs(guide, tmp_path):
    with pytest.raises(ParameterError) as caught:
        train(table(), guide, tmp_path / "model", gradient_checkpointing=True, matryoshka_dims=[512])
    assert "has no transformer layers" in str(caught.value)
    assert "the student has 256 dimensions" in str(caught.value)
    assert not (tmp_path / "model").exists()


def test_static_students_train_in_float32_unless_told():
    student = open_model(WORDLLAMA, device="cpu")
    assert choose_precision("auto", student) == "float32"
    assert choose_precision("bfloat16", student) == "bfloat16"


def test_transformer_trains_in_bfloat16(guide, tmp_path):
    student, store = open_model(MINILM, device="cpu"), GuideStore.build(table(), guide)
    settings = TrainSettings(max_steps=2, batch_size=4, precision="bfloat16")
    trained = finetune(GISTLoss(student, store), tmp_path, settings)
    assert trained.precision == "bfloat16"
    assert trained.history["loss"].notna().all()


def test_a_notebooks_parameters_reach_loss_and_settings():
    given = {
        "loss_temperature": 0.02, "margin": 0.1, "margin_strategy": "relative", "contrast_anchors": False,
        "candidates": "hard", "mask_same_label": False, "mini_batch_size": 8, "tokens_per_forward": 256,
        "equal_texts_once": True, "schedule": "cosine", "weights": [1.0, 2.0], "mix": "weights", "batches": "one_set",
        "lora_rank": 4, "patience": 3, "checkpoint_minutes": 5.0,
    }  # fmt: skip
    parameters = check_params("finetune", given | {"dev": ["data/support_intents"]})
    loss, settings = (
        parameters.part(LossOptions, temperature=parameters.loss_temperature),
        parameters.part(TrainSettings),
    )
    found = {**loss.model_dump(), **settings.model_dump(), "loss_temperature": loss.temperature}
    assert {name: found[name] for name in given} == given


def test_a_margin_without_a_guide_is_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"margin is 0\.1, but the store has no guide"):
        train(table(), None, tmp_path / "model", loss_options={"margin": 0.1})


@pytest.mark.parametrize("option", [{"patience": 3}, {"dev_every": 1}])
def test_looks_at_no_development_data_are_refused(tmp_path, option):
    with pytest.raises(ParameterError, match="there is no development data"):
        train(table(), None, tmp_path / "model", **option)


@pytest.mark.parametrize(
    ("student", "option", "said"),
    [
        (MINILM, {"max_length": 513}, "max_length is 513, but the model has positions for 512 tokens"),
        (WORDLLAMA, {"max_length": 128}, "max_length is 128, but a static student reads whole texts"),
    ],
)
def test_settings_that_do_not_fit_the_student_are_refused_before_training(tmp_path, student, option, said):
    with pytest.raises(ParameterError, match=said):
        train(table(), None, tmp_path / "model", student=student, **option)


def test_a_student_that_hardly_reads_its_texts_is_told_of(tmp_path, caplog):
    texts = ["我的包裹在哪里", "包裹还没有送到", "怎么申请退款", "退款还没有到账"]
    rows = make_triplets(
        [{"anchor": a, "positive": b, "negatives": []} for a, b in zip(texts, texts[::-1], strict=True)]
    )
    trained = train(rows, None, tmp_path / "model", student=MINILM, max_steps=1, learning_rate=1e-6)
    assert "Student does not know 8" in caplog.text
    assert trained.summary(MadeFrom(student=MINILM))["student_reading"]["hardly_read"] == 4


@pytest.mark.parametrize(("word", "times"), [("low", 1 / 3), ("high", 3.0), (None, 1.0)])
@pytest.mark.parametrize("kind", ["static", "transformer", "lora"])
def test_words_for_a_rate_are_a_third_and_three_times_that_of_the_kind(word, times, kind, wordllama, minilm):
    settings = TrainSettings(learning_rate=word, lora_rank=4 if kind == "lora" else None)
    rate = rate_of(settings, wordllama if kind == "static" else minilm)
    assert rate.value == pytest.approx(times * USUAL[kind].rate)
    assert rate.warning == ""


def test_frozen_layers_bear_another_rate_on_labelled_texts_alone(minilm):
    told = {kind: TrainSettings(train_on=kind, freeze_layers=3) for kind in ("triplets", "labelled")}
    found = {kind: rate_of(settings, minilm).value for kind, settings in told.items()}
    assert found == {"triplets": USUAL["transformer"].rate, "labelled": USUAL["transformer"].frozen}


def test_where_a_few_steps_are_best_the_rate_is_another(minilm, guide, tmp_path):
    settings = TrainSettings(train_on="triplets")
    assert (
        rate_of(settings, minilm, few_steps=True).value == USUAL["transformer"].few_steps != USUAL["transformer"].rate
    )
    given = {"loss_options": {"distill": 0.5}, "max_steps": 1, "learning_rate": None}
    trained = train(table(), guide, tmp_path / "model", student=MINILM, **given)
    assert trained.options()["learning_rate"] == USUAL["transformer"].few_steps


@pytest.mark.parametrize("rate", ["middle", 0.0, -1.0, True])
def test_no_other_word_or_number_is_a_rate(rate):
    with pytest.raises(ParameterError, match="learning_rate"):
        TrainSettings(learning_rate=rate)
