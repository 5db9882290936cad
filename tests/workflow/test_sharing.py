"""Sharing: what would go is shown, clean and whole, and goes in one commit to a hub by the hub's own client."""

from __future__ import annotations

import io
import json
import os
import re

import mteb
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from datasets import load_dataset
from helpers import MINILM, WORDLLAMA
from helpers.html_page import Page
from helpers.hub import COMMIT, TOKEN, hub_here
from helpers.report_runs import comparison_row, evaluate
from helpers.server import RESET
from huggingface_hub import metadata_load

from gisttools.cli.main import main
from gisttools.common import DataError, EndpointError, MissingError, ParameterError, card_head, card_problems
from gisttools.common.runs import read_run
from gisttools.data.triplets import read_triplets, write_triplets
from gisttools.evaluation.models import scored
from gisttools.evaluation.mteb_files import write_mteb_result
from gisttools.evaluation.scores import KeptScores
from gisttools.models.loading import open_model
from gisttools.report.data import collect
from gisttools.report.render import render_html
from gisttools.workflow.manifest import write_manifest
from gisttools.workflow.outgoing import Cleaner
from gisttools.workflow.sending import send
from gisttools.workflow.sharing import packed

SECRET = "a-value-nobody-may-read-42"
REPO = "me/mine"
HEAD = "---\nlicense: MIT\nlibrary_name: sentence-transformers\npipeline_tag: sentence-similarity\ntags:\n- gist\n---\n"


@pytest.fixture
def hub(monkeypatch):
    with hub_here(monkeypatch) as server:
        yield server


@pytest.fixture
def places(results, monkeypatch):
    """Paths of this machine that must not leave, and a key of the environment."""
    monkeypatch.setenv("MY_API_KEY", SECRET)
    monkeypatch.setenv("HOME", "/home/somebody")
    return [str(results), "/home/somebody", "/srv/customers"]


@pytest.fixture
def trained(make_run, places):
    """A finetune run whose files know where they were made."""
    card = (
        f"{HEAD}# wordllama tuned\n\nFrom /srv/customers/secret_set/rows.csv and {places[0]}/finetune-1.\n\n"
        '```python\nmodel = SentenceTransformer("path or name of this model")\n```\n\n## Licence\n\nmit\n'
    )
    config = {"_name_or_path": "/srv/customers/bert", "hidden_size": 8, "note": f"in {places[0]}/x"}
    files = {
        "model/README.md": card.encode(),
        "model/config.json": json.dumps(config).encode(),
        "model/modules.json": b'[{"idx": 0, "path": ""}]',
        "model/tokenizer.json": b'{"vocab": {"/srv/customers/words": 1}}',
        "model/model.safetensors": os.urandom(3000),
        "summary.json": b"{}",
        "masked.txt": b"not shared",
    }
    return make_run("finetune", files=files)


@pytest.fixture
def evaluated(trained, results):
    rows = [comparison_row(), comparison_row("STSBenchmark", task_type="STS", metric="cosine_spearman")]
    return evaluate(results, rows, [trained.name], parameters={"model": trained.name})


def triplets(tmp_path) -> bytes:
    row = {"language": "eng-Latn", "task_name": "/srv/customers/secret_set", "source": "labelled"}
    rows = [
        {
            **row,
            "anchor": "see /etc/a/b",
            "positive": f"b {i}",
            "negatives": ["n", f"key {SECRET}"],
            "anchor_label": "x",
        }
        for i in range(3)
    ]
    rows.append({**row, "anchor": "a", "positive": "b 0", "source": "llm", "language": "deu-Latn", "negatives": []})
    return write_triplets(rows, tmp_path / "t.parquet").read_bytes()


@pytest.fixture
def converted(make_run, places, tmp_path):
    sources = [{"source": "/srv/customers/secret_set", "licence": "cc-by-4.0"}]
    return make_run(
        "convert",
        files={
            "triplets.parquet": triplets(tmp_path),
            "data_card.md": b"# Data card\n\n4 triplets.\n\n| source |\n| --- |\n| /srv/customers/secret\\_set |\n",
            "summary.json": json.dumps({"sources": sources}).encode(),
        },
    )


def share(*words, status=0):
    done = CliRunner().invoke(main, ["share", *map(str, words)])
    assert done.exit_code == status, done.output
    return done.output


