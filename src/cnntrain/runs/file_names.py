"""The names of the files in a run's folder."""

CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
SUMMARY = "summary.json"
ERROR = "error.txt"
CHECKPOINTS = "checkpoints"
LAST, PREVIOUS, BEST = "last.pt", "previous.pt", "best.pt"
# Networks as other programs have them.
EXPORTED = (".onnx", ".pt2", ".safetensors")
CHECK = "check.json"
UNREADABLE = "unreadable_images.txt"
DATA, DATA_PAGE = "data.json", "data.html"
# In the folder of a sweep, and in that of each of its jobs.
SWEEP_FILE, JOB, LOG = "sweep.yaml", "job.json", "log.txt"
# What Hydra writes into the folder of a sweep that it runs.
HYDRA_SWEEP = "multirun.yaml"
HISTOGRAMS = "histograms.jsonl"
# In a folder that job=publish wrote, beside CONFIG.
MODEL = "model.safetensors"
BENCHMARK = "benchmark.json"
PROFILE, PROFILE_PICTURE, TRACE = "profile.json", "profile.png", "trace.json.gz"
# In the folder of an ensemble.
ENSEMBLE = "ensemble.json"
FINDINGS, EVIDENCE, REPORT = "findings.json", "evidence.json", "report.html"
# The folders of what each logger notes and prints, and of TensorBoard's event files.
LOGGERS, TENSORBOARD = "loggers", "tensorboard"
IMAGES, PREPROCESSING, SCHEDULE = "images.png", "preprocessing.png", "schedule.png"
# What a run may write before its first checkpoint.
BEFORE_TRAINING = (CONFIG, METRICS, SUMMARY, ERROR, HISTOGRAMS, UNREADABLE, IMAGES, PREPROCESSING, SCHEDULE)
# In the folder of an ensemble: those of its members, and that of their averaged weights.
MEMBERS, SOUP = "members", "soup"
