"""Floor 7: what each command of ``tinyunet`` does; what can be typed is in `tinyunet.cli`.

A command takes the options that were typed, and returns its exit status, or None for 0.
"""