def nothing_private(files, places):
    for name, content in files.items():
        for word in (*places, SECRET, TOKEN):
            assert word.encode() not in content, (name, word)


def test_a_dry_run_shows_files_card_and_address_and_asks_the_hub_nothing(hub, trained, evaluated):
    told = share(trained.name, REPO)
    assert f"to       {hub.address}/me/mine (a model, private)" in told
    assert "licence  mit" in told
    assert "model.safetensors  3.0 kB" in told
    assert "scores" in told
    assert "support 78.9, STSBenchmark 78.9" in told
    assert f"This sends it: gisttools share {trained.name} me/mine --yes" in told
    assert hub.calls == []


def test_a_model_goes_in_one_commit_to_a_private_repository(hub, trained, evaluated, places):
    told = share(trained.name, REPO, "--yes")
    repository = hub.repositories[f"model {REPO}"]
    assert (repository.private, len(repository.commits)) == (True, 1)
    assert set(repository.files) == {"README.md", "config.json", "modules.json", "tokenizer.json", "model.safetensors"}
    assert repository.files["model.safetensors"] == (trained / "model" / "model.safetensors").read_bytes()
    assert f"commit {COMMIT}" in told
    assert hub.asked == ["whoami", "info", "create", "validate", "preupload", "commit"]
    nothing_private({k: v for k, v in repository.files.items() if k != "tokenizer.json"}, places)
    assert json.loads(repository.files["config.json"]) == {"_name_or_path": "bert", "hidden_size": 8, "note": "in …/x"}


def test_the_card_has_scores_with_intervals_and_passes_the_hubs_checks(hub, trained, evaluated, tmp_path):
    share(trained.name, REPO, "--yes")
    card = hub.repositories[f"model {REPO}"].files["README.md"].decode()
    assert card_problems(card, "model") == []
    assert "| support | accuracy | 71.4 | 78.9 | +7.5 | +4.1 to +10.9 | helped |" in card
    assert 'SentenceTransformer("me/mine")' in card
    (tmp_path / "README.md").write_text(card)
    head = metadata_load(tmp_path / "README.md")
    assert (head["license"], head["library_name"]) == ("mit", "sentence-transformers")
    (model,) = head["model-index"]
    assert model["name"] == REPO
    assert [r["metrics"][0]["value"] for r in model["results"]] == [78.9, 78.9]


@pytest.mark.slow
@pytest.mark.parametrize("name", [WORDLLAMA, MINILM])
def test_what_arrives_opens_and_gives_the_same_vectors(hub, make_run, tmp_path, name):
    model = open_model(name, device="cpu")
    model.save(str(tmp_path / "model"))
    files = [p for p in (tmp_path / "model").rglob("*") if p.is_file()]
    run = make_run("finetune", files={p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in files})
    share(run.name, REPO, "--yes")
    for there, content in hub.repositories[f"model {REPO}"].files.items():
        (tmp_path / "there" / there).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "there" / there).write_bytes(content)
    texts = ["the lift stands still", "radiator stays cold"]
    again = open_model(str(tmp_path / "there"), device="cpu")
    assert (again.encode(texts) == model.encode(texts)).all()


def test_a_home_of_one_word_is_a_place_only_with_what_lies_in_it(monkeypatch):
    monkeypatch.setenv("HOME", "/root")
    cleaner = Cleaner()
    assert cleaner.left(b'{"/root": 1, "x/root/y": 2}') is None  # words of a tokenizer
    assert cleaner.left(b"in /root/data") == "a place of this machine"
    assert cleaner.text("see /root/data, not /root") == "see …/data, not /root"


def test_a_model_that_was_not_evaluated_goes_without_scores_and_that_is_said(trained):
    with packed(trained.name, REPO) as parcel:
        assert "no evaluation of" in " ".join(parcel.notes)
        assert "model-index" not in parcel.card


def test_of_several_seeds_the_card_is_that_of_the_model_that_goes(trained, make_run, results):
    other = make_run(
        "finetune", seed=5, files={"model/README.md": f"{HEAD}# another\n".encode(), "summary.json": b"{}"}
    )
    evaluate(results, [comparison_row(n_seeds=2)], [other.name, trained.name],
             parameters={"model": [trained.name, other.name]})  # fmt: skip
    with packed(trained.name, REPO) as parcel:
        card = parcel.files["README.md"].decode()
        assert "# wordllama tuned" in card
        assert "Means of 2 trainings" in card


