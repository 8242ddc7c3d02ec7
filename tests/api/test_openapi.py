"""The description of the API is true: every body has an example that the API's own schema takes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from api.app import ROUTERS, create_app
from api.context import Services
from api.names import ROUTES as ROUTE_NAMES
from domain.commands import ALLOWED_IN

ROUTES = [route for router in ROUTERS for route in router.routes]
BODIES: dict[str, Any] = {
    route.body_field.field_info.annotation.__name__: route.body_field.field_info.annotation  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    for route in ROUTES
    if getattr(route, "body_field", None) and isinstance(route.body_field.field_info.annotation, type)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
}

# A signature stands in place of key and idempotency key; who signs in has no key yet.
WITHOUT_KEY = {"post /v1/gateway-events/{gateway}", "post /v1/fulfilment-events", "post /v1/sessions"}


def unwrapped(annotation: Any) -> type[BaseModel]:
    return annotation


@pytest.mark.parametrize("name", BODIES)
def test_every_body_has_an_example_that_is_taken(name: str) -> None:
    model = unwrapped(BODIES[name])
    examples: list[Any] = TypeAdapter(model).json_schema().get("examples", [])
    assert examples, f"{name} has no example"
    for example in examples:
        model.model_validate(example)


async def test_every_operation_is_described(services: Services) -> None:
    schema = create_app(services).openapi()
    assert schema["openapi"].startswith("3.")
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["description"], where
            if path == "/v1/health":
                continue
            if where in WITHOUT_KEY:
                assert "security" not in operation, where
                assert "Idempotency-Key" not in str(operation.get("parameters")), where
                continue
            assert operation["security"], where
            for status in ("401", "403", "404", "409", "422", "500", "503"):
                content = operation["responses"][status]["content"]
                assert "application/problem+json" in content, where
            if method == "post":
                (header,) = [each for each in operation["parameters"] if each["name"] == "Idempotency-Key"]
                assert header["required"], where
    assert "HTTPValidationError" not in str(schema)


def test_every_command_has_a_route() -> None:
    """But for those that are not for people: a billing run's own, and what follows from the customer's settings.

    Discounts are things of their own, below the subscription.
    """
    others = {"bill_due", "set_notice", "set_tax", "set_customer", "add_discount", "remove_discount"}
    assert set(ALLOWED_IN) - others == set(ROUTE_NAMES)
    paths = {getattr(route, "path", "") for route in ROUTES}
    assert {f"/subscriptions/{{subscription_id}}/{name}" for name in ROUTE_NAMES.values()} <= paths
