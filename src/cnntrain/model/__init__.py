"""Group model: the networks and their building blocks."""
