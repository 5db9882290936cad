"""Makes one triplet table of named sources, and a data card of what became of every text.

Labelled texts are mined, triplet sets are mapped, and what overlaps an evaluation set is left out.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
from datasets import Dataset, concatenate_datasets

from gisttools.common import DataError, ParameterError, problems
from gisttools.data import (
    CORPUS_FILE,
    LabelledTexts,
    ReadOptions,
    Tiers,
    cleaned_task,
    drop_overlap,
    expand_sources,
    find_duplicates,
    is_hub_name,
    is_task,
    kind_of,
    nested_subset,
    parse_task_name,
    passage_of,
    read_rows,
    read_search,
    read_sources,
    search_pairs,
    search_revision,
    shares_of,
    table_texts,
    train_texts_in_test,
    triplet_tables,
    write_triplets,
)
from gisttools.mining.card import DataCard, data_card
from gisttools.mining.miner import mine_labelled, score_triplets, triplet_table
from gisttools.mining.negatives import bare_rows, with_hard_negatives
from gisttools.mining.noise import LabelNoise, label_noise
from gisttools.mining.options import MiningOptions
from gisttools.mining.repairs import FILE_NAME, labels_to_repair
from gisttools.models import VectorCache

log = logging.getLogger(__name__)
_MANY = 50_000  # texts; beyond, duplicates within the training texts and near copies of other labels are not looked for
_LOOKED_AT = 300  # rows of a triplet set whose texts tell whether the guide reads them
_OVERLAPS = "overlaps an evaluation set"
_DOUBTED = "label doubted by the guide"


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What `convert` made.

    Attributes:
        triplets: the table, all sources one after the other.
        tables: the table of each source, by its name.
        data: the labelled texts that were mined; triplet sets have none.
        overlap: rows that were left out for the sake of evaluation sets, as `gisttools.data.drop_overlap` tells.
        noise: what looks wrong about the labels of each labelled source, by its name.
        card: all of it in short.
        summary: the numbers.
    """

    triplets: Dataset
    tables: dict[str, Dataset]
    data: list[LabelledTexts]
    overlap: pd.DataFrame
    noise: dict[str, LabelNoise]
    card: DataCard
    summary: dict[str, Any] = field(default_factory=dict)

    def headline(self) -> str:
        """One line: how many triplets of how many texts."""
        live = f"{100 * self.summary['live_share']:.0f} % with a usable negative"
        if not self.data:
            return f"{len(self.triplets)} triplets of {len(self.tables)} set(s), {live}"
        texts, classes = sum(map(len, self.data)), sum(len(d.classes) for d in self.data)
        return f"{len(self.triplets)} triplets of {texts} texts in {classes} classes, {live}"

    @property
    def confused(self) -> pd.DataFrame:
        """Pairs of classes that the guide confuses, of all labelled sources, the worst first."""
        found = pd.concat([noise.confused for noise in self.noise.values()] or [pd.DataFrame({"share": []})])
        return found.sort_values("share", ascending=False, kind="stable", ignore_index=True)

    @property
    def repairs(self) -> pd.DataFrame:
        """Labels to repair, of all sources whose texts have one label each, with the column `source`."""
        found = [n.repairs.assign(source=name) for name, n in self.noise.items() if n.repairs is not None]
        return _joined(found) if found else pd.DataFrame()

    def table(self) -> pd.DataFrame:
        """One line a source: texts, classes, triplets, rows dropped by reason; the recall of an approximate search; of
        MTEB tasks, how many test texts mteb found in the train split to the letter, and the task cleaned of them."""
        columns = ["source", "texts", "classes", "triplets", "dropped", "recall", "test_texts_in_train", "cleaned_task"]
        frame = pd.DataFrame(self.summary["sources"])[columns]
        told = ["recall", "test_texts_in_train", "cleaned_task"]
        frame = frame.drop(columns=[c for c in told if frame[c].isna().all()]).set_index("source")
        for counts in {"dropped", "test_texts_in_train"} & set(frame):
            frame[counts] = [", ".join(f"{n:,} {what}" for what, n in (found or {}).items()) for found in frame[counts]]
        return frame

    def save(self, folder: Path) -> None:
        """Write `triplets.parquet`, `data_card.md`, `data_card.json` and `overlap.parquet`; of several sources each
        table as well, in `tables/`; of labelled texts `labels_to_repair.csv`."""
        write_triplets(self.triplets, folder)
        if len(self.tables) > 1:
            for number, (name, table) in enumerate(self.tables.items(), 1):
                write_triplets(table, folder / "tables" / f"{number:02}-{_slug(name)}.parquet")
        self.overlap.to_parquet(folder / "overlap.parquet")
        if len((repairs := self.repairs).columns):  # with a mark in front, by which Excel knows UTF-8
            repairs.to_csv(folder / FILE_NAME, index=False, encoding="utf-8-sig", float_format="%.3f")
        self.card.save(folder)


