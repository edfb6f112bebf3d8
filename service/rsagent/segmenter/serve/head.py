"""A Ray cluster of this machine with the segmenter's application on it, until SIGTERM.

A process of its own, under a keeper (`local.py`): the service's processes find the cluster by its address, and however
they end, none of Ray's processes is left. `ray start` would leave them all, and starts a server for remote clients
besides.
"""

from __future__ import annotations

import signal
import sys
import traceback
from pathlib import Path

import ray

from rsagent.errors import RSAgentError
from rsagent.segmenter.serve.cluster import deployed
from rsagent.settings import SegmenterSettings

ADDRESS = "address"
FAILURE = "failure"


def main(folder: Path, cpus: float, settings: SegmenterSettings) -> int:
    """Start, write the address into `folder`/address or why it failed into `folder`/failure, wait for the end."""
    try:
        started = ray.init(
            address="local",
            num_cpus=cpus,
            object_store_memory=settings.ray.object_store_bytes,
            include_dashboard=False,
            _metrics_export_port=settings.ray.metrics_port,
            log_to_driver=False,
            logging_level="warning",
            _temp_dir=str(folder),
        )
        deployed(settings)
    except Exception as error:  # noqa: BLE001  whoever waits for the address is told, whatever it is
        traceback.print_exc()
        _write(folder / FAILURE, str(error) if isinstance(error, RSAgentError) else f"Ray did not start: {error}")
        return 1
    _write(folder / ADDRESS, started.address_info["gcs_address"])
    while True:
        signal.pause()


def _write(path: Path, text: str) -> None:
    partial = path.with_suffix(".part")
    partial.write_text(text)
    partial.replace(path)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2]), SegmenterSettings.model_validate_json(sys.argv[3])))
