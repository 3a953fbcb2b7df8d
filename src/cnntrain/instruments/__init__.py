"""What measures a run while it trains."""
