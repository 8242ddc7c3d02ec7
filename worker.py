"""The durable side of Dunlin: builds the providers, registers workflows and activities, works until told to stop.

Run as `python worker.py`; prints `worker ready` when it polls.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
import zoneinfo
from datetime import timedelta
from functools import partial
from typing import TypedDict

import uvloop
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import PollerBehaviorAutoscaling, UnsandboxedWorkflowRunner, Worker, WorkerDeploymentConfig

from activities.card_life import CardLife
from activities.courier import Messages, TemporalCourier
from activities.credits import Credits
from activities.disputes import Disputes
from activities.fulfilment_batches import FulfilmentBatches
from activities.fulfilments import Fulfilments
from activities.imports import Imports
from activities.invoice_letters import InvoiceLetters
from activities.merges import Merges
from activities.orders import OrderSteps
from activities.payments import Payments
from activities.price_moves import PriceMoves
from activities.recheck import Differences
from activities.reconciliation import Reconciliations
from activities.records import Records
from activities.refunds import Refunds
from activities.reminders import Reminders
from activities.resend import Resends
from activities.runs import Runs
from activities.settlement import Settlements
from activities.staff_letters import StaffLetters
from activities.tax_runs import TaxRuns
from activities.vouchers import Vouchers
from domain.links import LinkMaker
from models.session import NO_DATABASE, Database, revision_of, revision_of_code
from providers.documents.press import Press
from providers.fulfilment.base import FulfilmentProvider
from providers.fulfilment.registry import open_provider
from providers.gateways.base import Gateway
from providers.gateways.registry import open_gateway
from providers.notifiers.smtp import SmtpNotifier
from settings import EXIT_BAD_SETTINGS, SECRET_KEY_RULE, Settings, load
from workflows.billing_run import BillingRunWorkflow
from workflows.card_life import CardExpiryWorkflow, CardUpdatesWorkflow
from workflows.commands import Commands
from workflows.converter import data_converter
from workflows.credit import CreditWorkflow, VoucherExpiryWorkflow
from workflows.dispute import GatewayEventWorkflow
from workflows.fulfilment import FulfilmentWorkflow
from workflows.import_file import ImportWorkflow
from workflows.merge import MergeWorkflow
from workflows.order import OrderWorkflow
from workflows.price_move import PriceMoveWorkflow
from workflows.refund import RefundWorkflow
from workflows.reminder import ReminderWorkflow
from workflows.schedules import Schedules
from workflows.settlement import ReconciliationWorkflow, SettlementWorkflow
from workflows.subscription import SubscriptionWorkflow
from workflows.tax_run import TaxRunWorkflow

GRACEFUL_STOP = timedelta(seconds=10)
EXIT_NOT_MIGRATED = 3
EXIT_NO_DATABASE = 4
DEPLOYMENT = "dunlin"
# So many objects more than before, and Python looks for cycles among them; its own 700 are for small programs.
YOUNG_OBJECTS_MAX = 20_000

# The sandbox costs a quarter of the worker's time at each wake-up, even with all modules passed through. Its rules are
# kept by tests instead: they replay recorded lives in the strict sandbox, and prove `domain` pure.
RUNNER = UnsandboxedWorkflowRunner()


class Tuning(TypedDict):
    """How much a worker does at once, and how it stops."""

    max_cached_workflows: int
    max_concurrent_workflow_tasks: int
    max_concurrent_activities: int
    max_concurrent_local_activities: int
    workflow_task_poller_behavior: PollerBehaviorAutoscaling
    activity_task_poller_behavior: PollerBehaviorAutoscaling
    graceful_shutdown_timeout: timedelta


def tuning(settings: Settings) -> Tuning:
    """What the settings say of any worker: ours, and the bare one that `bench` measures ours by."""
    return Tuning(
        max_cached_workflows=settings.workflow_cache_max,
        max_concurrent_workflow_tasks=settings.workflow_tasks_max,
        max_concurrent_activities=settings.activities_max,
        max_concurrent_local_activities=settings.activities_max,
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(maximum=settings.workflow_pollers_max),
        activity_task_poller_behavior=PollerBehaviorAutoscaling(maximum=settings.activity_pollers_max),
        graceful_shutdown_timeout=GRACEFUL_STOP,
    )


def build(
    settings: Settings, client: Client, database: Database, gateway: Gateway, provider: FulfilmentProvider
) -> Worker:
    """A worker with all workflows and activities of this code."""
    queue = settings.temporal_task_queue
    courier = TemporalCourier(client, queue)
    notifier = SmtpNotifier(
        settings.smtp_host or settings.api_host, settings.smtp_port or 0, timeout_s=settings.smtp_timeout_s
    )
    gateways = {gateway.name: gateway}
    links = _links(settings)
    payments = Payments(database, partial(_named, gateways), courier, links)
    records = Records(database, courier, links)
    commands = Commands(client, queue)
    refunds = Refunds(database, partial(_named, gateways), courier, commands)
    runs, moves = Runs(database, commands), PriceMoves(database, commands)
    tax_runs = TaxRuns(database, commands)
    merges = Merges(database, commands)
    imports = Imports(database, gateways, commands)
    transfers, vouchers = Credits(database, commands), Vouchers(database)
    resends = Resends(database, courier)
    letters, reminders = StaffLetters(database, courier), Reminders(database, courier)
    invoice_letters = InvoiceLetters(database, courier, Press(), links)
    messages = Messages(database, notifier, settings.smtp_from)
    disputes = Disputes(database, commands, courier)
    delay = timedelta(minutes=settings.fulfilment_delay_minutes)
    fulfilments = Fulfilments(
        database, provider, courier, delay=delay, takes_test_mode=settings.fulfilment_takes_test_mode
    )
    batches = FulfilmentBatches(database, provider, delay=delay)
    card_life = CardLife(database, gateways, courier, links, commands)
    settlements, reconciliations = Settlements(database, gateways), Reconciliations(database, gateways)
    differences = Differences(database, gateways)
    orders = OrderSteps(database, partial(_named, gateways), courier, commands, links)
    return Worker(
        client,
        task_queue=queue,
        workflows=[
            SubscriptionWorkflow,
            BillingRunWorkflow,
            CardExpiryWorkflow,
            CardUpdatesWorkflow,
            CreditWorkflow,
            FulfilmentWorkflow,
            GatewayEventWorkflow,
            ImportWorkflow,
            MergeWorkflow,
            OrderWorkflow,
            PriceMoveWorkflow,
            ReconciliationWorkflow,
            RefundWorkflow,
            ReminderWorkflow,
            SettlementWorkflow,
            TaxRunWorkflow,
            VoucherExpiryWorkflow,
        ],
        activities=[
            payments.charge,
            payments.ask_gateway,
            records.record,
            orders.charge_order,
            orders.ask_about_order,
            orders.record_order,
            orders.start_order_line,
            orders.undo_order,
            refunds.open_refund,
            refunds.give_back,
            refunds.ask_return,
            refunds.record_refund,
            runs.bill_page,
            runs.end_run,
            moves.move_price_page,
            moves.mark_price_move,
            tax_runs.tell_tax_page,
            tax_runs.end_tax_run,
            merges.open_merge,
            merges.move_merge_rows,
            merges.move_merge_back,
            merges.mark_merge,
            merges.open_undo,
            merges.close_undo,
            imports.import_page,
            transfers.take_credit,
            transfers.hand_over_credit,
            vouchers.issue_voucher,
            vouchers.adjust_voucher,
            vouchers.expire_vouchers,
            card_life.notify_of_expiry,
            card_life.read_card_updates,
            messages.send_messages,
            resends.resend_message,
            letters.write_staff_letter,
            invoice_letters.send_invoice,
            reminders.remind,
            disputes.take,
            disputes.follow,
            fulfilments.see_to,
            fulfilments.command,
            fulfilments.hear_of,
            fulfilments.hear_of_many,
            batches.hand_off_batch,
            settlements.open_settlement,
            settlements.settle_page,
            reconciliations.open_reconciliation,
            reconciliations.reconcile_page,
            differences.resolve_difference,
        ],
        workflow_runner=RUNNER,
        deployment_config=deployment(settings),
        **tuning(settings),
    )


def deployment(settings: Settings) -> WorkerDeploymentConfig | None:
    """With worker versioning Temporal gives work to the version that operators made current, and to no other.

    A running subscription moves to a new version at its next task; recorded histories prove that it can.
    """
    if not settings.worker_versioning:
        return None
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(deployment_name=DEPLOYMENT, build_id=settings.build_id),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
    )


def _links(settings: Settings) -> LinkMaker:
    """Links in letters, to the address that customers know."""
    address = settings.public_url or f"http://{settings.api_host}:{settings.api_port}"
    return LinkMaker.from_setting(settings.secret_key or "", address)


def _named(gateways: dict[str, Gateway], name: str) -> Gateway:
    return gateways[name]


def settle_in() -> None:
    """What is loaded by now stays. Looking through it for garbage, again and again, took 6 % of a worker's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS_MAX)


