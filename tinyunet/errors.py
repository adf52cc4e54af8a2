"""The error that is for people: what they gave does not fit, and one line says what to do."""


class UserError(ValueError):
    """A mistake in what a person gave: the command line prints it as one line and exits with 2.

    Every other exception that leaves tinyunet is a fault of ours and keeps its traceback.
    """
