"""Tests of tinyunet."""
