"""Group logger: where metrics go beside metrics.jsonl."""