async def run(settings: Settings) -> int:
    """Work until SIGINT or SIGTERM; steps under way are finished first."""
    if settings.database_url is None or settings.temporal_address is None or settings.gateway_url is None:
        sys.stderr.write("worker.py needs DATABASE_URL, DUNLIN_TEMPORAL_ADDRESS and DUNLIN_GATEWAY_URL\n")
        return EXIT_BAD_SETTINGS
    if settings.secret_key is None:
        sys.stderr.write(f"worker.py needs DUNLIN_SECRET_KEY, which {SECRET_KEY_RULE}\n")
        return EXIT_BAD_SETTINGS
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    database = Database.connect(settings.database_url, application_name="dunlin-worker", pool_max=settings.db_pool_max)
    if not await database.is_reachable():
        sys.stderr.write(f"{NO_DATABASE}\n")
        return EXIT_NO_DATABASE
    if await revision_of(database) != revision_of_code():
        sys.stderr.write("the database is not migrated to this version: run `make migrate`\n")
        return EXIT_NOT_MIGRATED
    gateway = open_gateway(
        settings.gateway,
        settings.gateway_url,
        timeout_s=settings.gateway_timeout_s,
        calls_per_second_max=settings.gateway_calls_per_second_max,
    )
    client = await Client.connect(
        settings.temporal_address, namespace=settings.temporal_namespace, data_converter=data_converter
    )
    await Schedules(client, settings.temporal_task_queue).ensure()
    provider = open_provider(
        settings.fulfilment_url, settings.fulfilment_secret, timeout_s=settings.fulfilment_timeout_s
    )
    async with build(settings, client, database, gateway, provider):
        settle_in()
        sys.stdout.write("worker ready\n")
        sys.stdout.flush()
        await stop.wait()
    await provider.aclose()
    await gateway.aclose()
    await database.close()
    return 0


def main() -> int:
    settings = load()
    zoneinfo.reset_tzpath(to=())  # time zones come from the pinned tzdata, the same on every machine
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # its lines hold tokens of payment methods
    return uvloop.run(run(settings))


if __name__ == "__main__":
    sys.exit(main())
