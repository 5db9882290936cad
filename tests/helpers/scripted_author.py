"""A scripted LLM that writes rows of every kind: distinct texts of made-up words about the animal that it is asked for.

What it writes is decided by the request alone, so that two runs that ask the same get the same.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from pathlib import Path

import numpy as np

from gisttools.synthesis.llm.answers import extract_json
from gisttools.synthesis.llm.asking import Reply
from gisttools.synthesis.llm.forms import fault
from helpers import TextGuide
from helpers.server import completion

ANIMALS = ("dog", "cat", "bird")
_WORDS = ("lamp", "river", "green", "quick", "stone", "music", "paper", "cloud", "tower", "garden", "window", "bridge",
          "candle", "silver", "forest", "engine", "pencil", "winter", "market", "island")  # fmt: skip


def labelled_task(**more) -> dict:
    """A task of three labels with two seeds each, as its file holds it."""
    return {
        "name": "pets",
        "kind": "classification",
        "description": "What people say about pets.",
        "domain": "a pet forum",
        "language": "eng-Latn",
        "labels": {
            name: {
                "about": f"About a {name}.",
                "seeds": [
                    f"My {name}, a garden, a river, a window, a cloud, silver, an engine, an island, a quick bridge.",
                    f"A {name}, a green lamp of paper, a candle, a stone, a tower, a pencil, the winter, the market.",
                ],
            }
            for name in ANIMALS
        },
        **more,
    }


def embed(texts: list[str]) -> np.ndarray:
    """Which animals and which made-up words occur, (n, 23); unit vectors. Animals weigh most."""
    counts = [[3.0 * (a in t.casefold()) for a in ANIMALS] + [float(w in t.casefold()) for w in _WORDS] for t in texts]
    found = np.array(counts, dtype=np.float32).reshape(len(texts), -1) + 1e-3
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def reply_of(content: object, schema: dict, finish: str = "stop", **more) -> Reply:
    """The reply whose answer is this text or JSON."""
    text = content if isinstance(content, str) else json.dumps(content)
    answer = extract_json(text)
    return Reply(
        key="k", content=text, finish_reason=finish, model="m", answer=answer, problem=fault(answer, schema), **more
    )


def request_of(body: dict) -> str:
    """A hash of what is asked for, whatever the form of the request."""
    kept = {k: v for k, v in body.items() if k != "response_format"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def text_for(body: dict, salt: str = "", words: int = 7) -> str:
    """A text of made-up words about the animal that stands last in the question."""
    question = body["messages"][-1]["content"].casefold()
    animal = max(ANIMALS, key=question.rfind)
    rng = random.Random(request_of(body) + salt)
    return f"{' '.join(rng.choices(_WORDS, k=words))} {animal} {rng.randrange(10**6)}"


def author(number: int, body: dict) -> tuple[int, dict, dict]:
    """A whole answer to any of the prompts."""
    schema = body["response_format"]["json_schema"]["schema"]
    answer = {name: _value(name, node, body) for name, node in schema["properties"].items()}
    return completion(json.dumps(answer), number=number)


def _value(name: str, node: dict, body: dict):
    if node["type"] == "array":
        return [text_for(body, f"{name}/{i}") for i in range(5)]
    if "enum" in node:
        text = body["messages"][-1]["content"].rpartition("?")[2]
        return next((label for label in node["enum"] if label in text), node["enum"][0])
    return text_for(body, name, words=12 if node.get("minLength", 0) > 20 else 7)


def synthesize(told: dict) -> None:
    """A synthesis as `told` by JSON, here or in a process that may be killed; its tables and summary go to a folder."""
    from gisttools.data.triplets import write_triplets
    from gisttools.synthesis import LLM, LLMOptions, SynthesisOptions, generate
    from gisttools.synthesis.task import Task

    task, folder = Task(**told["task"]), Path(told["folder"])
    llm = LLM(LLMOptions(**told["llm"]), cache=folder / "c.sqlite", endpoint="scripted")
    options = SynthesisOptions(rows=told["rows"], attempts=1, seed=told["seed"], prompt="classification")
    outcome = generate(task, llm, TextGuide(embed, "animals"), options)
    write_triplets(outcome.accepted, folder / "accepted.parquet")
    write_triplets(outcome.rejected, folder / "rejected.parquet")
    (folder / "summary.json").write_text(json.dumps(outcome.summary), encoding="utf-8")


def asker(number: int, body: dict) -> tuple[int, dict, dict]:
    """Asks on a chunk of documents: some of its longer words, in another order, which BM25 and a guide find again."""
    question = body["messages"][-1]["content"]
    chunk = json.loads(re.search(r'Note from [^"]*("(?:[^"\\]|\\.)*")', question)[1])
    words = list(dict.fromkeys(re.findall(r"[^\W\d_]{5,}", chunk.casefold())))
    rng = random.Random(request_of(body))
    return completion(json.dumps({"query": " ".join(rng.sample(words, min(7, len(words))))}), number=number)
