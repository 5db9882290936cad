"""Labels as positives: the loss against a brute-force oracle in float64, of triplets and of labelled texts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.two_ranks import Rows, alone, on_two_ranks
from hypothesis import given, settings, strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from gisttools.common.errors import DataError, ParameterError
from gisttools.models.loading import open_model
from gisttools.training.loss import BLOCKS, GISTLoss, _told_loss, gist_loss
from gisttools.training.loss_inputs import Batch
from gisttools.training.options import LossOptions
from gisttools.training.row_blocks import count_masked

MINILM = "embedded:all-MiniLM-L6-v2"
OPTIONS = [
    {},
    {"margin": 0.05},
    {"margin": 0.1, "margin_strategy": "relative"},
    {"contrast_anchors": False},
    {"contrast_positives": False},
    {"contrast_anchors": False, "contrast_positives": False},
    {"candidates": "hard"},
    {"positive_temperature": 0.15},
    {"guide_masks": "unlabelled"},
    {"guide_masks": "unlabelled", "positive_temperature": 0.2, "candidates": "hard"},
]


def cos(x, y):
    return torch.nn.functional.cosine_similarity(x, y, dim=0)


def names(label_ids, row, column):
    """The known labels of a text."""
    return {x for x in torch.atleast_1d(label_ids[row, column]).tolist() if x >= 0}


def jaccard(one, other):
    return len(one & other) / len(one | other) if one and other else 0.0


def limit_of(theta, options):
    margin = options.get("margin", 0.0)
    return theta - abs(theta) * margin if options.get("margin_strategy") == "relative" else theta - margin


def row_loss(positives, negatives, options, temperature):
    """Of one row: positives are (score, weight before the guide, guide cosine), negatives are scores."""
    scores = torch.stack([s for s, _, _ in positives]) / temperature
    weights = torch.tensor([w for _, w, _ in positives], dtype=torch.float64)
    if options.get("positive_temperature") and positives[0][2] is not None:
        guide = torch.stack([g for _, _, g in positives])
        weights = weights * torch.softmax(guide / options["positive_temperature"], 0)
    weights = weights / weights.sum()
    if options.get("candidates") == "hard":
        negatives = [n for n in negatives if n >= scores.min() * temperature]
    total = 0.0
    for z, w in zip(scores, weights, strict=True):
        others = [n / temperature for n in negatives]
        total = total + w * (torch.logsumexp(torch.stack([z, *others]), 0) - z)
    return total, float(1 / weights.square().sum()), not negatives


def of_triplets(a, p, n, ga, gp, gn, text_ids, label_ids, temperature, options):
    """The definition, candidate by candidate: the mean, and what is told of it."""
    b, k, guided = len(a), n.shape[1], ga is not None
    total, tally, told = 0.0, {block: [0, 0] for block in BLOCKS}, [0, 0, 0, 0.0]
    for i in range(b):
        theta = cos(ga[i], gp[i]) if guided else None
        positives, negatives = [(cos(a[i], p[i]), 1.0, theta)], []
        candidates = [("ap", a[i], p[j], guided and (ga[i], gp[j]), j, 1) for j in range(b) if j != i]
        if options.get("contrast_anchors", True):
            candidates += [("aa", a[i], a[j], guided and (ga[i], ga[j]), j, 0) for j in range(b) if j != i]
        if options.get("contrast_positives", True):
            candidates += [("pp", p[i], p[j], guided and (gp[i], gp[j]), j, 1) for j in range(b) if j != i]
        candidates += [
            ("an", a[i], n[j, m], guided and (ga[i], gn[j, m]), j, 2 + m) for j in range(b) for m in range(k)
        ]
        for block, one, other, guides, row, column in candidates:
            if text_ids[row, column] == -1:
                continue
            tally[block][1] += 1
            equal = text_ids[row, column] in (text_ids[i, 0], text_ids[i, 1])
            mine, its = names(label_ids, i, 0), names(label_ids, row, column)
            if mine & its and not equal and block != "pp":
                positives.append((cos(one, other), jaccard(mine, its), cos(*guides) if guided else None))
                continue
            asked = guided and not (options.get("guide_masks") == "unlabelled" and mine and its)
            partner = column < 2 and text_ids[row, 1 - column] == text_ids[i, 1 - column]
            if equal or partner or mine & its or (asked and cos(*guides) > limit_of(theta, options)):
                tally[block][0] += 1
            else:
                negatives.append(cos(one, other))
        loss, effective, unopposed = row_loss(positives, negatives, options, temperature)
        total = total + loss
        # hard candidates are no matter of masks: told are rows of which nothing was left to compare with
        told = [told[0] + 1, told[1], told[2] + unopposed, told[3] + effective]
    return total / b, tally, told


def of_labelled_texts(x, g, text_ids, label_ids, temperature, options):
    """As `of_triplets`, of texts that are each other's candidates."""
    b, guided = len(x), g is not None
    total, tally, told = 0.0, {block: [0, 0] for block in BLOCKS}, [0, 0, 0, 0.0]
    for i in range(b):
        mine = names(label_ids, i, 0)
        positives, rest = [], []
        for j in range(b):
            if j == i:
                continue
            tally["aa"][1] += 1
            equal, its = text_ids[i, 0] == text_ids[j, 0], names(label_ids, j, 0)
            guide = cos(g[i], g[j]) if guided else None
            if equal:
                tally["aa"][0] += 1
            elif mine & its:
                positives.append((cos(x[i], x[j]), jaccard(mine, its), guide))
            else:
                rest.append((cos(x[i], x[j]), guide, bool(mine and its), bool(its)))
        if not positives:
            told[1] += 1
            # what the mask says of a row that does not count is of no matter to the loss
        limit = None
        if guided:
            weight = sum(w for _, w, _ in positives)
            theta = sum(w * c for _, w, c in positives) / weight if positives else torch.tensor(0.0)
            limit = limit_of(theta, options)
        negatives = []
        for score, guide, both_known, known in rest:
            if guided:
                asked = not (options.get("guide_masks") == "unlabelled" and both_known)
                masked = asked and bool(guide > limit)
            else:
                masked = not known
            tally["aa"][0] += masked
            if not masked:
                negatives.append(score)
        if positives:
            loss, effective, unopposed = row_loss(positives, negatives, options, temperature)
            total = total + loss
            told = [told[0] + 1, told[1], told[2] + unopposed, told[3] + effective]
    return total / max(told[0], 1), tally, told


