"""The loss against a brute-force oracle in float64, and against sentence-transformers' own GISTEmbedLoss."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers.two_ranks import Rows, alone, on_two_ranks
from hypothesis import given, settings, strategies as st
from sentence_transformers.sentence_transformer.losses import GISTEmbedLoss
from torch.utils._python_dispatch import TorchDispatchMode

from gisttools.common.errors import DataError, ParameterError
from gisttools.data.triplets import make_triplets
from gisttools.models.loading import open_model
from gisttools.models.vectors import VectorCache
from gisttools.training.loss import BLOCKS, GISTLoss, _gist_loss, gist_loss
from gisttools.training.options import LossOptions
from gisttools.training.row_blocks import Batch, count_masked
from gisttools.training.store import GuideStore

MINILM = "embedded:all-MiniLM-L6-v2"
OPTIONS = [
    {},
    {"margin": 0.05},
    {"margin": -0.05},
    {"margin": 0.1, "margin_strategy": "relative"},
    {"contrast_anchors": False},
    {"contrast_positives": False},
    {"contrast_anchors": False, "contrast_positives": False, "temperature": 0.05},
]
TAUGHT = [
    {"distill": 0.5, "temperature": 0.2},
    {"distill": 1.0, "temperature": 0.2, "distill_temperature": 0.4},
    {"distill": 0.3, "temperature": 0.2, "contrast_anchors": False, "contrast_positives": False, "margin": 0.1},
]


def oracle(a, p, n, ga, gp, gn, *, temperature=0.01, margin=0.0, margin_strategy="absolute", contrast_anchors=True,
           contrast_positives=True, text_ids=None, label_ids=None, candidates="all", tally=None, distill=0.0,
           distill_temperature=None):  # fmt: skip
    """The definition, candidate by candidate, with no care for speed. `tally` gets masked and all of each block."""
    cos = torch.nn.functional.cosine_similarity
    b, k, guided = len(a), n.shape[1], ga is not None
    total = 0.0
    for i in range(b):
        theta = cos(ga[i], gp[i], dim=0) if guided else math.inf
        limit = theta - margin if margin_strategy == "absolute" else theta - abs(theta) * margin

        def counts(block, guide_score, row, column, i=i, limit=limit):
            masked = guided and not guide_score <= limit
            if text_ids is not None:
                masked |= text_ids[row, column] in (text_ids[i, 0], text_ids[i, 1], -1)
                masked |= column < 2 and bool(text_ids[row, 1 - column] == text_ids[i, 1 - column])  # partners
            if label_ids is not None and label_ids[i, 0] >= 0:
                masked |= bool(label_ids[row, column] == label_ids[i, 0])
            if tally is not None and not (text_ids is not None and text_ids[row, column] == -1):
                tally[block][0] += masked
                tally[block][1] += 1
            return not masked

        def says_nothing(row, column, i=i):
            return text_ids is not None and text_ids[row, column] in (text_ids[i, 0], text_ids[i, 1], -1)

        scores = [cos(a[i], p[i], dim=0)]
        taught = [(scores[0], guided and cos(ga[i], gp[i], dim=0))]
        for j in range(b):
            pairs = [(1, a[i], p[j], guided and (ga[i], gp[j]))] if j != i else []
            pairs += [(0, a[i], a[j], guided and (ga[i], ga[j]))] if j != i and contrast_anchors else []
            pairs += [(1, p[i], p[j], guided and (gp[i], gp[j]))] if j != i and contrast_positives else []
            pairs += [(2 + m, a[i], n[j, m], guided and (ga[i], gn[j, m])) for m in range(k)]
            for column, left, right, of_guide in pairs if distill else ():
                if not says_nothing(j, column):
                    taught.append((cos(left, right, dim=0), cos(*of_guide, dim=0)))
            if j != i:
                if counts("ap", guided and cos(ga[i], gp[j], dim=0), j, 1):
                    scores.append(cos(a[i], p[j], dim=0))
                if contrast_anchors and counts("aa", guided and cos(ga[i], ga[j], dim=0), j, 0):
                    scores.append(cos(a[i], a[j], dim=0))
                if contrast_positives and counts("pp", guided and cos(gp[i], gp[j], dim=0), j, 1):
                    scores.append(cos(p[i], p[j], dim=0))
            for m in range(k):
                if counts("an", guided and cos(ga[i], gn[j, m], dim=0), j, 2 + m):
                    scores.append(cos(a[i], n[j, m], dim=0))
        if candidates == "hard":
            scores = scores[:1] + [s for s in scores[1:] if s >= scores[0]]
        total = total - (1 - distill) * torch.log_softmax(torch.stack(scores) / temperature, 0)[0]
        if distill:
            student, guide = (torch.stack(x) for x in zip(*taught, strict=True))
            log_t = torch.log_softmax(guide / (distill_temperature or temperature), 0)
            total = total + distill * (log_t.exp() * (log_t - torch.log_softmax(student / temperature, 0))).sum()
    return total / b


def draw(b, k, d=6, g=5, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(b, d), (b, d), (b, k, d), (b, g), (b, g), (b, k, g)]
    a, p, n, ga, gp, gn = (torch.randn(s, generator=generator, dtype=dtype) for s in shapes)
    return [x.requires_grad_() for x in (a, p, n)], [ga, gp, gn]


def as_guide(vectors):
    return dict(zip(("guide_anchor", "guide_positive", "guide_negatives"), vectors, strict=True))


@pytest.mark.parametrize("options", OPTIONS + TAUGHT, ids=str)
@pytest.mark.parametrize("k", [0, 1, 3])
def test_value_and_gradients_equal_the_oracle(options, k):
    students, guides = draw(7, k)
    expected = oracle(*students, *guides, **options)
    got = gist_loss(*students, **as_guide(guides), **options, block_rows=3)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    wanted = torch.autograd.grad(expected, students, allow_unused=True)
    for grad, want in zip(torch.autograd.grad(got, students), wanted, strict=True):
        torch.testing.assert_close(grad, torch.zeros_like(grad) if want is None else want, rtol=1e-7, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    b=st.integers(1, 8),
    k=st.integers(0, 3),
    d=st.integers(2, 9),
    g=st.integers(2, 9),
    seed=st.integers(0, 10_000),
    texts=st.integers(2, 12),
    labels=st.integers(1, 4),
    guided=st.booleans(),
    with_ids=st.sampled_from(["texts", "labels", "both", "none"]),
    candidates=st.sampled_from(["all", "hard"]),
    dtype=st.sampled_from([torch.float64, torch.float32]),
    block_rows=st.sampled_from([None, 1, 2, 5]),
    options=st.sampled_from(OPTIONS + TAUGHT),
)
def test_ties_labels_and_padding_equal_the_oracle(
    b, k, d, g, seed, texts, labels, guided, with_ids, candidates, dtype, block_rows, options
):
    """Value, gradients and the count of what was masked."""
    students, guides = draw(b, k, d, g, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    ids = {"text_ids": None, "label_ids": None}
    if with_ids in ("texts", "both"):
        ids["text_ids"] = torch.randint(0, texts, (b, 2 + k), generator=generator)
        ids["text_ids"][:, 2:][torch.rand(b, k, generator=generator) < 0.2] = -1
    if with_ids in ("labels", "both"):
        ids["label_ids"] = torch.randint(-1, labels, (b, 2 + k), generator=generator)
    if "distill" in options:
        guided = True
    guides = guides if guided else [None] * 3
    tally = {block: [0, 0] for block in BLOCKS}
    expected = oracle(*students, *guides, **ids, **options, candidates=candidates, tally=tally)
    given_students = [x.detach().to(dtype).requires_grad_() for x in students]
    batch = Batch.make(*given_students, *(x if x is None else x.to(dtype) for x in guides), *ids.values())
    options = LossOptions(**options, candidates=candidates, block_rows=block_rows)
    got, masked = _gist_loss(batch, options)
    close = {"rtol": 1e-9, "atol": 1e-9} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(got.double(), expected, **close)
    assert count_masked(masked, batch, options, b).tolist() == [tally[block] for block in BLOCKS]
    if expected.requires_grad:
        wanted = torch.autograd.grad(expected, students, allow_unused=True)
        close = {"rtol": 1e-7, "atol": 1e-8} if dtype == torch.float64 else {"rtol": 1e-3, "atol": 1e-3}
        for grad, want in zip(torch.autograd.grad(got, given_students), wanted, strict=True):
            want = torch.zeros_like(grad) if want is None else want
            torch.testing.assert_close(grad.double(), want.double(), **close)


def test_gradcheck():
    students, guides = draw(5, 2)
    assert torch.autograd.gradcheck(
        lambda *x: gist_loss(*x, **as_guide(guides), temperature=0.1, block_rows=2), students
    )


class Handed(torch.nn.Module):
    """A model that answers with vectors it was handed, so that the peer's loss can be asked about vectors."""

    def __init__(self, tokenizer, key):
        super().__init__()
        self.tokenizer, self.key, self.max_seq_length = tokenizer, key, 512

    def forward(self, features):
        return {"sentence_embedding": features[self.key]}


