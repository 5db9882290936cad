"""Packs what a run left for the hub: which files go, how they are cleaned, the card, and what people should know first.

| what | of | repository |
| --- | --- | --- |
| model | finetune, or what an evaluate run left to be used | model |
| data | convert, synthesize: `triplets.parquet` | data set |
| report | report: the page | static Space, for a data set's page shows no HTML |
| scores | evaluate: mteb's own files | data set |

Nothing is sent from here; `gisttools.workflow.sending` does that.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from gisttools.common import (
    DataError,
    FinishedRun,
    GistError,
    HubKind,
    MissingError,
    ParameterError,
    card_languages,
    card_problems,
    first_line,
    known_licence,
    licence_fields,
    plural,
    problems,
    read_run,
    results_folder,
    size_category,
    split_card,
    whole_card,
)
from gisttools.workflow.evaluations import models_of
from gisttools.workflow.folders import as_run, find_run, finished_runs
from gisttools.workflow.manifest import key_variables
from gisttools.workflow.outgoing import Cleaner
from gisttools.workflow.sending import address, cannot_send

What = Literal["model", "data", "report", "scores"]
USUAL: dict[str, What] = {
    "finetune": "model", "evaluate": "model", "convert": "data", "synthesize": "data", "report": "report",
}  # fmt: skip
_OF: dict[What, tuple[str, ...]] = {
    "model": ("finetune", "evaluate"),
    "data": ("convert", "synthesize"),
    "report": ("report",),
    "scores": ("evaluate",),
}
_KINDS: dict[What, HubKind] = {"model": "model", "data": "dataset", "report": "space", "scores": "dataset"}
_TABLE, _CARD = "triplets.parquet", "README.md"
_PAGES = {"report.html": "index.html", "leaderboard.html": "leaderboard.html"}
_BESIDE = ("report.md", "scores.csv", "leaderboard.csv", "leaderboard.md")
_WORDS = ("tokenizer.json", "vocab.json", "added_tokens.json")  # what a tokenizer knows is not changed
_READ = (".json", ".jsonl", ".md", ".txt", ".csv", ".html", ".py", ".yaml", ".yml", ".toml", ".cfg")
_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_PINNED = re.compile(r"(?P<model>[\w.-]+/[\w.-]+)@(?P<commit>[0-9a-f]{40})")


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """What would go to the hub.

    Attributes:
        run: id of the run that it is of.
        what, kind, repo: what it is, and where it goes.
        files: path there -> file here, or content; README.md is the card.
        texts: how many different texts a data set holds; None of what is none.
        notes: what a person should know before it is sent.
        problems: what stops it.
    """

    run: str
    what: What
    kind: HubKind
    repo: str
    files: Mapping[str, Path | bytes]
    texts: int | None = None
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return address(self.repo, self.kind)

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each file."""
        return {n: len(f) if isinstance(f, bytes) else f.stat().st_size for n, f in self.files.items()}

    @property
    def card(self) -> dict[str, Any]:
        """The head of its card; empty where that cannot be read, which is one of the problems."""
        return split_card(_content(self.files[_CARD]).decode())[0]

    @property
    def licence(self) -> str | None:
        card = self.card
        return str(card.get("license_name") or card["license"]) if card.get("license") else None

    def refuse(self) -> None:
        """Raise a `ParameterError` with all problems where there are any."""
        if self.problems:
            raise ParameterError(problems(f"{self.what} of {self.run} was not sent:", self.problems))


@contextlib.contextmanager
def packed(
    name: str, repo: str, *, what: What | None = None, licence: str | None = None, model: str | None = None
) -> Iterator[Parcel]:
    """What would go to the hub, cleaned; files that had to be written anew are there inside the block.

    Args:
        name: of a run, as people name it.
        repo: owner/name.
        what: what of the run; what it is made for if None.
        licence: an id of the hub; what the run knows if None.
        model: of scores, the model's name on the hub and its commit: owner/name@commit.

    Raises:
        ParameterError: a name or licence will not do, or the run has nothing of the kind; all problems at once.
        MissingError: there is no such finished run, or it left none.
        DataError: the run failed, is of a smoke profile, or files are not as it wrote them; all reasons at once.
    """
    run = read_run(find_run(name))
    chosen = _asked(run, repo, what, licence, model)
    run = _holder(run, chosen)
    _refuse_unfit(run)
    with tempfile.TemporaryDirectory(prefix="gisttools-") as scratch:
        packer = _Packer(
            run=run, repo=repo, licence=licence, model=model, scratch=Path(scratch),
            cleaner=Cleaner(key_variables(run.parameters)),
        )  # fmt: skip
        {"model": packer.model_files, "data": packer.data, "report": packer.report, "scores": packer.scores}[chosen]()
        if run.missing:
            packer.notes.append(f"the run lacks something: {run.missing}")
        yield packer.parcel(chosen)


