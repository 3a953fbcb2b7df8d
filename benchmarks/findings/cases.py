"""The runs that are judged: each planted fault in two doses, with the findings that are right for it.

Written before any run was judged. Several findings may be right for one fault, as in the literature on such
tools: any that names the cause or an equivalent remedy.
"""

from __future__ import annotations

from dataclasses import dataclass

# Networks and data sets on which thresholds may be tuned, and those that are only judged with them.
BASES: dict[str, list[str]] = {
    "mlp": ["data=digits", "model=mlp", "trainer.epochs=15"],
    "convnet": ["data=digits", "model=convnet", "trainer.epochs=12"],
    "lenet": ["data=npz", "data.path=fashion.npz", "model=lenet5", "trainer.epochs=10", "data.batch_size=32"],
    "adam": ["data=digits", "model=mlp", "model.hidden=[64,64]", "optim=adam", "trainer.epochs=15"],
    "vgg": ["data=npz", "data.path=mnist.npz", "model=vgg11", "model.width=0.125", "trainer.epochs=8"],
    "resnet": ["data=npz", "data.path=cifar.npz", "model=resnet20", "model.width=0.5", "trainer.epochs=8"],
    "plain": ["data=npz", "data.path=mnist.npz", "model=mlp", "model.hidden=[100,50]", "trainer.epochs=12"],
    "cifar_convnet": [
        *("data=npz", "data.path=cifar.npz", "model=convnet", "model.normalization=none", "optim=nesterov"),
        *("model.channels=[16,32]", "trainer.epochs=12", "data.batch_size=32", "optim.lr=0.02"),
    ],
}
TUNING = ("mlp", "convnet", "lenet", "adam")
HELD_OUT = ("vgg", "resnet", "plain", "cifar_convnet")


@dataclass(frozen=True)
class Case:
    """A run: overrides on top of those of its base; right: the findings that are right, none if healthy.

    archive: how the arrays of the base's data are changed, see `archives.py`.
    """

    name: str
    base: str
    overrides: tuple[str, ...] = ()
    right: tuple[str, ...] = ()
    archive: str | None = None

    @property
    def held_out(self) -> bool:
        """Whether the run is judged only."""
        return self.base in HELD_OUT


def _doses(
    fault: str, right: tuple[str, ...], placed: dict[str, tuple[tuple[str, ...], tuple[str, ...]]]
) -> list[Case]:
    """Return the cases of a fault: base → overrides of a small and of a large dose."""
    return [
        Case(f"{fault} {dose}", base, overrides, right)
        for base, doses in placed.items()
        for dose, overrides in zip(("small", "large"), doses, strict=True)
    ]


def _archives(
    fault: str, right: tuple[str, ...], bases: tuple[str, ...], doses: tuple[str, str]
) -> list[Case]:
    return [
        Case(f"{fault} {dose}", base, (), right, archive)
        for base in bases
        for dose, archive in zip(("small", "large"), doses, strict=True)
    ]


