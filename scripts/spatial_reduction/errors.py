"""The one exception for input that a user can mend."""


class InputError(ValueError):
    """A file, key or value that the user gave is wrong; the message names it and says why."""
