from domain.errors import Broken, CurrencyMismatch, DunlinError, InvalidInput, NotFound, Refused


def test_an_error_says_what_is_wrong_in_words_with_a_code() -> None:
    for kind, code in ((DunlinError, "error"), (NotFound, "not_found"), (Broken, "broken")):
        error = kind("what is wrong")
        assert (str(error), error.message, error.code) == ("what is wrong", "what is wrong", code)
        assert kind("what is wrong", code="special").code == "special"
        assert kind.code == code


def test_bad_input_names_its_field() -> None:
    for kind, code in ((InvalidInput, "invalid_input"), (CurrencyMismatch, "currency_mismatch")):
        error = kind("price", "price is not negative")
        assert (str(error), error.field, error.code) == ("price is not negative", "price", code)
        assert kind("price", "price is not negative", code="special").code == "special"


def test_a_refusal_says_what_is_allowed_now() -> None:
    refusal = Refused("already_cancelled", "the subscription has ended", allowed=("reactivate",))
    assert (str(refusal), refusal.message) == ("the subscription has ended", "the subscription has ended")
    assert (refusal.code, refusal.allowed) == ("already_cancelled", ("reactivate",))
    assert Refused("already_cancelled", "the subscription has ended").allowed == ()
