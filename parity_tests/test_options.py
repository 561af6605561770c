"""What a run is told: numbers of the recipe, the batch, more epochs; checked before it runs."""

import json
from dataclasses import replace
from types import NoneType

import pytest
from PIL import Image
from typer.testing import CliRunner

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.errors import RosettaError, UsageError
from efficientnet_rosetta.common.training import loggers, memory, preparing
from efficientnet_rosetta.common.training.numbers import numbers, with_numbers
from efficientnet_rosetta.common.training.options import Options, Place, lengthened
from efficientnet_rosetta.common.training.recipes import RECIPES, get_recipe
from efficientnet_rosetta.common.training.run import SETTINGS
from efficientnet_rosetta.common.weights.canonical import save
from efficientnet_rosetta.common.weights.initial import initial
from parity_tests.runs import run, short_loop, two_classes

SMALL = ["--backend", "torch", "--width", 0.1, "--depth", 0.1, "--image-size", 32]


@pytest.fixture
def data(tmp_path):
    """Six images of each of two classes."""
    return two_classes(tmp_path / "data")


@pytest.fixture
def trainings(monkeypatch):
    """The trainings that came as far as their loop, which here makes one epoch of one step."""
    return short_loop(monkeypatch, lambda training, done: training)


def train(*arguments):
    """What the command prints, if it ends well."""
    return run("train", *arguments)


def refused(*arguments):
    """The line that bad input gets, and the option that it names."""
    done = CliRunner().invoke(app, ["train", *map(str, arguments)])
    assert isinstance(done.exception, RosettaError), done.output + repr(done.exception)
    assert "\n" not in str(done.exception)
    return str(done.exception), done.exception.argument


# ------------------------------------------------------------------ numbers


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_every_number_can_be_set_to_what_it_is(recipe):
    known = numbers(recipe)
    assert {"rate", "label_smoothing", "phases.1.rate"} <= set(known)
    assert ("augmentation.rotation" in known) != bool(recipe.stages)
    # Parts of what is left out have no value, and what has parts can only be left out.
    texts = {
        name: number.as_text
        for name, number in known.items()
        if (number.value is not None or NoneType in number.kinds) and number.kinds != (NoneType,)
    }
    assert with_numbers(recipe, texts) == recipe


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("augmentation.policy", "randaugment-2-9", "randaugment-2-9"),
        ("patience", "3", 3),
        ("sampler", "balanced", "balanced"),
        ("mixing.mixup", "0.2", 0.2),
        ("rate", "0.01", 0.01),
        ("label_smoothing", "0", 0.0),
        ("warmup_steps", "1e3", 1000),
        ("average", "none", None),
        ("augmentation.crop_area", "0.5, 1", (0.5, 1.0)),
        ("augmentation.flip", "false", False),
        ("phases.1.trains", "head", "head"),
    ],
)
def test_a_number_is_of_its_type(name, text, value):
    assert numbers(get_recipe("official"))[name].value != value
    found = numbers(with_numbers(get_recipe("official"), {name: text}))[name].value
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"lable_smoothing": "0"},
            "has no number 'lable_smoothing'; did you mean label_smoothing?",
        ),
        ({"rotation": "1"}, "has no number 'rotation'; did you mean augmentation.rotation?"),
        ({"zzz": "1"}, "has no number 'zzz'; choose from rule, momentum, rate, "),
        ({"rate": "0"}, "rate is 0; it must be a number above 0"),
        ({"rate": "nan"}, "rate is nan; it must be a number above 0"),
        ({"rate": "1e999"}, "rate is 1e999; it must be"),
        ({"momentum": "1"}, "momentum is 1; it must be a number at least 0 and below 1"),
        ({"momentum": True}, "momentum is True; it must be"),
        ({"warmup_steps": "1.5"}, "warmup_steps is 1.5; it must be a whole number of at least 0"),
        ({"average": "1"}, "it must be a number at least 0 and below 1 or none"),
        ({"rate": "none"}, "rate is none; it must be a number above 0"),
        ({"rule": "adam"}, "rule is adam; it must be rmsprop or sgd"),
        ({"augmentation.crop_area": "1,0.5"}, "it must be two numbers above 0 and at most 1"),
        ({"augmentation.crop_area": "0.5"}, "it must be two numbers"),
        ({"augmentation.flip": "yes"}, "it must be true or false"),
        ({"rule": "sgd", "decay": "0.9"}, "decay is of rmsprop, and the rule is sgd"),
        ({"factor": "none"}, "factor and every go together, and factor is none; set both"),
        ({"phases.1.share": "0.5"}, "the shares of the phases add up to 0.5"),
        ({"name": "x"}, "has no number 'name'"),
        ({"sampler": "balanced", "class_weights": "balanced"}, "rare classes would count twice"),
    ],
)
def test_a_wrong_number_is_one_line(given, said):
    with pytest.raises(UsageError) as caught:
        with_numbers(get_recipe("official"), given)
    assert said in str(caught.value)
    assert caught.value.argument == "set"


