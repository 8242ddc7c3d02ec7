"""Custom fields, tags and segments over the API: typed, logged, never lost, and usable as a filter."""

from __future__ import annotations

from typing import Any

from tests.api.conftest import KEYS, Caller


def rule(field: str, op: str, value: Any) -> dict[str, Any]:
    return {"field": field, "op": op, "value": value}


async def new_field(api: Caller, **more: Any) -> dict[str, Any]:
    return await api.made("/v1/custom-fields", {"key": f"f{next(KEYS)}", "label": "Field", "type": "text"} | more)


async def value_of(api: Caller, customer: dict[str, Any], field: dict[str, Any]) -> dict[str, Any]:
    shown = (await api.get(f"/v1/customers/{customer['id']}/custom-fields")).json()
    (item,) = [each for each in shown["items"] if each["key"] == field["key"]]
    return item


async def test_a_value_is_typed_and_its_changes_are_logged(api: Caller, customer: dict[str, Any]) -> None:
    size = await new_field(api, type="number")
    path = f"/v1/customers/{customer['id']}/custom-fields"
    refused = await api.patch(path, {"values": {size["key"]: "43"}})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, f"values.{size['key']}")
    for value in (43, 43.5, None):
        assert (await api.patch(path, {"values": {size["key"]: value}})).status_code == 200
        assert (await value_of(api, customer, size))["value"] == value
    log = (await api.get(f"/v1/customers/{customer['id']}/changes")).json()["items"]
    assert [(each["field"], each["old"], each["new"]) for each in log] == [
        (f"custom.{size['key']}", "43.5", None),
        (f"custom.{size['key']}", "43", "43.5"),
        (f"custom.{size['key']}", None, "43"),
    ]


async def test_a_changed_definition_loses_no_value(api: Caller, customer: dict[str, Any]) -> None:
    plan = await new_field(api, type="choice", choices=["small", "large"])
    path, own = f"/v1/custom-fields/{plan['id']}", f"/v1/customers/{customer['id']}/custom-fields"
    await api.patch(own, {"values": {plan["key"]: "large"}})
    assert (await api.patch(path, {"choices": ["small", "huge"]})).status_code == 200
    kept = await value_of(api, customer, plan)
    assert (kept["value"], kept["fits"], kept["rule"]) == ("large", False, "must be one of small, huge")
    assert (await api.patch(path, {"type": "yes_no"})).json()["choices"] == []
    assert (await value_of(api, customer, plan))["value"] == "large"
    assert (await api.patch(path, {"type": "text"})).status_code == 200
    assert (await value_of(api, customer, plan))["fits"]
    assert (await api.delete(path)).status_code == 204
    archived = await value_of(api, customer, plan)
    assert (archived["value"], archived["archived"]) == ("large", True)
    refused = await api.patch(own, {"values": {plan["key"]: "small"}})
    assert refused.json()["errors"][0]["code"] == "unknown_custom_field"
    taken = await api.post("/v1/custom-fields", {"key": plan["key"], "label": "x", "type": "text"})
    assert (taken.status_code, taken.json()["errors"][0]["field"]) == (409, "key")
    assert (await api.post(f"{path}/restore")).json()["archived_at"] is None
    assert (await value_of(api, customer, plan))["value"] == "large"


async def test_a_required_field_is_never_emptied(api: Caller, customer: dict[str, Any]) -> None:
    field, path = await new_field(api), f"/v1/customers/{customer['id']}/custom-fields"
    await api.patch(path, {"values": {field["key"]: "x"}})
    await api.patch(f"/v1/custom-fields/{field['id']}", {"required": True})
    refused = await api.patch(path, {"values": {field["key"]: None}})
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "required")
    assert (await value_of(api, customer, field))["value"] == "x"
    await api.delete(f"/v1/custom-fields/{field['id']}")


async def test_fields_of_orders_are_not_of_customers(api: Caller, customer: dict[str, Any]) -> None:
    funnel = await new_field(api, subject="order")
    refused = await api.patch(f"/v1/customers/{customer['id']}/custom-fields", {"values": {funnel["key"]: "spring"}})
    assert refused.json()["errors"][0]["code"] == "unknown_custom_field"
    listed = (await api.get("/v1/custom-fields", subject="order", limit=100)).json()["items"]
    assert funnel["id"] in {each["id"] for each in listed}