def convert(
    sources: Sequence[str],
    guide: VectorCache,
    *,
    reading: ReadOptions | None = None,
    mining: MiningOptions | None = None,
    threshold: float | None = None,
    eval_sets: Mapping[str, Sequence[str]] | None = None,
    tiers: Tiers | None = None,
) -> Converted:
    """Read the train split of every source, mine triplets inside each that has labels, and leave out what overlaps.

    Args:
        sources: MTEB tasks, presets, hub sets, files and folders, as in `gisttools.data.expand_sources`; they hold
            labelled texts, triplets or pairs (`gisttools.data.triplet_sets`), or queries and a corpus
            (`gisttools.data.read_search`).
        guide: its similarities pick positives and negatives, and score every row.
        reading: how to read labelled texts.
        mining: how to mine them.
        threshold: least score of a pair that counts as positive, in sets of scored pairs.
        eval_sets: texts by name of the evaluation set; rows any text of which overlaps one are left out and listed.
        tiers: how alike that is; `Tiers()` if None.

    Raises:
        MissingError, DataError, ParameterError: as those functions; also if no triplet is left.
    """
    names, tiers, known = expand_sources(sources), tiers or Tiers(), eval_sets or {}
    mining = mining or MiningOptions()
    if not names:
        raise ParameterError("There are no sources. Name an MTEB task, a hub set, a file or a folder.")
    data, pairs = _read(names, reading, mining, threshold)
    read = guide.reading(_all_texts(data, pairs), warn=True)
    few = _few(data, pairs)
    noise = _noise(data, guide, tiers.near if few else None)
    data = _undoubted(data, noise, mining.drop_doubted)
    tables: dict[str, Dataset] = {}
    counts, overlaps = [], []
    for name in [*data, *pairs]:
        whole, dropped, recall = _table_of(name, data, pairs, guide, mining)
        tables[name], found = drop_overlap(whole, known, tiers)
        if len(found):
            dropped = {**dropped, _OVERLAPS: int(found["place"].nunique())}
        overlaps.append(found.assign(source=name))
        counts.append(_counts(name, data.get(name), tables[name], dropped, recall))
    triplets = concatenate_datasets(list(tables.values()))
    if not len(triplets):
        raise DataError(f"No triplet is left of {', '.join(names)}; dropped: {[c['dropped'] for c in counts]}.")
    overlap = _joined(overlaps)
    live = triplets["live"][:]
    summary: dict[str, Any] = {
        "sources": counts,
        "guide_id": guide.guide_id,
        "strategy": mining.strategy,
        "triplets": len(triplets),
        "live_share": sum(map(bool, live)) / len(live),
        "overlap": dict(Counter(overlap["tier"])),
        "eval_sets": {name: len(texts) for name, texts in known.items()},
        "label_noise": {name: found.counts for name, found in noise.items()},
    }
    card = data_card(
        triplets,
        list(data.values()),
        dropped=dict(sum((Counter(c["dropped"]) for c in counts), Counter())),
        duplicates=find_duplicates(_texts_by_source(data, tables), tiers) if few else None,
        overlap=overlap if known else None,
        noise=noise,
        tiers=tiers,
        reading=read,
    )
    summary["guide_reading"] = card.facts["guide_reading"]
    return Converted(
        triplets=triplets,
        tables=tables,
        data=list(data.values()),
        overlap=overlap,
        noise=noise,
        card=card,
        summary=summary,
    )


