"""The jobs, and the settings of those that have some: nodes of the tree with the job's name."""

from __future__ import annotations

from dataclasses import dataclass

from .fields import setting

JOBS = {
    "train": "train a network (the default)",
    "evaluate": "evaluate a run's best network on a split: job=evaluate run=FOLDER",
    "predict": "predict images: job=predict run=FOLDER predict.images=PATH, a table and a contact sheet",
    "check": "check gradients, data, initial loss and whether the network can learn, before training",
    "data": "check a data set before training: labels, damaged files, duplicates, skew; a page of images",
    "head": "compute the last layer of a trained network in closed form, in seconds, for other classes",
    "lr_range": "train for some steps with a rising learning rate, and suggest one",
    "report": "say what went wrong in a run or could be better, with evidence: job=report run=FOLDER",
    "ensemble": "average the predictions of several runs: job=ensemble run=SWEEP, or ensemble.members=[…]",
    "export": "write a run's best network as ONNX, torch.export or safetensors: job=export run=FOLDER",
    "benchmark": "latency, size and accuracy of a run's network and its exports: job=benchmark run=FOLDER",
    "publish": "put a run's best network with its model card on the Hugging Face hub, or into a folder",
    "leaderboard": "rank the jobs of a sweep, while it runs or afterwards: job=leaderboard run=SWEEP",
    "summary": "print a network's parameters, operations and memory, layer by layer, before training",
    "profile": "where the time of an epoch goes, by part and by layer, against what the machine can do",
    "optimizers": "compare optimizers on two test functions, a bowl and a saddle: pictures and a summary",
}


@dataclass
class Evaluate:
    """Settings of job=evaluate."""

    split: str = setting(
        "test",
        "the split to evaluate on; all: all images of the data set, whatever its splits",
        choices=("train", "val", "test", "all"),
        resume="free",
    )
    batch_size: int | None = setting(
        None, "images per forward pass; null: the batch size of training", ge=1, resume="free"
    )
    weights: str = setting(
        "best",
        "weights of the best epoch in a run with averaging; best: the better of the two in validation; "
        "last_step: those after its last step; average: their running average (E4)",
        choices=("best", "last_step", "average"),
        resume="free",
    )
    predictions: bool | None = setting(
        None,
        "write the label, the prediction and the probabilities of each image into a CSV file beside the JSON "
        "file; null: unless there are more than 100 classes, attributes or values",
        resume="free",
    )
    views: str = setting(
        "none",
        "average predictions over several views of each image, in addition to the plain evaluation; mirror: "
        "the image and its mirror image; shifts: 9 shifts by -shift, 0 and shift pixels in both directions; "
        "mirror_shifts: the image, shifted along a diagonal in both directions, and all mirrored; "
        "ten_crops: corners and center, each also mirrored, as in AlexNet (E7)",
        choices=("none", "mirror", "shifts", "mirror_shifts", "ten_crops"),
        resume="free",
    )
    shift: int | None = setting(
        None,
        "views=shifts and mirror_shifts: shift in pixels; null: 1/16 of the shorter side",
        ge=1,
        resume="free",
    )
    views_fraction: float = setting(
        1.0,
        "fraction of the images that are predicted from their views, those whose two most probable classes "
        "are closest; the others are predicted as they are",
        gt=0,
        le=1,
        resume="free",
    )
    dense: bool = setting(
        False,
        "apply the network convolutionally to images larger than its own input and average the scores over "
        "all positions (E5)",
        resume="free",
    )
    dense_size: int | None = setting(
        None,
        "dense: length to which the shorter side of images is resized; null: scaled as in training",
        ge=1,
        le=8192,
        resume="free",
    )
    dense_stride: int | None = setting(
        None,
        "dense: pixels between positions, a divisor of the network's own stride; null: the network's stride",
        ge=1,
        resume="free",
    )