@pytest.fixture(scope="module")
def minilm():
    return open_model(MINILM, device="cpu").eval()


def peer_loss(minilm, students, guides, **options):
    peer = GISTEmbedLoss(Handed(minilm.tokenizer, "student"), Handed(minilm.tokenizer, "guide"), **options)
    return peer([{"student": s, "guide": g} for s, g in zip(students, guides, strict=True)], None)


# without the negative margin, which lets the peer's self-pairs in
@pytest.mark.parametrize("options", OPTIONS[:2] + OPTIONS[3:], ids=str)
@pytest.mark.parametrize("kind", ["pairs", "triplets"])
def test_equals_sentence_transformers_on_batches_without_ties(minilm, options, kind):
    (a, p, n), (ga, gp, gn) = draw(32, 1, d=24, g=16, seed=3)
    own = [a, p, n[:, 0]] if kind == "triplets" else [a, p]
    guides = [ga, gp, gn[:, 0]] if kind == "triplets" else [ga, gp]
    expected = peer_loss(minilm, own, guides, **options)
    names = ("guide_anchor", "guide_positive", "guide_negatives")
    got = gist_loss(*own, **dict(zip(names, guides, strict=False)), **options)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    leaves = [a, p, n] if kind == "triplets" else [a, p]
    for grad, want in zip(torch.autograd.grad(got, leaves), torch.autograd.grad(expected, leaves), strict=True):
        torch.testing.assert_close(grad, want, rtol=1e-7, atol=1e-9)


