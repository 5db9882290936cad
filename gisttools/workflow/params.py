"""Declares the parameters of each notebook: one typed, frozen class per verb, made of the options of the rooms below.

Everything wrong with them comes in one message, before a kernel starts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from pydantic import Field, ValidationInfo, field_validator, model_validator

from gisttools.common import Options, named_like_a_secret, secret_in
from gisttools.data import ChunkOptions, FileOptions, ReadOptions, RowGroup, Tiers
from gisttools.evaluation import EvaluateOptions
from gisttools.mining import MiningOptions
from gisttools.models import GuideOptions
from gisttools.synthesis import Checks, Effort, Endpoint, LLMOptions, SynthesisOptions
from gisttools.training import (
    Candidates,
    LossOptions,
    MadeFrom,
    MaskOptions,
    RerankerOptions,
    RetentionOptions,
    TrainSettings,
)
from gisttools.workflow.idle import idle

# what has a long part that can be shared out; of the last only the chunks of documents
SHARED = ("evaluate", "finetune", "convert", "synthesize")
WORDLLAMA = "embedded:wordllama-256"
MINILM = "embedded:all-MiniLM-L6-v2"
DEMO_TRIPLETS = "data/support_intents/triplets.jsonl"
LATEST = "latest"  # stands for the newest run that made such a thing
PERMISSIONS = ("send_texts",)  # parameters that change nothing that comes out
RERANKING = ("reranker", "reranker_revision", "reranker_steps")  # parameters of a training that change no student
_TASK = "prompts/tasks/support_intents.yaml"
_NOTHING = ("none", "null", "~")
_TRUTHS = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
_NO_SECRETS = "Put it into an environment variable or a .env file, and name that variable (..._key_variable)."


class Params(Options):
    """Base of all parameter models."""

    cell: ClassVar[tuple[str, ...]] = ()  # what stands in the notebook's parameters cell, in that order
    demo: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # whose defaults are the demo's files, and what ends the demo

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

    @classmethod
    def names(cls) -> str:
        return f"gisttools parameters {cls.about} lists all."

    @model_validator(mode="before")
    @classmethod
    def _no_demo_among_your_own(cls, told: Any) -> Any:
        """Who tells something of their own is not held against the demo's files because they told none."""
        if not isinstance(told, dict):
            return told
        fields = cls.model_fields
        own = {n for n, v in told.items() if n in fields and as_declared(v, fields[n].annotation) != fields[n].default}
        return told | {name: [] for name, ends in cls.demo.items() if name not in told and own.intersection(ends)}

    def changed(self) -> dict[str, Any]:
        """As the rooms' options; files in place of the demo's always, for without a word there would be none."""
        found = super().changed()
        return found | {name: getattr(self, name) for name, ends in self.demo.items() if set(ends) & found.keys()}

    def conflicts(self) -> list[str]:
        """As the rooms' options, and parameters that would do nothing next to the others."""
        return [*super().conflicts(), *idle(self.about, self)]

    @field_validator("*", mode="before")
    @classmethod
    def _as_declared(cls, value: Any, info: ValidationInfo) -> Any:
        return as_declared(value, cls.model_fields[info.field_name or ""].annotation)