def _asked(run: FinishedRun, repo: str, what: What | None, licence: str | None, model: str | None) -> What:
    """What is to be shared, where all that was said will do."""
    chosen, found = what or USUAL.get(run.verb), []
    if chosen is None:
        found.append(f"{run.id} is a {run.verb} run, of which nothing is shared; name one of {', '.join(USUAL)}")
    if not _NAME.fullmatch(repo) or not _is_repo(repo):
        found.append(f"the repository is {repo!r}, must be owner/name of letters, digits, -, _ and .")
    if licence is not None:
        try:
            known_licence(licence)
        except ParameterError as error:
            found.append(str(error))
    if model is not None and (chosen != "scores" or not _PINNED.fullmatch(model)):
        found.append(f"--as is {model!r}; it is for scores, and says owner/name@commit with the 40 digits of a commit")
    if found or chosen is None:
        raise ParameterError(found[0] if len(found) == 1 else problems(f"{len(found)} problems:", found))
    return chosen


def _is_repo(name: str) -> bool:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def _holder(run: FinishedRun, what: What) -> FinishedRun:
    """The run that left it: this one, or one that it came from."""
    if run.verb in _OF[what]:
        return run
    wanted = " or ".join(_OF[what])
    for parent in run.parents:
        with contextlib.suppress(GistError):
            found = read_run(results_folder() / parent)
            if found.verb in _OF[what]:
                return found
    raise ParameterError(
        f"{run.id} is a {run.verb} run and has no {what}; name one of {wanted}: gisttools runs {_OF[what][0]}."
    )


def _refuse_unfit(run: FinishedRun) -> None:
    found = []
    if not run.ok:
        found.append(f"it failed ({(run.error or 'it does not say why').splitlines()[0]})")
    if run.smoke:
        found.append("it is of the profile smoke: its numbers mean nothing")
    if run.ok and (changed := run.changed()):
        found.append(f"files are not as it wrote them: {', '.join(changed)}")
    if found:
        raise DataError(problems(f"{run.id} is not shared:", found, "Run it again."))


