"""Declares the parameters of each notebook: one typed, frozen class per verb, made of the options of the rooms below.

Everything wrong with them comes in one message, before a kernel starts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from gisttools.common import Options, named_like_a_secret, secret_in
from gisttools.data import ReadOptions, Tiers
from gisttools.mining import MiningOptions
from gisttools.models import GuideOptions
from gisttools.training import Candidates, LossOptions, MadeFrom, MaskOptions, RetentionOptions, TrainSettings

WORDLLAMA = "embedded:wordllama-256"
MINILM = "embedded:all-MiniLM-L6-v2"
_NO_SECRETS = "Put it into an environment variable or a .env file, and name that variable (..._key_variable)."


class Params(Options):
    """Base of all parameter models."""

    cell: ClassVar[tuple[str, ...]] = ()  # what stands in the notebook's parameters cell, in that order

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """What the cell shows comes first, in its order, wherever it was declared."""
        fields = cls.model_fields
        for name in [*cls.cell, *(name for name in fields if name not in cls.cell)]:
            fields[name] = fields.pop(name)
        cls.model_rebuild(force=True)

    @classmethod
    def refused(cls, values: dict[str, Any]) -> dict[str, str]:
        """Secrets: parameters stand in notebook, manifest and log."""
        kinds = {name: kind for name, value in values.items() if (kind := _secret(name, value))}
        return {name: f"{name} looks like {kind}. {_NO_SECRETS}" for name, kind in kinds.items()}

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_in_yaml(cls, value: Any, info: ValidationInfo) -> Any:
        # YAML 1.1 reads 1e-5 (no dot) as a string
        annotation: object = cls.model_fields[info.field_name or ""].annotation
        wants_number = annotation in (float, float | None)
        if wants_number and isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
            return float(value)
        return value


class GuideParams(Params):
    """The guide of a notebook, as `gisttools.models.GuideOptions` by the names it has there."""

    guide: str | None = Field(MINILM, description="model whose similarities are asked")
    guide_revision: str | None = GuideOptions.field("revision")
    guide_prompt: str | None = GuideOptions.field("prompt")
    guide_base_url: str | None = GuideOptions.field("base_url")
    guide_key_variable: str = GuideOptions.field("key_variable")
    guide_dtype: Literal["float32", "float16"] = GuideOptions.field("dtype")

    def guide_options(self, name: str) -> GuideOptions:
        """The guide, opened as `name`."""
        return GuideOptions(
            name=name,
            revision=self.guide_revision,
            prompt=self.guide_prompt,
            base_url=self.guide_base_url,
            key_variable=self.guide_key_variable,
            dtype=self.guide_dtype,
        )


class FinetuneParams(GuideParams, MadeFrom, MaskOptions, TrainSettings):
    """`3_finetune`: triplets, a student and a guide give a model."""

    about = "finetune"
    cell = (
        "triplets", "student", "student_revision", "guide", "guide_revision", "loss_temperature", "margin",
        "mask_same_label", "epochs", "max_steps", "batch_size", "learning_rate", "dev", "seed",
    )  # fmt: skip

    triplets: list[str] = Field(
        ["data/support_intents/triplets.jsonl"], min_length=1, description=MadeFrom.model_fields["triplets"].description
    )
    student: str = MadeFrom.field("student", WORDLLAMA)
    guide: str | None = Field(
        MINILM, description="guide model, endpoint:MODEL, or a file of vectors; null for the unguided baseline"
    )
    epochs: float = TrainSettings.field("epochs", 10.0)
    batch_size: int = Field(64, ge=2, description=TrainSettings.model_fields["batch_size"].description)
    learning_rate: float = TrainSettings.field("learning_rate", 1e-2)
    # more of the loss
    loss_temperature: float = LossOptions.field("temperature", 0.05)
    candidates: Candidates = LossOptions.field("candidates")
    mini_batch_size: int | None = LossOptions.field("mini_batch_size")
    tokens_per_forward: int | None = Field(
        None, ge=16, description=LossOptions.model_fields["tokens_per_forward"].description
    )
    equal_texts_once: bool | None = LossOptions.field("equal_texts_once")
    # what the student knew before
    retain: list[str] = Field([], description="general texts (files, hub sets) that hold the student near its start")
    retain_weight: float = RetentionOptions.field("weight")
    retain_a_step: int = RetentionOptions.field("texts_a_step")
    # several sets
    group_by: Literal["source", "task_name"] = Field(
        "source", description="what a set is: an entry of triplets, a task"
    )
    rows: int | None = Field(None, ge=1, description="rows read of a hub set")
    instructions: bool = Field(False, description="keep the instructions of MEDI-like sets in front of the texts")
    # fewer rows than there are
    limit: int | None = Field(None, ge=2, description="most rows trained on; smaller limits are subsets of larger ones")
    limit_seed: int = Field(0, ge=0, description="seed of the order they are taken in; whatever seed says")
    dev_subsets: list[str] | None = Field(None, description='language subsets of dev tasks, e.g. ["en"]')


class SynthesizeParams(GuideParams):
    """`1_synthesize`: a task description and an LLM give triplets."""

    about = "synthesize"
    gone: ClassVar[Mapping[str, str]] = {
        "requests": "Earlier versions had it; say rows, how many are wanted, and attempts, calls for each of them."
    }
    cell = (
        "task", "rows", "attempts", "llm_base_url", "llm_model", "llm_key_variable", "temperature", "max_tokens",
        "concurrency", "guide", "guide_revision", "eval_files", "labelled_files", "seed", "dry_run",
    )  # fmt: skip

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


class ConvertParams(GuideParams, ReadOptions, MiningOptions):
    """`2_convert`: labelled texts give triplets, sets of pairs and triplets are mapped."""

    about = "convert"
    cell = (
        "sources", "subset", "text_column", "label_column", "guide", "guide_revision", "strategy", "negatives",
        "eval_tasks", "eval_files", "seed",
    )  # fmt: skip

    sources: list[str] = Field(
        ["data/support_intents"],
        min_length=1,
        description="MTEB tasks, the preset mteb_eng_v1_classification, hub sets (org/name@revision), files, folders",
    )
    guide: str = Field(MINILM, description="model whose similarities pick positives and negatives")
    eval_tasks: list[str] | None = Field(
        None, description="MTEB tasks whose test texts must not occur; null: those among the sources"
    )
    eval_files: list[str] = Field(["data/support_intents"], description="folders whose test texts must not occur")
    threshold: float | None = Field(None, description="least score of a positive, in sets of scored pairs")
    # overlap with evaluation sets
    near: float | None = Tiers.field("near")
    semantic: float | None = Tiers.field("semantic", 0.98)


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
        [], description="shown next to them: guide, bm25, random, models (org/name@revision), published:NAME"
    )
    subsets: list[str] | None = Field(None, description='language subsets of multilingual tasks, e.g. ["en"]')
    allow_overlap: bool = Field(False, description="compare although the training table holds test texts")
    batch_size: int = Field(64, ge=1, description="texts embedded at a time")
    seed: int = Field(0, description="seed of the bootstrap and of random vectors")
    # more
    allowed_loss: float = Field(0.5, ge=0, description="points that a guard may lose")
    base_url: str | None = GuideOptions.field("base_url")
    key_variable: str = GuideOptions.field("key_variable")


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
        [],
        description="evaluate runs; [] for the newest and all that compare with it: same baseline, same tasks",
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
