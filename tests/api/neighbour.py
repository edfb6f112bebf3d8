"""`python -m tests.api.neighbour PORT`: a service over scripted engines on a shared port (0: a free one), until its
stdin ends. It says where it listens, and at the end how many requests it answered."""

from __future__ import annotations

import asyncio
import sys

from tests.api.stage import Cast, on_air


async def main(port: int) -> None:
    async with on_air(Cast(settings={"server": {"shared": True, "port": port}})) as stage:
        sys.stdout.write(f"{stage.listening.getsockname()[1]}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
        sys.stdout.write(f"{stage.metric('requests_total', outcome='segmented'):.0f}\n")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
