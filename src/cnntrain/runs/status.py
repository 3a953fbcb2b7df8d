"""How far a run or a job of a sweep got, as summary.json and job.json name it."""

# Of a job that has not ended, or whose process was killed.
OPEN = "open"
# Of a job that has been trained for the epochs of a stage of its search.
PAUSED = "paused"
FINISHED = "finished"
# Of a job that its search has ended before its last epoch.
STOPPED = "stopped"
# By a signal, or by trainer.max_minutes.
INTERRUPTED = "interrupted"
DIVERGED = "diverged"
FAILED = "failed"