def test_a_copy_of_the_positive_is_no_negative():
    """The case that guides by comparison alone get wrong: the copy ties with the threshold."""
    (a, p, n), (ga, gp, gn) = draw(6, 1)
    with torch.no_grad():
        p[3], gp[3] = p[0], gp[0]
    ids = torch.arange(18).view(6, 3)
    ids[3, 1] = ids[0, 1]
    options = {"temperature": 1.0, "margin": -1e-6}  # the guide alone lets the copy through
    tied = gist_loss(a, p, n, **as_guide([ga, gp, gn]), text_ids=ids, **options)
    torch.testing.assert_close(tied, oracle(a, p, n, ga, gp, gn, text_ids=ids, **options))
    assert tied < gist_loss(a, p, n, **as_guide([ga, gp, gn]), **options)


@pytest.mark.parametrize("guided", [True, False], ids=["guided", "unguided"])
def test_positives_of_one_anchor_and_anchors_of_one_positive_do_not_repel(guided):
    """A question with two answers, in two rows, and an answer to two questions: in neither are they negatives."""
    for shared in (0, 1):
        students, guides = draw(2, 1)
        ids = torch.arange(6).reshape(2, 3)
        ids[1, shared] = ids[0, shared]
        with torch.no_grad():
            students[shared][1] = students[shared][0]
            guides[1].copy_(guides[0])  # so that the guide masks nothing
        given = as_guide(guides) if guided else {}
        loss = gist_loss(*students, **given, text_ids=ids, temperature=0.05)
        own, wrong = (torch.cosine_similarity(students[0], x) / 0.05 for x in (students[1], students[2][:, 0]))
        crossed = torch.cosine_similarity(students[0], students[2].flip(0)[:, 0]) / 0.05
        alone = torch.logsumexp(torch.stack([own, wrong, crossed]), 0) - own
        torch.testing.assert_close(loss, alone.mean())