async def test_tags_are_set_whole_and_logged(api: Caller, customer: dict[str, Any]) -> None:
    path = f"/v1/customers/{customer['id']}"
    assert (await api.put(f"{path}/tags", {"tags": ["b", "a", "b"]})).json()["tags"] == ["b", "a"]
    assert (await api.put(f"{path}/tags", {"tags": ["b", "a"]})).status_code == 200
    log = (await api.get(f"{path}/changes")).json()["items"]
    assert [(each["field"], each["old"], each["new"]) for each in log] == [("tags", "", "b, a")]
    refused = await api.put(f"{path}/tags", {"tags": [""]})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "tags.0")


async def test_a_segment_finds_its_customers_as_they_are_now(api: Caller, customer: dict[str, Any]) -> None:
    tag, size = f"tag-{next(KEYS)}", await new_field(api, type="number")
    tree = {"all": [rule("tags", "has", tag), {"not": rule(f"custom.{size['key']}", "ge", 40)}]}
    segment = await api.made("/v1/segments", {"name": tag, "filter": tree})
    path = f"/v1/segments/{segment['id']}"
    assert (await api.get(f"{path}/customers")).json()["items"] == []
    others = [await api.made("/v1/customers", {"email": "x@example.com", "currency": "EUR"}) for _ in range(2)]
    for each in (customer, *others):
        await api.put(f"/v1/customers/{each['id']}/tags", {"tags": [tag]})
    found = (await api.get(f"{path}/customers", limit=2)).json()
    rest = (await api.get(f"{path}/customers", limit=2, cursor=found["next_cursor"])).json()
    assert [each["id"] for each in (*found["items"], *rest["items"])] == [
        each["id"] for each in (*reversed(others), customer)
    ]
    await api.patch(f"/v1/customers/{customer['id']}/custom-fields", {"values": {size["key"]: 40}})
    assert (await api.get(f"{path}/count")).json() == {"count": 2, "at_least": False}
    preview = (await api.post("/v1/segments/preview", {"filter": {"not": {"any": [{"not": tree}]}}})).json()
    assert (preview["count"], {each["id"] for each in preview["sample"]}) == (2, {each["id"] for each in others})


async def test_a_segment_that_does_not_fit_its_fields_any_more_says_so(api: Caller) -> None:
    size = await new_field(api, type="number")
    segment = await api.made("/v1/segments", {"name": size["key"], "filter": rule(f"custom.{size['key']}", "ge", 40)})
    path = f"/v1/segments/{segment['id']}"
    await api.delete(f"/v1/custom-fields/{size['id']}")
    assert (await api.get(f"{path}/count")).status_code == 200, "what an archived field holds can be asked for"
    await api.patch(f"/v1/custom-fields/{size['id']}", {"type": "yes_no"})
    for refused in (await api.get(f"{path}/customers"), await api.get(f"{path}/count")):
        assert (refused.status_code, refused.json()["code"]) == (409, "segment_does_not_fit")
    assert (await api.patch(path, {"filter": rule(f"custom.{size['key']}", "eq", True)})).status_code == 200
    assert (await api.get(f"{path}/count")).json()["count"] == 0
    assert (await api.delete(path)).status_code == 204
    assert (await api.get(path)).status_code == 404


async def test_a_bad_filter_is_refused_with_its_path(api: Caller) -> None:
    for path, body in (("/v1/segments", {"name": "bad"}), ("/v1/segments/preview", {})):
        refused = await api.post(path, body | {"filter": {"all": [rule("shoe", "eq", "x")]}})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "filter.all.0.field")
    taken = f"name-{next(KEYS)}"
    await api.made("/v1/segments", {"name": taken, "filter": {"all": []}})
    again = await api.post("/v1/segments", {"name": taken, "filter": {"all": []}})
    assert (again.status_code, again.json()["errors"][0]["field"]) == (409, "name")