def draw(b, k, d=6, g=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(b, d), (b, d), (b, k, d), (b, g), (b, g), (b, k, g)]
    vectors = [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
    return [x.requires_grad_() for x in vectors[:3]], vectors[3:], generator


def same_as_oracle(expected, got, leaves, given, dtype=torch.float64):
    exact = dtype == torch.float64
    torch.testing.assert_close(got.double(), torch.as_tensor(expected).double(), rtol=1e-9 if exact else 1e-4,
                               atol=1e-9 if exact else 1e-4)  # fmt: skip
    if isinstance(expected, torch.Tensor) and expected.requires_grad:
        wanted = torch.autograd.grad(expected, leaves, allow_unused=True)
        for grad, want in zip(torch.autograd.grad(got, given), wanted, strict=True):
            want = torch.zeros_like(grad) if want is None else want
            torch.testing.assert_close(grad.double(), want.double(), rtol=1e-7 if exact else 1e-3,
                                       atol=1e-8 if exact else 1e-3)  # fmt: skip


DRAWN = {
    "seed": st.integers(0, 10_000),
    "texts": st.integers(2, 14),
    "labels": st.integers(1, 5),
    "several": st.sampled_from([0, 2, 3]),
    "guided": st.booleans(),
    "block_rows": st.sampled_from([None, 1, 2, 5]),
    "options": st.sampled_from(OPTIONS),
    "dtype": st.sampled_from([torch.float64, torch.float64, torch.float32]),
}


def draw_labels(shape, labels, several, generator):
    """Some unknown; of several a text distinct ones, in any slots."""
    if not several:
        return torch.randint(-1, labels, shape, generator=generator)
    found = torch.full((*shape, several), -1)
    for place in np.ndindex(*shape):
        order = torch.randperm(labels, generator=generator)[:several]
        kept = torch.rand(len(order), generator=generator) < 0.5
        found[place][: len(order)] = torch.where(kept, order, -1)
    return found


@settings(max_examples=80, deadline=None)
@given(b=st.integers(1, 8), k=st.integers(0, 3), **DRAWN)
def test_triplets_equal_the_oracle(b, k, seed, texts, labels, several, guided, block_rows, options, dtype):
    """Value, gradients, what was masked and what is told of positives."""
    students, guides, generator = draw(b, k, seed=seed)
    text_ids = torch.randint(0, texts, (b, 2 + k), generator=generator)
    text_ids[:, 2:][torch.rand(b, k, generator=generator) < 0.2] = -1
    label_ids = draw_labels((b, 2 + k), labels, several, generator)
    guides = guides if guided else [None] * 3
    expected, tally, told = of_triplets(*students, *guides, text_ids, label_ids, 0.1, options)
    given_students = [x.detach().to(dtype).requires_grad_() for x in students]
    batch = Batch.make(*given_students, *(g if g is None else g.to(dtype) for g in guides), text_ids, label_ids)
    chosen = LossOptions(**options, same_label="positive", temperature=0.1, block_rows=block_rows)
    got, masked, counts = _told_loss(batch, chosen)
    same_as_oracle(expected, got, students, given_students, dtype)
    assert count_masked(masked, batch, chosen, b).tolist() == [tally[block] for block in BLOCKS]
    if options.get("candidates") != "hard":
        assert counts.tolist() == pytest.approx(told, rel=1e-5)


@settings(max_examples=80, deadline=None)
@given(b=st.integers(1, 12), **DRAWN)
def test_labelled_texts_equal_the_oracle(b, seed, texts, labels, several, guided, block_rows, options, dtype):
    """Each pair counts once a row; rows without positives count in no sum; unknown labels are nothing by themselves."""
    (x, _, _), (g, _, _), generator = draw(b, 0, seed=seed)
    text_ids = torch.randint(0, texts * 2, (b, 1), generator=generator)
    label_ids = draw_labels((b, 1), labels, several, generator)
    expected, tally, told = of_labelled_texts(x, g if guided else None, text_ids, label_ids, 0.1, options)
    given_x = x.detach().to(dtype).requires_grad_()
    batch = Batch.make(given_x, None, None, g.to(dtype) if guided else None, None, None, text_ids, label_ids)
    chosen = LossOptions(**options, same_label="positive", temperature=0.1, block_rows=block_rows)
    got, masked, counts = _told_loss(batch, chosen)
    same_as_oracle(expected, got, [x], [given_x], dtype)
    if told[1] == 0 or not guided:
        assert count_masked(masked, batch, chosen, b).tolist() == [tally[block] for block in BLOCKS]
    if options.get("candidates") != "hard":
        assert counts.tolist() == pytest.approx(told, rel=1e-5)


@pytest.mark.parametrize("guided", [True, False])
@pytest.mark.parametrize("options", OPTIONS[:7], ids=str)
def test_unlike_labels_give_what_masking_gives(options, guided):
    students, guides, _ = draw(7, 2)
    text_ids = torch.arange(28).view(7, 4)
    text_ids[3, 1] = text_ids[0, 1]
    label_ids = torch.arange(28).view(7, 4)
    label_ids[:, 1] = label_ids[:, 0]  # a row's own positive has the label of its anchor
    label_ids[5] = -1
    told = dict(zip(("guide_anchor", "guide_positive", "guide_negatives"), guides, strict=True)) if guided else {}
    losses = [
        gist_loss(*students, **told, **options, text_ids=text_ids, label_ids=label_ids, same_label=how, temperature=0.1)
        for how in ("mask", "positive")
    ]
    torch.testing.assert_close(*losses, rtol=1e-12, atol=1e-12)
    for one, other in zip(*(torch.autograd.grad(loss, students) for loss in losses), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_ignored_labels_are_as_none():
    students, _, _ = draw(6, 1)
    ids = {"label_ids": torch.zeros(6, 3, dtype=torch.int64)}
    assert gist_loss(*students, same_label="ignore", **ids) == gist_loss(*students)


def test_the_gradients_are_those_of_the_formula():
    """-w (1 - sigma_p) on a positive, softmax_N * sum w (1 - sigma_p) on a negative, with respect to the scores: of
    vectors whose scores with the first are free, and of a batch in which only the first counts."""
    z = torch.tensor([0.3, -0.1, 0.2, 0.6, -0.4], dtype=torch.float64)
    first = torch.zeros(6, dtype=torch.float64)
    first[0] = 1
    others = torch.cat([z[:, None], torch.diag((1 - z.square()).sqrt())], 1)
    x = torch.cat([first[None], others]).requires_grad_()
    labels = torch.tensor([[0], [0], [0], [1], [2], [3]])
    text_ids = torch.tensor([[0], [1], [2], [3], [4], [5]])
    loss = gist_loss(x, text_ids=text_ids, label_ids=labels, same_label="positive", temperature=0.5)
    scores = (x.detach() @ x.detach().T) / 0.5
    wanted = torch.zeros_like(scores)
    for row in range(3):
        positives = [j for j in range(3) if j != row]
        log_n = torch.logsumexp(scores[row, 3:], 0)
        away = 0.5 * torch.sigmoid(log_n - scores[row, positives])
        wanted[row, positives] = -away
        wanted[row, 3:] = torch.softmax(scores[row, 3:], 0) * away.sum()
    wanted = wanted / 3 / 0.5  # rows that count; temperature
    unit = x.detach()
    grad = wanted @ unit + wanted.T @ unit
    grad -= unit * (grad * unit).sum(1, keepdim=True)
    (got,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(got, grad, rtol=1e-10, atol=1e-12)


def test_positives_never_repel_one_another():
    """However near one positive is, the other is not pushed away: no score of a positive has a gradient above 0."""
    x = torch.tensor([[1.0, 0, 0], [0.99, 0.1, 0], [0.2, 0.9, 0.3], [-1, 0.1, 0.2]], dtype=torch.float64)
    x = x.requires_grad_()
    labels = torch.tensor([[0], [0], [0], [1]])
    loss = gist_loss(x, label_ids=labels, same_label="positive", temperature=0.05)
    (grad,) = torch.autograd.grad(loss, x)
    before = [float(cos(x[i], x[j]).detach()) for i, j in ((0, 1), (0, 2), (1, 2))]
    with torch.no_grad():
        x -= 0.01 * grad
    after = [float(cos(x[i], x[j]).detach()) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert all(new >= old - 1e-9 for new, old in zip(after, before, strict=True))


def test_a_batch_without_any_positive_gives_zero_and_no_nan():
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    loss = gist_loss(x, label_ids=torch.tensor([[0], [1], [2], [-1]]), same_label="positive")
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_one_class_alone_gives_zero_and_is_told():
    x = torch.randn(5, 3, requires_grad=True)
    batch = Batch.make(x, None, None, None, None, None, None, torch.zeros(5, 1, dtype=torch.int64))
    loss, _, told = _told_loss(batch, LossOptions(same_label="positive"))
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(x.grad).all()
    assert told.tolist() == pytest.approx([5, 0, 5, 20])


def test_each_pair_of_labelled_texts_is_one_candidate_a_row():
    """Anchors, positives and both against each other are one matrix: no block but one has candidates."""
    batch = Batch.make(torch.randn(7, 3), None, None, None, None, None, None, torch.arange(7)[:, None] % 3)
    options = LossOptions(same_label="positive")
    _, masked, _ = _told_loss(batch, options)
    assert count_masked(masked, batch, options, 7).tolist() == [[0, 0], [0, 7 * 6], [0, 0], [0, 0]]


def test_equal_texts_are_neither_positives_nor_negatives():
    """Whatever their label says: of a row's own text the score has no part in its loss."""
    texts, labels = torch.tensor([[0], [0], [1], [2]]), torch.tensor([[0], [0], [0], [1]])
    x = torch.randn(4, 5, dtype=torch.float64)
    batch = Batch.make(x, None, None, None, None, None, texts, labels)
    loss, masked, told = _told_loss(batch, LossOptions(same_label="positive", temperature=0.5))
    assert told.tolist() == [3, 1, 0, 1 + 1 + 2]
    assert masked.tolist() == [2, 2, 1, 1]  # each by itself, and by its double
    z = torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(x).T / 0.5
    rows = [[(i, j) for j in positives] for i, positives in ((0, [2]), (1, [2]), (2, [0, 1]))]
    wanted = [sum(torch.logaddexp(z[i, j], z[i, 3]) - z[i, j] for i, j in row) / len(row) for row in rows]
    torch.testing.assert_close(loss, sum(wanted) / 3)


def test_labels_that_a_text_has_twice_count_once():
    (x, _, _), _, _ = draw(5, 0)
    once = torch.tensor([[0, -1], [0, 1], [1, -1], [2, 0], [2, -1]])[:, None]
    twice = torch.cat([once, once], 2)
    losses = [gist_loss(x, label_ids=ids, same_label="positive", temperature=0.1) for ids in (once, twice)]
    torch.testing.assert_close(*losses, rtol=0, atol=0)


@pytest.mark.parametrize("size", [1 << 24, 1 << 53, (1 << 63) - 200])
@pytest.mark.parametrize("how", ["mask", "positive"])
@pytest.mark.parametrize("several", [0, 2])
def test_ids_of_any_size_are_told_apart(size, how, several):
    """Neighbours beyond what a floating-point number holds are other texts and other labels."""
    students, _, generator = draw(12, 2)
    students = [x.detach().float() for x in students]
    text_ids = torch.randint(0, 40, (12, 4), generator=generator)
    text_ids[:, 2:][torch.rand(12, 2, generator=generator) < 0.2] = -1
    label_ids = draw_labels((12, 4), 6, several, generator)

    def loss(step):
        ids = {"text_ids": text_ids, "label_ids": label_ids}
        ids = {name: torch.where(x < 0, x, x + step) for name, x in ids.items()}
        return gist_loss(*students, **ids, same_label=how, temperature=0.1)

    torch.testing.assert_close(loss(size), loss(0), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.uint8])
def test_ids_of_any_whole_type(dtype):
    students, _, _ = draw(6, 1)
    ids = torch.arange(18).view(6, 3)
    given = {"text_ids": ids // 2, "label_ids": ids // 6}
    losses = [
        gist_loss(*students, **{name: x.to(kind) for name, x in given.items()}, same_label="positive")
        for kind in (torch.int64, dtype)
    ]
    torch.testing.assert_close(*losses, rtol=0, atol=0)


@pytest.mark.parametrize("how", ["mask", "ignore"])
def test_one_column_needs_labels_as_positives(how):
    x, labels = torch.randn(4, 3), torch.tensor([[0], [0], [1], [1]])
    with pytest.raises(ParameterError, match=f"one column and same_label '{how}'.*Set same_label to 'positive'"):
        gist_loss(x, label_ids=labels, same_label=how)
    with pytest.raises(ParameterError, match="without label_ids"):
        gist_loss(x, same_label="positive")


def test_one_column_has_one_column_of_ids_and_no_negatives():
    x = torch.randn(4, 3)
    with pytest.raises(DataError) as caught:
        gist_loss(x, None, torch.randn(4, 1, 3), label_ids=torch.zeros(4, 2, dtype=torch.int64), same_label="positive")
    assert "negatives given, but no positive" in str(caught.value)
    assert "label_ids has shape (4, 2), must be (4, 1)" in str(caught.value)


def test_several_labels_that_overlap_are_masked():
    """{a} and {a, b}, {a, b} and {b, c} are of the same label; {a} and {c} are not: masking is not transitive."""
    a, p = (torch.randn(4, 6, dtype=torch.float64) for _ in range(2))
    sets = torch.tensor([[0, -1], [0, 1], [1, 2], [2, -1]])
    labels = sets[:, None].expand(4, 2, 2)
    batch = Batch.make(a, p, None, None, None, None, None, labels)
    _, masked, _ = _told_loss(batch, LossOptions(contrast_positives=False, contrast_anchors=False))
    assert masked.tolist() == [1, 2, 2, 1]


def test_extreme_scores_stay_finite_in_float32():
    x = torch.eye(6, 8).requires_grad_()
    labels = torch.tensor([[0], [0], [1], [1], [2], [2]])
    loss = gist_loss(torch.cat([x, -x[:1]]), label_ids=torch.cat([labels, labels[:1]]), same_label="positive")
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("guided", [True, False])
@pytest.mark.parametrize("one_column", [True, False], ids=["labelled-texts", "triplets"])
@pytest.mark.parametrize("labels", [2, 64], ids=["two-classes", "many"])
def test_no_tensor_grows_with_the_square_of_the_batch(labels, one_column, guided):
    class Largest(TorchDispatchMode):
        numel = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            for x in out if isinstance(out, tuple | list) else [out]:
                if isinstance(x, torch.Tensor):
                    self.numel = max(self.numel, x.numel())
            return out

    b, columns = 1024, 1 if one_column else 3
    students = [torch.randn(b, 8, requires_grad=True) for _ in range(columns)]
    names = ("guide_anchor", "guide_positive", "guide_negatives")
    guides = {name: torch.randn(b, 8) for name in names[:columns]} if guided else {}
    if guided and not one_column:
        guides["guide_negatives"] = guides["guide_negatives"][:, None]
    ids = torch.arange(b * columns).view(b, columns) // 2  # each text stands there twice
    with Largest() as largest:
        gist_loss(
            *students, **guides, text_ids=ids, label_ids=ids % labels, same_label="positive", block_rows=16,
            positive_temperature=0.1 if guided else None,
        ).backward()  # fmt: skip
    assert largest.numel <= 16 * b * (1 if one_column else 4)  # one block's scores


@pytest.mark.slow
@pytest.mark.parametrize("one_column", [True, False], ids=["labelled-texts", "pairs"])
def test_two_ranks_give_loss_and_gradients_of_one(one_column):
    """The ranks hold unlike numbers of rows that count; what is averaged is the mean over all of them."""
    (a, p, _), (ga, gp, _), _ = draw(8, 0, seed=11)
    a, p = a.detach(), p.detach()
    columns, guides = ((a,), (ga, None, None)) if one_column else ((a, p), (ga, gp, ga.new_zeros(8, 0, ga.shape[1])))
    labels = torch.tensor([0, 1, 2, 0, 0, 3, 1, -1])[:, None].expand(8, len(columns))  # 3 rows of 8 have no positive
    rows = Rows(columns, guides, torch.arange(8 * len(columns)).view(8, -1), labels)
    options = LossOptions(temperature=0.1, same_label="positive", positive_temperature=0.2)
    whole, (both, ranks) = alone(rows, options), on_two_ranks(rows, options)
    assert both.loss == pytest.approx(whole.loss)
    for got, want in zip(both.gradients, whole.gradients, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-9)
    assert {len(r.gradients[0]) for r in ranks} == {4}
    for name in ("without_positives", "without_negatives"):  # of as many rows each
        assert np.mean([r.positives[name] for r in ranks]) == pytest.approx(whole.positives[name])


TEXTS = ["my parcel is late", "where is it", "I want my money back", "refund please", "the code is rejected", "hello"]


@pytest.fixture(scope="module")
def minilm():
    return open_model(MINILM, device="cpu").eval()


@pytest.mark.parametrize("size", [1, 4])
def test_mini_batches_give_the_same_loss_and_gradients(minilm, size):
    labels = torch.tensor([0, 0, 1, 1, 2, 0])

    def run(**options):
        minilm.zero_grad()
        options = LossOptions(temperature=0.05, same_label="positive", **options)
        loss = GISTLoss(minilm, None, options)([minilm.preprocess(TEXTS)], labels)
        loss.backward()
        return loss.detach(), [p.grad.clone() for p in minilm.parameters() if p.grad is not None]

    whole, mini = run(), run(mini_batch_size=size)
    torch.testing.assert_close(mini[0], whole[0], rtol=1e-5, atol=1e-5)
    assert len(mini[1]) == len(whole[1]) > 50
    for got, want in zip(mini[1], whole[1], strict=True):
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-5)


def test_the_module_tells_of_positives_since_it_was_last_asked(minilm):
    loss = GISTLoss(minilm, None, LossOptions(temperature=0.05, same_label="positive"))
    loss([minilm.preprocess(TEXTS)], torch.tensor([0, 0, 0, 1, 2, -1]))
    told = loss.positives()
    assert told == pytest.approx({"positives": 2, "without_positives": 0.5, "without_negatives": 0})
    assert set(loss.positives().values()) == {None}


def test_one_column_without_labels_as_positives_is_refused(minilm):
    with pytest.raises(DataError, match="needs same_label 'positive'"):
        GISTLoss(minilm, None, LossOptions(same_label="mask"))([minilm.preprocess(TEXTS)], torch.zeros(6))


def test_guide_on_the_fly_reads_one_column(minilm):
    options = LossOptions(temperature=0.05, guide_masks="all", positive_temperature=0.2)
    loss = GISTLoss(minilm, minilm, options)([minilm.preprocess(TEXTS)], torch.tensor([0, 0, 1, 1, 2, 2]))
    vectors = minilm.encode(TEXTS, convert_to_tensor=True)
    ids = torch.arange(6)[:, None]
    wanted = gist_loss(
        vectors, guide_anchor=vectors, text_ids=ids, label_ids=torch.tensor([0, 0, 1, 1, 2, 2])[:, None],
        temperature=0.05, same_label="positive", positive_temperature=0.2,
    )  # fmt: skip
    torch.testing.assert_close(loss, wanted, rtol=1e-4, atol=1e-5)