def test_the_recipe_command_lists_what_can_be_set():
    printed = CliRunner().invoke(app, ["recipe", "cosine"]).output
    for number in numbers(get_recipe("cosine")).values():
        assert f"  {number.name}={number.as_text} " in printed


# ------------------------------------------------------------------ a run with other numbers


def test_numbers_are_kept_and_used_on_resume(data, trainings, tmp_path):
    out = tmp_path / "run"
    options = [
        "--set",
        "label_smoothing=0",
        "--set",
        "epochs=3",
        "--set",
        "augmentation.flip=false",
    ]
    train("--data", data, *SMALL, "--lr", 0.5, *options, "--out", out)
    kept = json.loads((out / SETTINGS).read_text())
    assert kept["set"] == {
        "label_smoothing": 0.0,
        "augmentation.flip": False,
        "rate": 0.5,
        "rate_images": None,
    }
    assert kept["epochs"] == 3
    train("--resume", out)
    first, second = (training.recipe for training in trainings)
    assert first == second
    assert first.label_smoothing == 0
    assert not trainings[1].train.augmentation.flip
    for batch in (8, 64):  # the rate is that of any batch
        assert first.optimization(batch, 10).rate(50 * 10) == second.rate * 0.97 ** (500 // 24)
    (out / SETTINGS).write_text(json.dumps({**kept, "set": {"rate": "fast"}}))
    said, _ = refused("--resume", out)
    assert said.startswith(f"{out / SETTINGS}: rate is fast; it must be a number above 0; correct")


@pytest.mark.parametrize(
    ("options", "said", "argument"),
    [
        (["--set", "rate"], "'rate' sets nothing; write name=value, such as rate=0.01", "set"),
        (["--set", "rate=1", "--set", "rate=2"], "rate is given twice; leave one out", "set"),
        (["--set", "rate=1", "--lr", 1], "rate is given twice; leave out one of --lr", None),
        (["--set", "rate_images=1", "--lr", 1], "rate_images is given twice", None),
        (["--set", "batch=4", "--batch", 4], "batch is given twice", None),
        (["--set", "epochs=0"], "epochs is 0; it must be a whole number of at least 1", "set"),
        (["--lr", 0], "rate is 0.0; it must be a number above 0", "lr"),
        (["--logger", "paper"], "unknown logger 'paper'; choose from tensorboard, wandb", "logger"),
        (["--logger", "none", "--logger", "csv"], "none excludes other loggers", "logger"),
    ],
)
def test_what_contradicts_is_refused(data, trainings, tmp_path, options, said, argument):
    found = refused("--data", data, *SMALL, *options, "--out", tmp_path / "run")
    assert found[0].startswith(said)
    assert found[1] == argument
    assert not trainings
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_by_its_own_numbers_only(data, trainings, tmp_path):
    out = tmp_path / "run"
    train("--data", data, *SMALL, "--epochs", 3, "--out", out)
    said, argument = refused("--resume", out, "--set", "momentum=0.5")
    assert said == f"momentum is that of the run in {out}; leave it out"
    assert argument == "set"


def test_keras_is_not_told_to_compile(data, tmp_path):
    options = ["--data", data, "--backend", "keras", *SMALL[2:], "--out", tmp_path / "run"]
    said, argument = refused(*options, "--compile")
    assert said.startswith("Keras compiles its steps by itself")
    assert argument == "compile"


def test_a_logger_that_is_not_installed_is_named(data, trainings, tmp_path, monkeypatch):
    monkeypatch.setattr(loggers, "find_spec", lambda package: None)
    said, _ = refused("--data", data, *SMALL, "--logger", "wandb", "--out", tmp_path / "run")
    assert said == "logger wandb needs wandb, which is not installed; run: pip install wandb"
    assert not (tmp_path / "run").exists()


# ------------------------------------------------------------------ the batch


@pytest.mark.parametrize(
    ("images", "free", "devices", "batch"),
    [
        (1_281_167, None, 1, 2048),  # the recipe's
        (4000, None, 1, 512),
        (200, None, 1, 32),
        (10, None, 1, 8),
        (3, None, 1, 2),
        (1_281_167, 80 * 2**30, 1, 512),  # 79 MB an image
        (1_281_167, 2**20, 1, 1),
        (4000, None, 3, 768),
    ],
)
def test_the_default_batch_fits(images, free, devices, batch):
    network, recipe = resolve("b0"), get_recipe("official")
    found, why = memory.fitting_batch(recipe, network, images, "float32", devices, free)
    assert found == batch
    assert bool(why) == (batch != recipe.batch)
    assert ("memory" in why) == (free is not None)


def test_a_batch_that_fits_is_said_and_kept(data, trainings, tmp_path, monkeypatch):
    out = tmp_path / "run"
    printed = train("--data", data, *SMALL, "--out", out)
    assert "a batch of 8 images: the recipe's 2,048 does not fit the 10 images to train" in printed
    assert json.loads((out / SETTINGS).read_text())["batch"] == 8
    monkeypatch.setattr(preparing, "free_bytes", lambda: 1)
    assert "a batch of" not in train("--resume", out)
    assert [training.train.batch for training in trainings] == [8, 8]


# ------------------------------------------------------------------ transparent images


def test_transparent_images_are_said_once(data, trainings, tmp_path):
    said = "1 of 10 images that were looked at have transparent parts, which are read on black"
    options = ["--data", data, *SMALL, "--epochs", 2]
    assert "transparent parts" not in train(*options, "--out", tmp_path / "opaque")
    trained_on = trainings[0].train.samples[0].path
    Image.open(trained_on).convert("RGBA").resize((9, 9)).rotate(45).save(trained_on)
    assert train(*options, "--out", tmp_path / "run").count(said) == 1
    assert "transparent parts" not in train("--resume", tmp_path / "run")


# ------------------------------------------------------------------ a new classifier


@pytest.mark.parametrize("recipe", ["finetune", "official"])
def test_a_new_classifier_begins_as_the_recipe_says(data, tmp_path, recipe):
    """By zeros, every class has the same probability at first, and the loss is log(classes)."""
    path = tmp_path / "weights.safetensors"
    network = resolve("b0", width=0.1, depth=0.1, resolution=32, num_classes=5)
    save(path, network, initial(network, seed=1))
    options = Options(recipe=recipe, weights=str(path))
    found = preparing.planned(options, data, Place(), new=True).weights
    assert found["classifier.weight"].shape[0] == 2
    assert found["classifier.weight"].any() == (recipe == "official")
    assert not found["classifier.bias"].any()
    assert found["stem.conv.weight"].any()


# ------------------------------------------------------------------ a warm-up that fits


def test_a_warm_up_takes_half_of_a_run_at_most_which_is_said_and_kept(data, trainings, tmp_path):
    out = tmp_path / "run"
    printed = train("--data", data, *SMALL, "--batch", 2, "--epochs", 5, "--out", out)
    assert "images in an epoch, warmed up for 2 epochs instead of the recipe's 5\n" in printed
    assert json.loads((out / SETTINGS).read_text())["warmup_epochs"] == 2
    assert "warmed up for 2 epochs" in train("--resume", out, "--epochs", 40)
    for training in trainings:  # more epochs change nothing about those that are over
        steps, optimization = training.steps_per_epoch, training.phases[0].optimization
        highest = 0.016 * 2 / 256
        assert steps == 5
        assert optimization.rate(10) == pytest.approx(highest)
        assert optimization.rate(6) == pytest.approx(highest * 6 / 10)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--epochs", 10], 5),  # just enough
        (["--epochs", 5, "--set", "warmup_epochs=4"], 4),  # whoever says so means it
        (["--epochs", 3, "--recipe", "paper"], 0),
    ],
)
def test_a_warm_up_that_fits_or_was_set_stays(data, trainings, tmp_path, options, expected):
    out = tmp_path / "run"
    printed = train("--data", data, *SMALL, *options, "--out", out)
    assert ("warmed up for 4 epochs instead" in printed) == (expected == 4)
    assert json.loads((out / SETTINGS).read_text())["warmup_epochs"] is None
    assert trainings[0].recipe.warmup_epochs == expected


