"""From the command line to a checked configuration: parse, select, compose, check. Imports no torch."""