TOO_HIGH = ("learning rate too high", "diverged", "momentum too high")
TOO_LOW = ("learning rate too low", "stopped too early")
CLIPPED = ("gradients clipped", *TOO_LOW)
SHORT = ("stopped too early", "learning rate too low")
FAULTS: list[Case] = [
    *_doses(
        "learning rate high",
        TOO_HIGH,
        {
            "mlp": (("optim.lr=5",), ("optim.lr=50",)),
            "adam": (("optim.lr=0.3",), ("optim.lr=3",)),
            "vgg": (("optim.lr=3",), ("optim.lr=30",)),
            "resnet": (("optim.lr=20",), ("optim.lr=200",)),
        },
    ),
    *_doses(
        "learning rate low",
        TOO_LOW,
        {
            "convnet": (("optim.lr=1e-5",), ("optim.lr=1e-7",)),
            "adam": (("optim.lr=1e-6",), ("optim.lr=1e-8",)),
            "resnet": (("optim.lr=1e-5",), ("optim.lr=1e-7",)),
            "plain": (("optim.lr=1e-5",), ("optim.lr=1e-6",)),
        },
    ),
    *_doses(
        "without clipping",
        TOO_HIGH,
        {
            "lenet": (
                ("trainer.max_grad_norm=null", "optim.lr=3"),
                ("trainer.max_grad_norm=null", "optim.lr=100"),
            ),
            "plain": (
                ("trainer.max_grad_norm=null", "optim.lr=5"),
                ("trainer.max_grad_norm=null", "optim.lr=100"),
            ),
        },
    ),
    *_doses(
        "symmetric weights",
        ("symmetric initialization", "initial weights too small", "not learning"),
        {
            "mlp": (("initialization=uniform", "initialization.scale=1e-12"), ("initialization=zeros",)),
            "vgg": (("initialization=uniform", "initialization.scale=1e-12"), ("initialization=zeros",)),
        },
    ),
    *_doses(
        "weights small",
        ("initial weights too small", "vanishing gradients", "not learning"),
        {
            "lenet": (
                ("initialization=gaussian", "initialization.std=1e-3"),
                ("initialization=gaussian", "initialization.std=1e-5"),
            ),
            "vgg": (
                ("initialization=gaussian", "initialization.std=1e-3"),
                ("initialization=gaussian", "initialization.std=1e-4"),
            ),
        },
    ),
    *_doses(
        "weights large",
        ("initial weights too large", "exploding gradients", "saturated units"),
        {
            "lenet": (
                ("initialization=gaussian", "initialization.std=0.7"),
                ("initialization=gaussian", "initialization.std=3"),
            ),
            "cifar_convnet": (
                ("initialization=gaussian", "initialization.std=0.5"),
                ("initialization=gaussian", "initialization.std=3"),
            ),
        },
    ),
    *_doses(
        "penalty",
        ("regularization too strong",),
        {
            "mlp": (("regularization.l2=0.3",), ("regularization.l2=3",)),
            "convnet": (("regularization.l2=0.3",), ("regularization.l2=3",)),
            "resnet": (("regularization.l2=0.3",), ("regularization.l2=3",)),
            "plain": (("regularization.l2=0.3",), ("regularization.l2=3",)),
        },
    ),
    *_doses(
        "weight decay",
        ("regularization too strong",),
        {
            "lenet": (("regularization.weight_decay=0.3",), ("regularization.weight_decay=3",)),
            "vgg": (("regularization.weight_decay=0.3",), ("regularization.weight_decay=3",)),
        },
    ),
    *_doses(
        "dropout",
        ("dropout too high",),
        {
            "mlp": (("regularization.dropout=0.95",), ("regularization.dropout=0.99",)),
            "vgg": (("regularization.dropout=0.9",), ("regularization.dropout=0.97",)),
        },
    ),
    *_doses(
        "batch small",
        ("batch too small", "learning rate too high", "oscillating"),
        {
            "convnet": (
                ("data.batch_size=4", "trainer.epochs=3"),
                ("data.batch_size=2", "trainer.epochs=3"),
            ),
            "resnet": (
                ("data.batch_size=4", "trainer.max_steps_per_epoch=150"),
                ("data.batch_size=2", "trainer.max_steps_per_epoch=150"),
            ),
        },
    ),
    *_doses(
        "batch large",
        ("batch too large", "stopped too early", "learning rate too low"),
        {
            "lenet": (("data.batch_size=900",), ("data.batch_size=1800",)),
            "resnet": (("data.batch_size=900",), ("data.batch_size=1800",)),
        },
    ),
    *_doses(
        "clipping",
        CLIPPED,
        {
            "mlp": (("trainer.max_grad_norm=0.003",), ("trainer.max_grad_norm=0.0001",)),
            "cifar_convnet": (("trainer.max_grad_norm=0.003",), ("trainer.max_grad_norm=0.0001",)),
        },
    ),
    *_doses(
        "momentum",
        TOO_HIGH,
        {
            "lenet": (("optim.momentum=0.99",), ("optim.momentum=0.999",)),
            "plain": (("optim.momentum=0.99",), ("optim.momentum=0.999",)),
        },
    ),
    *_doses(
        "schedule falls early",
        ("schedule lowers the rate too early", *SHORT),
        {
            "lenet": (
                ("schedule=step", "schedule.milestones=[1]", "schedule.factor=0.001"),
                ("schedule=exponential", "schedule.rate=8"),
            ),
            "resnet": (
                ("schedule=step", "schedule.milestones=[1]", "schedule.factor=0.001"),
                ("schedule=exponential", "schedule.rate=8"),
            ),
        },
    ),
    *_doses(
        "warm-up long",
        ("warm-up too long", *SHORT),
        {
            "adam": (
                ("optim.lr=1e-4", "trainer.epochs=5", "schedule.warmup_epochs=4.9"),
                ("optim.lr=1e-5", "trainer.epochs=5", "schedule.warmup_epochs=4.9"),
            ),
            "plain": (
                ("optim.lr=1e-3", "trainer.epochs=4", "schedule.warmup_epochs=3.9"),
                ("optim.lr=1e-4", "trainer.epochs=4", "schedule.warmup_epochs=3.9"),
            ),
        },
    ),
    *_doses(
        "few epochs",
        (*SHORT, "batch too large"),
        {
            "adam": (("trainer.epochs=2", "optim.lr=3e-4"), ("trainer.epochs=2", "optim.lr=1e-4")),
            "cifar_convnet": (("trainer.epochs=2",), ("trainer.epochs=2", "optim.lr=0.002")),
        },
    ),
    *_doses(
        "label smoothing",
        ("label smoothing too strong",),
        {
            "convnet": (("regularization.label_smoothing=0.8",), ("regularization.label_smoothing=0.97",)),
            "plain": (("regularization.label_smoothing=0.8",), ("regularization.label_smoothing=0.97",)),
        },
    ),
    *_doses(
        "input noise",
        ("input noise too strong", "augmentation too strong"),
        {
            "lenet": (("regularization.input_noise=3",), ("regularization.input_noise=20",)),
            "cifar_convnet": (("regularization.input_noise=3",), ("regularization.input_noise=20",)),
        },
    ),
    *_doses(
        "capacity",
        ("underfitting",),
        {
            "mlp": (("model.hidden=[2]", "trainer.epochs=30"), ("model.hidden=[1]", "trainer.epochs=30")),
            "plain": (("model.hidden=[2]",), ("model.hidden=[1]",)),
        },
    ),
    *_doses(
        "deep sigmoid",
        ("vanishing gradients", "initial weights too small", "saturated units"),
        {
            "mlp": (
                ("model.hidden=[32,32,32,32,32]", "model.activation=sigmoid"),
                ("model.hidden=[32,32,32,32,32,32,32,32]", "model.activation=sigmoid"),
            ),
            "plain": (
                ("model.hidden=[32,32,32,32,32]", "model.activation=sigmoid"),
                ("model.hidden=[32,32,32,32,32,32,32,32]", "model.activation=sigmoid"),
            ),
        },
    ),
    *_doses(
        "saturated tanh",
        ("saturated units", "initial weights too large", "vanishing gradients"),
        {
            "adam": (
                ("model.activation=tanh", "initialization=gaussian", "initialization.std=3"),
                ("model.activation=tanh", "initialization=gaussian", "initialization.std=20"),
            ),
            "plain": (
                ("model.activation=tanh", "initialization=gaussian", "initialization.std=3"),
                ("model.activation=tanh", "initialization=gaussian", "initialization.std=20"),
            ),
        },
    ),
    *_doses(
        "dead rectifiers",
        ("dead units", "initial weights too small", "not learning"),
        {
            "adam": (
                ("initialization=he", "initialization.bias=-8"),
                ("initialization=he", "initialization.bias=-50"),
            ),
            "vgg": (
                ("initialization=he", "initialization.bias=-8"),
                ("initialization=he", "initialization.bias=-50"),
            ),
        },
    ),
    *_doses(
        "few images",
        ("overfitting",),
        {
            "lenet": (
                ("data.limit=300", "augmentation=none", "regularization=none", "trainer.epochs=40"),
                ("data.limit=100", "augmentation=none", "regularization=none", "trainer.epochs=80"),
            ),
            "cifar_convnet": (
                ("data.limit=600", "augmentation=none", "regularization=none", "trainer.epochs=40"),
                ("data.limit=200", "augmentation=none", "regularization=none", "trainer.epochs=80"),
            ),
        },
    ),
    *_archives(
        "random labels",
        ("labels cannot be learned", "overfitting", "not learning"),
        ("convnet", "plain"),
        ("random_labels", "random_labels_all"),
    ),
    *_archives(
        "wrong labels",
        ("some labels wrong", "labels cannot be learned"),
        ("convnet", "plain"),
        ("wrong_20", "wrong_40"),
    ),
    *_archives(
        "imbalance", ("imbalance", "class never predicted"), ("lenet", "resnet"), ("rare_5", "rare_2")
    ),
    *_archives(
        "duplicates", ("copies between splits",), ("mlp", "cifar_convnet"), ("copies_10", "copies_50")
    ),
    *_archives(
        "low contrast", ("inputs not scaled",), ("lenet", "cifar_convnet"), ("contrast_25", "contrast_80")
    ),
    *_archives(
        "constant channel", ("constant channel",), ("lenet", "resnet"), ("constant_0", "constant_255")
    ),
]
# "low contrast" needs that nothing scales the images again.
FAULTS = [
    Case(case.name, case.base, ("preprocessing=none",), case.right, case.archive)
    if case.name.startswith("low contrast")
    else case
    for case in FAULTS
]

