"""Settings of every option, and how they are composed, checked and stored. Imports no torch."""
