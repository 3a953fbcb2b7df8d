"""Where the time of training goes, against what the machine can do."""