ODD: dict[str, list[tuple[str, ...]]] = {
    "mlp": [
        (),
        ("preprocessing=none",),
        ("regularization.dropout=0.5",),
        ("data.batch_size=8",),
        ("trainer.epochs=4",),
        ("optim.lr=0.5",),
        ("schedule=constant",),
        ("schedule=step",),
        ("model.hidden=[256,256,256]",),
    ],
    "convnet": [
        (),
        ("trainer.epochs=3",),
        ("regularization=none",),
        ("optim=adam",),
        ("data.batch_size=16", "trainer.epochs=5"),
        ("model.activation=tanh",),
        ("regularization.label_smoothing=0.1",),
        ("optim=muon",),
    ],
    "lenet": [
        (),
        ("optim=nesterov",),
        ("schedule=one_cycle",),
        ("regularization=mixup",),
        ("trainer.epochs=5",),
    ],
    "adam": [
        (),
        ("optim.lr=0.01",),
        ("model.activation=tanh",),
        ("schedule=constant",),
        ("trainer.epochs=6",),
    ],
    "vgg": [
        (),
        ("optim=adam",),
        ("regularization.dropout=0.5",),
        ("schedule=step",),
        ("preprocessing=none",),
    ],
    "resnet": [
        (),
        ("optim=nesterov",),
        ("trainer.epochs=4",),
        ("augmentation=crop_flip",),
        ("schedule=one_cycle",),
    ],
    "plain": [
        (),
        ("optim=adam",),
        ("optim.lr=0.5",),
        ("trainer.epochs=4",),
        ("data.batch_size=16",),
        ("regularization.dropout=0.5",),
        ("schedule=constant",),
        ("model.activation=tanh",),
    ],
    "cifar_convnet": [
        (),
        ("optim=adam", "optim.lr=1e-3"),
        ("trainer.epochs=6",),
        ("regularization=mixup",),
        ("schedule=step",),
    ],
}
HEALTHY: list[Case] = [
    Case(f"healthy {' '.join(overrides) or 'as it is'}", base, overrides)
    for base, several in ODD.items()
    for overrides in several
]
CASES = [*FAULTS, *HEALTHY]
