"""Group loss: the objective of training and the interpretation of a network's scores."""
