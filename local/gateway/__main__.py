"""Runs the sandbox gateway: `python -m local.gateway --port 8001 --db .data/gateway.db`."""

from __future__ import annotations

import argparse
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from local.gateway import serve
from local.gateway.events import Target
from local.gateway.schemas import WebhookSecret


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.gateway", description=__doc__)
    parser.add_argument("--port", type=int, default=8001, help="port on loopback, 0 for a free one")
    parser.add_argument("--db", type=Path, default=Path(".data/gateway.db"), help="the gateway's own database")
    parser.add_argument("--webhook-url", help="where events are sent; without it they wait")
    # A file, because a command line can be read by every user of the machine.
    parser.add_argument("--webhook-secret-file", type=Path, help="holds the secret events are signed with, whsec_…")
    parser.add_argument("--settle-every", type=float, help="seconds between settlement batches; without it none")
    options = parser.parse_args()
    secret = None
    if options.webhook_secret_file is not None:
        try:
            secret = TypeAdapter[str](WebhookSecret).validate_python(options.webhook_secret_file.read_text().strip())
        except (OSError, ValidationError) as error:
            parser.error(f"--webhook-secret-file: {error}")
    serve(options.port, options.db, Target(options.webhook_url, secret), options.settle_every)


if __name__ == "__main__":
    main()