class GuideParams(Params):
    """The guide of a notebook, as `gisttools.models.GuideOptions` by the names it has there."""

    guide: str | None = Field(MINILM, description="model whose similarities are asked")
    guide_revision: str | None = GuideOptions.field("revision")
    trust_remote_code: bool | list[str] = GuideOptions.field("trust_remote_code")
    guide_prompt: str | None = GuideOptions.field("prompt")
    guide_query_prompt: str | None = GuideOptions.field("query_prompt")
    guide_document_prompt: str | None = GuideOptions.field("document_prompt")
    guide_base_url: str | None = GuideOptions.field("base_url")
    guide_key_variable: str = GuideOptions.field("key_variable")
    guide_dtype: Literal["float32", "float16"] = GuideOptions.field("dtype")
    send_texts: bool = Field(
        False,
        description="your texts may go to endpoints that are not on this machine, and nobody is asked",
    )

    def conflicts(self) -> list[str]:
        """A prompt of the guide for all texts next to one for some of them."""
        sides = self.guide_query_prompt is not None or self.guide_document_prompt is not None
        both = self.guide_prompt is not None and sides
        what = "guide_prompt goes before every text; leave it out, or guide_query_prompt and guide_document_prompt"
        return [*super().conflicts(), *([what] if both else [])]

    def guide_options(self, name: str) -> GuideOptions:
        """The guide, opened as `name`."""
        return GuideOptions(
            name=name,
            revision=self.guide_revision,
            trust_remote_code=self.trust_remote_code,
            prompt=self.guide_prompt,
            query_prompt=self.guide_query_prompt,
            document_prompt=self.guide_document_prompt,
            base_url=self.guide_base_url,
            key_variable=self.guide_key_variable,
            dtype=self.guide_dtype,
        )


class FinetuneParams(GuideParams, MadeFrom, MaskOptions, TrainSettings, FileOptions):
    """`3_finetune`: triplets, a student and a guide give a model."""

    about = "finetune"
    cell = (
        "triplets", "student", "student_revision", "guide", "guide_revision", "loss_temperature", "margin",
        "train_on", "epochs", "max_steps", "batch_size", "learning_rate", "dev", "seed",
    )  # fmt: skip

    triplets: list[str] = Field(
        [LATEST],
        min_length=1,
        description="triplet files, runs that wrote one, hub sets (org/name@revision); latest: the newest run of "
        "1_synthesize or 2_convert, without one the demo data",
    )
    student: str = MadeFrom.field("student", WORDLLAMA)
    guide: str | None = Field(
        MINILM, description="guide model, endpoint:MODEL, or a file of vectors; null for the unguided baseline"
    )
    batch_size: int = Field(64, ge=2, description=TrainSettings.model_fields["batch_size"].description)
    # more of the loss
    loss_temperature: float = LossOptions.field("temperature", 0.05)
    candidates: Candidates = LossOptions.field("candidates")
    positive_temperature: float | None = LossOptions.field("positive_temperature")
    distill: float = LossOptions.field("distill")
    distill_temperature: float | None = LossOptions.field("distill_temperature")
    mini_batch_size: int | None = LossOptions.field("mini_batch_size")
    tokens_per_forward: int | None = Field(
        None, ge=16, description=LossOptions.model_fields["tokens_per_forward"].description
    )
    equal_texts_once: bool | None = LossOptions.field("equal_texts_once")
    # what the student knew before
    retain: list[str] | None = Field(
        None,
        description="general texts (files, hub sets) that hold the student near its start; [] for none; null: "
        "the package's own, for a transformer on labelled texts",
    )
    retain_weight: float = RetentionOptions.field("weight")
    retain_a_step: int = RetentionOptions.field("texts_a_step")
    soup: list[str] = Field(
        [],
        description="finetune runs of one start, such as other seeds: averaged with this one, by dev those that help",
    )
    best_of: list[str] = Field(
        [], description="finetune runs with dev, of the same rows: train as the one of the best score was trained"
    )
    reranker: str | None = Field(
        None,
        description="a cross-encoder, or an encoder to make one of, trained on the same rows as well: reranker/ in the "
        "run's folder, a candidate of the evaluation",
    )
    reranker_revision: str | None = Field(None, description="commit of a hub cross-encoder")
    reranker_steps: int | None = RerankerOptions.field("steps")
    # several sets
    group_by: Literal["source", "task_name"] = Field(
        "source", description="what a set is: an entry of triplets, a task"
    )
    rows: int | None = Field(None, ge=1, description="rows read of a hub set")
    instructions: bool = Field(False, description="keep the instructions of MEDI-like sets in front of the texts")
    # fewer rows than there are
    leave_out: list[RowGroup] = Field(
        [],
        description='groups of rows that are not trained on, by their columns, e.g. [{"source": "llm", "anchor_label": '
        '"refund"}]; see gisttools.data.row_groups',
    )
    limit: int | None = Field(None, ge=2, description="most rows trained on; smaller limits are subsets of larger ones")
    limit_seed: int = Field(0, ge=0, description="seed of the order they are taken in; whatever seed says")
    dev_subsets: list[str] | None = Field(None, description='language subsets of dev tasks, e.g. ["en"]')

    def conflicts(self) -> list[str]:
        """Groups to leave out that no table could have."""
        if not self.leave_out:
            return super().conflicts()
        from gisttools.data import wrong_groups  # loads a library of tables

        return [*super().conflicts(), *(f"leave_out: {line}" for line in wrong_groups(self.leave_out))]