def test_a_row_without_candidates_gives_zero_and_no_nan():
    (a, p, _), _ = draw(1, 0)
    loss = gist_loss(a, p)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert torch.isfinite(a.grad).all()


def test_extreme_scores_stay_finite():
    """At temperature 0.01 float32 weights underflow; the loss must not."""
    a = torch.eye(4, 8)
    p, n = -a, a[:, None].clone()
    loss = gist_loss(a.requires_grad_(), p, n, contrast_anchors=False)
    loss.backward()
    assert loss.item() == pytest.approx(200, rel=1e-3)
    assert torch.isfinite(a.grad).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_vectors_are_scored_in_float32(dtype):
    students, guides = draw(8, 1, dtype=torch.float32)
    low = [x.detach().to(dtype).requires_grad_() for x in students]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = gist_loss(*low, **as_guide(guides))
    got.backward()
    assert got.dtype == torch.float32
    assert low[0].grad.dtype == dtype
    torch.testing.assert_close(got, gist_loss(*[x.detach().float() for x in low], **as_guide(guides)))


def test_no_tensor_grows_with_the_square_of_the_batch():
    class Largest(TorchDispatchMode):
        numel = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            for x in out if isinstance(out, tuple | list) else [out]:
                if isinstance(x, torch.Tensor):
                    self.numel = max(self.numel, x.numel())
            return out

    students, guides = draw(512, 1, d=8, g=8, dtype=torch.float32)
    ids = torch.arange(512 * 3).view(512, 3)
    with Largest() as largest:
        gist_loss(*students, **as_guide(guides), text_ids=ids, label_ids=ids % 7, block_rows=16).backward()
    assert largest.numel <= 16 * 3 * 512 + 512 * 4 * 8  # one block's scores, or all candidates' vectors


ROWS = [
    {"anchor": "my parcel is late", "positive": "the delivery is overdue", "negative": "I want my money back",
     "anchor_label": "late", "positive_label": "late", "negative_labels": ["refund"]},
    {"anchor": "please cancel it", "positive": "I no longer want the order", "negative": "the code is rejected",
     "anchor_label": "cancel", "positive_label": "cancel", "negative_labels": ["code"]},
    {"anchor": "it should have been here on Monday", "positive": "my parcel is late", "negative": "please cancel it",
     "anchor_label": "late", "positive_label": "late", "negative_labels": ["cancel"]},
]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return GuideStore.build(make_triplets(ROWS), VectorCache(MINILM, folder=tmp_path_factory.mktemp("guide")))


@pytest.fixture
def step(minilm, store):
    """A store and one collated batch of it, as the trainer's collator makes it."""
    columns = store.training_columns()
    features = [minilm.preprocess(columns[c][:]) for c in ("anchor", "positive", "negative_1")]
    return store, features, torch.tensor(columns["label"][:])