@pytest.mark.parametrize("options", [["--epochs", 1], ["--epochs", 4, "--set", "warmup_epochs=5"]])
def test_a_run_that_ends_in_its_warm_up_says_so(data, trainings, tmp_path, options):
    printed = train("--data", data, *SMALL, *options, "--out", tmp_path / "run")
    assert "in an epoch, all of them in the warm-up, which takes 5 epochs\n" in printed


def test_a_cosine_says_that_it_cuts_its_warm_up_off(data, trainings, tmp_path):
    options = ["--recipe", "cosine", "--epochs", 4, "--batch", 2, "--out", tmp_path / "run"]
    printed = train("--data", data, *SMALL, *options)
    assert "images in an epoch, warmed up for 2 epochs instead of the recipe's 200\n" in printed
    assert trainings[0].phases[0].optimization.rate.warmup == 10


# ------------------------------------------------------------------ more epochs


def test_a_run_is_given_more_epochs(data, trainings, tmp_path):
    out = tmp_path / "run"
    train("--data", data, *SMALL, "--recipe", "cosine", "--epochs", 2, "--out", out)
    printed = train("--resume", out, "--epochs", 4)
    assert "4 epochs instead of 2: the half cosine of the rate now ends with the last" in printed
    kept = json.loads((out / SETTINGS).read_text())
    assert (kept["epochs"], kept["begun_with"]) == (4, 2)
    for _ in range(3):
        train("--resume", out)
    assert [training.recipe.epochs for training in trainings] == [2, 4, 4, 4, 4][: len(trainings)]
    said, argument = refused("--resume", out, "--epochs", 3)
    assert said == f"epochs is 3, and the run in {out} has 4; give more of them, or leave it out"
    assert argument == "epochs"


def test_a_rate_that_falls_by_epochs_falls_on():
    recipe = Options(recipe="official", epochs=20).as_recipe()
    longer = Options(recipe="official", epochs=40, begun_with=20).as_recipe()
    whole = Options(recipe="official", epochs=40).as_recipe()
    assert longer.phases == whole.phases
    for step in (0, 199, 399):
        assert longer.optimization(8, 20).rate(step) == recipe.optimization(8, 20).rate(step)


def test_only_the_last_phase_grows():
    recipe = replace(get_recipe("finetune"), epochs=7)
    before = [recipe.epochs_of(number) for number in (0, 1)]
    longer = lengthened(recipe, 23)
    assert [longer.epochs_of(number) for number in (0, 1)] == [
        before[0],
        range(before[1].start, 23),
    ]


def test_the_python_function_takes_numbers_as_they_are(data, trainings, tmp_path):
    rosetta.train(
        data,
        backend="torch",
        width=0.1,
        depth=0.1,
        image_size=32,
        set={"momentum": 0.5, "augmentation.crop_area": (0.5, 1)},
        out=tmp_path / "run",
    )
    assert trainings[0].recipe.momentum == 0.5
    assert trainings[0].train.augmentation.crop_area == (0.5, 1.0)
