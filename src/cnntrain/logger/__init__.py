"""Group logger: destinations of metrics besides metrics.jsonl."""