@dataclass
class Predict:
    """Settings of job=predict."""

    images: str = setting(
        "",
        "an image, a folder with its subfolders, a pattern such as 'photos/*.jpg', an .npz file with an "
        "array `images` (else x_train, x_val and x_test), or - for names of files on standard input, one a "
        "line, or as `find -print0` writes them",
        resume="free",
    )
    file: str = setting(
        "",
        "file that the predictions are written into; - is standard output; empty: one in the run's folder, "
        "of a name that other images do not get",
        resume="free",
    )
    format: str | None = setting(
        None,
        "csv, or jsonl: an object per line; null: by the ending of predict.file, else csv",
        choices=("csv", "jsonl"),
        resume="free",
    )
    top: int = setting(5, "how many of the most probable classes are written", ge=1, resume="free")
    batch_size: int | None = setting(
        None, "images per forward pass; null: the batch size of training", ge=1, resume="free"
    )
    sheet: bool | None = setting(
        None,
        "draw a contact sheet of up to 40 of the images, evenly chosen, with their predictions; null: unless "
        "predictions go to standard output",
        resume="free",
    )
    explain: bool = setting(
        False,
        "draw beside each image of the sheet which parts of it the prediction depends on",
        resume="free",
    )
    explain_method: str = setting(
        "occlusion",
        "explain; occlusion: by how much the log-odds fall where a patch covers the image, about 120 forward "
        "passes an image; gradient: of the score by the pixels, one pass; by occlusion where there is none",
        choices=("occlusion", "gradient"),
        resume="free",
    )


@dataclass
class Check:
    """Settings of job=check."""

    images: int = setting(4, "images on which gradients are checked", ge=2, le=64, resume="free")
    seconds: float = setting(
        15.0,
        "about how long the check of the gradients may take, and each attempt to overfit; decides how many "
        "entries of each tensor are compared; to compare each tensor of a deep network once may take up to "
        "four times as long",
        gt=0,
        resume="free",
    )
    overfit_images: int = setting(
        20, "images that the network has to learn by heart (K5)", ge=1, le=1000, resume="free"
    )


@dataclass
class Head:
    """Settings of job=head."""

    method: str = setting(
        "ridge",
        "ridge: a linear layer by ridge regression; knn: the votes of the nearest training images by cosine "
        "similarity",
        choices=("ridge", "knn"),
        resume="free",
    )
    strengths: list[float] = setting(
        [0.001, 0.01, 0.1, 1.0, 10.0, 100.0],
        "ridge: strengths of the penalty, of which the validation images decide; the features' mean squared "
        "norm is 1",
        gt=0,
        resume="free",
    )
    neighbours: list[int] = setting(
        [1, 3, 5, 10, 20, 50],
        "knn: numbers of neighbours, of which the validation images decide",
        ge=1,
        resume="free",
    )


@dataclass
class LrRange:
    """Settings of job=lr_range."""

    steps: int = setting(
        100, "updates, over which the learning rate rises exponentially", ge=10, resume="free"
    )
    smallest: float = setting(1e-5, "learning rate of the first update", gt=0, resume="free")
    largest: float = setting(10.0, "learning rate of the last update", gt=0, resume="free")


@dataclass
class Report:
    """Settings of job=report, and of the report at the end of a run."""

    confirm: bool | None = setting(
        None,
        "try the remedy of each finding: short trainings with and without it say whether it gains anything; "
        "they go on from the run's best network, or start from initial weights where the remedy acts on "
        "them; null: in job=report, not at the end of a run",
        resume="free",
    )
    updates: int = setting(100, "confirm: updates of each training", ge=10, le=500, resume="free")
    seeds: int = setting(3, "confirm: seeds of which each is trained with and without", ge=2, resume="free")
    seconds: float = setting(
        120.0, "confirm: about how long all trainings together may take", gt=0, resume="free"
    )


@dataclass
class Ensemble:
    """Settings of job=ensemble."""

    members: list[str] = setting(
        [],
        "folders of runs, also as patterns with * (E1), or checkpoints of one, RUN/checkpoints/epoch-*.pt "
        "(E3, trainer.keep_epochs); run=SWEEP takes its best jobs (E2)",
        resume="free",
    )
    best: int = setting(5, "run=SWEEP: how many of the best jobs", ge=2, le=1000, resume="free")
    selection: str = setting(
        "all",
        "all members; or greedy: one after the other, while the validation accuracy of all together rises",
        choices=("all", "greedy"),
        resume="free",
    )
    soup: bool = setting(
        True,
        "also average the weights of members of one network, of all and of those that raise the validation "
        "accuracy (E4), with batch-norm statistics computed anew",
        resume="free",
    )