@dataclass(kw_only=True)
class _Packer:
    """Puts the files of one kind together."""

    run: FinishedRun
    repo: str
    licence: str | None
    model: str | None
    scratch: Path
    cleaner: Cleaner
    files: dict[str, Path | bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    texts: int | None = None

    def parcel(self, what: What) -> Parcel:
        found = [f"README.md: {problem}" for problem in card_problems(self._card(), _KINDS[what])]
        for name, file in self.files.items():
            if name.endswith(_READ) and (left := self.cleaner.left(_content(file))):
                found.append(f"{name} still holds {left}, so it does not leave this machine")
        if what != "scores" and not split_card(self._card())[0].get("license"):
            self.notes.append("no licence is told, so nobody may use it: --licence apache-2.0, mit, cc-by-4.0, ...")
        return Parcel(
            run=self.run.id, what=what, kind=_KINDS[what], repo=self.repo, files=dict(sorted(self.files.items())),
            texts=self.texts, notes=tuple(self.notes), problems=(*found, *cannot_send()),
        )  # fmt: skip

    def _card(self) -> str:
        return _content(self.files[_CARD]).decode()

    def model_files(self) -> None:
        """The folder of a model, with its card."""
        from gisttools.report import with_name

        run, folder, card = self.run, "model", None
        if run.verb == "evaluate":
            run, folder, card = self._used()
        if run.verb == "finetune":
            card = self._with_scores(run)
        names = [name for name in run.artefacts if name.startswith(f"{folder}/")]
        if not names:
            raise MissingError(f"{run.id} left no {folder}/. Train or evaluate again.")
        for name in names:
            path, short = run.artefact(name), name.removeprefix(f"{folder}/")
            self.files[short] = self._cleaned(path, short)
        written = card or with_name(run.text(f"{folder}/{_CARD}") or f"# {self.repo}", self.repo)
        self._add_card(written, {"license": self.licence or run.parameters.get("licence")})

    def _used(self) -> tuple[FinishedRun, str, str | None]:
        """What an evaluation left to be used: the run that holds it, the folder and the card; else its tuned model."""
        from gisttools.report import collect, used_model_card

        for told in (self.run.summary.get("advice") or {}).get("models") or []:
            folder = str(told["folder"])
            if any(name.startswith(f"{folder}/") for name in self.run.artefacts):
                readme = self.run.text(f"{folder}/{_CARD}") or f"# {told.get('name')}"
                data = collect(self.run.folder, results_folder())
                return self.run, folder, used_model_card(data, told, readme, name=self.repo)
        trained = as_run(models_of(self.run.parameters)[0])
        if trained is None:
            raise MissingError(f"{self.run.id} left no model. Name a finetune run: gisttools runs finetune.")
        run = read_run(trained)
        _refuse_unfit(run)
        return run, "model", None

    def _with_scores(self, run: FinishedRun) -> str | None:
        """The card of a training with the scores of its newest evaluation; None where it was not evaluated."""
        from gisttools.report import collect, model_card

        evaluation = next((one for one in reversed(finished_runs("evaluate")) if _is_of(one, run)), None)
        if evaluation is None:
            self.notes.append(f"no evaluation of {run.id}, so its card has no scores: gisttools run evaluate")
            return None
        try:
            data = collect(evaluation.folder, results_folder())
            others = [one for one in data.finetunes if one.id != run.id]  # of several seeds another may stand first
            return model_card(replace(data, finetunes=(run, *others)), name=self.repo)
        except GistError as error:
            self.notes.append(f"the card has no scores: {first_line(error)}")
            return None

    def data(self) -> None:
        """The table of triplets, with its data card."""
        source = self.run.artefact(_TABLE)
        target = self.scratch / _TABLE
        try:
            rows, self.texts = self.cleaner.table(source, target)
        except (OSError, ValueError) as error:  # pyarrow's errors derive from these
            raise DataError(f"{source} cannot be read as Parquet: {first_line(error)} Run the step again.") from error
        self.files[_TABLE] = target
        by_source, languages = _counted(target)
        who = ", ".join(f"{count:,} {_MADE.get(name, name)}" for name, count in by_source.items())
        self.notes.append(f"whoever may see it reads {plural(self.texts, 'text')} in {plural(rows, 'row')} ({who})")
        written = self.run.text("data_card.md") or f"# Data card\n\n{rows:,} triplets.\n"
        use = [
            "## Use", "", "```python", "from datasets import load_dataset", "",
            f'triplets = load_dataset("{self.repo}", split="train")', "```", "",
            "To train on it with gisttools, name it with its commit in `triplets` of `3_finetune`: "
            f"`{self.repo}@COMMIT`.", "",
        ]  # fmt: skip
        title, _, body = written.partition("\n")
        head: dict[str, Any] = {
            "license": self.licence or self._licence_of_sources(),
            "language": languages or None,
            "pretty_name": self.repo.partition("/")[2],
            "size_categories": [size_category(rows)],
            "task_categories": ["sentence-similarity", "feature-extraction"],
            "tags": ["gist", "sentence-transformers", *(["synthetic"] if "llm" in by_source else [])],
            "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": _TABLE}]}],
        }
        self._add_card("\n".join([title, "", *use, body.lstrip()]), head)

    def report(self) -> None:
        """The page of a report, and the tables beside it."""
        pages = {name: there for name, there in _PAGES.items() if name in self.run.artefacts}
        if not pages:
            raise MissingError(f"{self.run.id} left no page. Write the report again.")
        if "report.html" not in pages:
            pages["leaderboard.html"] = "index.html"
        for name, there in pages.items():
            html = self.run.artefact(name).read_text(encoding="utf-8")
            self.files[there] = self.cleaner.page(html).encode()
        for name in _BESIDE:
            if name in self.run.artefacts:
                self.files[name] = self._cleaned(self.run.artefact(name), name)
        self.notes.append("the page shows some of the texts that were trained and tested on")
        head = {
            "title": self.repo.partition("/")[2], "emoji": "📏", "colorFrom": "blue", "colorTo": "gray",
            "sdk": "static", "app_file": "index.html", "pinned": False,
            "license": self.licence, "tags": ["gist", "mteb"],
        }  # fmt: skip
        self._add_card(f"# Report\n\n{self.run.headline}\n\nThe page is `index.html`; it needs nothing else.\n", head)

    def scores(self) -> None:
        """mteb's own files of the tuned models."""
        from gisttools.evaluation import renamed_results

        places = self.run.summary.get("mteb") or {}
        tuned = {role: place for role, place in places.items() if role == "tuned" or role.startswith("tuned_")}
        if not tuned:
            raise MissingError(
                f"{self.run.id} left no files of mteb: they are of mteb's own tasks. Evaluate on one of them: "
                "gisttools run evaluate -p tasks '[Banking77Classification]'."
            )
        if self.model and len(tuned) > 1:
            raise ParameterError(f"--as names one model, and {self.run.id} scored {len(tuned)}. Leave it out.")
        for place in tuned.values():
            known = self.run.artefact(place)
            named = _PINNED.fullmatch(self.model or "")
            model, revision = (named["model"], named["commit"]) if named else (known.parent.name, known.name)
            for name, text in renamed_results(known, model if named else model.replace("__", "/"), revision):
                self.files[f"results/{name}"] = self.cleaner.settings(text).encode()
        if not self.model:
            self.notes.append(
                "the model has no name of the hub here, so mteb's leaderboard does not know it: share the model first, "
                "then say --as owner/name@commit"
            )
        listed = sorted({Path(name).stem for name in self.files if not name.endswith("model_meta.json")})
        body = [
            f"# Scores: {self.repo.partition('/')[2]}", "", f"Of {', '.join(listed)}, in the files of mteb:", "",
            "```python", "import mteb", "from huggingface_hub import snapshot_download", "",
            f'folder = snapshot_download("{self.repo}", repo_type="dataset", local_dir="scores")',
            "results = mteb.ResultCache(cache_path=folder).load_results()", "```", "",
        ]  # fmt: skip
        self._add_card("\n".join(body), {"license": self.licence, "tags": ["mteb"], "viewer": False})

    def _add_card(self, written: str, head: Mapping[str, Any]) -> None:
        """README.md: what was written, with these fields in its head."""
        told, text = split_card(self.cleaner.text(written))
        licence = head.get("license") or told.pop("license_name", None) or told.get("license")
        fields = {name: value for name, value in head.items() if name != "license" and value is not None}
        told.pop("license", None)
        self.files[_CARD] = whole_card({**licence_fields(licence), **told, **fields}, text).encode()

    def _cleaned(self, path: Path, name: str) -> Path | bytes:
        """A file as it may go: weights and vocabularies as they are."""
        if path.name in _WORDS or path.suffix not in (".json", ".md", ".csv"):
            return path
        text = path.read_bytes().decode("utf-8", errors="surrogateescape")
        clean = self.cleaner.settings(text) if path.suffix == ".json" else self.cleaner.text(text)
        return path if clean == text else clean.encode("utf-8", errors="surrogateescape")

    def _licence_of_sources(self) -> str | None:
        """That of all sources, where they have one and the same."""
        told = [source.get("licence") for source in self.run.summary.get("sources") or []]
        return told[0] if told and len(set(told)) == 1 else None