def test_module_with_store_equals_the_function_on_raw_texts(minilm, step):
    store, features, rows = step
    got = GISTLoss(minilm, store, LossOptions(temperature=0.05))(features, rows)
    texts = [[r[c] for r in ROWS] for c in ("anchor", "positive", "negative")]
    vectors = [minilm.encode(t, convert_to_tensor=True) for t in texts]
    known = store.rows(rows)
    expected = gist_loss(
        *vectors, guide_anchor=vectors[0], guide_positive=vectors[1], guide_negatives=vectors[2][:, None],
        temperature=0.05, text_ids=known.text_ids, label_ids=known.label_ids,
    )  # fmt: skip
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_guide_on_the_fly_equals_the_store(minilm, step):
    store, features, rows = step
    stored = GISTLoss(minilm, store, LossOptions(mask_same_label=False))
    live = GISTLoss(minilm, minilm, LossOptions(mask_same_label=False))
    torch.testing.assert_close(
        live([dict(f) for f in features], None), stored([dict(f) for f in features], rows), rtol=1e-4, atol=1e-5
    )


def test_unguided_module_masks_equal_texts(minilm, step):
    _, features, _ = step
    loss = GISTLoss(minilm, None)
    loss(features)
    assert loss.masked_shares()["ap"] > 0  # "my parcel is late" is an anchor and another row's positive


def test_masked_shares_count_what_labels_mask(minilm, step):
    store, features, rows = step
    with_labels, without = GISTLoss(minilm, store), GISTLoss(minilm, store, LossOptions(mask_same_label=False))
    for loss in (with_labels, without):
        loss([dict(f) for f in features], rows)
    assert with_labels.masked_shares()["aa"] > without.masked_shares()["aa"]
    assert with_labels.masked_shares()["aa"] is None  # reading resets the count


def test_store_needs_row_ids(minilm, step):
    store, features, _ = step
    with pytest.raises(DataError, match="row ids in the 'label' column"):
        GISTLoss(minilm, store)(features, None)


def test_guide_model_stays_out_of_the_students_checkpoint(minilm):
    assert not any("guide" in name for name in GISTLoss(minilm, minilm).state_dict())


@pytest.mark.parametrize("k", [0, 2])
def test_hard_candidates_equal_the_oracle(k):
    """Only candidates that the student ranks no lower than the row's positive; a row without any contributes 0."""
    students, guides = draw(9, k, seed=5)
    got = gist_loss(*students, **as_guide(guides), candidates="hard", temperature=0.1, block_rows=4)
    expected = oracle(*students, *guides, temperature=0.1, candidates="hard")
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    wanted = torch.autograd.grad(expected, students, allow_unused=True)
    for grad, want in zip(torch.autograd.grad(got, students), wanted, strict=True):
        torch.testing.assert_close(grad, torch.zeros_like(grad) if want is None else want, rtol=1e-7, atol=1e-9)


def test_hard_row_without_candidates_contributes_zero():
    a = torch.eye(3, 5, dtype=torch.float64, requires_grad=True)  # every positive beats every candidate
    loss = gist_loss(a, a.detach().clone(), candidates="hard")
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(a.grad, torch.zeros_like(a))


