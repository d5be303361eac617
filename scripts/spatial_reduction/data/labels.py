"""The label that belongs to no class."""

IGNORED = 255  # label of pixels that belong to no class