def test_an_evaluation_of_the_smoke_profile_gives_a_card_no_scores(trained, results):
    evaluate(results, [comparison_row()], [trained.name], parameters={"model": trained.name}, profile="smoke")
    with packed(trained.name, REPO) as parcel:
        assert "model-index" not in parcel.card


def used(results, trained):
    """An evaluate run that left a classifier to be used."""
    told = {"name": "tuned", "folder": "model", "task": "support", "labels": ["a", "b"], "texts": 9, "accuracy": 0.9}
    row = {"task": "support", "subset": "default", "metric": "accuracy", "kind": "tuned", "name": "tuned"}
    rows = [
        {**row, "score": 0.9, "best": True, "difference": None, "low": None, "high": None},
        {**row, "name": "base", "score": 0.8, "best": False, "difference": -0.1, "low": -0.2, "high": -0.01},
    ]
    run = evaluate(
        results, [comparison_row()], [trained.name], parameters={"model": trained.name},
        more={"candidates.parquet": rows}, summary={"advice": {"models": [told]}},
    )  # fmt: skip
    (run / "model").mkdir()
    (run / "model" / "README.md").write_text("# tuned\n\nA classifier of 2 labels.\n")
    (run / "model" / "classifier.json").write_text('{"labels": ["a", "/x/y/z"]}')
    manifest = json.loads((run / "manifest.json").read_text())
    write_manifest(run, {k: v for k, v in manifest.items() if k not in ("run_id", "artefacts")})
    return run


def test_what_an_evaluation_left_to_be_used_goes_with_what_all_candidates_scored(trained, results):
    with packed(used(results, trained).name, REPO) as parcel:
        assert set(parcel.files) == {"README.md", "classifier.json"}
        assert parcel.card["pipeline_tag"] == "text-classification"
        card = parcel.files["README.md"].decode()
        assert "| base | accuracy | 80.0 | −10.0 | −20.0 to −1.0 |" in card
        assert json.loads(parcel.files["classifier.json"].read_text())["labels"] == ["a", "/x/y/z"]  # labels stay


def test_of_an_evaluation_that_left_none_the_tuned_model_goes(trained, evaluated):
    with packed(evaluated.name, REPO) as parcel:
        assert parcel.files["model.safetensors"].read_bytes() == (trained / "model" / "model.safetensors").read_bytes()
        assert "+4.1 to +10.9" in parcel.files["README.md"].decode()


def test_data_goes_with_its_card_and_how_many_texts_it_holds_is_said_before(hub, converted, places, tmp_path):
    told = share(converted.name, REPO)
    assert "whoever may see it reads 7 texts in 4 rows (3 of labelled texts, 1 written by an LLM)" in told
    share(converted.name, REPO, "--yes")
    repository = hub.repositories[f"dataset {REPO}"]
    assert set(repository.files) == {"README.md", "triplets.parquet"}
    (tmp_path / "there").mkdir()
    for name, content in repository.files.items():
        (tmp_path / "there" / name).write_bytes(content)
    card = repository.files["README.md"].decode()
    assert card_problems(card, "dataset") == []
    head = card_head(card)
    assert (head["license"], head["language"], head["size_categories"]) == ("cc-by-4.0", ["de", "en"], ["n<1K"])
    assert "synthetic" in head["tags"]
    nothing_private({"README.md": repository.files["README.md"]}, places)
    found = load_dataset(str(tmp_path / "there"), cache_dir=str(tmp_path / "cache"))  # by the card's own `configs`
    assert found["train"]["anchor"] == ["see /etc/a/b"] * 3 + ["a"]


def test_in_a_table_only_what_is_said_of_the_texts_is_cleaned(converted, places):
    with packed(converted.name, REPO) as parcel:
        raw = parcel.files["triplets.parquet"].read_bytes()
        table = pq.read_table(io.BytesIO(raw))
        assert table["anchor"].to_pylist()[0] == "see /etc/a/b"  # a text of the data
        assert set(table["task_name"].to_pylist()) == {"…/secret_set"}
        assert table["negatives"].to_pylist()[0] == ["n", "key ***"]
        assert read_triplets(parcel.files["triplets.parquet"]).num_rows == 4
        nothing_private({"table": b"".join(str(c.to_pylist()).encode() for c in table.columns)}, places)