@pytest.mark.parametrize("size", [1, 4, 100])
def test_mini_batches_give_the_same_loss_and_gradients(minilm, step, size):
    store, features, rows = step

    def run(**options):
        minilm.zero_grad()
        loss = GISTLoss(minilm, store, LossOptions(temperature=0.05, **options))([dict(f) for f in features], rows)
        loss.backward()
        return loss.detach(), [p.grad.clone() for p in minilm.parameters() if p.grad is not None]

    whole, mini = run(), run(mini_batch_size=size)
    torch.testing.assert_close(mini[0], whole[0], rtol=1e-5, atol=1e-5)
    assert len(mini[1]) == len(whole[1]) > 50
    for got, want in zip(mini[1], whole[1], strict=True):
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_mini_batches_repeat_the_dropout_of_the_first_pass(step):
    """With other dropout in the second pass the gradients would not be those of the loss."""
    model = open_model(MINILM, device="cpu").train()
    store, features, rows = step

    def gradients(**options):
        torch.manual_seed(3)
        model.zero_grad()
        GISTLoss(model, store, LossOptions(temperature=0.05, tokens_per_forward=10, **options))(
            [dict(f) for f in features], rows
        ).backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    for got, want in zip(gradients(mini_batch_size=100), gradients(), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("taught", [{}, {"distill": 0.5}], ids=str)
def test_two_ranks_give_loss_and_gradients_of_one(taught):
    (a, p, n), (ga, gp, gn) = draw(6, 1, seed=11)
    ids = torch.arange(18).view(6, 3)
    ids[4, 1] = ids[0, 1]  # a tie across ranks
    columns = (a.detach(), p.detach(), n.detach()[:, 0])
    rows, options = Rows(columns, (ga, gp, gn), ids, ids % 4), LossOptions(temperature=0.1, **taught)
    whole, (both, _) = alone(rows, options), on_two_ranks(rows, options)
    assert both.loss == pytest.approx(whole.loss)
    for got, want in zip(both.gradients, whole.gradients, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-9)


def test_inside_matryoshka_loss(step):
    from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss

    model = open_model(MINILM, device="cpu").eval()
    store, features, rows = step
    inner = GISTLoss(model, store, LossOptions(temperature=0.05, tokens_per_forward=10))
    loss = MatryoshkaLoss(model, inner, matryoshka_dims=[384, 64])
    got = loss([dict(f) for f in features], rows)
    texts = [[r[c] for r in ROWS] for c in ("anchor", "positive", "negative")]
    known, expected = store.rows(rows), 0.0
    for dim in (384, 64):
        vectors = [model.encode(t, convert_to_tensor=True)[:, :dim] for t in texts]
        expected += gist_loss(
            *vectors, guide_anchor=known.anchor, guide_positive=known.positive, guide_negatives=known.negatives,
            temperature=0.05, text_ids=known.text_ids, label_ids=known.label_ids,
        )  # fmt: skip
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_a_guide_like_the_student_has_nothing_to_teach():
    (a, p, n), _ = draw(5, 2)
    loss = gist_loss(a, p, n, guide_anchor=a.detach(), guide_positive=p.detach(), guide_negatives=n.detach(),
                     temperature=0.1, distill=1.0)  # fmt: skip
    torch.testing.assert_close(loss, torch.zeros_like(loss), atol=1e-12, rtol=0)
    for grad in torch.autograd.grad(loss, (a, p, n)):
        torch.testing.assert_close(grad, torch.zeros_like(grad), atol=1e-12, rtol=0)


@pytest.mark.parametrize("told", [{}, {"same_label": "positive", "guided": True}])
def test_where_no_guide_can_teach_it_is_refused(told):
    students, guides = draw(4, 1)
    guided = as_guide(guides) if told.pop("guided", False) else {}
    with pytest.raises(ParameterError, match=r"distill is 0\.5, which needs a guide's vectors"):
        gist_loss(*students, **guided, **told, distill=0.5)


def test_a_training_by_steps_comes_near_to_the_guide_that_teaches():
    """Free vectors, which start at random, rank the candidates as the guide does in the end."""
    (a, p, n), (ga, gp, gn) = draw(8, 2, d=8, g=8, dtype=torch.float32)
    optimiser = torch.optim.Adam([a, p, n], lr=0.05)
    told = {"temperature": 0.2, "contrast_anchors": False, "contrast_positives": False}
    for _ in range(300):
        loss = gist_loss(a, p, n, **as_guide((ga, gp, gn)), **told, distill=1.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    unit = torch.nn.functional.normalize
    student, guide = (unit(x, dim=-1) @ unit(y, dim=-1).T for x, y in ((a, p), (ga, gp)))
    assert float(loss.detach()) < 0.01
    assert (student.argmax(1) == guide.argmax(1)).all()
