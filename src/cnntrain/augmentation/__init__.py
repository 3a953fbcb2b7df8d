"""Group augmentation: random changes of training images, a batch at a time."""