def test_a_licence_that_is_told_takes_the_place_of_the_sources(converted):
    with packed(converted.name, REPO, licence="MIT") as parcel:
        assert parcel.licence == "mit"


def test_a_data_set_without_a_licence_says_so(make_run, tmp_path):
    run = make_run("synthesize", files={"triplets.parquet": triplets(tmp_path), "summary.json": b"{}"})
    with packed(run.name, REPO) as parcel:
        assert parcel.licence is None
        assert any("no licence is told" in note for note in parcel.notes)


PAGE = (
    "<!doctype html><html><head><style>p{}</style><script>const a = 1 / 2; // /srv/customers/x/y\n</script></head>"
    '<body title="RESULTS/x"><p>read from /srv/customers/secret_set/rows.csv</p><p>RESULTS/evaluate-1 KEY</p>'
    '<script type="application/json">{"file": "/srv/customers/b/c.csv", "n": 1}</script></body></html>'
)


@pytest.fixture
def reported(make_run, places, evaluated):
    page = PAGE.replace("RESULTS", places[0]).replace("KEY", SECRET)
    files = {
        "report.html": page.encode(),
        "scores.csv": b"task,file\na,/srv/customers/a/b.csv\n",
        "summary.json": b"{}",
    }
    return make_run("report", files=files, parents=[evaluated.name], headline="HELPED by 7.5")


def test_a_report_goes_to_a_static_space_that_shows_its_page(hub, reported):
    share(reported.name, "me/report", "--yes", "--public")
    repository = hub.repositories["space me/report"]
    assert (repository.private, repository.sdk) == (False, "static")
    assert set(repository.files) == {"README.md", "index.html", "scores.csv"}
    card = repository.files["README.md"].decode()
    assert card_problems(card, "space") == []
    assert card_head(card)["app_file"] == "index.html"
    assert "HELPED by 7.5" in card


def test_a_page_keeps_its_code_and_loses_paths_and_secrets(reported, places):
    with packed(reported.name, REPO) as parcel:
        page = parcel.files["index.html"].decode()
        assert "const a = 1 / 2; // /srv/customers/x/y" in page  # code is not data
        assert "<p>read from …/rows.csv</p>" in page
        assert json.loads(re.search(r"json\">(.*?)</script>", page)[1]) == {"file": "…/c.csv", "n": 1}
        assert places[0] not in page
        assert SECRET not in page
        assert parcel.files["scores.csv"] == b"task,file\na,\xe2\x80\xa6/b.csv\n"


@pytest.mark.slow
def test_a_whole_report_stays_as_it_is_but_for_paths(evaluated, results):
    html = render_html(collect(evaluated, results))
    clean = Cleaner().page(html)
    before, after = Page(html), Page(clean)
    code = [c for c in before.scripts if not c.startswith("{")]
    assert [c for c in after.scripts if not c.startswith("{")] == code  # the page's policy runs them by their hash
    told = [json.loads(c) for page in (before, after) for c in page.scripts if c.startswith("{")]
    assert told[0] == told[1]
    assert len(after.text) == len(before.text) > 20


def with_scores(run, wordllama, roles=("base", "tuned")):
    """An evaluate run with mteb's files of these roles."""
    part = {"hf_subset": "default", "languages": ["eng-Latn"], "main_score": 0.5, "accuracy": 0.5}
    told = {}
    for number, role in enumerate(roles):
        model = scored(wordllama, WORDLLAMA if role == "base" else f"{run}/{role}/model")
        kept = KeptScores({}, [], {"default": part | {"main_score": 0.5 + number / 10}}, "test", None, 1, 1, 1.0, "d")
        file = write_mteb_result(run, model, mteb.get_task("Banking77Classification"), kept)
        told[role] = file.parent.relative_to(run).as_posix()
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps(summary | {"mteb": told}))
    manifest = json.loads((run / "manifest.json").read_text())
    write_manifest(run, {k: v for k, v in manifest.items() if k not in ("run_id", "artefacts")})
    return run


