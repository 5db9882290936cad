"""What the loss refuses and how it says so; padding; students in low precision, compiled or checkpointed."""

from __future__ import annotations

import math
import re

import pytest
import torch

from gisttools.common.errors import DataError, ParameterError
from gisttools.training.loss import GISTLoss, gist_loss
from gisttools.training.options import LossOptions

NAMES = ("anchor", "positive", "negatives", "guide_anchor", "guide_positive", "guide_negatives")


def draw(b=7, k=2, d=6, g=5, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shapes = [(b, d), (b, d), (b, k, d), (b, g), (b, g), (b, k, g)]
    return dict(zip(NAMES, (torch.randn(s, generator=generator, dtype=dtype) for s in shapes), strict=True))


def ids(b=7, k=2):
    return torch.arange(b * (2 + k)).view(b, 2 + k)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("value", "what"), [(math.nan, "not finite"), (math.inf, "not finite"), (-math.inf, "not finite"), (0.0, "zero")]
)
def test_a_vector_without_cosine_is_named_with_its_row(name, value, what):
    batch = draw()
    batch[name][3], batch[name][5] = value, value
    bad, n = (4, 14) if name.endswith("negatives") else (2, 7)
    with pytest.raises(DataError, match=rf"  - {name}: {bad} of {n} vectors are {what}, the first in row 3\n"):
        gist_loss(**batch)


def test_one_entry_that_is_not_a_number_is_enough():
    batch = draw()
    batch["guide_positive"][6, 2] = math.nan
    with pytest.raises(DataError, match=r"guide_positive: 1 of 7 vectors are not finite, the first in row 6"):
        gist_loss(**batch)


def test_all_bad_columns_are_named_at_once_and_fixes_once():
    batch = draw()
    for name in ("anchor", "positive", "guide_negatives"):
        batch[name][0] = math.nan
    with pytest.raises(DataError) as caught:
        gist_loss(**batch)
    said = str(caught.value)
    assert [name for name in NAMES if f"  - {name}:" in said] == ["anchor", "positive", "guide_negatives"]
    assert said.count("lower learning rate") == 1


def test_a_vector_too_short_or_too_long_for_float32_is_refused():
    batch = draw()
    batch["anchor"][1], batch["positive"][2] = 1e-30, 1e30
    with pytest.raises(DataError, match=r"(?s)anchor: 1 of 7 vectors are zero.*positive: 1 of 7 .* not finite"):
        gist_loss(**batch)


@pytest.mark.parametrize("value", [0.0, 1e30, -5.0])
def test_padding_may_hold_anything_finite(value):
    """A negative of text id -1 counts for nothing, whatever it holds, and gets no gradient."""
    batch, text_ids = draw(), ids()
    text_ids[2, 3] = text_ids[5, 2] = -1
    expected = gist_loss(**batch, text_ids=text_ids)
    for row, column in ((2, 1), (5, 0)):
        batch["negatives"][row, column] = batch["guide_negatives"][row, column] = value
    students = [batch[name].requires_grad_() for name in NAMES[:3]]
    got = gist_loss(**batch, text_ids=text_ids)
    got.backward()
    torch.testing.assert_close(got, expected)
    assert all(torch.isfinite(x.grad).all() for x in students)
    assert not batch["negatives"].grad[2, 1].any()


