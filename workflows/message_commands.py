"""The door to messages: one that was sent is sent again, a letter of staff is written, once for each wish."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import ActivityFailureError, Client
from temporalio.common import ActivityIDConflictPolicy

from activities.courier import TemporalCourier
from activities.invoice_letters import InvoiceLetterRequest
from activities.resend import ResendRequest
from domain.errors import Broken
from workflows.answers import ANSWER_TIMEOUT_S, answered
from workflows.policies import BOOKS_GIVEN_UP_AFTER, BOOKS_RETRY, STEP_TIMEOUT


class MessageCommands:
    """What people may ask of messages, with errors of `domain.errors` only."""

    def __init__(self, client: Client, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue

    async def resend(self, new_id: str, message_id: str, *, actor: str) -> None:
        """Send a message again as `new_id`; returns when its row is there and its sending is sure to be tried.

        Raises `Unavailable` where no worker answers: repeat it with the same id.
        """
        request = ResendRequest(new_id, message_id, actor, datetime.now(UTC).replace(microsecond=0))
        await self._written(
            "resend_message",
            request,
            identity=f"resend:{new_id}",
            summary=f"Message {message_id} again",
            failed=f"message {message_id} could not be sent again",
        )

    async def dispatch(self, message_id: str) -> None:
        """See to the sending of a message whose row is there; returns when it is sure to be tried."""
        await TemporalCourier(self._client, self._task_queue).dispatch([message_id])

    async def write(self, letter_id: str) -> None:
        """Make the message of a letter that is wished for; returns when its row is there and its sending sure to be
        tried.

        Raises `Unavailable` where no worker answers: repeat it with the same id.
        """
        await self._written(
            "write_staff_letter",
            letter_id,
            identity=f"letter:{letter_id}",
            summary=f"Letter {letter_id}",
            failed=f"letter {letter_id} could not be written",
        )

    async def send_invoice(self, letter_id: str, invoice_id: str, *, actor: str) -> None:
        """Send an invoice as message `letter_id`; returns when its row is there and its sending is sure to be tried.

        Raises `Unavailable` where no worker answers: repeat it with the same id.
        """
        request = InvoiceLetterRequest(letter_id, invoice_id, actor, datetime.now(UTC).replace(microsecond=0))
        await self._written(
            "send_invoice",
            request,
            identity=f"invoice_letter:{letter_id}",
            summary=f"Invoice {invoice_id} by email",
            failed=f"invoice {invoice_id} could not be sent",
        )

    async def _written(self, name: str, request: Any, *, identity: str, summary: str, failed: str) -> None:
        """Run an activity that writes a message, once for each identity; `failed` says what could not be done."""

        async def run() -> str:
            handle = await self._client.start_activity(
                name,
                request,
                id=identity,
                task_queue=self._task_queue,
                result_type=str,
                start_to_close_timeout=STEP_TIMEOUT,
                schedule_to_close_timeout=BOOKS_GIVEN_UP_AFTER,
                retry_policy=BOOKS_RETRY,
                id_conflict_policy=ActivityIDConflictPolicy.USE_EXISTING,
                summary=summary,
            )
            return await handle.result(rpc_timeout=timedelta(seconds=ANSWER_TIMEOUT_S))

        try:
            await answered(run, noun="message")
        except ActivityFailureError as error:
            raise Broken(f"{failed}: {error.cause}") from error
