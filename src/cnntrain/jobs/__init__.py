"""One module a job of the command line."""
