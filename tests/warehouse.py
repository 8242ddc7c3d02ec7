"""A fulfilment provider for tests, in a process of its own: takes signed parcels by HTTP, and behaves as it is told.

Run as `python -m tests.warehouse --port 9001 --secret whsec_… --tell http://127.0.0.1:8000/v1/fulfilment-events`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI, Request, Response
from standardwebhooks import Webhook, WebhookVerificationError


class Warehouse:
    """`mode`: take, refuse (422), down (503), hang (takes the parcel and never says so), late (nothing comes back)."""

    def __init__(self, secret: str, tell: str) -> None:
        self.webhook = Webhook(secret)
        self.tell = tell
        self.mode = "take"
        self.calls: list[dict[str, str]] = []
        self.parcels: dict[str, dict[str, Any]] = {}
        self.withdrawn: dict[str, str] = {}

    async def hear(self, request: Request) -> Response:
        body = await request.body()
        try:
            self.webhook.verify(body, dict(request.headers), json_parse=False)
        except WebhookVerificationError:
            return Response(status_code=401)
        event = json.loads(body)
        identity = event["data"]["fulfilment_id"]
        self.calls.append({"type": event["type"], "id": identity, "key": request.headers["idempotency-key"]})
        if self.mode == "down":
            return Response(status_code=503)
        if event["type"] == "fulfilment.withdrawn":
            return self._withdraw(identity, event["data"]["reason"])
        return await self._take(identity, event["data"])

    def _withdraw(self, identity: str, reason: str) -> Response:
        if self.mode == "late":
            return Response(status_code=410)
        self.withdrawn.setdefault(identity, reason)
        return Response(status_code=200)

    async def _take(self, identity: str, data: dict[str, Any]) -> Response:
        if self.mode == "refuse" or identity in self.withdrawn:
            return Response(status_code=422)
        self.parcels.setdefault(identity, data)
        if self.mode == "hang":
            await asyncio.sleep(60)
        return Response(json.dumps({"reference": f"W-{identity[-6:]}"}), 202, media_type="application/json")

    async def say(self, said: dict[str, Any]) -> dict[str, Any]:
        """Send an event about a parcel to the merchant; the answer's status and body."""
        now = datetime.now(UTC) - timedelta(seconds=said.get("age_seconds", 0))
        body = json.dumps({"type": said["type"], "timestamp": said.get("at", now.isoformat()), "data": said["data"]})
        key = said.get("id", f"evt-{len(body)}-{now.timestamp()}")
        signature = self.webhook.sign(key, now, body)
        headers = {
            "webhook-id": key,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": "v1,forged" if said.get("forged") else signature,
            "content-type": "application/json",
        }
        async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
            answer = await http.post(self.tell, content=body, headers=headers)
        return {"status": answer.status_code, "body": answer.json()}


def app_of(warehouse: Warehouse) -> FastAPI:
    app = FastAPI()

    async def state() -> dict[str, Any]:
        return {"calls": warehouse.calls, "parcels": warehouse.parcels, "withdrawn": warehouse.withdrawn}

    async def become(mode: str) -> None:
        warehouse.mode = mode

    app.add_api_route("/parcels", warehouse.hear, methods=["POST"], response_model=None)
    app.add_api_route("/control/state", state, methods=["GET"])
    app.add_api_route("/control/mode/{mode}", become, methods=["PUT"])
    app.add_api_route("/control/say", warehouse.say, methods=["POST"])
    return app


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.warehouse", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--secret", required=True)
    parser.add_argument("--tell", required=True)
    options = parser.parse_args()
    app = app_of(Warehouse(options.secret, options.tell))
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
