"""Commands that are no jobs: they take no settings and make no run's folder."""