@dataclass
class Summary:
    """Settings of job=summary."""

    image_size: int | None = setting(
        None,
        "height and width of the images in pixels; null: those of the data set",
        ge=1,
        le=4096,
        resume="free",
    )
    memory_gb: float | None = setting(
        None,
        "find the largest data.batch_size with which training fits into this many GB; null: do not",
        gt=0,
        le=10000,
        resume="free",
    )


@dataclass
class Optimizers:
    """Settings of job=optimizers."""

    steps: int = setting(100, "updates of each optimizer on each test function", ge=1, resume="free")
    lr: float | None = setting(
        None,
        "learning rate of all optimizers; null: for each its own, chosen to work well on the bowl",
        gt=0,
        le=10,
        resume="free",
    )


@dataclass
class Export:
    """Settings of job=export."""

    format: str = setting(
        "onnx",
        "onnx: for onnxruntime and other programs; torch_export: a program of torch.export, for torch "
        "without cnntrain; safetensors: the weights, with what cnntrain needs to rebuild the network",
        choices=("onnx", "torch_export", "safetensors"),
        resume="free",
    )
    file: str | None = setting(
        None,
        "the file, whose name ends in .onnx, .pt2 or .safetensors; null: model.onnx or alike in the folder "
        "of the run",
        path="path",
        resume="free",
    )
    preprocessing: bool = setting(
        True,
        "true: uint8 images (N, H, W, C) in, probabilities or values out: preprocessing, resizing and the "
        "loss's interpretation of scores are inside; false: the network alone, from preprocessed float32 "
        "images (N, C, H, W) to scores",
        resume="free",
    )
    quantize: str | None = setting(
        None,
        "number format of the weights: fp16, also of the network's computation, with inputs and outputs as "
        "they are; int8: of weights and activations, calibrated on training images, for onnx; null: fp32",
        choices=("fp16", "int8"),
        resume="free",
    )
    calibration_images: int = setting(
        500,
        "quantize=int8: training images from which the ranges of activations are taken",
        ge=1,
        resume="free",
    )


@dataclass
class Benchmark:
    """Settings of job=benchmark."""

    seconds: float = setting(
        1.0,
        "about how long each network is measured at each batch size and number of threads",
        gt=0,
        resume="free",
    )
    threads: int | None = setting(
        None,
        "CPU threads of the second measurement, beside that with one; null: all cores",
        ge=1,
        le=1024,
        resume="free",
    )
    points: float = setting(
        1.0,
        "what a recommended network may lose: percentage points of validation accuracy; of values, the "
        "percentage by which the mean absolute error may be larger",
        ge=0,
        resume="free",
    )


@dataclass
class Publish:
    """Settings of job=publish."""

    repository: str | None = setting(
        None,
        "repository on the Hugging Face hub, as user/name; it is created if there is none",
        resume="free",
    )
    private: bool = setting(False, "create the repository as a private one", resume="free")
    folder: str | None = setting(
        None,
        "write what would be published into this folder; with publish.repository, both",
        path="path",
        resume="free",
    )


@dataclass
class Profile:
    """Settings of job=profile."""

    seconds: float = setting(
        10.0,
        "about how long steps of training are timed, from which those of the epoch are reckoned",
        gt=0,
        resume="free",
    )
    layers: int = setting(
        12, "how many of the slowest layers have a row of their own in the table", ge=1, resume="free"
    )


# The settings of each job, a node of the tree with the job's name.
JOB_SETTINGS: dict[str, type] = {
    "evaluate": Evaluate,
    "predict": Predict,
    "check": Check,
    "head": Head,
    "lr_range": LrRange,
    "report": Report,
    "ensemble": Ensemble,
    "summary": Summary,
    "optimizers": Optimizers,
    "export": Export,
    "benchmark": Benchmark,
    "publish": Publish,
    "profile": Profile,
}