@dataclass(frozen=True)
class _Pairs:
    """Pairs or triplets: the rows that are taken, all rows there are, and of a search the texts of its corpus."""

    table: Dataset
    whole: Dataset
    corpus: Sequence[str] = ()


def _read(
    names: Sequence[str], reading: ReadOptions | None, mining: MiningOptions, threshold: float | None
) -> tuple[dict[str, LabelledTexts], dict[str, _Pairs]]:
    """Labelled texts, and pairs and triplets, by name; all are read before any work, so that errors come first."""
    kinds = {name: kind_of(name, reading) for name in names}
    _refuse_idle(kinds, reading or ReadOptions(), mining, threshold)
    labelled = [texts for name in names if kinds[name] == "labelled" for texts in read_sources([name], reading)]
    foreign = triplet_tables([name for name in names if kinds[name] == "triplets"], threshold=threshold)
    pairs = {name: _Pairs(_limited(table, mining), table, _corpus_beside(name)) for name, table in foreign.items()}
    for name in names:
        if kinds[name] == "search":
            pairs[name] = _search(name, reading or ReadOptions(), mining)
    if (
        mining.strategy == "hard"
        and not labelled
        and not any(bare_rows(source.table).any() for source in pairs.values())
    ):
        raise ParameterError(
            f"strategy is 'hard', but every row of {', '.join(pairs)} has negatives, or a label. Leave strategy out."
        )
    return {texts.source: texts for texts in labelled}, {name: pairs[name] for name in names if name in pairs}


def _few(data: Mapping[str, LabelledTexts], pairs: Mapping[str, _Pairs]) -> bool:
    """Whether all that has labels, or where nothing has, all pairs, are few enough to be compared with one another."""
    return sum(map(len, data.values() or [source.table for source in pairs.values()])) <= _MANY


def _texts_by_source(data: Mapping[str, LabelledTexts], tables: Mapping[str, Dataset]) -> dict[str, Sequence[str]]:
    """Of the labelled sources; where there are none, of all tables."""
    return {n: texts.texts for n, texts in data.items()} or {n: table_texts(table) for n, table in tables.items()}


def _corpus_beside(name: str) -> list[str]:
    """The texts that lie beside a table of pairs, as questions on documents have them."""
    file = Path(name).expanduser() / CORPUS_FILE
    return [str(row["text"]) for row in read_rows(file)] if file.is_file() else []


def _limited(table: Dataset, mining: MiningOptions) -> Dataset:
    """As many rows as there would be anchors; of each set, as of each labelled source."""
    if mining.limit is None:
        return table
    return nested_subset({"": table}, min(mining.limit, len(table)), seed=mining.seed)[""]


def _search(name: str, reading: ReadOptions, mining: MiningOptions) -> _Pairs:
    found = read_search(name, reading.split, reading.encoding)
    table = search_pairs(found, name, search_revision(name))
    return _Pairs(_limited(table, mining), table, [passage_of(*document) for document in found.corpus.values()])


def _with_negatives(name: str, source: _Pairs, guide: VectorCache, mining: MiningOptions) -> Dataset:
    """The table of a source; where mining is hard, with negatives in the rows that have none."""
    if mining.strategy != "hard" or not (wanted := bare_rows(source.table)).any():
        return source.table
    table = with_hard_negatives(source.table, guide, mining, known=source.whole, corpus=source.corpus)
    counts = [len(found) for found, mined in zip(table["negatives"][:], wanted.tolist(), strict=True) if mined]
    if short := sum(n < mining.negatives for n in counts):
        log.warning(
            "%s: %d of %d rows have fewer than the %d negatives asked for: no more lie under the margin.",
            name, short, len(counts), mining.negatives,
        )  # fmt: skip
    return table


