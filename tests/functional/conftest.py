"""The tests of the operations run twice: with the plain ones and with the fast ones."""

import pytest

from tinyunet.nn.operations import operations, use_operations


@pytest.fixture(autouse=True, params=["plain", "fast"])
def operations_in_use(request):
    """Let `operations` be the plain ones, then the fast ones."""
    before = operations.name
    use_operations(request.param)
    yield request.param
    use_operations(before)
