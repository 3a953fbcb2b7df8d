"""The networks, one architecture per file: plain torch modules from images to scores."""
