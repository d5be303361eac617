"""Train a U-Net, shrink the training images to their most salient pixels, train again, compare."""