def _refuse_idle(
    kinds: Mapping[str, str], reading: ReadOptions, mining: MiningOptions, threshold: float | None
) -> None:
    """Refuse options that would do nothing with sources of these kinds; tell which sources the others leave alone.

    Raises:
        ParameterError: there are some; all of them, with what they need.
    """
    triplets = [name for name, kind in kinds.items() if kind == "triplets"]
    idle_shares = _idle_shares(kinds, reading)
    mined = {name: value for name, value in mining.changed().items() if name not in ("limit", "seed")}
    told = reading.changed() | mined
    found = [*idle_shares]
    for what, names, those in _needs(kinds, mining):
        found += [f"{name} is {told[name]!r}, which needs {what}" for name in names if name in told and not those]
    if threshold is not None and not triplets:
        found.append(f"threshold is {threshold}, which needs a set of scored pairs")
    if found:
        here = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
        raise ParameterError(problems(f"options that would do nothing with {here}:", found, "Leave them out."))
    _tell_idle(kinds, mining, list(mined))


def _tell_idle(kinds: Mapping[str, str], mining: MiningOptions, mined: Sequence[str]) -> None:
    """Say which of these options of mining do nothing with which sources."""
    others = [name for name, kind in kinds.items() if kind != "labelled"]
    idle = [name for name in mined if name in _OF_LABELS or mining.strategy != "hard"]
    if idle and others:
        log.warning("%s do nothing with %s, which hold pairs or triplets already.", ", ".join(idle), ", ".join(others))


def _idle_shares(kinds: Mapping[str, str], reading: ReadOptions) -> list[str]:
    """Shares that no source needs: all have a file of their own for that split, or are not split here."""
    labelled = [Path(name).expanduser() for name, kind in kinds.items() if kind == "labelled" and not is_task(name)]
    used = {split for path in labelled if path.exists() for split in shares_of(path, reading)}
    return [
        f"{split}_share is {share}, which needs labelled texts in a file, or in a folder without a {split} file"
        for split, share in reading.shares.items()
        if split not in used
    ]


# options of mining that say something of labelled texts alone
_OF_LABELS = (
    "positives", "topk", "temperature", "negatives_from", "least", "per_class", "balanced", "drop_singletons", "search",
    "drop_doubted",
)  # fmt: skip


def _needs(kinds: Mapping[str, str], mining: MiningOptions) -> list[tuple[str, Sequence[str], list[str]]]:
    """What options need, the options, and the sources here that are so."""
    labelled = [name for name, kind in kinds.items() if kind == "labelled"]
    tasks = [name for name in labelled if is_task(name)]
    others = [name for name in labelled if name not in tasks]
    hub = [name for name in others if is_hub_name(name) and not Path(name).expanduser().exists()]
    files = [name for name in others if name not in hub]
    searches = [name for name, kind in kinds.items() if kind == "search"]
    pairs = [name for name, kind in kinds.items() if kind != "labelled"]
    mined = labelled + (pairs if mining.strategy == "hard" else [])
    of_pairs = "labelled texts; or strategy 'hard', by which negatives of pairs are mined"
    return [
        ("labelled texts of a file or of the hub", ("text_column", "label_column", "id_column"), others),
        ("labelled texts", ("drop_empty", "drop_unlabelled", "relabel"), labelled),
        ("labelled texts, or a search", ("split",), labelled + searches),
        ("labelled texts or a search in a file or folder here", ("encoding",), files + searches),
        ("an MTEB task, or labelled texts of the hub", ("subset",), tasks + hub),
        ("labelled texts of the hub, without @revision in the name", ("revision",), [n for n in hub if "@" not in n]),
        ("labelled texts", _OF_LABELS, labelled),
        (of_pairs, ("strategy", "negatives", "margin"), mined),
        ("pairs, or a search", ("hard_from",), pairs),
    ]


