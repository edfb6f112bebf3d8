"""What may know of the policies without loading them."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["settings", "protocol", "chat", "openai", "fake"])
def test_only_the_local_policy_imports_torch(module: str) -> None:
    code = f"import sys, rsagent.policy.{module}; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
