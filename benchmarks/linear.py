"""How strong the penalty of "a classifier fitted on all your labels" should be: accuracy on texts held out of train.

For each set and each encoder a logistic regression of unit vectors is fitted on two thirds of the train split, for each
C of a grid, and scored on the other third, near copies on one side; the test splits are not read. Encoders are as they
came: one that was tuned on these texts could not be judged on them. Prints a table and, last, a JSON line.

    python benchmarks/linear.py [--sets data/support_intents Banking77Classification ...] [--most 4000]
"""

from __future__ import annotations

import argparse
import json

import numpy as np

GRID = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
SETS = ("data/support_intents", "Banking77Classification", "AmazonCounterfactualClassification")
TF_IDF = "TF-IDF"
MODELS = ("embedded:wordllama-256", "embedded:all-MiniLM-L6-v2", TF_IDF)


def accuracies(texts: list[str], labels: list[str], model: str) -> list[float]:
    """Of each C of the grid, in percent."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    from gisttools.data.splitting import split_texts
    from gisttools.models import VectorCache

    held = split_texts(texts, labels, share=1 / 3).test
    truth = np.asarray(labels, dtype=object)
    if model == TF_IDF:  # as gisttools.evaluation.fitting has it
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit(
            [t for t, h in zip(texts, held, strict=True) if not h]
        )
        vectors = words.transform(texts)
    else:
        vectors = VectorCache(model).embed(texts)
    found = []
    for c in GRID:
        fitted = LogisticRegression(C=c, max_iter=2000).fit(vectors[~held], truth[~held])
        found.append(100 * float((fitted.predict(vectors[held]) == truth[held]).mean()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--most", type=int, default=4000, help="train texts of each set, drawn at random")
    given = parser.parse_args()
    from gisttools.common import GistError
    from gisttools.data import read_labelled

    rows = []
    print(f"{'set':<36}{'encoder':<32}" + "".join(f"{f'C={c:g}':>8}" for c in GRID))
    for name in given.sets:
        try:
            data = read_labelled(name)
        except GistError as error:
            print(f"{name}: left out, {str(error).splitlines()[0]}")
            continue
        chosen = np.sort(np.random.default_rng(0).permutation(len(data.texts))[: given.most]).tolist()
        texts, labels = [data.texts[i] for i in chosen], [data.labels[i] for i in chosen]
        for model in given.models:
            found = accuracies(texts, labels, model)
            print(f"{name[:35]:<36}{model:<32}" + "".join(f"{x:8.1f}" for x in found), flush=True)
            rows.append(
                {"set": name, "model": model, **{f"C={c:g}": round(x, 2) for c, x in zip(GRID, found, strict=True)}}
            )
    for kind, chosen in (
        ("encoders", [r for r in rows if r["model"] != TF_IDF]),
        (TF_IDF, [r for r in rows if r["model"] == TF_IDF]),
    ):
        if chosen:
            print(
                f"mean of {kind}".ljust(68) + "".join(f"{np.mean([r[f'C={c:g}'] for r in chosen]):8.1f}" for c in GRID)
            )
    print(json.dumps({"benchmark": "linear", "rows": rows}))


if __name__ == "__main__":
    main()
