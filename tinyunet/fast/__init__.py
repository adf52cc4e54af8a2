"""The operations of `tinyunet.nn.functional` once more, made fast."""