def test_scores_go_as_files_that_mtebs_cache_reads_under_the_name_on_the_hub(hub, evaluated, wordllama, tmp_path):
    run = with_scores(evaluated, wordllama)
    share(run.name, "me/scores", "--what", "scores", "--as", f"me/mine@{'a' * 40}", "--yes")
    repository = hub.repositories["dataset me/scores"]
    for name, content in repository.files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (read,) = mteb.ResultCache(cache_path=tmp_path).load_results().model_results
    assert (read.model_name, read.model_revision) == (REPO, "a" * 40)
    assert read.task_results[0].get_score() == pytest.approx(0.6)  # of the tuned model, not of the baseline
    assert card_problems(repository.files["README.md"].decode(), "dataset") == []


def test_scores_without_a_name_of_the_hub_keep_the_one_here_and_that_is_said(evaluated, wordllama):
    with packed(with_scores(evaluated, wordllama).name, REPO, what="scores") as parcel:
        assert any(name.startswith("results/local__tuned/sha-") for name in parcel.files)
        assert "--as owner/name@commit" in " ".join(parcel.notes)


def test_scores_of_several_seeds_have_no_single_name(evaluated, wordllama):
    run = with_scores(evaluated, wordllama, ("base", "tuned", "tuned_2"))
    with packed(run.name, REPO, what="scores") as parcel:
        assert sum(name.endswith("Classification.json") for name in parcel.files) == 2
    with (
        pytest.raises(ParameterError, match="scored 2"),
        packed(run.name, REPO, what="scores", model=f"a/b@{'a' * 40}"),
    ):
        pass


def test_an_evaluation_of_files_alone_has_no_scores_of_mteb(evaluated):
    with pytest.raises(MissingError, match="mteb's own tasks"), packed(evaluated.name, REPO, what="scores"):
        pass


def test_a_report_stands_for_the_model_that_it_is_of(reported, trained):
    with packed(reported.name, REPO, what="model") as parcel:
        assert "model.safetensors" in parcel.files


@pytest.mark.parametrize(
    ("change", "why"),
    [({"status": "failed"}, "it failed"), ({"profile": "smoke"}, "smoke: its numbers mean nothing"),
     ({"artefacts": {"summary.json": "0" * 64}}, "files are not as it wrote them: summary.json")],
)  # fmt: skip
def test_a_run_that_should_not_be_shared_is_refused_with_the_reason(hub, trained, change, why):
    file = trained / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    assert why in share(trained.name, REPO, "--yes", status=1)
    assert hub.calls == []


def test_all_that_is_wrong_with_a_run_is_said_at_once(trained):
    file = trained / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"profile": "smoke", "artefacts": {"a": "0" * 64}}))
    with pytest.raises(DataError, match=r"(?s)smoke.*not as it wrote them: a"), packed(trained.name, REPO):
        pass


def test_an_unfinished_run_is_refused(trained):
    (trained / "manifest.json").unlink()
    with pytest.raises(MissingError, match="unfinished"), packed(trained.name, REPO):
        pass


def test_all_that_is_wrong_with_the_line_is_said_at_once(trained):
    with (
        pytest.raises(ParameterError, match=r"(?s)'mine', must be owner/name.*no licence 'mine'.*--as is 'x'"),
        packed(trained.name, "mine", licence="mine", model="x"),
    ):
        pass


def test_of_a_run_that_has_no_such_thing_it_is_said_where_to_look(trained, converted, make_run):
    with pytest.raises(ParameterError, match=r"is a finetune run and has no data.*gisttools runs convert"):
        packed(trained.name, REPO, what="data").__enter__()
    with pytest.raises(ParameterError, match="of which nothing is shared"):
        packed(make_run("read").name, REPO).__enter__()