class SynthesizeParams(GuideParams, SynthesisOptions, Checks, FileOptions):
    """`1_synthesize`: a task description and an LLM, or texts that one wrote elsewhere, give triplets."""

    about = "synthesize"
    gone: ClassVar[Mapping[str, str]] = {
        "requests": "Earlier versions had it; say rows, how many are wanted, and attempts, calls for each of them."
    }
    cell = (
        "task", "texts", "rows", "attempts", "llm_base_url", "llm_model", "llm_key_variable", "temperature",
        "max_tokens", "concurrency", "guide", "guide_revision", "eval_files", "labelled_files", "seed", "dry_run",
    )  # fmt: skip
    demo: ClassVar[Mapping[str, tuple[str, ...]]] = dict.fromkeys(
        ("eval_files", "labelled_files"), ("task", "texts", "documents")
    )

    task: str = Field(_TASK, description="task description (YAML)")
    texts: list[str] = Field(
        [],
        description="files or folders of texts that an LLM wrote elsewhere, read in place of asking one; task may "
        "then describe them",
    )
    texts_columns: list[str] = Field(
        [],
        description="of texts: which column is what, e.g. [text=generation, label=intent, seed=original]; others by "
        "their usual names",
    )
    documents: str | None = Field(
        None, description="run of 8_read: questions on its chunks; task may then describe them, without passages"
    )
    domain: str | None = Field(None, description="of documents and texts: where they come from, in a few words")
    language: str | None = Field(
        None,
        description="of questions on documents, or of texts, such as eng-Latn; null: that of each chunk, of most texts",
    )
    decisions: str | None = Field(
        None, description="questions.csv of an earlier run, edited: keep says which questions on documents stay"
    )
    rows: int | None = Field(  # type: ignore[assignment]
        14,
        ge=1,
        description="accepted rows wanted, equally many of each label or topic; null with texts, which are all read",
    )
    attempts: float = SynthesisOptions.field("attempts", 3.0)
    llm_base_url: str = LLMOptions.field("base_url")
    llm_model: str = LLMOptions.field("model")
    llm_key_variable: str = LLMOptions.field("key_variable")
    temperature: float = LLMOptions.field("temperature")
    max_tokens: int = LLMOptions.field("max_tokens", 400)
    concurrency: int = LLMOptions.field("concurrency")
    guide: str = Field(MINILM, description="model that checks labels and similarities")
    eval_files: list[str] = Field(
        ["data/support_intents"],
        description="folders whose test texts must not occur; none where a task, texts or documents are told",
    )
    labelled_files: list[str] = Field(
        ["data/support_intents"],
        description="folders with real texts (train), to compare diversity with; none where a task, texts or documents "
        "are told",
    )
    seed: int = SynthesisOptions.field("seed", 7)
    # more of what is asked
    prompt: str | None = SynthesisOptions.field("prompt")
    prompts: str | None = SynthesisOptions.field("prompts")
    # more of what rows are held against
    eval_tasks: list[str] = Field([], description="MTEB tasks whose test texts must not occur")
    avoid: list[str] = Field([], description="runs or triplet files whose texts must not be written again")
    # more of the LLM
    budget_usd: float | None = LLMOptions.field("budget_usd")
    budget_tokens: int | None = LLMOptions.field("budget_tokens")
    price_in: float | None = LLMOptions.field("price_in")
    price_out: float | None = LLMOptions.field("price_out")
    price_cached: float | None = LLMOptions.field("price_cached")
    llm_reasoning_effort: Effort | None = LLMOptions.field("reasoning_effort")
    llm_mode: Literal["auto", "record", "replay"] = LLMOptions.field("mode")
    llm_transport: Literal["live", "batch"] = LLMOptions.field("transport")
    llm_endpoints: list[Endpoint] = LLMOptions.field("endpoints")
    llm_leave_out: list[Literal["seed", "temperature", "max_tokens", "response_format"]] = LLMOptions.field("leave_out")
    llm_context: int = LLMOptions.field("context")
    llm_timeout: float = LLMOptions.field("timeout")
    requests_per_minute: float | None = LLMOptions.field("requests_per_minute")
    tokens_per_minute: float | None = LLMOptions.field("tokens_per_minute")

    @property
    def described(self) -> str | None:
        """The task description; None where there are documents or texts and nothing else is told of them."""
        return None if (self.documents or self.texts) and self.task == _TASK else self.task

    @property
    def asks(self) -> bool:
        """Whether an LLM is asked anything."""
        return not self.texts or bool(self.part(Checks).asking)

    def conflicts(self) -> list[str]:
        """Texts next to documents, on which an LLM is asked."""
        both = self.documents is not None and bool(self.texts)
        what = "texts and documents are two things to start from; leave one of them out"
        return [*super().conflicts(), *([what] if both else [])]

    def llm_options(self) -> LLMOptions:
        """Which LLM is asked, and how."""
        own = type(self).model_fields
        named = {name: getattr(self, f"llm_{name}") for name in LLMOptions.model_fields if f"llm_{name}" in own}
        return self.part(LLMOptions, **named)


