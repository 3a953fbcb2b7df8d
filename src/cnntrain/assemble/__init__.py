"""From settings to objects: the only place where configuration, data, network and training loop meet."""