def test_without_a_token_the_dry_run_says_so_and_nothing_is_sent(hub, trained, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    told = share(trained.name, REPO, status=3)
    assert "there is no token: run `hf auth login`, or set HF_TOKEN" in told
    assert "there is no token" in share(trained.name, REPO, "--yes", status=1)
    assert hub.calls == []


def test_with_the_hub_switched_off_nothing_is_sent(hub, trained, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE switches the hub off" in share(trained.name, REPO, "--yes", status=1)
    assert hub.calls == []


def test_a_file_that_still_holds_a_secret_stops_all(hub, trained, monkeypatch):
    monkeypatch.setenv("OTHER_TOKEN", "/srv/customers/words")  # in the tokenizer, which is not changed
    told = share(trained.name, REPO, "--yes", status=1)
    assert "tokenizer.json still holds a secret of the environment" in told
    assert hub.calls == []


def test_private_data_never_goes_to_a_public_repository_unless_that_is_said(hub, converted):
    share(converted.name, REPO, "--public", "--yes")
    before = len(hub.repositories[f"dataset {REPO}"].commits)
    assert "is public, and nothing was sent" in share(converted.name, REPO, "--yes", status=1)
    assert len(hub.repositories[f"dataset {REPO}"].commits) == before
    share(converted.name, REPO, "--public", "--yes")


def test_public_data_does_not_go_to_a_private_repository_unnoticed(hub, converted):
    share(converted.name, REPO, "--yes")
    assert "is private, and nothing was sent" in share(converted.name, REPO, "--yes", "--public", status=1)


WRONG = [
    ("whoami", 401, "does not know the token"),
    ("create", 403, "may not write there"),
    ("create", 409, None),  # it is there already: the client goes on
    ("commit", 403, "may not write there"),
    ("commit", 409, "changed the repository at the same time"),
    ("commit", 500, "fault of its own, status 500"),
    ("commit", RESET, "unless the answer alone was lost"),
    ("validate", 400, "Invalid metadata in README.md"),
]


@pytest.mark.parametrize(("route", "wrong", "said"), WRONG)
def test_a_hub_that_misbehaves_is_one_message_and_leaves_nothing_half_sent(hub, trained, route, wrong, said):
    hub.wrong[route] = wrong
    if said is None:
        hub.repositories[f"model {REPO}"] = type("R", (), {"private": True, "commits": []})()
        share(trained.name, REPO, "--yes")
        return
    told = share(trained.name, REPO, "--yes", status=1)
    assert said in told
    assert "was not written" in told
    assert "bug in gisttools" not in told
    made = hub.repositories.get(f"model {REPO}")
    assert made is None or made.commits == []
    assert ("was made and is empty" in told) == (made is not None)
    hub.wrong.clear()
    share(trained.name, REPO, "--yes")  # the same command goes on from there
    assert len(hub.repositories[f"model {REPO}"].commits) == 1


@pytest.mark.slow
def test_a_hub_that_fails_before_the_commit_is_asked_again_and_then_given_up(hub, trained, monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)  # it waits longer each time
    hub.wrong["preupload"] = 503
    assert "status 503" in share(trained.name, REPO, "--yes", status=1)
    assert hub.asked.count("preupload") > 1
    assert hub.repositories[f"model {REPO}"].commits == []


def test_a_wrong_token_is_named_as_such_and_not_shown(hub, trained, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "z9" * 18)
    told = share(trained.name, REPO, "--yes", status=1)
    assert "does not know the token" in told
    assert "z9z9" not in told
    assert hub.repositories == {}


def test_a_hub_that_is_out_of_reach_is_one_message(monkeypatch):
    with hub_here(monkeypatch):
        pass  # gone again
    with pytest.raises(EndpointError, match=r"was not written: ConnectError.*Nothing there was changed"):
        send(REPO, "model", {"README.md": b"# a"}, private=True, message="m")


def test_the_document_says_what_a_program_needs(hub, converted):
    dry = json.loads(share(converted.name, REPO, "--json"))
    assert (dry["sent"], dry["commit"], dry["texts"], dry["kind"], dry["private"]) == (False, None, 7, "dataset", True)
    assert {file["file"] for file in dry["files"]} == {"README.md", "triplets.parquet"}
    sent = json.loads(share(converted.name, REPO, "--yes", "--json"))
    assert (sent["sent"], sent["commit"], sent["url"]) == (True, COMMIT, f"{hub.address}/datasets/{REPO}")


def test_a_run_that_lacks_something_says_so_before_it_is_sent(make_run, tmp_path):
    run = make_run("synthesize", files={"triplets.parquet": triplets(tmp_path)}, missing="3 rows of 9 are missing")
    with packed(run.name, REPO) as parcel:
        assert "the run lacks something: 3 rows of 9 are missing" in parcel.notes
    assert read_run(run).missing
