"""torch's own sample inputs of an operator."""

import sys
import types
import unittest


def opinfo(name):
    """The entry of torch's operator database (it asks for a package that only torch's test runner needs)."""
    try:
        import expecttest  # noqa: F401
    except ImportError:
        sys.modules["expecttest"] = types.SimpleNamespace(TestCase=unittest.TestCase)
    from torch.testing._internal.common_methods_invocations import op_db

    return next(entry for entry in op_db if entry.name == name)
