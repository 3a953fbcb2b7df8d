"""cnntrain trains convolutional networks for image classification from configuration alone."""

from __future__ import annotations

from .errors import CheckFailed, ConfigError, DataError, Diverged, UserError
from .version import __version__

TYPE_CHECKING = False  # importing typing takes longer than all else here
if TYPE_CHECKING:
    from pathlib import Path

    from .from_python import TrainingResult
    from .prediction.ensemble import Ensemble
    from .prediction.exported import ExportedNetwork
    from .prediction.trained import TrainedNetwork

__all__ = [
    "CheckFailed",
    "ConfigError",
    "DataError",
    "Diverged",
    "TrainingResult",
    "UserError",
    "__version__",
    "load",
    "train",
]


def load(folder: str | Path) -> TrainedNetwork | Ensemble | ExportedNetwork:
    """Return the best network of the run in `folder`, with its preprocessing and class names.

    Of a folder that job=ensemble wrote, the networks whose predictions are averaged. folder: may also be a
    checkpoint, such as best.pt, which holds all that is needed, or a file that job=export wrote: .onnx, .pt2
    or .safetensors; a folder that job=publish wrote, or "hf:user/name", what it put on the Hugging Face hub;
    "last", the newest run below outputs/.
    What is returned has the methods predict, classify, features and explain, which take paths, Pillow images,
    arrays and tensors, one or many.

    Raises DataError where the folder holds no run or its checkpoints are damaged, ConfigError where a package
    is missing that reads the file.
    """
    from .prediction.load import load_for_python

    return load_for_python(folder)


def train(*overrides: str) -> TrainingResult:
    """Train with the overrides of a command line, and return the run; run=FOLDER continues an earlier one.

    As in train("model=lenet5", "optim.lr=0.05"). It prints what the command prints; trainer.quiet=true leaves
    one line. The process is as before afterwards: signal handlers, random states, threads and flags of torch.
    Raises ConfigError, DataError, Diverged or another UserError with the command's message, and
    KeyboardInterrupt after saving, on Ctrl-C. Only in the main thread.
    """
    from .from_python import train_from_python

    return train_from_python(overrides)


def __getattr__(name: str) -> object:
    if name == "TrainingResult":
        from .from_python import TrainingResult

        return TrainingResult
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