class ConvertParams(GuideParams, ReadOptions, MiningOptions):
    """`2_convert`: labelled texts give triplets, sets of pairs and triplets are mapped."""

    about = "convert"
    cell = (
        "sources", "subset", "text_column", "label_column", "test_share", "guide", "guide_revision", "strategy",
        "negatives", "eval_tasks", "eval_files", "seed",
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
    eval_files: list[str] | None = Field(
        None, description="folders and files whose test texts must not occur; null: the test parts of the sources"
    )
    threshold: float | None = Field(None, description="least score of a positive, in sets of scored pairs")
    # overlap with evaluation sets
    near: float | None = Tiers.field("near")
    semantic: float | None = Tiers.field("semantic", 0.98)


class EvaluateParams(Params, EvaluateOptions, FileOptions):
    """`4_evaluate`: a tuned model and its baseline on mteb tasks and local files."""

    about = "evaluate"
    cell = (
        "model", "model_revision", "baseline", "baseline_revision", "tasks", "files", "guards", "references", "subsets",
        "allow_overlap", "batch_size", "seed",
    )  # fmt: skip
    demo: ClassVar[Mapping[str, tuple[str, ...]]] = {"files": ("tasks",)}

    model: str | Annotated[list[str], Field(min_length=1)] = Field(
        LATEST,
        description="finetune run, folder, hub model, mteb:NAME, endpoint:MODEL; several: seeds or variants; latest: "
        "the newest finetune run, without one a demo",
    )
    model_revision: str | None = Field(None, description="of a single model")
    baseline: str | None = Field(None, description="null: the student that the finetune run started from")
    baseline_revision: str | None = Field(None, description="of a hub model")
    tasks: list[str] = Field(
        [], description="what the tuning is meant to help: mteb tasks, MTEB(eng, v2), type:STS language:deu"
    )
    files: list[str] = Field(
        ["data/support_intents"],
        description="your own folders and files: folder, folder#kind, or a file and test_share; none where only tasks "
        "are told",
    )
    guards: list[str] | None = Field(
        None, description="mteb tasks it must not hurt; null: STSBenchmark where it can be reached"
    )
    references: list[str] = Field(
        [], description="shown next to them: guide, bm25, random, models (org/name@revision), published:NAME"
    )
    subsets: list[str] | None = Field(None, description='language subsets of multilingual tasks, e.g. ["en"]')
    trust_remote_code: bool | list[str] = GuideOptions.field("trust_remote_code")
    query_prompt: str | None = Field(
        None,
        description='text that baseline and models put before queries, and texts that are alike; "" for none; null: '
        "their own (with baseline null those told in the finetune run)",
    )
    document_prompt: str | None = Field(None, description="the same, before documents of a search")
    base_url: str | None = GuideOptions.field("base_url")
    key_variable: str = GuideOptions.field("key_variable")
    send_texts: bool = GuideParams.field("send_texts")


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


class ReadParams(Params, ChunkOptions):
    """`8_read`: a folder of documents gives chunks, some of them held back to test on."""

    about = "read"
    cell = (
        "data", "student", "chunk_size", "chunk_overlap", "test_share", "sentences", "encoding", "text_column", "seed",
    )  # fmt: skip

    data: str = Field("data/handbook", description="folder or file of documents: text, Markdown, HTML, PDF, tables")
    student: str = Field(WORDLLAMA, description="model that is to find the chunks: its tokens count")
    student_revision: str | None = Field(None, description="of a student of the hub")
    trust_remote_code: bool | list[str] = GuideOptions.field("trust_remote_code")
    chunk_size: int | None = Field(  # type: ignore[assignment]
        None, ge=8, description="most tokens of a chunk, its headings included; null: 256, or what the student reads"
    )
    test_share: float | None = Field(
        0.2, gt=0, lt=1, description="share of the chunks to test on, in whole documents; null: none"
    )
    encoding: str | None = FileOptions.field("encoding")
    text_column: str | None = Field(None, description="of tables: the column of the texts, where it has no usual name")
    strict: bool = Field(False, description="refuse files that would be left out")
    sentences: int = Field(
        0, ge=0, description="pairs of a sentence and its chunk to train on, which take no LLM; for a teaching guide"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="of what is held back, and of the sentences")

    def conflicts(self) -> list[str]:
        """More overlap than new text, where the size is told."""
        return [] if self.chunk_size is None else super().conflicts()


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
    "read": ReadParams,
}


