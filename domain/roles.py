"""Who may do what: the table of roles and commands. What is not in it is for admins alone; reading is for everybody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Role(StrEnum):
    """What a key is made for. An admin may do everything, so keys from before there were roles go on as they did."""

    AGENT = "agent"
    LEAD = "lead"
    OPS = "ops"
    ADMIN = "admin"


# The scope of an API key that may read; a key without scopes may, too.
READ: Final = "read"

_ADMINS: Final = ()
_AGENTS: Final = (Role.AGENT, Role.LEAD)
_LEADS: Final = (Role.LEAD,)
_OPS: Final = (Role.OPS,)
_LEADS_AND_OPS: Final = (Role.LEAD, Role.OPS)
_EVERYBODY: Final = (Role.AGENT, Role.LEAD, Role.OPS)

# Roles besides admin → the commands they may give, each by the name of its route's function.
_TABLE: Final[tuple[tuple[tuple[Role, ...], tuple[str, ...]], ...]] = (
    # Everybody's own sign-in, and who has one at all.
    (_EVERYBODY, ("sign_out", "end_own_session", "end_own_sessions", "change_own_password")),
    (_EVERYBODY, ("set_up_second_factor", "confirm_second_factor", "remove_second_factor", "renew_recovery_codes")),
    (_ADMINS, ("create_person", "change_person", "give_one_time_password", "disable_person", "enable_person")),
    (_ADMINS, ("remove_second_factor_of", "end_person_sessions", "create_api_key", "revoke_api_key")),
    # Customers and what they have agreed to.
    (_AGENTS, ("create_customer", "change_customer", "create_address", "make_address_default", "remove_address")),
    # It cannot be undone.
    (_LEADS, ("remove_customer",)),
    (_LEADS, ("preview_merge", "create_merge", "undo_merge")),
    (_AGENTS, ("verify_email",)),
    (_ADMINS, ("forget_customer",)),
    (_AGENTS, ("create_method", "reorder_methods", "make_method_default", "remove_method")),
    (_AGENTS, ("set_parent", "remove_parent")),
    (_EVERYBODY, ("add_note", "edit_note", "remove_note")),
    (_AGENTS, ("move_points", "add_review", "show_review")),
    (_AGENTS, ("write_to_customer", "call_customer")),
    (_AGENTS, ("set_login", "set_login_password", "force_password_change", "disable_login", "enable_login")),
    (_AGENTS, ("check_membership", "change_membership_password")),
    (_AGENTS, ("set_tags", "change_custom_values")),
    (_AGENTS, ("create_subscription", "advance", "change", "preview", "change_date", "skip", "pause", "resume")),
    (_AGENTS, ("cancel", "undo_cancel", "restart", "extend_trial", "restart_trial", "end_trial", "stop_trial")),
    (_AGENTS, ("charge", "preview_charge", "force_bill", "collect", "pay_invoice", "send_invoice", "bill_again")),
    (_AGENTS, ("create_payment_link", "create_card_update_link", "revoke_link")),
    # Selling. How far below the catalogue an agent may go is the merchant's rule; a lead may go further.
    (
        _AGENTS,
        ("create_order", "change_order_lines", "place_order", "pay_order", "cancel_order", "change_order_values"),
    ),
    (_AGENTS, ("preview_order_cancel", "give_back_order", "capture_order", "release_order")),
    (_AGENTS, ("create_basket", "change_basket_lines", "create_basket_link", "cancel_basket")),
    # From whom nothing is taken any more.
    (_LEADS, ("blacklist_payer", "unlist_payer")),
    # Giving money back. A refund above the merchant's limit waits for a lead, who must be another one.
    (_AGENTS, ("refund_charge", "void_charge", "give_back_invoice", "use_refund_method", "take_refund_out")),
    (_AGENTS, ("advance_refund",)),
    (_EVERYBODY, ("try_refund_now", "resend_message")),
    (_LEADS, ("approve_refund", "decline_refund")),
    # Saved filters: anybody may try one; those that others use are for whoever answers for them.
    (_EVERYBODY, ("preview_segment",)),
    (_LEADS_AND_OPS, ("create_segment", "change_segment", "remove_segment")),
    (_ADMINS, ("create_custom_field", "change_custom_field", "archive_custom_field", "restore_custom_field")),
    # What is shipped. Words of carriers are for everybody to pass on; sending again costs money.
    (_AGENTS, ("ship_fulfilment", "return_fulfilment", "reship_fulfilment", "cancel_fulfilment")),
    (_EVERYBODY, ("hand_off_fulfilment", "deliver_fulfilment")),
    (_EVERYBODY, ("create_fulfilment_batch", "take_fulfilment_tracking")),
    # Work for people.
    (_EVERYBODY, ("create_task", "change_task", "close_task")),
    # Whoever looks into trouble may stop billing meanwhile.
    (_EVERYBODY, ("hold", "release_hold")),
    # Money given away where no limit and no second pair of eyes stand behind it.
    (_LEADS, ("credit", "issue_voucher", "adjust_voucher", "credit_invoice")),
    # What was given away before, spent.
    (_AGENTS, ("redeem_voucher",)),
    # What is sold, and how debts are collected.
    (_LEADS, ("create_product", "change_product", "archive_product", "create_price", "archive_price")),
    (_LEADS, ("preview_price_move", "create_price_move", "pause_price_move", "resume_price_move", "stop_price_move")),
    (_LEADS, ("create_policy", "change_policy")),
    # What customers read: the words are for leads, how they look is for whoever talks to customers.
    (_AGENTS, ("preview_message_template", "hand_in_mail", "assign_mail")),
    (_LEADS, ("set_message_template", "reset_message_template", "test_message_template")),
    # Less for everybody who has the word; and for one customer, up to the merchant's cap (a lead beyond it).
    (_LEADS, ("create_coupon", "archive_coupon", "create_promotion_code", "archive_promotion_code")),
    (_AGENTS, ("set_customer_discount", "end_customer_discount", "add_discount", "remove_discount")),
    # What authorities are owed.
    (_LEADS, ("create_tax_rate", "end_tax_rate")),
    (_LEADS_AND_OPS, ("create_tax_run",)),
    (_LEADS, ("set_refund_rules", "set_dispute_rules", "set_blacklist_rules", "set_discount_rules", "set_seller")),
    # Our books and the gateways'.
    (_LEADS_AND_OPS, ("create_settlement_run", "create_reconciliation_run", "resolve_difference")),
    # The machine.
    (_OPS, ("create_billing_run", "create_import", "trigger_schedule", "pause_schedule", "resume_schedule")),
)


# What is for some roles alone to read, besides admins; all other reading is for everybody.
_READS: Final[tuple[tuple[tuple[Role, ...], tuple[str, ...]], ...]] = (
    (_ADMINS, ("list_person_sessions", "list_api_keys")),
)
# All that somebody may do whose password must be changed first.
BEFORE_CHANGE: Final = frozenset({"change_own_password", "sign_out"})


def _by_command(table: Iterable[tuple[tuple[Role, ...], tuple[str, ...]]]) -> dict[str, frozenset[Role]]:
    return {command: frozenset({*roles, Role.ADMIN}) for roles, commands in table for command in commands}


COMMANDS: Final[Mapping[str, frozenset[Role]]] = MappingProxyType(_by_command(_TABLE))


READS: Final[Mapping[str, frozenset[Role]]] = MappingProxyType(_by_command(_READS))


def who_may_read(name: str) -> frozenset[Role]:
    """The roles that may read this, by the name of its route's function."""
    return READS.get(name, frozenset(Role))


def who_may(command: str) -> frozenset[Role]:
    """The roles that may give this command."""
    return COMMANDS.get(command, frozenset({Role.ADMIN}))
