"""Group logger: services that show a run's metrics, each written by a process of its own."""
