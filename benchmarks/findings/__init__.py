"""Do findings name what is wrong with a run? Planted faults, beside healthy runs that look odd."""
