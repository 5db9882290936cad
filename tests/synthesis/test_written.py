"""Files of texts written elsewhere: what each tool leaves is read alike, and what cannot be used is told or refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest
from datasets import Dataset

from gisttools.common.errors import DataError, MissingError, ParameterError
from gisttools.synthesis import read_written
from gisttools.synthesis.written import WrittenTexts

A, B = "where is the parcel that I ordered", "please send my money back at once"
META = {"raw_output_0": '{"text": "raw"}', "statistics_0": {"input_tokens": 12, "output_tokens": 8}}


def lines(path: Path, rows: list) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def told(read: WrittenTexts) -> list[tuple]:
    return [(t.text, t.label) for t in read.texts if t.reason is None and t.finish == "stop"]


def openai(custom_id: str, content: str | None, finish: str = "stop", **message) -> dict:
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
    usage = {"prompt_tokens": 30, "completion_tokens": 9, "total_tokens": 39}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-x", "choices": [choice], "usage": usage}
    response = {"status_code": 200, "request_id": "r", "body": body}
    return {"id": "batch_req_1", "custom_id": custom_id, "response": response, "error": None}


def anthropic(custom_id: str, content: str) -> dict:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "stop_reason": "end_turn",
               "content": [{"type": "text", "text": content}],
               "usage": {"input_tokens": 11, "output_tokens": 7}}  # fmt: skip
    return {"custom_id": custom_id, "result": {"type": "succeeded", "message": message}}


def test_paraphrases_with_seed_and_label_in_a_packed_file(tmp_path):
    path = tmp_path / "chat.jsonl.gz"
    rows = [{"seed": "lost parcel", "text": A, "label": "order"}, {"seed": "refund", "text": B, "label": "refund"}]
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    read = read_written([path])
    assert (read.shape, told(read)) == ("labels", [(A, "order"), (B, "refund")])
    assert [(t.given, t.place) for t in read.texts] == [
        ("lost parcel", "chat.jsonl.gz:1"),
        ("refund", "chat.jsonl.gz:2"),
    ]
    facts = read.files["chat.jsonl.gz"]
    assert facts["columns"] == {"label": "label", "seed": "seed", "text": "text"}
    assert facts["revision"].startswith("chat.jsonl.gz@sha256:")
    assert {t.revision for t in read.texts} == {facts["revision"]}


@pytest.mark.parametrize("ending", [".jsonl", ".parquet", ".csv"])
def test_a_table_is_read_alike_from_each_kind_of_file(tmp_path, ending):
    frame = pd.DataFrame({"text": [A, B], "label": ["order", "refund"]})
    path = tmp_path / f"t{ending}"
    writers = {".jsonl": lambda: lines(path, frame.to_dict("records")), ".parquet": lambda: frame.to_parquet(path)}
    writers.get(ending, lambda: frame.to_csv(path, index=False))()
    assert told(read_written([path])) == [(A, "order"), (B, "refund")]


def test_distilabel_s_generations_and_its_calls_that_failed(tmp_path):
    common = {"instruction": "Write a message.", "model_name": "llama", "distilabel_metadata": META}
    rows = [
        {**common, "label": "order", "generation": A},
        {**common, "label": "refund", "generation": [B, "my refund is late again"]},
        {**common, "label": "refund", "generation": None},
    ]
    read = read_written([lines(tmp_path / "d.jsonl", rows)])
    assert told(read) == [(A, "order"), (B, "refund"), ("my refund is late again", "refund")]
    assert [t.reason for t in read.texts] == [None, None, None, "no-text"]
    assert {t.model for t in read.texts} == {"llama"}


def test_distilabel_s_classification_data(tmp_path):
    rows = [
        {"task": "sort", "input_text": A, "label": "order", "misleading_label": "refund", "model_name": "m"},
        {"task": "sort", "input_text": B, "label": "refund", "misleading_label": "order", "model_name": "m"},
    ]
    assert told(read_written([lines(tmp_path / "c.jsonl", rows)])) == [(A, "order"), (B, "refund")]


def test_distilabel_s_pairs_are_made_of_their_anchor(tmp_path):
    rows = [{"anchor": A, "positive": "has my order left", "negative": ["cancel it", "a third"], "model_name": "m"}]
    read = read_written([lines(tmp_path / "p.jsonl", rows)])
    (text,) = read.texts
    assert (read.shape, text.given, text.text) == ("seeds", A, "has my order left")
    assert text.negatives == ("cancel it", "a third")


def test_distilabel_s_searches_have_all_their_texts_written(tmp_path):
    rows = [{"user_query": "lost parcel", "positive_document": A, "hard_negative_document": B, "model_name": "m"}]
    read = read_written([lines(tmp_path / "r.jsonl", rows)])
    (text,) = read.texts
    assert (read.shape, text.text, text.positive, text.negatives) == ("pairs", "lost parcel", A, (B,))


def test_a_folder_of_distilabel_s_parts(tmp_path):
    Dataset.from_dict({"generation": [A, B], "label": ["order", "refund"]}).save_to_disk(tmp_path / "set/default/train")
    (tmp_path / "set" / "distiset_configs").mkdir()
    assert told(read_written([tmp_path / "set"])) == [(A, "order"), (B, "refund")]


def test_a_folder_of_data_designer_s_parts_with_objects_and_traces(tmp_path):
    folder = tmp_path / "parquet-files"
    folder.mkdir()
    for i, (text, label) in enumerate([(A, "order"), (B, "refund")]):
        row = {
            "message": {"text": text, "tone": "calm"},
            "topic": label,
            "message__trace": [{"role": "user", "content": "x"}],
        }
        pd.DataFrame([row]).to_parquet(folder / f"batch_{i:05d}.parquet")
    read = read_written([folder], ["label=topic"])
    assert told(read) == [(A, "order"), (B, "refund")]
    assert read.files["batch_00000.parquet"]["columns"] == {"label": "topic", "text": "message.text"}


def test_curator_s_response_that_is_an_object_or_json_or_a_text(tmp_path):
    rows = [
        {"response": {"text": A, "label": "order"}},
        {"response": f"```json\n{json.dumps({'text': B, 'label': 'refund'})}\n```"},
    ]
    assert told(read_written([lines(tmp_path / "r.jsonl", rows)])) == [(A, "order"), (B, "refund")]
    plain = read_written(
        [lines(tmp_path / "s.jsonl", [{"response": A, "intent": "a"}, {"response": B, "intent": "b"}])]
    )
    assert told(plain) == [(A, "a"), (B, "b")]


def test_openai_s_batch_with_json_answers_thoughts_and_calls_that_failed(tmp_path):
    several = {"messages": [{"text": A, "label": "order"}, {"text": "has it been sent", "label": "order"}]}
    rows = [
        openai("r-1", json.dumps(several)),
        openai("r-2", f"<think>which one</think>{json.dumps({'text': B, 'label': 'refund'})}"),
        openai("r-3", None, refusal="I can't help with that."),
        openai("r-4", '{"text": "cut o', "length"),
        {"id": "b", "custom_id": "r-5", "response": None, "error": {"code": "batch_expired", "message": "too late"}},
    ]
    read = read_written([lines(tmp_path / "out.jsonl", rows)])
    assert told(read) == [(A, "order"), ("has it been sent", "order"), (B, "refund")]
    assert [(t.finish, t.text) for t in read.texts if t.finish == "error"] == [("error", "too late")]
    assert [t.finish for t in read.texts][3:] == ["refusal", "length", "error"]
    assert {t.model for t in read.texts if t.finish != "error"} == {"gpt-x"}
    assert sum(t.tokens[0] for t in read.texts) == 4 * 30


def test_anthropic_s_batch_with_labels_in_its_ids(tmp_path):
    errored = {"type": "errored", "error": {"type": "error", "error": {"message": "overloaded"}}}
    rows = [anthropic("order-1", A), anthropic("refund_2", B), {"custom_id": "order-3", "result": errored}]
    path = lines(tmp_path / "results.jsonl", rows)
    with pytest.raises(DataError, match=r"(?s)no label.*custom_id"):
        read_written([path])
    read = read_written([path], ["label=custom_id"])
    assert told(read) == [(A, "order"), (B, "refund")]
    assert [t.finish for t in read.texts] == ["stop", "stop", "error"]
    assert read.texts[0].tokens == (11, 7)


def test_openai_s_responses_in_a_batch(tmp_path):
    def row(custom_id: str, text: str) -> dict:
        output = [
            {"type": "reasoning", "summary": []},
            {"type": "message", "content": [{"type": "output_text", "text": text}]},
        ]
        body = {
            "object": "response",
            "model": "gpt-x",
            "output": output,
            "usage": {"input_tokens": 3, "output_tokens": 4},
        }
        return {"custom_id": custom_id, "response": {"status_code": 200, "body": body}, "error": None}

    read = read_written([lines(tmp_path / "o.jsonl", [row("a-1", A), row("b-1", B)])], ["label=custom_id"])
    assert told(read) == [(A, "a"), (B, "b")]


def test_a_query_with_the_passage_that_answers_it(tmp_path):
    read = read_written([lines(tmp_path / "q.jsonl", [{"query": "lost parcel", "passage": A, "score": 0.9}])])
    assert (read.shape, read.texts[0].text, read.texts[0].given) == ("passages", "lost parcel", A)


def test_a_number_is_no_seed(tmp_path):
    rows = [{"seed": 42, "text": A, "label": "a"}, {"seed": 43, "text": B, "label": "b"}]
    assert [t.given for t in read_written([lines(tmp_path / "n.jsonl", rows)]).texts] == [None, None]


def test_rows_that_lack_something_are_kept_with_the_reason(tmp_path):
    rows = [{"text": A, "label": "a"}, {"text": " ", "label": "a"}, {"text": B}, {"text": B, "label": ["a", "b"]},
            {"text": "x" * 1_000_001, "label": "b"}]  # fmt: skip
    read = read_written([lines(tmp_path / "n.jsonl", rows)])
    assert [t.reason for t in read.texts] == [None, "no-text", "no-label", "no-label", "too-long"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no rows"),
        ('{"text": "a b c", "label": "x"}\n{"text": "a b', r"1 line\(s\) hold no JSON object"),
        ('{"words": "a b c", "label": "x"}\n', "no text: none of the usual.*Columns found: words, label"),
        ('{"text": "a b c"}\n', "no label: none of the usual"),
        ('{"text": null, "label": "x"}\n', r"none of 1 rows can be used \(no-text 1\)"),
        ('{"text": "q1", "label": "x"}\n{"text": "q2", "label": "y"}\n{"text": "q3", "label": "y"}', "in place of"),
    ],
)  # fmt: skip
def test_a_file_of_which_nothing_can_be_used_is_refused(tmp_path, content, said):
    path = tmp_path / "f.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match=f"(?s){said}"):
        read_written([path])


def test_rows_of_which_half_a_character_is_left_are_unreadable(tmp_path):
    rows = [
        {"text": A, "label": "order\ud83d"},
        {"text": A, "label": "order", "seed": "my order \ud83d"},
        {"text": B, "label": "refund", "model_name": "m\ud83d"},
    ]
    read = read_written([lines(tmp_path / "chat.jsonl", rows)])
    assert [t.reason for t in read.texts] == ["unreadable", "unreadable", None]
    assert [t.model for t in read.texts] == ["", "", "m?"]
    json.dumps([[t.text, t.label, t.given] for t in read.texts], ensure_ascii=False).encode()


def test_one_row_with_an_object_for_its_label_is_left_out_alone(tmp_path):
    rows = [{"text": A, "label": {"name": "order"}}, {"text": A, "label": "order"}, {"text": B, "label": "refund"}]
    read = read_written([lines(tmp_path / "chat.jsonl", rows)])
    assert ([t.reason for t in read.texts], read.files["chat.jsonl"]["columns"]["label"]) == (
        ["no-label", None, None],
        "label",
    )


def test_all_files_that_are_not_there_are_named(tmp_path):
    lines(tmp_path / "empty.jsonl", [])
    with pytest.raises(MissingError, match=r"(?s)texts: 3 problem.*one\.jsonl.*two\.jsonl.*empty\.jsonl holds no rows"):
        read_written([tmp_path / name for name in ("one.jsonl", "two.jsonl", "empty.jsonl")])


def test_what_is_wrong_with_several_files_comes_at_once(tmp_path):
    lines(tmp_path / "a.jsonl", [{"words": A}])
    lines(tmp_path / "b.jsonl", [{"text": A}])
    with pytest.raises(DataError, match=r"(?s)2 problem\(s\).*a\.jsonl.*b\.jsonl"):
        read_written([tmp_path / "a.jsonl", tmp_path / "b.jsonl"])
    with pytest.raises(MissingError, match="no file or folder"):
        read_written([tmp_path / "c.jsonl"])


@pytest.mark.parametrize(
    ("columns", "said"),
    [(["txet=a"], "no role.*Did you mean 'text'"), (["generation"], "no ROLE=COLUMN"), (["text=b"], "no column 'b'")],
)
def test_columns_that_are_told_must_be_there(tmp_path, columns, said):
    path = lines(tmp_path / "a.jsonl", [{"text": A, "label": "x"}])
    with pytest.raises((DataError, ParameterError), match=f"(?s){said}"):
        read_written([path], columns)


def test_a_task_is_made_of_the_texts_with_their_seeds_but_for_one_of_two_labels(tmp_path):
    rows = [
        {"seed": "lost parcel", "text": A, "label": "order_status"},
        {"seed": "refund", "text": B, "label": "refund"},
        {"seed": "hello", "text": "good morning to you", "label": "refund"},
        {"seed": "hello", "text": "a good day to you", "label": "order_status"},
    ]
    task = read_written([lines(tmp_path / "shop.jsonl", rows)]).task(domain="a shop")
    assert (task.name, task.kind, task.domain, task.language) == ("shop", "classification", "a shop", "eng-Latn")
    assert {name: (x.about, x.seeds) for name, x in task.labels.items()} == {
        "order_status": ("order status", ("lost parcel",)),
        "refund": ("refund", ("refund",)),
    }
