"""What is drawn and written about a run."""
