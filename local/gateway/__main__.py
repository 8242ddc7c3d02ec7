"""Runs the sandbox gateway: `python -m local.gateway --port 8001 --db .data/gateway.db`."""

from __future__ import annotations

import argparse
from pathlib import Path

from local.gateway import serve


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.gateway", description=__doc__)
    parser.add_argument("--port", type=int, default=8001, help="port on loopback, 0 for a free one")
    parser.add_argument("--db", type=Path, default=Path(".data/gateway.db"), help="the gateway's own database")
    options = parser.parse_args()
    serve(options.port, options.db)


if __name__ == "__main__":
    main()
