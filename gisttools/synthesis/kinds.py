"""The kinds of training data: what each is written from, by which prompt, and what its texts are in mteb's words.

A task of a kind *starts* from labels, topics, passages, search terms or texts of the user's; each call then starts from
one *subject*: a seed of the label, a passage, a term. From topics there are no subjects yet: a first round of calls
writes ideas, which are the subjects of the second (`ideas.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of training data.

    Attributes:
        task_type: mteb's name of it.
        prompts: by what a task may start from, the prompt file that is used.
        hard_prompts: the same, where the task asks for `negatives: written` and another prompt writes them.
        idea: of kinds that may start from topics, what an idea is, in the words of the prompt `ideas`.
        round_trip: the positive must be among the texts that the guide finds nearest to the anchor.
        voice: texts are what people say, so that a phrase of an assistant or of the prompt's rewriting gives it away.
    """

    task_type: str
    prompts: dict[str, str]
    hard_prompts: dict[str, str] = field(default_factory=dict)
    idea: str | None = None
    round_trip: bool = False
    voice: bool = False


KINDS = {
    "classification": Kind(task_type="Classification", prompts={"labels": "classification"}, voice=True),
    "clustering": Kind(task_type="Clustering", prompts={"labels": "clustering"}),
    "retrieval": Kind(
        task_type="Retrieval",
        prompts={
            "passages": "retrieval_from_passages",
            "topics": "retrieval_from_topics",
            "search_terms": "retrieval_from_terms",
        },
        hard_prompts={"passages": "retrieval_from_passages_hard"},
        idea="a thing that somebody wants to find out or to find a text about",
        round_trip=True,
    ),
    "reranking": Kind(
        task_type="Reranking",
        prompts={"topics": "reranking", "search_terms": "reranking"},
        idea="a question that somebody types into a search box",
        round_trip=True,
    ),
    "sts": Kind(
        task_type="STS",
        prompts={"texts": "sts", "topics": "sts"},
        idea="a whole sentence that states some facts",
    ),
    "bitext": Kind(
        task_type="BitextMining",
        prompts={"texts": "bitext", "topics": "bitext"},
        idea="a whole sentence that states some facts",
    ),
}
STARTS = ("labels", "topics", "passages", "search_terms", "texts")
