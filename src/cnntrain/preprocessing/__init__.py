"""Group preprocessing: from stored images to the network's input."""
