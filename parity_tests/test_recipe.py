"""Recipes are whole, say where their numbers come from, and become the right schedules."""

from collections import Counter
from dataclasses import fields, replace

import pytest
from typer.testing import CliRunner

from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.errors import RosettaError
from efficientnet_rosetta.common.images.mixing import Mixing
from efficientnet_rosetta.common.images.policies import AUTOAUGMENT_PAPER, AUTOAUGMENT_V0
from efficientnet_rosetta.common.training.recipes import RECIPES, get_recipe
from efficientnet_rosetta.common.training.schedules import Cosine, Exponential

UNSOURCED = {"name", "summary", "sources", "architecture", "preset", "version"}


@pytest.mark.parametrize("name", RECIPES)
def test_every_number_has_a_source(name):
    recipe = get_recipe(name)
    defaults = {field.name: field.default for field in fields(recipe)}
    given = {
        field
        for field in defaults
        if field not in UNSOURCED and getattr(recipe, field) != defaults[field]
    }
    assert set(recipe.sources) == given


def test_the_paper():
    """arXiv 1905.11946, section 5.2, as literals."""
    recipe = get_recipe("paper")
    assert (recipe.decay, recipe.momentum, recipe.weight_decay) == (0.9, 0.9, 1e-5)
    optimization = recipe.optimization(4096, steps_per_epoch=100)
    assert optimization.rate == Exponential(0.256, 0.97, 240.0)
    assert [optimization.rate(step) for step in (0, 239, 240)] == pytest.approx(
        [0.256, 0.256, 0.256 * 0.97]
    )


def test_the_released_code():
    """main.py: 0.016 a 256 images, five epochs of warm-up, EMA 0.9999, label smoothing 0.1."""
    optimization = get_recipe("official").optimization(2048, steps_per_epoch=1000)
    assert optimization.rate == Exponential(pytest.approx(0.128), 0.97, 2400.0, 5000.0)
    assert (optimization.rule, optimization.epsilon) == ("rmsprop", 1e-3)
    assert (optimization.average, optimization.label_smoothing) == (0.9999, 0.1)


def test_the_paper_of_xception():
    """arXiv 1610.02357, sections 4.2 and 4.3, on ImageNet."""
    recipe = get_recipe("xception")
    assert (recipe.rule, recipe.momentum, recipe.weight_decay) == ("sgd", 0.9, 1e-5)
    optimization = recipe.optimization(32, steps_per_epoch=100)
    assert optimization.rate == Exponential(0.045, 0.94, 200.0)
    assert optimization.average is not None  # Polyak averaging


SIZES = {
    # google/automl, efficientnetv2/main.py: int(128 + (train side - 128) * (stage + 1) / 4)
    "v2-s": (171, 214, 257, 300),
    "v2-m": (192, 256, 320, 384),
    "v2-l": (192, 256, 320, 384),
    "v2-xl": (192, 256, 320, 384),
    "v2-b0": (144, 160, 176, 192),
    "v2-b1": (144, 160, 176, 192),
    "v2-b2": (148, 168, 188, 208),
    "v2-b3": (156, 184, 212, 240),
    # arXiv 2104.00298, table 6, in equal steps
    "v2-paper-s": (128, 185, 242, 300),
    "v2-paper-m": (128, 212, 296, 380),
    "v2-paper-l": (128, 212, 296, 380),
}
# RandAugment's magnitude, mixup, cutmix and dropout of the first stage and of the last one; where a
# number is none, the code has no such stage or leaves it to the network.
ENDS = {
    "v2-s": ((5, 0, 0, None), (10, 0, 0, None)),
    "v2-m": ((5, 0, 0, None), (15, 0.2, 0.2, None)),
    "v2-l": ((5, 0, 0, None), (20, 0.5, 0.5, None)),
    "v2-xl": ((5, 0, 0, None), (20, 0.5, 0.5, None)),
    "v2-paper-s": ((5, 0, 0, 0.1), (15, 0, 0, 0.3)),
    "v2-paper-m": ((5, 0, 0, 0.1), (20, 0.2, 0, 0.4)),
    "v2-paper-l": ((5, 0, 0, 0.1), (25, 0.5, 0, 0.5)),
}


def test_the_stages_of_v2():
    found = {name: recipe.stages for name, recipe in RECIPES.items() if recipe.stages}
    assert {name: tuple(s.image_size for s in stages) for name, stages in found.items()} == SIZES
    for name, stages in found.items():
        if name not in ENDS:
            assert all(s.augmentation.policy is AUTOAUGMENT_V0 for s in stages)
            assert all(s.mixing is None and s.dropout is None for s in stages)
            continue
        for stage, ends in zip((stages[0], stages[-1]), ENDS[name], strict=True):
            mixing, policy = stage.mixing or Mixing(), stage.augmentation.policy
            assert policy.layers == 2
            assert (policy.magnitude, mixing.mixup, mixing.cutmix, stage.dropout) == ends, name
    middle = get_recipe("v2-l").stages[1]
    assert (middle.mixing.mixup, middle.mixing.cutmix) == pytest.approx((0.5 / 3, 0.5 / 3))
    assert middle.augmentation.policy.magnitude == pytest.approx(10)


