"""Whose a mail is that came in: by what it answers, by its sender where that is one customer's, never by a guess."""

from __future__ import annotations

from dataclasses import replace

import pytest

from domain.inbound import MailKind, OurMessage, Place, ReceivedMail, place

MAIL = ReceivedMail("mail_1", "<1@example.com>", MailKind.MAIL, "ada@example.com", "help@shop.example", "Re", "Hi", ())
TO_ADA = OurMessage("msg_1", "cus_ada", "sub_1", to_customer=True)
TO_STAFF = OurMessage("msg_2", None, None, to_customer=False)


def test_what_it_answers_goes_before_who_sent_it() -> None:
    found = place(MAIL, [TO_ADA], ["cus_bob"])
    assert found == Place("cus_ada", "message", "answers message msg_1", TO_ADA)
    assert place(MAIL, [TO_ADA, TO_STAFF], []) == found, "the likeliest first"


@pytest.mark.parametrize(
    "named", [TO_STAFF, replace(TO_STAFF, customer_id="cus_ada"), replace(TO_ADA, customer_id=None)]
)
def test_an_answer_to_no_customers_message_waits_for_a_person(named: OurMessage) -> None:
    found = place(MAIL, [named, TO_ADA], ["cus_ada"])
    assert found == Place(None, None, f"answers message {named.id}, which is no customer's", named)


@pytest.mark.parametrize("kind", [MailKind.MAIL, MailKind.AUTO_REPLY])
def test_an_address_that_one_customer_has_decides_and_no_other(kind: MailKind) -> None:
    mail = replace(MAIL, kind=kind)
    assert place(mail, [], ["cus_ada"]) == Place(
        "cus_ada", "address", "ada@example.com is the address of this customer alone"
    )
    assert place(mail, [], []) == Place(None, None, "no customer has the address ada@example.com")
    assert place(mail, [], ["cus_ada", "cus_bob"]) == Place(None, None, "2 customers have the address ada@example.com")


def test_a_machine_that_reports_a_bounce_speaks_for_nobody() -> None:
    bounce = replace(MAIL, kind=MailKind.BOUNCE)
    assert place(bounce, [], ["cus_ada"]) == Place(None, None, "a bounce that names no message of ours")
    assert place(bounce, [TO_ADA], []).customer_id == "cus_ada"
