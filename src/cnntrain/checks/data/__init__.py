"""Checks of a data set, used by job=data and job=check: labels, copies, near duplicates, files, skew."""