def _all_texts(data: Mapping[str, LabelledTexts], pairs: Mapping[str, _Pairs]) -> list[str]:
    """Texts of all sources, of large tables a part."""
    tables = [source.table for source in pairs.values()]
    parts = [table.select(range(0, len(table), max(1, len(table) // _LOOKED_AT))) for table in tables]
    return [
        *(text for texts in data.values() for text in texts.texts),
        *(t for part in parts for t in table_texts(part)),
    ]


def _table_of(
    name: str,
    data: Mapping[str, LabelledTexts],
    pairs: Mapping[str, _Pairs],
    guide: VectorCache,
    mining: MiningOptions,
) -> tuple[Dataset, dict[str, int], float | None]:
    """The triplets of one source, the texts that are no anchors by reason, and the recall of an approximate search."""
    if name in pairs:
        return score_triplets(_with_negatives(name, pairs[name], guide, mining), guide), {}, None
    texts = data[name]
    mined = mine_labelled(texts, guide, mining)
    return triplet_table(texts, mined, guide), {**texts.dropped, **mined.dropped}, mined.recall


def _joined(found: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables one after the other; of empty ones the last, for its columns."""
    return pd.concat([part for part in found if len(part)] or found[-1:], ignore_index=True)


def _noise(data: Mapping[str, LabelledTexts], guide: VectorCache, near: float | None) -> dict[str, LabelNoise]:
    """`near`: None where there are many texts."""
    found = {}
    for name, texts in data.items():
        own_guide = guide.alike(texts.task_name, texts.task_type)
        own = label_noise(texts.texts, texts.label_sets or texts.labels, guide=own_guide, near=near)
        if texts.label_sets is None and len(texts) <= _MANY:
            own = replace(own, repairs=labels_to_repair(texts.texts, texts.labels, own_guide, near=near))
        found[name] = own
    return found


def _undoubted(
    data: Mapping[str, LabelledTexts], noise: Mapping[str, LabelNoise], least: float | None
) -> dict[str, LabelledTexts]:
    """Without the texts whose label is doubted by `least` or more; all of them if None."""
    return dict(data) if least is None else {name: _trusted(texts, noise[name], least) for name, texts in data.items()}


def _trusted(texts: LabelledTexts, noise: LabelNoise, least: float) -> LabelledTexts:
    if noise.repairs is None:
        raise ParameterError(
            f"drop_doubted is {least:g}, but {texts.source} "
            + ("has texts of several labels" if texts.label_sets else f"has more than {_MANY:,} texts")
            + ", whose labels are not looked at. Leave drop_doubted out."
        )
    doubted = noise.repairs[noise.repairs["suggested_score"] - noise.repairs["score"] >= least]
    gone = set(zip(doubted["text"], doubted["label"], strict=True))
    kept = [pair for pair in zip(texts.texts, texts.labels, strict=True) if pair not in gone]
    left_out = len(texts.texts) - len(kept)
    return replace(
        texts,
        texts=[text for text, _ in kept],
        labels=[label for _, label in kept],
        dropped={**texts.dropped, _DOUBTED: left_out} if left_out else texts.dropped,
    )


def _counts(
    name: str, texts: LabelledTexts | None, table: Dataset, dropped: Mapping[str, int], recall: float | None
) -> dict[str, Any]:
    known = {"source": name, "triplets": len(table), "dropped": dropped, "recall": recall}
    if texts is None:
        nothing = ("split", "parts", "relabelled", "texts", "classes", "licence", "test_texts_in_train", "cleaned_task")
        return {**known, **dict.fromkeys(nothing), "revision": next(iter(table["source_revision"][:1]), None)}
    task = texts.task_name
    return {
        **known,
        "revision": texts.revision,
        "split": texts.split,
        "parts": texts.parts or None,
        "relabelled": texts.relabelled,
        "texts": len(texts),
        "classes": len(texts.classes),
        "licence": texts.licence,
        "test_texts_in_train": train_texts_in_test(task, parse_task_name(name)[1]) if task else None,
        "cleaned_task": cleaned_task(task) if task else None,
    }


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", Path(name).name).strip("-.") or "set"
