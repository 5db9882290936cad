"""Chooses what was left open: labelled texts or triplets, what the guide masks among them, how many passes.

The choices are those that won on held-out training texts (`benchmarks/README.md`): labels as positives wherever every
row has one, and among labelled texts no mask of the guide's, for it took out more that taught than that misled.
"""

from __future__ import annotations

import numpy as np
from sentence_transformers import SentenceTransformer

from gisttools.training.freezing import layers_of
from gisttools.training.labelled import LabelledRows
from gisttools.training.loss import GISTLoss
from gisttools.training.options import LossOptions, TrainSettings
from gisttools.training.rates import Kind, kind_of
from gisttools.training.store import GuideStore

_PASSES = 10.0  # at most; a static student, which learns fast and forgets little, takes all of them
_KEPT = (
    0.3  # of the start's weights, in a transformer trained on labelled texts: costs little there, saves more elsewhere
)
_FROZEN = 0.5  # of a transformer's layers, on labelled texts: more steps in the same time
_LABELLED_TWICE = 0.05  # of the texts
_STEPS = 100  # that teach a transformer most of what there is, where one pass is shorter
_FEW = 20  # and where it learns sooner


def settle(
    options: LossOptions, settings: TrainSettings, store: GuideStore, kind: Kind
) -> tuple[LossOptions, TrainSettings]:
    """The options with nothing left open that the rows decide.

    Args:
        options, settings: `train_on`, `same_label`, `guide_masks`, `epochs`, `keep_start` and `dropout` may be None.
        store: the rows, and what is known of their labels.
        kind: of the student.
    """
    train_on = settings.train_on or ("labelled" if _speaks_of_labels(options) and all_labelled(store) else "triplets")
    labelled = train_on == "labelled"
    chosen: dict[str, object] = {"train_on": train_on}
    if settings.epochs is None:
        rows: GuideStore | LabelledRows = store.labelled_texts() if labelled else store
        steps = _FEW if options.few_steps else _STEPS
        chosen["epochs"] = passes(len(rows.row_ids), settings.batch_size, kind, steps)
    if settings.keep_start is None:
        chosen["keep_start"] = _KEPT if labelled and kind != "static" else 0.0
    if settings.dropout is None:
        chosen["dropout"] = not (labelled or options.distill)
    return options.settled(labelled), settings.model_copy(update=chosen)


def settle_layers(settings: TrainSettings, student: SentenceTransformer) -> TrainSettings:
    """The settled settings, with `freeze_layers` as well."""
    if settings.freeze_layers is not None:
        return settings
    halves = settings.train_on == "labelled" and kind_of(settings, student) == "transformer"
    return settings.model_copy(update={"freeze_layers": int(_FROZEN * len(layers_of(student))) if halves else 0})


def forgets(loss: GISTLoss, settings: TrainSettings) -> bool:
    """Whether a training of this kind forgets much unless something holds it: a transformer's, on labelled texts."""
    if not isinstance(loss.guide, GuideStore) or not isinstance(loss.model, SentenceTransformer):
        return False
    kind = kind_of(settings, loss.model)
    return kind != "static" and settle(loss.options, settings, loss.guide, kind)[1].train_on == "labelled"


def passes(rows: int, batch_size: int, kind: Kind, steps: int = _STEPS) -> float:
    """How often the rows are passed over: ten times by a static student; by a transformer once, or for as many as make
    so many steps, and at most ten times."""
    if kind == "static" or not rows:
        return _PASSES
    return float(np.clip(steps * batch_size / rows, 1.0, _PASSES))


def all_labelled(store: GuideStore) -> bool:
    """Whether every row's anchor and positive are of one label, and there are several labels; of the texts one in
    twenty may have more than one, as copies have that somebody labelled twice."""
    labels = store.label_ids
    if labels.ndim > 2 or not len(labels):
        return False
    pairs = labels[:, :2]
    if (pairs < 0).any() or (pairs[:, 0] != pairs[:, 1]).any() or len(np.unique(pairs)) < 2:
        return False
    several = (store.labelled_texts().label_ids >= 0).sum(axis=1) > 1
    return bool(several.mean() <= _LABELLED_TWICE)


def _speaks_of_labels(options: LossOptions) -> bool:
    """Whether nothing is asked for that only triplets have."""
    asked = options.same_label in (None, "positive") and options.mask_same_label
    return asked and options.contrast_anchors and options.contrast_positives and not options.distill
