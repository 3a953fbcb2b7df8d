"""The runs that are judged: each planted fault in two doses, with the findings that are right for it.

Written before any run was judged. Several findings may be right for one fault, as in the literature on such
tools: any that names the cause or an equivalent remedy.
"""

from __future__ import annotations

from dataclasses import dataclass

# Networks and data sets on which thresholds may be tuned.
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
# Networks and data sets of their own: judged only, after the rules were fixed.
HELD_OUT: dict[str, list[str]] = {
    "fashion_vgg": [
        "data=npz",
        "data.path=fashion.npz",
        "model=vgg11_bn",
        "model.width=0.125",
        "trainer.epochs=8",
    ],
    "cifar_lenet": [
        "data=npz",
        "data.path=cifar.npz",
        "model=lenet5",
        "trainer.epochs=12",
        "data.batch_size=32",
    ],
    "synthetic_preact": [
        *("data=synthetic", "data.classes=8", "data.image_size=16", "data.train_images=1500"),
        *("model=preact_resnet18", "model.width=0.125", "trainer.epochs=8", "data.batch_size=64"),
    ],
    "spiral": [
        *("data=toy2d", "data.classes=3", "model=mlp", "model.hidden=[64,64]", "trainer.epochs=40"),
        *("optim=nesterov", "data.batch_size=32"),
    ],
}
BASES |= HELD_OUT


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
EARLY = ("schedule lowers the rate too early", *SHORT)
# Kinds of faults that were added on 2026-11-30, with the rules on them.
STEP = ("schedule=step", "schedule.milestones=[0.1]")
TAIL = ("trainer.epochs=40", "schedule=step", "schedule.milestones=[6]")
ADDED: list[tuple[str, tuple[str, ...], dict[str, tuple[tuple[str, ...], tuple[str, ...]]]]] = [
    (
        "milestones early",
        EARLY,
        {
            "mlp": (STEP, (*STEP, "schedule.factor=0.03")),
            "plain": (STEP, (*STEP, "schedule.factor=0.03")),
            "cifar_convnet": (STEP, (*STEP, "schedule.factor=0.03")),
            "spiral": (STEP, (*STEP, "schedule.factor=0.03")),
            "fashion_vgg": (STEP, (*STEP, "schedule.factor=0.03")),
        },
    ),
    (
        "rate next to nothing",
        ("epochs without gain", *EARLY),
        {
            "mlp": ((*TAIL, "schedule.factor=0.01"), (*TAIL, "schedule.factor=0.0001")),
            "plain": ((*TAIL, "schedule.factor=0.01"), (*TAIL, "schedule.factor=0.0001")),
            "cifar_lenet": ((*TAIL, "schedule.factor=0.01"), (*TAIL, "schedule.factor=0.0001")),
            "spiral": ((*TAIL, "schedule.factor=0.01"), (*TAIL, "schedule.factor=0.0001")),
        },
    ),
    (
        "stuck",
        ("stuck after a fast fall", "oscillating", *TOO_HIGH),
        {
            "mlp": (
                ("trainer.epochs=20", "schedule=constant", "optim.lr=1"),
                ("trainer.epochs=20", "schedule=constant", "optim.lr=2"),
            ),
            "adam": (
                ("trainer.epochs=20", "schedule=constant", "optim.lr=0.05"),
                ("trainer.epochs=20", "schedule=constant", "optim.lr=0.1"),
            ),
            "spiral": (
                ("schedule=constant", "optim.lr=0.5"),
                ("schedule=constant", "optim.lr=1"),
            ),
            "cifar_lenet": (
                ("trainer.epochs=20", "schedule=constant", "optim=adam", "optim.lr=0.005"),
                ("trainer.epochs=20", "schedule=constant", "optim=adam", "optim.lr=0.01"),
            ),
        },
    ),
    (
        "narrow layer",
        ("underfitting",),
        {
            "mlp": (("model.hidden=[64,2]",), ("model.hidden=[64,1]",)),
            "plain": (("model.hidden=[100,2]",), ("model.hidden=[100,1]",)),
            "spiral": (("model.hidden=[64,1]",), ("model.hidden=[64,1,64]",)),
        },
    ),
    (
        "weights faint",
        ("initial weights too small", "vanishing gradients", "not learning"),
        {
            "mlp": (
                ("initialization=gaussian", "initialization.std=1e-4"),
                ("initialization=gaussian", "initialization.std=1e-6"),
            ),
            "adam": (
                ("initialization=gaussian", "initialization.std=1e-3"),
                ("initialization=gaussian", "initialization.std=1e-5"),
            ),
            "spiral": (
                ("initialization=gaussian", "initialization.std=1e-3"),
                ("initialization=gaussian", "initialization.std=1e-5"),
            ),
        },
    ),
]
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
_SMALL_WEIGHTS = (
    ("initialization=gaussian", "initialization.std=1e-4"),
    ("initialization=uniform", "initialization.scale=1e-6"),
)
_LARGE_WEIGHTS = (
    ("initialization=gaussian", "initialization.std=1"),
    ("initialization=gaussian", "initialization.std=5"),
)
_PENALTY = (("regularization.l2=0.5",), ("regularization.l2=5",))
_DECAY = (("regularization.weight_decay=0.5",), ("regularization.weight_decay=5",))
_CLIPPED = (("trainer.max_grad_norm=0.002",), ("trainer.max_grad_norm=0.0002",))
_SCHEDULE = (
    ("schedule=step", "schedule.milestones=[1]", "schedule.factor=0.002"),
    ("schedule=exponential", "schedule.rate=6"),
)
_NOISE = (("regularization.input_noise=4",), ("regularization.input_noise=15",))
_SMOOTH = (("regularization.label_smoothing=0.85",), ("regularization.label_smoothing=0.95",))
HELD_OUT_FAULTS: list[Case] = [
    *_doses(
        "learning rate high",
        TOO_HIGH,
        {
            "fashion_vgg": (("optim.lr=30",), ("optim.lr=300",)),
            "cifar_lenet": (("optim.lr=4",), ("optim.lr=40",)),
            "spiral": (("optim.lr=8",), ("optim.lr=80",)),
        },
    ),
    *_doses(
        "learning rate low",
        TOO_LOW,
        {
            "synthetic_preact": (("optim.lr=1e-5",), ("optim.lr=1e-7",)),
            "cifar_lenet": (("optim.lr=1e-5",), ("optim.lr=1e-7",)),
            "spiral": (("optim.lr=1e-5",), ("optim.lr=1e-7",)),
        },
    ),
    *_doses(
        "without clipping",
        TOO_HIGH,
        {
            "cifar_lenet": (
                ("trainer.max_grad_norm=null", "optim.lr=3"),
                ("trainer.max_grad_norm=null", "optim.lr=100"),
            ),
        },
    ),
    *_doses(
        "symmetric weights",
        ("symmetric initialization", "initial weights too small", "not learning"),
        {
            "cifar_lenet": (
                ("initialization=uniform", "initialization.scale=1e-12"),
                ("initialization=zeros",),
            ),
            "spiral": (("initialization=uniform", "initialization.scale=1e-12"), ("initialization=zeros",)),
        },
    ),
    *_doses(
        "weights small",
        ("initial weights too small", "vanishing gradients", "not learning", "symmetric initialization"),
        {"cifar_lenet": _SMALL_WEIGHTS, "spiral": _SMALL_WEIGHTS},
    ),
    *_doses(
        "weights large",
        ("initial weights too large", "exploding gradients", "saturated units"),
        {"cifar_lenet": _LARGE_WEIGHTS, "spiral": _LARGE_WEIGHTS},
    ),
    *_doses(
        "penalty",
        ("regularization too strong",),
        {"fashion_vgg": _PENALTY, "cifar_lenet": _PENALTY, "spiral": _PENALTY},
    ),
    *_doses(
        "weight decay", ("regularization too strong",), {"synthetic_preact": _DECAY, "cifar_lenet": _DECAY}
    ),
    *_doses(
        "dropout",
        ("dropout too high",),
        {
            "cifar_lenet": (("regularization.dropout=0.93",), ("regularization.dropout=0.98",)),
            "spiral": (("regularization.dropout=0.93",), ("regularization.dropout=0.98",)),
        },
    ),
    *_doses(
        "batch small",
        ("batch too small", "learning rate too high", "oscillating"),
        {
            "fashion_vgg": (
                ("data.batch_size=3", "trainer.max_steps_per_epoch=120"),
                ("data.batch_size=2", "trainer.max_steps_per_epoch=120"),
            ),
            "synthetic_preact": (
                ("data.batch_size=3", "trainer.max_steps_per_epoch=120"),
                ("data.batch_size=2", "trainer.max_steps_per_epoch=120"),
            ),
        },
    ),
    *_doses(
        "batch large",
        ("batch too large", "stopped too early", "learning rate too low"),
        {
            "fashion_vgg": (("data.batch_size=1000",), ("data.batch_size=2000",)),
            "cifar_lenet": (("data.batch_size=1000",), ("data.batch_size=2000",)),
        },
    ),
    *_doses("clipping", CLIPPED, {"cifar_lenet": _CLIPPED, "spiral": _CLIPPED}),
    *_doses(
        "momentum",
        TOO_HIGH,
        {
            "fashion_vgg": (("optim.momentum=0.99",), ("optim.momentum=0.999",)),
            "cifar_lenet": (("optim.momentum=0.99",), ("optim.momentum=0.999",)),
        },
    ),
    *_doses(
        "schedule falls early",
        ("schedule lowers the rate too early", *SHORT),
        {"cifar_lenet": _SCHEDULE, "spiral": _SCHEDULE},
    ),
    *_doses(
        "few epochs",
        (*SHORT, "batch too large"),
        {
            "cifar_lenet": (("trainer.epochs=2", "optim.lr=0.02"), ("trainer.epochs=1", "optim.lr=0.01")),
            "spiral": (("trainer.epochs=3", "optim.lr=0.01"), ("trainer.epochs=2", "optim.lr=0.01")),
        },
    ),
    *_doses(
        "label smoothing", ("label smoothing too strong",), {"synthetic_preact": _SMOOTH, "spiral": _SMOOTH}
    ),
    *_doses(
        "input noise",
        ("input noise too strong", "augmentation too strong"),
        {"fashion_vgg": _NOISE, "spiral": _NOISE},
    ),
    *_doses("capacity", ("underfitting",), {"spiral": (("model.hidden=[2]",), ("model.hidden=[1]",))}),
    *_doses(
        "deep sigmoid",
        ("vanishing gradients", "initial weights too small", "saturated units"),
        {
            "spiral": (
                ("model.hidden=[32,32,32,32,32]", "model.activation=sigmoid"),
                ("model.hidden=[32,32,32,32,32,32,32,32]", "model.activation=sigmoid"),
            ),
        },
    ),
    *_doses(
        "dead rectifiers",
        ("dead units", "initial weights too small", "not learning"),
        {
            "spiral": (
                ("initialization=he", "initialization.bias=-8"),
                ("initialization=he", "initialization.bias=-50"),
            ),
        },
    ),
    *_doses(
        "few images",
        ("overfitting",),
        {
            "cifar_lenet": (
                ("data.limit=500", "augmentation=none", "regularization=none", "trainer.epochs=60"),
                ("data.limit=150", "augmentation=none", "regularization=none", "trainer.epochs=120"),
            ),
        },
    ),
    *_archives(
        "random labels",
        ("labels cannot be learned", "overfitting", "not learning"),
        ("fashion_vgg",),
        ("random_labels", "random_labels_all"),
    ),
    *_archives(
        "wrong labels",
        ("some labels wrong", "labels cannot be learned"),
        ("fashion_vgg",),
        ("wrong_25", "wrong_35"),
    ),
    *_archives("imbalance", ("imbalance", "class never predicted"), ("fashion_vgg",), ("rare_4", "rare_1")),
    *_archives("duplicates", ("copies between splits",), ("fashion_vgg",), ("copies_15", "copies_60")),
    *_archives("low contrast", ("inputs not scaled",), ("fashion_vgg",), ("contrast_30", "contrast_100")),
    *_archives("constant channel", ("constant channel",), ("cifar_lenet",), ("constant_0", "constant_200")),
]
FAULTS += HELD_OUT_FAULTS
FAULTS += [case for added in ADDED for case in _doses(*added)]
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
        ("model.hidden=[16]", "trainer.epochs=30"),
        ("schedule=step", "schedule.milestones=[4]"),
        ("initialization=gaussian", "initialization.std=0.03"),
        ("trainer.epochs=60",),
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
        ("optim.lr=0.01", "schedule=constant", "trainer.epochs=20"),
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
        ("schedule=step", "schedule.milestones=[4,8,11]"),
        ("model.hidden=[100,16]",),
    ],
    "fashion_vgg": [
        (),
        ("optim=adam",),
        ("trainer.epochs=5",),
        ("schedule=constant",),
        ("augmentation=none",),
        ("schedule=step", "schedule.milestones=[4,6]"),
    ],
    "cifar_lenet": [
        (),
        ("optim=adam",),
        ("optim=nesterov",),
        ("trainer.epochs=8",),
        ("schedule=step",),
        ("trainer.epochs=20", "optim=adam", "schedule=constant"),
    ],
    "synthetic_preact": [
        (),
        ("optim=muon",),
        ("trainer.epochs=4",),
        ("regularization=none",),
        ("optim.lr=0.3",),
    ],
    "spiral": [
        (),
        ("optim=adam", "optim.lr=0.01"),
        ("model.activation=tanh",),
        ("regularization.dropout=0.2",),
        ("trainer.epochs=25",),
        ("data.batch_size=8",),
        ("model.hidden=[64,8]",),
        ("schedule=constant",),
        ("schedule=step", "schedule.milestones=[16,30]"),
        ("initialization=gaussian", "initialization.std=0.1"),
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