def test_padding_must_be_finite():
    batch, text_ids = draw(), ids()
    text_ids[2, 3] = -1
    batch["negatives"][2, 1] = math.nan
    with pytest.raises(DataError, match=r"negatives: 1 of 14 vectors are not finite, the first in row 2"):
        gist_loss(**batch, text_ids=text_ids)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"positive": torch.zeros(3, 6)}, "positive has shape (3, 6), must be (7, 6)"),
        ({"negatives": torch.zeros(7, 2, 5)}, "negatives has shape (7, 2, 5), must be (7, 2, 6)"),
        ({"guide_positive": torch.zeros(7, 4)}, "guide_positive has shape (7, 4), must be (7, 5)"),
        ({"guide_negatives": torch.zeros(7, 3, 5)}, "guide_negatives has shape (7, 3, 5), must be (7, 2, 5)"),
        ({"guide_anchor": torch.tensor(1.0)}, "guide_anchor has shape (), must be (7, 0)"),
        ({"guide_negatives": None}, "some are None"),
        ({"guide_anchor": None}, "some are None"),
        ({"guide_anchor": None, "guide_positive": None}, "some are None"),
        ({"negatives": None}, "guide_negatives has shape (7, 2, 5), must be (7, 0, 5)"),
        ({"positive": torch.zeros(7, 6, dtype=torch.int64)}, "positive has dtype torch.int64, must be floating point"),
        ({"text_ids": torch.zeros(7, 2).long()}, "text_ids has shape (7, 2), must be (7, 4)"),
        ({"text_ids": torch.zeros(7, 4)}, "text_ids has dtype torch.float32, must be whole numbers"),
        ({"label_ids": torch.zeros(7, 4).bool()}, "label_ids has dtype torch.bool, must be whole numbers"),
        ({"anchor": torch.zeros(0, 6)}, "anchor has shape (0, 6), must be (B, D), both at least 1"),
        ({"anchor": torch.zeros(6)}, "anchor has shape (6,), must be (B, D)"),
    ],
)
def test_wrong_shapes_and_dtypes_are_named(change, said):
    with pytest.raises(DataError, match=re.escape(said)):
        gist_loss(**{**draw(), **change})


def test_all_wrong_shapes_are_named_at_once():
    with pytest.raises(DataError) as caught:
        gist_loss(**{**draw(), "positive": torch.zeros(3, 6), "text_ids": torch.zeros(1, 1)})
    assert all(name in str(caught.value) for name in ("positive has shape", "text_ids has shape", "text_ids has dtype"))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16])
def test_ids_may_be_any_whole_numbers(dtype):
    batch = draw()
    torch.testing.assert_close(gist_loss(**batch, text_ids=ids().to(dtype)), gist_loss(**batch, text_ids=ids()))


def test_all_bad_options_are_named_at_once():
    batch = draw()
    with pytest.raises(ParameterError) as caught:
        gist_loss(**batch, temperature=math.inf, margin=math.nan, margin_strategy="both", block_rows=0)
    words = ("temperature = inf", "margin = nan", "'both'", "block_rows = 0")
    assert all(word in str(caught.value) for word in words)


class Table(torch.nn.Module):
    """A student that looks its vectors up: column c of a batch answers with columns[c]."""

    def __init__(self, columns):
        super().__init__()
        self.columns = torch.nn.ParameterList([torch.nn.Parameter(c.clone()) for c in columns])
        self.layer = torch.nn.Linear(columns[0].shape[1], 8, bias=False)

    def forward(self, features):
        return {"sentence_embedding": self.layer(self.columns[features["column"]])}


class Answers:
    """A guide store that answers any rows with the vectors that it holds."""

    def __init__(self, batch):
        self.anchor, self.positive, self.negatives = (batch[name] for name in NAMES[3:])
        self.text_ids = self.label_ids = ids(len(self.anchor), self.negatives.shape[1])

    def rows(self, row_ids):
        return self