_MADE = {
    "labelled": "of labelled texts",
    "hub": "of sets on the hub",
    "llm": "written by an LLM",
    "": "of who knows what",
}


def _is_of(evaluation: FinishedRun, training: FinishedRun) -> bool:
    """Is the training's model the one that this evaluation judged, in numbers that mean something?"""
    named = evaluation.parameters.get("model")
    folder = as_run(named[0] if isinstance(named, list) and named else named)
    return evaluation.ok and not evaluation.smoke and folder is not None and folder.name == training.folder.name


def _counted(table: Path) -> tuple[dict[str, int], list[str]]:
    """Rows by who made them, the most first; and the languages that a card says."""
    import pyarrow.parquet as pq

    known = [c for c in ("source", "language") if c in pq.read_schema(table).names]
    found = pq.read_table(table, columns=known).to_pydict()
    counts: dict[str, int] = {}
    for source in found.get("source", []):
        counts[source or ""] = counts.get(source or "", 0) + 1
    languages: Sequence[str | None] = found.get("language", [])
    return dict(sorted(counts.items(), key=lambda pair: -pair[1])), card_languages(set(languages))


def _content(file: Path | bytes) -> bytes:
    return file if isinstance(file, bytes) else file.read_bytes()


WHATS: tuple[str, ...] = get_args(What)
