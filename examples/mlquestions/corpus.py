"""Writes the 9,211 passages of MLQuestions as documents, a row each.

python examples/mlquestions/corpus.py FILE.jsonl
"""

import json
import sys

from gisttools.data import load_task, mteb_task, split_of

task = mteb_task("MLQuestions")
load_task(task)
with open(sys.argv[1], "w", encoding="utf-8") as file:
    for row in split_of(task, "default", "test")["corpus"]:
        told = {"id": row["id"], "title": row.get("title") or "", "text": row["text"]}
        file.write(json.dumps(told, ensure_ascii=False) + "\n")
