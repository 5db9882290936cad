"""Candidates: every score is scikit-learn's by hand, differences are paired, and what fails for one stops no other."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers.evaluation_folders import label_folder, search_folder, shaken, sts_folder, write_rows
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from gisttools.common.errors import ModelError
from gisttools.data.folder_tasks import local_tasks
from gisttools.data.labelled import read_labelled
from gisttools.data.options import ReadOptions
from gisttools.evaluation import candidates as module
from gisttools.evaluation.candidates import TF_IDF, Encoder, _Found, difference, find_candidates
from gisttools.evaluation.fitting import kept_linear, labelled_of, texts_per_second, words
from gisttools.evaluation.intervals import crossed_interval
from gisttools.evaluation.models import open_scored, scored
from gisttools.evaluation.scores import ScoreCache
from gisttools.evaluation.tasks import task_sources
from gisttools.models.classifier import fit_linear


def encoder(model, name="student", kind="base", **told):
    models = model if isinstance(model, tuple) else (model,)
    opened = tuple(scored(m, f"{name} {i}") for i, m in enumerate(models))
    return Encoder(name=name, kind=kind, what="a model", models=opened, **told)


@pytest.fixture(scope="module")
def seeds(wordllama):
    return shaken(wordllama, 1), shaken(wordllama, 2)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return ScoreCache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def found(wordllama, seeds, caretaker, cache):
    entrants = [encoder(wordllama), encoder(seeds, "tuned student", "tuned", dollars=1.5, labels=40)]
    return find_candidates(entrants, task_sources(files=[caretaker]), cache=cache)


@pytest.fixture(scope="module")
def rows(found):
    return {row.name: row for row in found.rows}


@pytest.fixture(scope="module")
def texts(caretaker):
    train, test = (read_labelled(caretaker, ReadOptions(split=split)) for split in ("train", "test"))
    return train.texts, train.labels, test.texts, test.labels


def by_hand(model, texts):
    train, labels, test, _ = texts
    vectors = [model.encode(t, show_progress_bar=False).astype(np.float64) for t in (train, test)]
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in vectors]
    return LogisticRegression(C=3, max_iter=2000).fit(unit[0], labels).predict(unit[1])


def test_an_encoder_scores_what_scikit_learn_gives_by_hand(rows, wordllama, texts):
    answers, gold = by_hand(wordllama, texts), texts[3]
    assert rows["student"].score == accuracy_score(gold, answers)
    assert rows["student"].macro_f1 == pytest.approx(f1_score(gold, answers, average="macro"), abs=1e-15)
    assert (rows["student"].n_train, rows["student"].n_test) == (len(texts[0]), len(gold))


def test_over_seeds_it_is_the_mean(rows, seeds, texts):
    each = [by_hand(model, texts) for model in seeds]
    assert rows["tuned student"].score == pytest.approx(np.mean([accuracy_score(texts[3], a) for a in each]), abs=1e-15)
    f1 = np.mean([f1_score(texts[3], a, average="macro") for a in each])
    assert rows["tuned student"].macro_f1 == pytest.approx(f1, abs=1e-15)
    assert rows["tuned student"].seeds == 2
    assert (rows["tuned student"].dollars, rows["tuned student"].encoder_labels) == (1.5, 40)


def test_words_score_what_scikit_learn_gives_by_hand(rows, texts):
    train, labels, test, gold = texts
    terms = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit(train)
    fitted = LogisticRegression(C=100, max_iter=2000).fit(terms.transform(train), labels)
    answers = fitted.predict(terms.transform(test))
    assert rows[TF_IDF].score == accuracy_score(gold, answers)
    assert rows[TF_IDF].macro_f1 == pytest.approx(f1_score(gold, answers, average="macro"), abs=1e-15)
    assert math.isnan(rows[TF_IDF].few_shot)


def test_the_most_frequent_class_is_a_floor(rows, texts):
    counts = Counter(texts[1])
    label = min(counts, key=lambda name: (-counts[name], name))
    assert rows["most frequent class"].score == np.mean([gold == label for gold in texts[3]])
    assert rows["most frequent class"].kind == "floor"


def test_classes_are_scikit_learns_precision_and_recall(found, wordllama, texts):
    answers, gold = by_hand(wordllama, texts), texts[3]
    table = found.classes[found.classes["candidate"] == "student"].set_index("label")
    for label in sorted({*gold, *answers}):
        told = {"labels": [label], "average": "macro", "zero_division": 0}
        assert table.loc[label, "precision"] == pytest.approx(precision_score(gold, answers, **told), abs=1e-15)
        assert table.loc[label, "recall"] == pytest.approx(recall_score(gold, answers, **told), abs=1e-15)
        assert table.loc[label, "support"] == gold.count(label)


def test_every_answer_is_kept_and_adds_up_to_the_score(found, rows, wordllama, texts):
    own = found.answers[found.answers["candidate"] == "student"]
    assert own["text"].tolist() == texts[2]
    assert own["gold"].tolist() == texts[3]
    assert own["answer"].tolist() == by_hand(wordllama, texts).tolist()
    assert own["probability"].between(0, 1).all()
    for (name, _), part in found.answers.groupby(["candidate", "seed"]):
        assert len(part) == len(texts[2])
        if rows[name].seeds == 1:
            assert (part["answer"] == part["gold"]).mean() == rows[name].score
    both = found.answers[found.answers["candidate"] == "tuned student"]
    assert (both["answer"] == both["gold"]).mean() == pytest.approx(rows["tuned student"].score, abs=1e-15)


def test_the_few_shot_score_is_mtebs(rows, wordllama, caretaker):
    import mteb

    task = local_tasks(caretaker)[0]
    told = mteb.evaluate(wordllama, task, cache=None, co2_tracker=False, show_progress_bar=False).task_results[0]
    assert rows["student"].few_shot == pytest.approx(told.get_score(), abs=1e-12)
    assert rows["student"].samples_per_label == task.samples_per_label


def test_differences_are_to_the_best_and_agree_with_the_scores(found):
    best = [row for row in found.rows if row.best]
    assert len(best) == 1
    assert best[0].score == max(row.score for row in found.rows)
    for row in found.rows:
        if not row.best:
            assert row.difference == pytest.approx(row.score - best[0].score, abs=1e-12)
            assert row.low <= row.difference <= row.high


def test_sizes_and_speeds_are_told(rows, wordllama):
    weights = sum(w.numel() * w.element_size() for w in wordllama.parameters()) / 1e6
    assert weights < rows["student"].megabytes < weights + 0.1  # with the classifier
    assert 0 < rows[TF_IDF].megabytes < 1
    assert rows["most frequent class"].texts_per_s is None
    assert rows["student"].texts_per_s == rows["tuned student"].texts_per_s > 0  # one architecture, one speed


def test_a_second_time_nothing_is_embedded(wordllama, caretaker, cache, found, monkeypatch):
    monkeypatch.setattr(module, "texts_per_second", lambda answer, texts: 1.0)
    asked = []
    forward = type(wordllama).forward
    monkeypatch.setattr(type(wordllama), "forward", lambda self, *a, **k: asked.append(1) or forward(self, *a, **k))
    again = find_candidates([encoder(wordllama)], task_sources(files=[caretaker]), cache=cache)
    assert not asked
    first = {row.name: row.score for row in found.rows}
    assert all(row.score == first[row.name] for row in again.rows)


def test_a_classifier_is_kept_whole_and_fitted_again_where_it_is_damaged(cache, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    vectors, labels, own = rng.normal(size=(30, 5)), ["a", "b", "c"] * 10, ScoreCache(tmp_path)
    first, wanted = kept_linear(vectors, labels, own), fit_linear(vectors, labels)
    (file,) = (tmp_path / "linear").iterdir()
    again = kept_linear(vectors, labels, own)
    assert (first.weights == wanted.weights).all()
    assert (again.weights == wanted.weights).all()
    assert again.labels == wanted.labels
    kept_linear(vectors, labels[::-1], own)
    assert len(list((tmp_path / "linear").iterdir())) == 2
    for damage in (b"", b"PK\x03\x04 half", file.read_bytes()[:200]):
        file.write_bytes(damage)
        assert (kept_linear(vectors, labels, own).weights == wanted.weights).all()


def test_one_model_under_two_names_is_one_candidate(wordllama, caretaker, cache):
    both = [encoder(wordllama), replace(encoder(wordllama, "the guide", "guide"), what="the guide, as it came")]
    found = find_candidates(both, task_sources(files=[caretaker]), cache=cache)
    assert [row.name for row in found.rows] == ["most frequent class", TF_IDF, "student"]
    assert found.rows[-1].what == "a model; the guide, as it came"


def test_what_fails_for_one_stops_no_other(wordllama, caretaker, cache, monkeypatch):
    def broken(vectors, labels, cache):
        raise ModelError("no vectors today")

    monkeypatch.setattr(module, "kept_linear", broken)
    found = find_candidates([encoder(wordllama)], task_sources(files=[caretaker]), cache=cache)
    assert [row.name for row in found.rows] == ["most frequent class", TF_IDF]
    assert found.notes == ("caretaker, student: no vectors today",)


def test_guards_and_second_looks_are_no_targets(found):
    assert {target.task for target in found.targets} == {"caretaker"}


def test_the_summary_has_every_score_with_its_interval(found):
    rows = {row.name: row for row in found.rows if row.task == "caretaker"}
    told = found.summary()["targets"][0]["scores"]
    assert [one["score"] for one in told] == sorted((row.score for row in rows.values()), reverse=True)
    assert len(told) == len(rows)
    single = [one for one in told if rows[one["name"]].seeds == 1]
    assert {one["low"] for one in told if one not in single} == {None}  # of a mean over trainings it is no binomial
    for one in single:
        n, p = rows[one["name"]].n_test, one["score"]
        half = 1.959964 * (p * (1 - p) / n + 1.959964**2 / (4 * n * n)) ** 0.5  # Wilson 1927
        ends = [(p + 1.959964**2 / (2 * n) + side * half) / (1 + 1.959964**2 / n) for side in (-1, 1)]
        assert [one["low"], one["high"]] == pytest.approx(ends, abs=1e-6)


def test_a_smoke_run_is_no_reason_for_a_claim(wordllama, caretaker, cache):
    told = find_candidates([encoder(wordllama)], task_sources(files=[caretaker]), cache=cache, smoke=True).summary()
    assert told["targets"][0]["word"] == "none"
    assert told["line"].startswith("No claim")
    assert told["smoke"]


def test_a_head_is_a_candidate_with_its_own_encoder(wordllama, caretaker, cache, texts):
    class Heads:
        name, what = "student + linear head", "trained"

        def __call__(self, train, labels):
            assert (list(train), list(labels)) == (texts[0], texts[1])
            return [(wordllama, fit_linear(wordllama.encode(train), labels))]

    found = find_candidates([encoder(wordllama)], task_sources(files=[caretaker]), heads=Heads(), cache=cache)
    rows = {row.name: row for row in found.rows}
    assert rows["student + linear head"].score == rows["student"].score
    assert rows["student + linear head"].kind == "head"
    assert rows["student + linear head"].encoder_labels == len(texts[0])


def test_searches_are_held_against_bm25_query_by_query(wordllama, minilm, tmp_path, cache):
    sources = task_sources(files=[search_folder(tmp_path / "find")])
    found = find_candidates([encoder(wordllama), encoder(minilm, "guide", "guide")], sources, cache=cache)
    rows = {row.name: row for row in found.rows}
    assert set(rows) == {"BM25", "student", "guide"}
    assert 0 < rows["BM25"].megabytes < rows["student"].megabytes  # its index of twelve documents
    import mteb

    for name, model in (("student", wordllama), ("BM25", open_scored("bm25").encoder)):
        task = local_tasks(tmp_path / "find")[0]
        told = mteb.evaluate(model, task, cache=None, co2_tracker=False, show_progress_bar=False).task_results[0]
        assert rows[name].score == pytest.approx(told.get_score(), abs=1e-5)  # mteb rounds to five places
    assert {row.metric for row in found.rows} == {"ndcg_at_10"}
    assert all(row.texts_per_s > 0 for row in found.rows)
    assert found.answers.empty


def test_what_has_no_candidates_is_said(wordllama, tmp_path, cache):
    folder = tmp_path / "many"
    many = [{"text": f"text {i}", "labels": ["a"] if i % 2 else ["a", "b"]} for i in range(12)]
    write_rows(folder / "train.jsonl", many)
    write_rows(folder / "test.jsonl", many[:6])
    sources = task_sources(files=[sts_folder(tmp_path / "pairs"), folder])
    found = find_candidates([encoder(wordllama)], sources, cache=cache)
    assert found.rows == ()
    assert "pairs is a task of STS" in found.notes[0]
    assert "several labels" in found.notes[1]
    assert found.summary()["line"] == ""


def test_several_targets_of_one_metric_have_a_mean_and_of_two_metrics_none(wordllama, seeds, tmp_path, cache):
    first, second = label_folder(tmp_path / "first"), label_folder(tmp_path / "second")
    rows = [{"text": f"well, {text}", "label": label} for text, label in zip("abcdef", "xyxyxy", strict=True)]
    write_rows(second / "test.jsonl", [*rows])
    write_rows(second / "train.jsonl", [*rows, *rows])
    entrants = [encoder(wordllama), encoder(seeds, "tuned student", "tuned")]
    found = find_candidates(entrants, task_sources(files=[first, second]), cache=cache)
    assert len(found.targets) == 2
    assert found.overall is not None
    assert found.overall.task == "mean of 2 targets"
    mixed = find_candidates(entrants, task_sources(files=[first, search_folder(tmp_path / "find")]), cache=cache)
    assert len(mixed.targets) == 2
    assert mixed.overall is None
    assert "first: " in mixed.summary()["line"] or mixed.targets[0].advice.head == mixed.targets[1].advice.head


def test_a_sample_of_many_train_texts_is_drawn_and_told(caretaker):
    task = local_tasks(caretaker)[0]
    part = labelled_of(task, "default", "test", most=20)
    whole = labelled_of(task, "default", "test")
    assert (len(part.train_texts), part.of_train) == (20, len(whole.train_texts))
    pairs = set(zip(whole.train_texts, whole.train_labels, strict=True))
    assert set(zip(part.train_texts, part.train_labels, strict=True)) <= pairs
    assert part.train_texts == labelled_of(task, "default", "test", most=20).train_texts


@pytest.mark.parametrize(("one", "two"), [(1, 1), (1, 3), (3, 1), (3, 2)])
def test_the_interval_is_that_of_items_where_there_is_one_seed_and_wider_with_seeds(one, two):
    rng = np.random.default_rng(0)
    row = module.CandidateScore(task="t", name="n", kind="tuned")
    base = _Found(row=row, values=(rng.random((one, 200)) < 0.5).astype(float))
    other = _Found(row=row, values=(rng.random((two, 200)) < 0.6).astype(float))
    found = difference(base, other)
    items = crossed_interval(base.values.mean(axis=0), other.values.mean(axis=0))
    assert found.difference == pytest.approx(other.values.mean() - base.values.mean(), abs=1e-12)
    if max(one, two) == 1:
        assert (found.low, found.high) == (items.low, items.high)
    else:
        assert found.standard_error >= items.standard_error


def test_intervals_over_seeds_cover_the_true_difference():
    """95 % of them, where trainings differ and texts are drawn anew."""
    true = _logistic_mean(0.3, 0.3) - _logistic_mean(0.0, 0.0)
    rng, row, hits = np.random.default_rng(1), module.CandidateScore(task="t", name="n", kind="tuned"), 0
    for _ in range(300):
        hardness = rng.normal(size=150)
        base = (rng.random(150) < 1 / (1 + np.exp(hardness)))[None].astype(float)
        level = rng.normal(0.3, 0.3, size=(4, 1))
        tuned = (rng.random((4, 150)) < 1 / (1 + np.exp(hardness[None] - level))).astype(float)
        found = difference(_Found(row=row, values=base), _Found(row=row, values=tuned))
        hits += found.low <= true <= found.high
    assert hits >= 0.91 * 300


def _logistic_mean(level, spread):
    x = np.random.default_rng(2).normal(size=200_000)
    y = np.random.default_rng(3).normal(level, spread, size=200_000) if spread else level
    return float(np.mean(1 / (1 + np.exp(x - y))))


def test_speed_is_texts_by_time():
    seen = []
    speed = texts_per_second(lambda texts: seen.append(len(texts)), [f"text {i}" for i in range(100)])
    assert speed > 0
    assert set(seen) == {32, 4}
    assert texts_per_second(lambda texts: None, []) is None


def test_texts_without_a_word_stop_words_only(wordllama, tmp_path, cache):
    rows = [{"text": text, "label": label} for text, label in (("?", "a"), ("!", "b"), ("?!", "a"), ("!!", "b"))]
    write_rows(tmp_path / "marks" / "train.jsonl", rows)
    write_rows(tmp_path / "marks" / "test.jsonl", rows)
    with pytest.raises(ValueError, match="empty vocabulary"):
        words([row["text"] for row in rows], [row["label"] for row in rows])
    found = find_candidates([encoder(wordllama)], task_sources(files=[tmp_path / "marks"]), cache=cache)
    assert "student" in {row.name for row in found.rows}
    assert TF_IDF not in {row.name for row in found.rows}
    assert any("empty vocabulary" in note for note in found.notes)


def test_a_table_has_its_columns_without_rows_too():
    empty = module.Candidates()
    assert empty.table().empty
    for name, table in empty.tables().items():
        assert isinstance(table, pd.DataFrame), name
        assert len(table.columns) > 5


def test_the_model_that_is_advised_is_left_and_of_two_that_are_not_decided_both(wordllama, minilm, tmp_path, cache):
    """Twelve test texts decide nothing."""
    sources = task_sources(files=[label_folder(tmp_path / "own")])
    found = find_candidates([encoder(wordllama), encoder(minilm, "guide", "guide")], sources, cache=cache)
    advice = found.targets[0].advice
    folders = found.folders()
    encoders = [row for row in found.rows if row.name in ("student", "guide")]
    wanted = [name for name in (advice.best, advice.other) if name in {row.name for row in encoders}]
    assert [one.name for one in folders.values()] == (wanted or [max(encoders, key=lambda row: row.score).name])
    assert list(folders) == ["model", "faster_model"][: len(folders)]
    (told, *_) = found.summary()["models"]
    row = next(row for row in found.rows if row.name == told["name"])
    assert (told["accuracy"], told["folder"], told["fitted_on"]) == (row.score, "model", row.n_train)


def test_what_training_changed_is_the_paired_difference(wordllama, tmp_path, cache):
    sources = task_sources(files=[label_folder(tmp_path / "own")])
    entrants = [encoder(wordllama, kind="base"), encoder(shaken(wordllama, 1), "tuned", "tuned")]
    found = find_candidates(entrants, sources, cache=cache)
    ((one, other, gap),) = found.targets[0].changed
    scores = {row.name: row.score for row in found.rows}
    assert (one.name, other.name) == ("student", "tuned")
    assert gap.difference == pytest.approx(scores["tuned"] - scores["student"])
    (told,) = found.summary()["targets"][0]["changed"]
    assert (told["from"]["score"], told["to"]["score"]) == (scores["student"], scores["tuned"])