def check_params(verb: str, given: Mapping[str, Any]) -> Any:
    """The parameters of a verb's notebook, defaults filled in: its model of `VERBS`.

    Raises:
        ParameterError: unknown names, wrong types, values out of range, secrets; all of them at once.
    """
    return VERBS[verb](**given)


def as_declared(value: Any, annotation: Any) -> Any:
    """A value as its parameter's type means it: the word None is nothing where nothing is allowed, yes and no are truth
    values where these are wanted, 1e-5 is a number. What does not fit is left for whoever checks it."""
    several = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    kinds = {get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in several}
    if isinstance(value, list):
        inner = next((get_args(kind)[0] for kind in kinds if get_origin(kind) is list), None)
        return value if inner is None else [as_declared(v, inner) for v in value]
    if not isinstance(value, str):
        return value
    if NoneType in kinds and value.strip().lower() in _NOTHING:
        return None
    if str in kinds:
        return value
    if bool in kinds:
        return _TRUTHS.get(value.lower(), value)
    return float(value) if float in kinds and _NUMBER.fullmatch(value) else value


def _secret(name: str, value: Any) -> str | None:
    parts = [*value] if isinstance(value, list | tuple) else [value]
    inner = [pair for part in parts for pair in _named_texts(part)]
    if found := next((kind for inner_name, text in inner if (kind := _secret(inner_name, text))), None):
        return found
    texts = [part for part in parts if isinstance(part, str)]
    if named_like_a_secret(name) and any(texts):
        return "a secret, by its name"
    return next((kind for text in texts if (kind := secret_in(text))), None)


def _named_texts(part: Any) -> list[tuple[str, str]]:
    """What a mapping, or options among options, holds of texts, by name."""
    told = part.model_dump() if isinstance(part, Options) else part
    return [(str(k), v) for k, v in told.items() if isinstance(v, str)] if isinstance(told, Mapping) else []
