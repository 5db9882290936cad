"""Averages of weights: by hand, chosen by their score, and refused where models do not fit together."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from helpers.evaluation_folders import shaken

from gisttools.common.errors import ModelError, ParameterError
from gisttools.training.soup import averaged, mix_in, soup, weights_of


@pytest.fixture
def three(wordllama):
    return [shaken(wordllama, seed) for seed in (1, 2, 3)]


def table(model) -> torch.Tensor:
    return model[0].embedding.weight.detach()


def test_an_average_is_the_weighted_sum_and_changes_none_of_its_parts(wordllama, three):
    before = [table(m).clone() for m in three]
    found = averaged([(three[0], 0.2), (three[1], 0.3), (wordllama, 0.5)])
    wanted = 0.2 * before[0] + 0.3 * before[1] + 0.5 * table(wordllama)
    torch.testing.assert_close(table(found), wanted)
    assert all(torch.equal(table(m), b) for m, b in zip(three, before, strict=True))
    assert found.encode(["a key"]).shape == (1, 256)


def test_without_a_score_all_are_averaged(wordllama, three):
    found = soup(three, wordllama, shares=(0.3,))
    torch.testing.assert_close(table(found.model), 0.7 * sum(map(table, three)) / 3 + 0.3 * table(wordllama))
    assert (found.models, found.start_share, len(found.scores)) == (3, 0.3, 0)


def near(target):
    """A score that is largest where a model's weights are the target's."""
    return lambda model: -float((table(model) - target).abs().mean())


def test_the_share_of_the_start_that_scores_best_is_taken(wordllama, three):
    target = 0.5 * table(three[0]) + 0.5 * table(wordllama)
    found = soup(three[:1], wordllama, score=near(target), shares=(0.0, 0.25, 0.5, 0.75))
    assert found.start_share == 0.5
    assert found.scores["start_share"].tolist() == [0.0, 0.25, 0.5, 0.75]
    torch.testing.assert_close(table(found.model), target)


def test_a_model_that_spoils_the_average_stays_out(wordllama, three):
    spoilt = copy.deepcopy(three[2])
    with torch.no_grad():
        spoilt[0].embedding.weight += 100
    target = (table(three[0]) + table(three[1])) / 2
    found = soup([spoilt, *three[:2]], score=near(target))
    assert found.models == 2
    torch.testing.assert_close(table(found.model), target)


def test_of_equal_scores_the_larger_share_of_the_start_counts(wordllama, three):
    assert soup(three, wordllama, score=lambda _: 1.0, shares=(0.0, 0.3, 0.1)).start_share == 0.3


@pytest.mark.parametrize(
    ("models", "given", "said"),
    [
        ([], {}, "nothing to average"),
        ([0], {}, "nothing to average"),
        ([0], {"start": True, "shares": (0.1, 0.2)}, "no score to choose by"),
        ([0], {"start": True, "shares": (1.0,)}, "shares holds 1.0"),
    ],
)
def test_what_cannot_be_averaged_is_refused(wordllama, three, models, given, said):
    given = {**given, **({"start": wordllama} if given.pop("start", False) else {})}
    with pytest.raises(ParameterError, match=said):
        soup([three[i] for i in models], **given)


def test_models_of_other_shape_are_refused(wordllama, minilm):
    with pytest.raises(ModelError, match="cannot be averaged"):
        averaged([(wordllama, 0.5), (minilm, 0.5)])


def test_integers_are_the_firsts(minilm):
    found = averaged([(minilm, 0.5), (minilm, 0.5)])
    assert np.allclose(found.encode(["a key"]), minilm.encode(["a key"]), atol=1e-6)


def test_a_tensor_of_two_names_is_mixed_once():
    model = torch.nn.ModuleDict({"in": torch.nn.Linear(2, 2, bias=False), "out": torch.nn.Linear(2, 2, bias=False)})
    model["out"].weight = model["in"].weight
    with torch.no_grad():
        model["in"].weight.fill_(1.0)
        start = weights_of(model)
        model["in"].weight.fill_(3.0)
    mix_in(model, start, 0.25)
    assert torch.equal(model["out"].weight, torch.full((2, 2), 2.5))


def test_weights_of_other_shape_are_not_mixed_in(three, minilm):
    before = table(three[0]).clone()
    with pytest.raises(ModelError, match="cannot be averaged"):
        mix_in(three[0], weights_of(minilm), 0.5)
    assert torch.equal(table(three[0]), before)


def test_half_precision_is_averaged_in_single(three):
    half = copy.deepcopy(three[0]).half()
    start = weights_of(half)
    with torch.no_grad():
        half[0].embedding.weight += 1
    tuned = table(half).clone()
    mix_in(half, start, 0.3)
    wanted = (0.7 * tuned.float() + 0.3 * start["0.embedding.weight"].float()).half()
    assert table(half).dtype == torch.float16
    assert torch.equal(table(half), wanted)
