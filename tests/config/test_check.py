"""Invalid overrides: every problem is reported on one line, with exit code 2 and no file written."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cnntrain.cli import main

# Overrides, and what their one line must contain: key and value as written, the rule, the remedy.
CASES = [
    ("modle=vgg11", ["modle=vgg11", "did you mean model=vgg11?"]),
    ("model=vgg12", ["model=vgg12", "did you mean vgg1"]),
    ("model=VGG11", ["model=VGG11", "did you mean vgg11?"]),
    ("optim=adamm", ["optim=adamm", "did you mean adam?"]),
    ("schedule=cosin", ["schedule=cosin", "did you mean cosine?"]),
    ("job=trian", ["job=trian", "train, evaluate", "did you mean train?"]),
    ("trainer.epoch=3", ["trainer.epoch=3", "did you mean trainer.epochs?"]),
    ("epochs=3", ["epochs=3", "did you mean trainer.epochs?"]),
    ("train.epochs=3", ["train.epochs=3", "did you mean trainer.epochs?"]),
    ("optim=adam optim.momentum=0.9", ["optim.momentum=0.9", "adam has no", "lr, betas, eps", "sgd"]),
    ("optim.lr=0.1x", ["optim.lr=0.1x", "number > 0", "default is 0.1"]),
    ("optim.lr=-0.1", ["optim.lr=-0.1", "> 0"]),
    ("optim.lr=0", ["optim.lr=0", "> 0"]),
    ("optim.lr=nan", ["optim.lr=nan", "finite"]),
    ("optim.lr=inf", ["optim.lr=inf", "finite"]),
    ("optim=adam optim.betas=[0.9]", ["optim.betas=[0.9]", "2 values, has 1"]),
    ("optim.momentum=1.5", ["optim.momentum=1.5", "[0, 1)"]),
    ("optim=nesterov optim.momentum=0", ["optim.momentum=0", "(0, 1)"]),
    ("regularization.l2=-1", ["regularization.l2=-1", "≥ 0"]),
    ("regularization.dropout=1.0", ["regularization.dropout=1.0", "[0, 1)"]),
    ("regularization.label_smoothing=1.0", ["regularization.label_smoothing=1.0", "[0, 1)"]),
    ("trainer.epochs=0", ["trainer.epochs=0", "≥ 1", "default is 20"]),
    ("trainer.epochs=-3", ["trainer.epochs=-3", "≥ 1"]),
    ("trainer.epochs=0.5", ["trainer.epochs=0.5", "≥ 1"]),
    ("trainer.epochs=ten", ["trainer.epochs=ten", "must be a number"]),
    ("data.batch_size=0", ["data.batch_size=0", "≥ 1"]),
    ("data.batch_size=5000 data.drop_last=true", ["data.batch_size=5000", "write at most 1"]),
    ("schedule=one_cycle schedule.warmup_epochs=1", ["schedule.warmup_epochs=1", "a rise of its own"]),
    ("data.batch_size=many", ["data.batch_size=many", "must be a whole number ≥ 1 or auto"]),
    ("data.val_fraction=0 trainer.early_stopping_epochs=3", ["data.val_fraction=0", "early_stopping", "0.1"]),
    ("data.val_fraction=0 trainer.best_by=loss", ["data.val_fraction=0", "trainer.best_by=loss", "0.1"]),
    ("trainer.best_by=f1", ["trainer.best_by=f1", "one of auto, accuracy, loss, balanced_accuracy"]),
    (
        "trainer.best_by=average_precision",
        ["average_precision: is not measured of 10 classes", "write auto, accuracy, loss"],
    ),
    ("data=imagenet trainer.best_by=auroc", ["trainer.best_by=auroc: is not measured of 1000 classes"]),
    (
        "data.target=values loss=l2 trainer.best_by=accuracy",
        ["accuracy: is not measured of 1 values", "write auto, mean_absolute_error, loss, r2"],
    ),
    (
        "data=npz data.path=none.npz data.target=attributes loss=attribute_hinge "
        "trainer.best_by=balanced_accuracy",
        ["is not measured of attributes", "macro_f1, auroc, average_precision"],
    ),
    (
        "-m trainer.best_by=loss,accuracy",
        ["trainer.best_by: has several values", "search.objective=accuracy"],
    ),
    ("-m seed=0,1 search.objective=r2", ["search.objective=r2: is not measured of 10 classes", "macro_f1"]),
    ("monitor=val_loss", ["did you mean trainer.best_by?"]),
    ("data.val_fraction=0 schedule=plateau", ["data.val_fraction=0", "plateau", "0.1"]),
    ("data.val_fraction=1.0", ["data.val_fraction=1.0", "[0, 1)"]),
    ("seed=abc", ["seed=abc", "whole number"]),
    ("data.limit=100000000000000000000", ["data.limit", "64 bits"]),
    ("optim.lr=1e39", ["optim.lr=1e39", "largest float32"]),
    ("data=synthetic data.classes=1000000", ["data.classes=1000000", "[2, 10000]"]),
    ("seed=-1", ["seed=-1", "default is 0"]),
    ("trainer.device=gpu", ["trainer.device=gpu", "auto, cpu, cuda"]),
    ("trainer.precision=fp8", ["trainer.precision=fp8", "auto, fp32, tf32, bf16, fp16"]),
    ("trainer.precision=fp16 trainer.device=cpu", ["trainer.precision=fp16", "CUDA", "bf16"]),
    (
        "trainer.processes=8 data.batch_size=4",
        ["trainer.processes=8", "data.batch_size=4", "fewer processes"],
    ),
    ("trainer.winograd=true trainer.precision=bf16", ["trainer.winograd=true", "trainer.precision=fp32"]),
    ("trainer.winograd=true trainer.compile=auto", ["trainer.winograd=true", "trainer.compile=false"]),
    ("trainer.processes=1000", ["trainer.processes=1000", "cores; write"]),
    ("trainer.processes=2 trainer.budget_minutes=1", ["trainer.budget_minutes=1", "trainer.max_minutes"]),
    ("+model.depth=3", ["model.depth=3", "no setting depth"]),
    ("+optim._target_=os.system", ["optim._target_=os.system", "no setting _target_"]),
    ("++optim.foo=1", ["optim.foo=1", "no setting foo"]),
    ("optim.lr=0.1,0.01", ["optim.lr=0.1,0.01", "-m"]),
    ("optim=sgd,adam", ["optim=sgd,adam", "several values", "-m"]),
    ("~experiment", ["~experiment", "leave it out"]),
    ("data.limit=1 data.val_fraction=0.9", ["data.val_fraction=0.9", "leaves 0 images"]),
    ("--trainer.epochs=5", ["without dashes", "write trainer.epochs=5"]),
    ("--verbose", ["is not a flag", "trainer.record_every_steps=1"]),
    ("-r outputs/a", ["-r outputs/a", "write run=outputs/a"]),
    ("-m hydra.run.dir=a seed=1,2", ["hydra.run.dir=a", "hydra.sweep.dir=FOLDER"]),
    ("hydra.sweep.dir=a", ["hydra.sweep.dir=a", "hydra.run.dir=a, or add -m"]),
    ("hydra/launcher=joblib", ["hydra/launcher=joblib", "add -m"]),
    ("hydra.job.chdir=true", ["hydra.job.chdir=true", "has no effect"]),
    ("hydra.output_subdir=x", ["hydra.output_subdir=x", "has no effect"]),
    ("--epochs 10", ["--epochs 10", "key=value", "trainer.epochs=10"]),
    ("epochs = 10", ["epochs = 10", "epochs=10"]),
    ("epochs", ["epochs", "key=value"]),
    ("schedule=step schedule.milestones=[30,10]", ["schedule.milestones=[30,10]", "write [10,30]"]),
    ("schedule.warmup_epochs=30", ["schedule.warmup_epochs=30", "longer than the run", "trainer.epochs=20"]),
    ("loss=svm regularization.label_smoothing=0.1", ["label_smoothing=0.1", "loss=softmax"]),
    ("data.target=attributes", ["loss=softmax", "attribute_hinge or attribute_logistic"]),
    ("loss=l2", ["loss=l2", "is for values", "write loss=softmax"]),
    ("data.target=values loss=bins loss.bins=1", ["loss.bins=1", "≥ 2"]),
    ("data=mnist data.target=values", ["data.target=values", "no setting target", "digits"]),
    ("loss.balanced=true loss.class_weights=[1,2]", ["loss.balanced=true", "keep one"]),
    ("loss=hierarchical_softmax loss.tree=t.yaml loss.branching=3", ["loss.branching=3", "balanced"]),
    ("loss=hierarchical_softmax model=googlenet", ["hierarchical_softmax", "model.auxiliary=false"]),
    ("optim=lbfgs data.batch_size=64", ["optim=lbfgs", "data.batch_size=auto", "mini_batches=true"]),
    (
        "optim=lbfgs optim.mini_batches=true regularization.max_norm=1",
        ["optim=lbfgs", "write regularization.l2"],
    ),
    ("data=toy2d model=mlp regularization.cutmix=1", ["regularization.cutmix=1", "1x1", "mixup"]),
    ("loss.class_weights=[1,0]", ["loss.class_weights", "> 0"]),
    ("optim.momentum_epochs=3", ["optim.momentum_epochs=3", "optim.final_momentum"]),
    ("optim=switch optim.switch_epoch=20", ["optim.switch_epoch=20", "trainer.epochs=20"]),
    ("optim=switch optim.then=adaam", ["optim.then=adaam", "did you mean adam?"]),
    ("averaging=emma", ["averaging=emma", "did you mean ema?"]),
    ("averaging=ema averaging.decay=1", ["averaging.decay=1", "[0, 1)"]),
    ("regularization.max_norm=0", ["regularization.max_norm=0", "> 0"]),
    ("regularization.stochastic_depth=0.2", ["stochastic_depth=0.2", "no residual blocks", "model=resnet20"]),
    ("model=plain20 regularization.stochastic_depth=0.2", ["stochastic_depth=0.2", "no residual blocks"]),
    ("'regularization.layers={head: {l3: 1}}'", ["regularization.layers.head", "l3", "l2, l1, weight_decay"]),
    ("'regularization.layers={head: {l2: -1}}'", ["regularization.layers.head", "l2=-1", "≥ 0"]),
    ("'regularization.layers={head: 3}'", ["regularization.layers.head", "needs a mapping of settings"]),
    ("evaluate.views_fraction=0.5", ["evaluate.views_fraction=0.5", "evaluate.views="]),
    (
        "evaluate.views=mirror evaluate.views_fraction=0.5 data.target=attributes loss=attribute_logistic",
        ["evaluate.views_fraction=0.5", "classes"],
    ),
    ("evaluate.shift=2", ["evaluate.shift=2", "evaluate.views=shifts"]),
    ("evaluate.dense=true evaluate.views=mirror", ["evaluate.views=mirror", "keep one"]),
    ("~optim", ["~optim", "optim=NAME", "adam"]),
    ("optim=null", ["optim=null", "optim needs a name"]),
    ("optim=", ["optim=", "optim needs a name"]),
    ("+schema/optim=adam", ["+schema/optim=adam", "optim=NAME"]),
    ("optim@model=adam", ["optim@model=adam", "optim=NAME"]),
    ("optim.name=adam", ["optim.name=adam", "optim=NAME"]),
    ("trainer.deterministic=maybe", ["trainer.deterministic=maybe", "true or false"]),
    ("trainer={epochs:3}", ["trainer={epochs:3}", "trainer needs a name"]),
    ("'optim.lr=\"0.1'", ["optim.lr", "cannot be read"]),
    ("optim.lr='${foo}'", ["optim.lr", "foo"]),
    ("optim.lr='${optim.lr}'", ["optim.lr", "ecursive"]),
    ("data=folder", ["data.path", "data.path=…"]),
    ("data=npz", ["data.path", "data.path=…"]),
    ("job=evaluate", ["job=evaluate", "run=FOLDER"]),
    ("--config-dir nowhere", ["--config-dir nowhere", "no such folder"]),
    ("--cfg jobs", ["--cfg jobs", "job, hydra, all"]),
    ("evaluate.split=tset", ["evaluate.split=tset", "did you mean test?"]),
]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("overrides", "expected"), CASES, ids=[overrides for overrides, _ in CASES])
def test_an_invalid_override_is_reported_with_key_value_rule_and_remedy(
    overrides: str, expected: list[str], empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(shlex.split(overrides)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    for part in expected:
        assert part in line
    assert list(empty_folder.iterdir()) == []


def test_all_problems_are_reported_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trainer.epochs=0", "optim=adamm", "modle=x", "seed=-1", "loss.delta=2"]) == 2
    stderr = capsys.readouterr().err
    assert len(stderr.splitlines()) == 5
    for override in ("trainer.epochs=0", "optim=adamm", "modle=x", "seed=-1", "loss.delta=2"):
        assert override in stderr


def test_conflicts_between_settings_are_reported_beside_invalid_overrides(
    capsys: pytest.CaptureFixture[str],
) -> None:
    overrides = ["optim=adamm", "optim.momentum=0.5", "optim.lr=0", "trainer.device=gpu"]
    assert main([*overrides, "schedule.warmup_epochs=30"]) == 2
    lines = capsys.readouterr().err.splitlines()
    # The momentum is not reported, as the optimizer is unknown; lr=0 is invalid for every optimizer.
    assert [line.split("=")[0].removeprefix("cnntrain: ") for line in lines] == [
        "optim",
        "optim.lr",
        "trainer.device",
        "schedule.warmup_epochs",
    ]


def test_a_sweep_is_checked_in_all_combinations_before_its_first_job(
    empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ["-m", "optim=sgd,adam", "optim.momentum=0.9", "schedule=cosine,cosin", "seed=1,-1"]
    assert main(overrides) == 2
    lines = capsys.readouterr().err.splitlines()
    # Each problem once, though it occurs in several combinations.
    assert len(lines) == 3
    assert "adam has no" in lines[0] or "adam has no" in lines[1] or "adam has no" in lines[2]
    assert list(empty_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["optim=glob(ad*)", "optim.momentum=0.9"], "adamw has no setting momentum"),
        (["optim.lr=range(-1,1)"], "optim.lr=-1"),
        (["optim.lr=choice(0.1,nan)"], "optim.lr=nan"),
        (["optim.lr=interval(-1,1)"], "optim.lr=-1"),
        (["seed=range(0,1,0)"], "seed=range(0,1,0): range() arg 3 must not be zero"),
        (["optim.lr=range(0.1,1,nan)"], "optim.lr=range(0.1,1,nan): cannot be counted"),
        (["optim.lr=range(inf)"], "more than max_jobs=1000 jobs"),
    ],
)
def test_every_syntax_of_sweeps_is_checked(
    overrides: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-m", *overrides]) == 2
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize(
    ("plugin", "package"),
    [("launcher=joblib", "hydra-joblib-launcher"), ("sweeper=optuna", "hydra-optuna-sweeper")],
)
def test_a_plugin_that_is_not_installed_is_named_with_its_package(
    plugin: str, package: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-m", "seed=1,2", f"hydra/{plugin}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"hydra/{plugin}: is not installed; pip install {package}" in line


def test_a_sweep_that_a_sweeper_of_hydra_does_not_support_is_reported_on_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["-m", "hydra/launcher=basic", "optim.lr=interval(0.1,1)"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "BasicSweeper" in line


def test_epochs_after_the_last_one_give_only_a_notice(capsys: pytest.CaptureFixture[str]) -> None:
    overrides = [
        "schedule=step",
        "schedule.milestones=[1,30]",
        "trainer.epochs=1",
        "trainer.early_stopping_epochs=1",
        "trainer.max_steps_per_epoch=1",
    ]
    assert main([*overrides, "hydra.run.dir=run"]) == 0
    printed = capsys.readouterr().out
    assert "notice    schedule.milestones=[1,30]" in printed
    assert "notice    trainer.early_stopping_epochs=1: cannot stop" in printed


def test_a_validation_fraction_of_less_than_an_image_gives_a_notice(
    capsys: pytest.CaptureFixture[str],
) -> None:
    overrides = ["model=linear", "trainer.epochs=1", "data.limit=200", "trainer.pictures=false"]
    for fraction, expected in (("0.002", True), ("0.005", False), ("0", False)):
        main([*overrides, f"data.val_fraction={fraction}", f"hydra.run.dir=run{fraction}"])
        assert ("no validation images" in capsys.readouterr().out) is expected


def test_help_and_errors_do_not_import_torch() -> None:
    script = (
        "import sys; from cnntrain.cli import main\n"
        "for arguments in (['--help'], ['--version'], ['--cfg', 'job'], ['optim=adamm'], ['run=nowhere'],\n"
        "              ['trainer.device=cuda:77'], ['-m', 'optim.lr=0,1']): main(arguments)\n"
        "slow = {'torch', 'torchvision', 'sklearn', 'numpy'} & set(sys.modules)\n"
        "assert not slow, slow"
    )
    completed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert completed.returncode == 0, completed.stderr