@pytest.fixture
def table():
    torch.manual_seed(1)
    batch = draw()
    columns = [batch["anchor"], batch["positive"], *batch["negatives"].unbind(1)]
    return Table(columns), Answers(batch), [{"column": i} for i in range(4)], torch.arange(7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_under_autocast_the_loss_is_that_of_the_low_precision_vectors(table, dtype):
    student, answers, features, rows = table
    loss = GISTLoss(student, answers, LossOptions(temperature=0.05))
    with torch.autocast("cpu", dtype=dtype):
        got = loss(features, rows)
        vectors = [student(f)["sentence_embedding"] for f in features]
    got.backward()
    assert vectors[0].dtype == dtype
    assert got.dtype == student.layer.weight.grad.dtype == torch.float32
    expected = gist_loss(
        *(v.float() for v in vectors[:2]), torch.stack(vectors[2:], 1).float(), guide_anchor=answers.anchor,
        guide_positive=answers.positive, guide_negatives=answers.negatives, temperature=0.05,
        text_ids=answers.text_ids, label_ids=answers.label_ids,
    )  # fmt: skip
    torch.testing.assert_close(got, expected)


def test_a_student_that_overflows_float16_is_told_so(table):
    student, answers, features, rows = table
    with torch.no_grad():
        student.columns[1][4] = 6e4
        student.layer.weight.fill_(1.0)
    loss = GISTLoss(student, answers)
    assert torch.isfinite(loss(features, rows))  # float32 holds it
    with (
        torch.autocast("cpu", dtype=torch.float16),
        pytest.raises(DataError, match=r"(?s)positive: 1 of 7 vectors are not finite, the first in row 4.*bfloat16"),
    ):
        loss(features, rows)


def run(student, loss, features, rows):
    student.zero_grad()
    value = loss([dict(f) for f in features], rows)
    value.backward()
    return value.detach(), {n: p.grad.clone() for n, p in student.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_student_gives_the_same_loss_and_gradients(table, backend):
    student, answers, features, rows = table
    plain = run(student, GISTLoss(student, answers, LossOptions(temperature=0.05)), features, rows)
    compiled = torch.compile(student, backend=backend)
    got = run(student, GISTLoss(compiled, answers, LossOptions(temperature=0.05)), features, rows)
    torch.testing.assert_close(got, plain)


@pytest.fixture(scope="module")
def texts(minilm):
    columns = [["my parcel is late", "cancel it"], ["the delivery is overdue", "stop the order"], ["a refund", "no"]]
    return [minilm.preprocess(c) for c in columns]


def own_minilm():
    from gisttools.models.loading import open_model

    return open_model("embedded:all-MiniLM-L6-v2", device="cpu").eval()


@pytest.mark.slow
def test_a_compiled_transformer_gives_the_same_loss_and_gradients(texts):
    student = own_minilm()
    plain = run(student, GISTLoss(student, None, LossOptions(temperature=0.05)), texts, None)
    student.compile(backend="eager", dynamic=True)
    got = run(student, GISTLoss(student, None, LossOptions(temperature=0.05)), texts, None)
    assert len(got[1]) > 50
    torch.testing.assert_close(got, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mini_batch_size", [None, 2])
def test_gradient_checkpointing_of_the_student_changes_nothing(texts, mini_batch_size):
    student = own_minilm()
    plain = run(student, GISTLoss(student, None, LossOptions(temperature=0.05)), texts, None)
    passes = []
    student[0].auto_model.activation_checkpointing_enable()
    student[0].auto_model.encoder.layer[5].attention.register_forward_hook(lambda *_: passes.append(1))
    student.train()  # it checkpoints in this mode alone
    for module in student.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    got = run(
        student, GISTLoss(student, None, LossOptions(temperature=0.05, mini_batch_size=mini_batch_size)), texts, None
    )
    torch.testing.assert_close(got, plain, rtol=1e-3, atol=1e-5)
    micro_batches = 1 if mini_batch_size is None else 3
    assert len(passes) >= 2 * micro_batches  # so it did compute activations again


def test_mini_batches_inside_matryoshka_loss_change_nothing(texts):
    """The wrapper cuts the vectors in a forward of its own, which is gone when activations are computed again."""
    from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss

    student = own_minilm()

    def wrapped(**options):
        inner = GISTLoss(student, None, LossOptions(temperature=0.05, tokens_per_forward=8, **options))
        return run(student, MatryoshkaLoss(student, inner, matryoshka_dims=[384, 64]), texts, None)

    torch.testing.assert_close(wrapped(mini_batch_size=2), wrapped(), rtol=1e-3, atol=1e-5)
