"""What Temporal's lists tell operators: workflows with a step that fails for our own reasons."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from temporalio.client import Client

from domain.errors import Unavailable
from workflows.answers import answered
from workflows.subscription import CUSTOMER
from workflows.trouble import TROUBLE, TROUBLE_SINCE

LIST_TIMEOUT_S: Final = 5
_IN_TROUBLE: Final = f"ExecutionStatus = 'Running' AND {TROUBLE_SINCE.name} IS NOT NULL"


@dataclass(frozen=True, slots=True)
class InTrouble:
    """A workflow whose step fails: `id` as Temporal knows it, such as `subscription:{id}`."""

    id: str
    customer_id: str | None
    trouble: str
    since: datetime


async def in_trouble(client: Client, limit: int) -> list[InTrouble]:
    """At most `limit` of them. Raises `Unavailable` where Temporal does not answer."""

    async def listed() -> list[InTrouble]:
        rpc_timeout = timedelta(seconds=LIST_TIMEOUT_S)
        found = client.list_workflows(_IN_TROUBLE, limit=limit, rpc_timeout=rpc_timeout)
        return [
            InTrouble(
                each.id,
                each.typed_search_attributes.get(CUSTOMER),
                each.typed_search_attributes.get(TROUBLE) or "",
                each.typed_search_attributes.get(TROUBLE_SINCE) or each.start_time,
            )
            async for each in found
        ]

    try:
        return await answered(listed, LIST_TIMEOUT_S, noun="list")
    except RuntimeError as error:  # the client connects when first needed
        raise Unavailable("Temporal does not answer") from error