def test_stages_share_the_epochs_out_and_the_last_one_is_in_every_run():
    recipe = get_recipe("v2-s")
    stages = Counter(recipe.stage_of(epoch) for epoch in range(recipe.epochs))
    assert stages == {0: 87, 1: 88, 2: 87, 3: 88}
    for epochs, expected in ((1, [3]), (2, [1, 3]), (4, [0, 1, 2, 3]), (5, [0, 1, 2, 3, 3])):
        short = replace(recipe, epochs=epochs)
        assert [short.stage_of(epoch) for epoch in range(epochs)] == expected
    assert get_recipe("official").stage_of(0) is None


def test_code_and_paper_of_v2_differ_as_they_do():
    """hparams.py: biases are not decayed, and batch norm keeps 0.9; section 5.1 prints 0.99."""
    code, paper = get_recipe("v2-s"), get_recipe("v2-paper-s")
    assert code.optimization(4096, 10).rate == paper.optimization(4096, 10).rate
    assert (code.batch_norm, paper.batch_norm) == (None, 0.99)
    tensors = ("classifier.weight", "classifier.bias", "stages.5.blocks.0.se_reduce.bias")
    for recipe, covered in ((code, [True, False, False]), (paper, [True, True, True])):
        optimization = recipe.optimization(4096, 10)
        assert [optimization.decays(name) for name in tensors] == covered


def test_the_policies_of_the_first_ones_differ():
    """The paper's list is that of arXiv 1805.09501; the released code has another one, v0."""
    assert get_recipe("paper").augmentation.policy is AUTOAUGMENT_PAPER
    assert get_recipe("official").augmentation.policy is AUTOAUGMENT_V0
    assert [get_recipe(name).version for name in ("paper", "official")] == [2, 2]


def test_stages_are_rows_of_the_table():
    done = CliRunner().invoke(app, ["recipe", "v2-paper-m"])
    text = " ".join(done.stdout.split())
    assert "stage 1 87 epochs at 128 pixels" in text
    assert "stage 4 88 epochs at 380 pixels" in text
    assert "dropout 0.4" in text
    assert "the network's; arXiv 2104.00298, section 5.1" in text
    assert "of the statistics kept" not in text  # the recipe's own is above
    assert "dropout 0.3 the network's" in " ".join(
        CliRunner().invoke(app, ["recipe", "v2-m"]).stdout.split()
    )


def test_the_rate_follows_the_batch_where_the_recipe_scales_it():
    for name, ratio in (("official", 2.0), ("cosine", 2.0), ("xception", 1.0)):
        small, large = (get_recipe(name).optimization(n, 100).rate.base for n in (64, 128))
        assert large == pytest.approx(ratio * small), name


def test_the_cosine_ends_with_the_epochs_and_warms_up_over_1000_steps():
    rate = get_recipe("cosine").optimization(256, steps_per_epoch=100).rate
    assert rate == Cosine(0.1, 12_000, 1000)
    assert [rate(step) for step in (0, 1000, 12_000)] == pytest.approx([0, 0.1, 0])
    # A short training is not all warm-up.
    assert get_recipe("cosine").optimization(256, steps_per_epoch=1).rate == Cosine(0.1, 120, 60)


def test_phases_share_the_epochs_out():
    recipe = get_recipe("finetune")
    assert [recipe.epochs_of(number) for number in (0, 1)] == [range(10), range(10, 20)]
    odd = replace(recipe, epochs=5)
    assert [odd.epochs_of(number) for number in (0, 1)] == [range(2), range(2, 5)]
    assert [odd.optimization(32, 10, number).rate.steps for number in (0, 1)] == [20, 30]


def test_finetuning_trains_the_head_and_then_everything_at_a_tenth():
    recipe = get_recipe("finetune")
    assert [phase.trains for phase in recipe.phases] == ["head", "all"]
    assert sum(phase.share for phase in recipe.phases) == 1
    first, second = (recipe.optimization(256, 10, phase).rate for phase in (0, 1))
    assert second.base == pytest.approx(first.base / 10)
    assert first.steps == second.steps == 100


def test_a_recipe_reads_as_a_table():
    done = CliRunner().invoke(app, ["recipe", "official"])
    assert done.exit_code == 0
    rows = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "rate 0.016 tensorflow/tpu, efficientnet/main.py" in rows
    assert "warmup epochs 5 tensorflow/tpu, efficientnet/main.py" in rows
    assert any(row.startswith("augmentation crop area 0.08 to 1") for row in rows)
    assert any(row.startswith("batch norm 0.99 of the statistics kept") for row in rows)
    assert any(row.startswith("stochastic depth survival 0.8 of the last block") for row in rows)
    assert any(row.startswith("dropout 0.2 to 0.5 the network's") for row in rows)


def test_a_recipe_names_the_numbers_of_its_own_architecture():
    done = CliRunner().invoke(app, ["recipe", "xception"])
    rows = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "dropout 0.5 the network's; arXiv 1610.02357, section 4.3" in rows
    assert "activation relu the network's; arXiv 1610.02357, figure 5" in rows
    assert "rate images none the paper does not scale it" in rows
    assert not any(row.startswith("stochastic depth") for row in rows)


def test_recipes_are_listed_and_an_unknown_one_is_one_line():
    done = CliRunner().invoke(app, ["recipe"])
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(RECIPES)
    done = CliRunner().invoke(app, ["recipe", "adam"])
    assert isinstance(done.exception, RosettaError)
    assert str(done.exception).startswith("unknown recipe 'adam'; choose from paper, official")
