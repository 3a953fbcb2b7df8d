"""Findings in words after a run: what went wrong or could be better, the evidence, and what to try (W6)."""
