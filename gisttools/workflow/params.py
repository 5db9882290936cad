"""The parameters of each notebook: one typed, frozen model per verb; everything wrong with them in one message.

`Params`: the base of every notebook's parameters, strict in what it takes; and the models that are defaults.

The parameters of `3_finetune`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from gisttools.common import Options, named_like_a_secret, secret_in

WORDLLAMA = "embedded:wordllama-256"
MINILM = "embedded:all-MiniLM-L6-v2"
_NO_SECRETS = "Put it into an environment variable or a .env file, and name that variable (..._key_variable)."


class Params(Options):
    """Base of all parameter models."""

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """What each parameter is where nothing is said."""
        return {name: field.get_default(call_default_factory=True) for name, field in cls.model_fields.items()}

    def changed(self) -> dict[str, Any]:
        """The parameters that are not what their defaults are."""
        defaults = self.defaults()
        return {name: value for name, value in self.model_dump().items() if value != defaults[name]}

    @classmethod
    def refused(cls, values: dict[str, Any]) -> dict[str, str]:
        """Secrets: parameters stand in notebook, manifest and log."""
        kinds = {name: kind for name, value in values.items() if (kind := _secret(name, value))}
        return {name: f"{name} looks like {kind}. {_NO_SECRETS}" for name, kind in kinds.items()}

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_in_yaml(cls, value: Any, info: ValidationInfo) -> Any:
        # YAML 1.1 reads 1e-5 (no dot) as a string
        wants_number = cls.model_fields[info.field_name].annotation in (float, float | None)
        if wants_number and isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
            return float(value)
        return value


class FinetuneParams(Params):
    """`3_finetune`: triplets, a student and a guide give a model."""

    about = "finetune"

    # what is in the notebook's parameters cell
    triplets: list[str] = Field(
        ["data/support_intents/triplets.jsonl"],
        min_length=1,
        description="triplet files, runs that wrote one, hub sets (org/name@revision)",
    )
    student: str = Field(WORDLLAMA, description="model to train")
    student_revision: str | None = Field(None, description="commit of a hub student")
    guide: str | None = Field(
        MINILM, description="guide model, endpoint:MODEL, or a file of vectors; null for the unguided baseline"
    )
    guide_revision: str | None = Field(None, description="commit of a hub guide")
    loss_temperature: float = Field(0.05, gt=0, description="temperature of the loss")
    margin: float = Field(0.0, description="how far under the threshold a negative must lie")
    mask_same_label: bool = Field(True, description="mask candidates of the anchor's label")
    epochs: float = Field(10.0, gt=0, description="passes over the triplets")
    max_steps: int | None = Field(None, ge=1, description="stop after so many steps")
    batch_size: int = Field(64, ge=2, description="triplets a step, over all devices together")
    learning_rate: float = Field(
        1e-2,
        gt=0,
        description="peak; 1e-2 suits the static student, 5e-5 a transformer, 1e-4 one that is held (retain)",
    )
    dev: list[str] = Field([], description="folders with a dev file, or mteb tasks: the best step is kept")
    seed: int = Field(42, description="seed of the order of rows and of dropout")
    # more of the loss
    margin_strategy: Literal["absolute", "relative"] = Field("absolute", description="theta - m, or theta - |theta| m")
    contrast_anchors: bool = Field(True, description="anchor-anchor candidates")
    contrast_positives: bool = Field(True, description="positive-positive candidates")
    candidates: Literal["all", "hard"] = Field("all", description="hard: those the student ranks above the positive")
    final_temperature: float | None = Field(None, gt=0, description="the temperature moves to this in a straight line")
    matryoshka_dims: list[int] = Field([], description="train the first so many dimensions as well, e.g. [128, 64]")
    # what the student knew before
    retain: list[str] = Field([], description="general texts (files, hub sets) that hold the student near its start")
    retain_weight: float = Field(8.0, gt=0, description="of that term in the loss")
    retain_a_step: int = Field(32, ge=1, description="general texts a step")
    # more of the guide
    guide_prompt: str | None = Field(None, description="text put before every text")
    guide_base_url: str | None = Field(None, description="of an endpoint; null for OpenAI's")
    guide_key_variable: str = Field("OPENAI_API_KEY", description="environment variable that holds its key")
    guide_dtype: Literal["float32", "float16"] = Field("float32", description="of its vectors on disk")
    # several sets
    group_by: Literal["source", "task_name"] = Field(
        "source", description="what a set is: an entry of triplets, a task"
    )
    mix: Literal["proportional", "round_robin", "weights"] = Field(
        "proportional", description="how often a set is drawn"
    )
    weights: list[float] = Field([], description="one number a set, for mix: weights")
    batches: Literal["mixed", "one_set"] = Field("mixed", description="rows of several sets in a batch, or of one")
    rows: int | None = Field(None, ge=1, description="rows read of a hub set")
    instructions: bool = Field(False, description="keep the instructions of MEDI-like sets in front of the texts")
    # fewer rows than there are
    limit: int | None = Field(None, ge=2, description="most rows trained on; smaller limits are subsets of larger ones")
    limit_seed: int = Field(0, ge=0, description="seed of the order they are taken in; whatever seed says")
    # more of the training
    warmup_ratio: float = Field(0.1, ge=0, le=1, description="share of the steps")
    schedule: Literal["linear", "cosine", "constant", "polynomial", "inverse_sqrt"] = Field(
        "linear", description="of the learning rate, after the warm-up"
    )
    weight_decay: float = Field(0.0, ge=0, description="AdamW's")
    max_length: int | None = Field(None, ge=4, description="tokens kept of a text")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the hardware multiplies it natively"
    )
    lora_rank: int | None = Field(None, ge=1, description="train adapters of this rank in place of the weights")
    gradient_checkpointing: bool = Field(False, description="less memory, more time")
    mini_batch_size: int | None = Field(None, ge=1, description="texts embedded at a time, for batches beyond memory")
    tokens_per_forward: int | None = Field(None, ge=16, description="token budget of one micro-batch")
    equal_texts_once: bool | None = Field(None, description="embed equal texts of a step once; null: without dropout")
    dev_subsets: list[str] | None = Field(None, description='language subsets of dev tasks, e.g. ["en"]')
    dev_every: int | None = Field(None, ge=1, description="steps between two looks; null: a tenth of the training")
    patience: int | None = Field(None, ge=1, description="stop after so many looks without a better score")
    checkpoint_minutes: float = Field(2.0, ge=0, description="time between two checkpoints")
    deterministic: bool = Field(False, description="deterministic algorithms only")
    tracking: Literal["tensorboard", "trackio"] | None = Field(None, description="log there as well")
    licence: str | None = Field(None, description="of the model card, e.g. apache-2.0")


class SynthesizeParams(Params):
    """`1_synthesize`: a task description and an LLM give triplets."""

    about = "synthesize"

    task: str = Field("prompts/tasks/support_intents.yaml", description="task description (YAML)")
    rows: int = Field(14, ge=1, description="accepted rows wanted, equally many of each label or topic")
    attempts: float = Field(3.0, ge=1, description="calls for each of them, at most")
    llm_base_url: str = Field("embedded", description='OpenAI-compatible endpoint, or "embedded"')
    llm_model: str = Field("embedded:SmolLM2-135M-Instruct", description="model name at the endpoint, or a GGUF file")
    llm_key_variable: str = Field("OPENAI_API_KEY", description="environment variable that holds the key")
    temperature: float = Field(0.8, ge=0, le=2, description="sampling temperature of the LLM")
    max_tokens: int = Field(400, ge=16, description="longest answer; one that is cut is asked for once more")
    concurrency: int = Field(4, ge=1, description="calls in flight")
    guide: str = Field(MINILM, description="model that checks labels and similarities")
    guide_revision: str | None = Field(None, description="commit of a hub guide")
    eval_files: list[str] = Field(["data/support_intents"], description="folders whose test texts must not occur")
    labelled_files: list[str] = Field(
        ["data/support_intents"], description="folders with real texts (train), to compare diversity with"
    )
    seed: int = Field(7, description="seed of the plan and of the LLM's sampling")
    dry_run: bool = Field(False, description="ask for a few rows only, and say what all would take")
    # more of what is asked
    prompt: str | None = Field(None, description="prompt file, or its name; null: that of the task's kind")
    prompts: str | None = Field(None, description="your own folder of prompts, looked into first")
    # more of what rows must stand up to
    label_by: Literal["centroids", "nearest", "none"] = Field(
        "centroids", description="nearest: by the nearest texts of labelled_files"
    )
    blind: bool = Field(False, description="a second call sorts each text without knowing its label")
    guide_order: bool = Field(True, description="the guide must find the positive nearer than a negative")
    top_k: int | None = Field(10, ge=1, description="the positive must be so near to its query; null: not looked at")
    skip_nearest: int = Field(10, ge=0, description="nearest texts that are no mined negatives")
    near: float = Field(0.8, gt=0, le=1, description="least likeness (Jaccard) to a test text of what is left out")
    eval_tasks: list[str] = Field([], description="MTEB tasks whose test texts must not occur")
    avoid: list[str] = Field([], description="runs or triplet files whose texts must not be written again")
    # more of the guide, as in `3_finetune`
    guide_prompt: str | None = Field(None, description="text put before every text")
    guide_base_url: str | None = Field(None, description="of an endpoint; null for OpenAI's")
    guide_key_variable: str = Field("OPENAI_API_KEY", description="environment variable that holds its key")
    guide_dtype: Literal["float32", "float16"] = Field("float32", description="of its vectors on disk")
    # more of the LLM
    budget_usd: float | None = Field(None, gt=0, description="never overstepped by the calls of this run")
    budget_tokens: int | None = Field(None, gt=0, description="in and out together; never overstepped either")
    price_in: float | None = Field(None, ge=0, description="US dollars for a million tokens in; null: the list price")
    price_out: float | None = Field(None, ge=0, description="US dollars for a million tokens out")
    llm_mode: Literal["auto", "record", "replay"] = Field(
        "auto", description="record: ask for everything anew; replay: from the cache alone, without network"
    )
    llm_transport: Literal["live", "batch"] = Field(
        "live", description="batch: the endpoint's Batch API, cheaper and within a day"
    )
    llm_context: int = Field(2048, ge=512, description="of the embedded server: tokens of a prompt and its answer")
    llm_timeout: float = Field(120.0, gt=0, description="seconds until one attempt is given up")
    requests_per_minute: float | None = Field(None, gt=0, description="the account's limit; null: what 429 teaches")
    tokens_per_minute: float | None = Field(None, gt=0, description="the account's limit; null: what 429 teaches")


class ConvertParams(Params):
    """`2_convert`: labelled texts give triplets, sets of pairs and triplets are mapped."""

    about = "convert"

    # what is in the notebook's parameters cell
    sources: list[str] = Field(
        ["data/support_intents"],
        min_length=1,
        description="MTEB tasks, the preset mteb_eng_v1_classification, hub sets (org/name@revision), files, folders",
    )
    subset: str | list[str] | None = Field(None, description="subsets of multilingual tasks, or a configuration")
    text_column: str | None = Field(None, description="where it is not one of the usual names")
    label_column: str | None = Field(None, description="where it is not one of the usual names")
    guide: str = Field(MINILM, description="model whose similarities pick positives and negatives")
    guide_revision: str | None = Field(None, description="commit of a hub guide")
    strategy: Literal["gistembed", "hard"] = Field("gistembed", description="hard: the nearest texts of other classes")
    negatives: int = Field(1, ge=1, description="negatives per row")
    eval_tasks: list[str] | None = Field(
        None, description="MTEB tasks whose test texts must not occur; null: those among the sources"
    )
    eval_files: list[str] = Field(["data/support_intents"], description="folders whose test texts must not occur")
    seed: int = Field(1029, ge=0, description="seed of the draws")
    # more of reading
    revision: str | None = Field(None, description="commit of a hub data set")
    split: str = Field("train", description="split of a task, hub set or folder")
    encoding: str | None = Field(None, description="of text files that are not UTF-8, e.g. cp1252")
    drop_empty: bool | None = Field(None, description="leave out rows without text; null: of MTEB tasks alone")
    drop_unlabelled: bool | None = Field(None, description="leave out rows without label; null: of MTEB tasks alone")
    threshold: float | None = Field(None, description="least score of a positive, in sets of scored pairs")
    # more of mining
    positives: Literal["softmax", "nearest", "farthest", "random"] = Field("softmax", description="within the class")
    topk: int = Field(100, ge=1, description="positives are drawn among so many nearest of the class")
    temperature: float = Field(0.05, gt=0, description="of that draw")
    negatives_from: Literal["uniform", "softmax", "least_similar"] = Field("uniform", description="gistembed only")
    least: int = Field(100, ge=1, description="least_similar: among so many")
    margin: float = Field(0.95, gt=0, description="hard: largest share of the positive's similarity")
    rank_from: int = Field(0, ge=0, description="hard: so many nearest are skipped")
    rank_to: int | None = Field(None, ge=1, description="hard: negatives are drawn from the ranks below")
    per_class: int | None = Field(None, ge=1, description="most anchors of a class")
    limit: int | None = Field(None, ge=1, description="most anchors in all")
    balanced: bool = Field(False, description="equally many anchors of each class")
    drop_singletons: bool = Field(False, description="leave out classes of one text instead of refusing them")
    search: Literal["auto", "exact", "approximate"] = Field("auto", description="approximate: for very large classes")
    # more of the overlap with evaluation sets
    near: float | None = Field(
        0.8, gt=0, le=1, description="least likeness of near copies (Jaccard); null: not looked at"
    )
    semantic: float | None = Field(0.98, gt=0, le=1, description="least guide cosine of restatements; null: none")
    # more of the guide, as in `3_finetune`
    guide_prompt: str | None = Field(None, description="text put before every text")
    guide_base_url: str | None = Field(None, description="of an endpoint; null for OpenAI's")
    guide_key_variable: str = Field("OPENAI_API_KEY", description="environment variable that holds its key")
    guide_dtype: Literal["float32", "float16"] = Field("float32", description="of its vectors on disk")


class EvaluateParams(Params):
    """`4_evaluate`: a tuned model and its baseline on mteb tasks and local files."""

    about = "evaluate"

    # what is in the notebook's parameters cell
    model: str | Annotated[list[str], Field(min_length=1)] = Field(
        MINILM, description="finetune run, folder, hub model, mteb:NAME, endpoint:MODEL; several: seeds or variants"
    )
    model_revision: str | None = Field(None, description="of a single model")
    baseline: str | None = Field(WORDLLAMA, description="null: the student that the finetune run started from")
    baseline_revision: str | None = Field(None, description="of a hub model")
    tasks: list[str] = Field(
        [], description="what the tuning is meant to help: mteb tasks, MTEB(eng, v2), type:STS language:deu"
    )
    files: list[str] = Field(["data/support_intents"], description="folders of your own files: folder, or folder#kind")
    guards: list[str] | None = Field(
        None, description="mteb tasks it must not hurt; null: STSBenchmark where it can be reached"
    )
    references: list[str] = Field(
        [], description="shown beside: guide, bm25, random, models (org/name@revision), published:NAME"
    )
    subsets: list[str] | None = Field(None, description='language subsets of multilingual tasks, e.g. ["en"]')
    allow_overlap: bool = Field(False, description="compare although the training table holds test texts")
    batch_size: int = Field(64, ge=1, description="texts embedded at a time")
    seed: int = Field(0, description="seed of the bootstrap and of random vectors")
    # more
    allowed_loss: float = Field(0.5, ge=0, description="points that a guard may lose")
    base_url: str | None = Field(None, description="of an endpoint; null for OpenAI's")
    key_variable: str = Field("OPENAI_API_KEY", description="environment variable that holds its key")


class ReportParams(Params):
    """`5_report`: one evaluation and all that led to it, on one page; of several a leaderboard."""

    about = "report"

    evaluation: str | Annotated[list[str], Field(min_length=1)] = Field(
        "latest", description='evaluate run; "latest" is the newest finished one; several: the leaderboard of a sweep'
    )
    latex: bool = Field(False, description="write the scores of one evaluation as a LaTeX table too, table.tex")


class CostToGainParams(Params):
    """`6_cost_to_gain`: evaluations of trainings on more and more rows give a curve."""

    about = "cost_to_gain"

    evaluations: list[str] = Field(
        [], description="evaluate runs; [] for the newest of a finetune run with a limit, and those that differ in size"
    )
    task: str | None = Field(None, description="task that is drawn; null: the mean of the targets")


class CompareParams(Params):
    """`7_compare`: evaluations of many trainings give a leaderboard."""

    about = "compare"

    evaluations: list[str] = Field(
        [], description="evaluate runs; [] for the newest and all that can stand beside it: same baseline, same tasks"
    )
    task: str | None = Field(None, description="task that is scored; null: the mean of the targets")


VERBS: dict[str, type[Params]] = {
    "synthesize": SynthesizeParams,
    "convert": ConvertParams,
    "finetune": FinetuneParams,
    "evaluate": EvaluateParams,
    "report": ReportParams,
    "cost_to_gain": CostToGainParams,
    "compare": CompareParams,
}


def check_params(verb: str, given: Mapping[str, Any]) -> Any:
    """The parameters of a verb's notebook, defaults filled in: its model of `VERBS`.

    Raises:
        ParameterError: unknown names, wrong types, values out of range, secrets; all of them at once.
    """
    return VERBS[verb](**given)


def _secret(name: str, value: Any) -> str | None:
    texts = [v for v in (value if isinstance(value, list | tuple) else [value]) if isinstance(v, str)]
    if named_like_a_secret(name) and any(texts):
        return "a secret, by its name"
    return next((kind for text in texts if (kind := secret_in(text))), None)
