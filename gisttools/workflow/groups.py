"""Groups the parameters of a notebook for people who read them: the few that matter first, then by what they are of."""

from __future__ import annotations

from fnmatch import fnmatchcase

from gisttools.workflow.params import VERBS

FIRST, _REST = "The few that matter", "More"

_FIRST: dict[str, tuple[str, ...]] = {
    "synthesize": ("task", "texts", "rows", "llm_base_url", "llm_model", "guide", "dry_run"),
    "convert": ("sources", "text_column", "label_column", "test_share", "guide", "strategy"),
    "finetune": ("triplets", "student", "guide", "epochs", "batch_size", "learning_rate", "dev", "seed"),
    "evaluate": ("model", "baseline", "tasks", "files", "references"),
}

# title, and names or patterns of them; a parameter is of the first group that names it
_GUIDE = ("The guide", ("guide_*", "send_texts"))
_FILES = (
    "Reading your files",
    ("*_column", "*_share", "encoding", "drop_empty", "drop_unlabelled", "relabel", "split", "revision", "subset"),
)
_GROUPS: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "synthesize": (
        ("Texts written elsewhere", ("texts_columns",)),
        (
            "Questions on documents",
            ("documents", "found_by", "also_answers", "test_rows", "per_chunk", "domain", "language", "decisions"),
        ),
        ("What is asked", ("attempts", "prompt", "prompts", "seed", "label_by")),
        ("The LLM", ("send_texts", "llm_*", "temperature", "max_tokens", "concurrency", "*_per_minute")),
        ("What it may cost", ("budget_*", "price_*")),
        (
            "What a text must stand up to",
            (
                "correct_labels", "blind", "least_score", "guide_order", "top_k", "skip_nearest", "near", "eval_*",
                "avoid", "labelled_files",
            ),
        ),
        _GUIDE,
        _FILES,
    ),
    "convert": (
        (
            "Which rows",
            ("subset", "limit", "per_class", "balanced", "drop_singletons", "drop_doubted", "threshold", "seed"),
        ),
        (
            "Mining",
            (
                "positives", "negatives", "negatives_from", "topk", "temperature", "least", "margin", "rank_*",
                "search", "hard_from",
            ),
        ),
        ("What overlaps test texts", ("eval_*", "near", "semantic")),
        _GUIDE,
        _FILES,
    ),
    "finetune": (
        (
            "The loss",
            (
                "loss_temperature", "final_temperature", "margin*", "contrast_*", "candidates",
                "matryoshka_dims", "cross_entropy*", "positive_temperature", "distill*",
            ),
        ),
        ("Labels", ("mask_same_label", "same_label", "train_on", "texts_per_class", "meet")),
        (
            "The optimiser",
            (
                "max_steps", "max_minutes", "warmup_ratio", "schedule", "weight_decay", "dropout", "lora_rank",
                "freeze_layers", "deterministic",
            ),
        ),
        (
            "Memory and speed",
            ("precision", "max_length", "mini_batch_size", "tokens_per_forward", "equal_texts_once", "gradient_*"),
        ),
        ("Stopping, checkpoints, tracking", ("dev_every", "dev_subsets", "patience", "checkpoint_*", "tracking")),
        (
            "Several sets, and which rows",
            ("mix", "weights", "batches", "group_by", "rows", "leave_out", "limit*", "instructions"),
        ),
        ("What the student knew before", ("keep_start", "retain*")),
        ("Other trainings", ("best_of", "soup")),
        ("A cross-encoder on the same rows", ("reranker*",)),
        ("The student", ("student_*", "query_prompt", "document_prompt", "licence")),
        _GUIDE,
        _FILES,
    ),
    "evaluate": (
        ("Tasks", ("subsets", "guards", "allow*")),
        ("What is compared", ("candidates", "cross_entropy", "reranker*", "rerank_depth", "seed")),
        (
            "The models",
            (
                "*_revision", "query_prompt", "document_prompt", "batch_size", "base_url", "key_variable",
                "send_texts",
            ),
        ),
        _FILES,
    ),
}  # fmt: skip


def grouped(verb: str) -> list[tuple[str, list[str]]]:
    """Title and names of each group of a verb's parameters; every parameter is in one of them, and no group is empty.

    Where nothing says which matter most, as of a notebook with a handful of parameters, all are in the first.
    """
    names = list(VERBS[verb].model_fields)
    if verb not in _FIRST:
        return [(FIRST, names)]
    groups: dict[str, list[str]] = {FIRST: [n for n in _FIRST[verb] if n in names]}
    groups |= {title: [] for title, _ in _GROUPS[verb]} | {_REST: []}
    for name in (n for n in names if n not in groups[FIRST]):
        title = next((t for t, patterns in _GROUPS[verb] if any(fnmatchcase(name, p) for p in patterns)), _REST)
        groups[title].append(name)
    return [(title, found) for title, found in groups.items() if found]
