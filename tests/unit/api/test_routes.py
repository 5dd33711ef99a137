"""A route derives its request types, role and error statuses from its handler and its declaration."""

from typing import Any

from aiohttp import web
from pydantic import RootModel

from app.api.routing.openapi import document
from app.api.routing.responses import View
from app.api.routing.routes import IF_MATCH, OPTIONAL_IF_MATCH, Body, Query, RequestContext, ResponseSpec, Routes


class Filter(Query):
    """A query."""

    name: str = ""


class Item(Body):
    """A body."""

    name: str


class Rules(RootModel[dict[str, str]]):
    """A body that is one object."""


def declared() -> dict[str, Any]:
    routes = Routes("items", "/v2/item", problems=(404,))

    listed = ResponseSpec(data=list[int], headers=("ETag",), ids={"job_id": "/data/0"})

    @routes("GET", "", "List items", listed)
    async def list_items(call: RequestContext[Filter, None]) -> web.Response:
        raise NotImplementedError

    @routes("PUT", "/{job_id}", "Replace an item", ResponseSpec("the item"), headers=(IF_MATCH,), role="admin")
    async def replace_item(call: RequestContext[Query, Item]) -> web.Response:
        raise NotImplementedError

    @routes("POST", "/{job_id}", "Change it", ResponseSpec(status=202), headers=(OPTIONAL_IF_MATCH,), problems=(409,))
    async def change_item(call: RequestContext[Query, Rules | None]) -> web.Response:
        raise NotImplementedError

    return {route.method: route for route in routes} | {"document": document(routes)}


def test_request_types_are_those_of_the_handler() -> None:
    routes = declared()
    assert [(routes[name].query, routes[name].body, routes[name].body_required) for name in ("GET", "PUT", "POST")] == [
        (Filter, None, True),
        (Query, Item, True),
        (Query, Rules, False),
    ]
    assert routes["PUT"].path == "/v2/item/{job_id}"


def test_reading_needs_a_viewer_and_writing_an_editor_by_default() -> None:
    routes = declared()
    assert [routes[name].role for name in ("GET", "POST", "PUT")] == ["viewer", "editor", "admin"]


def test_statuses_are_implied_by_body_and_headers() -> None:
    paths = declared()["document"]["paths"]
    always = {"401", "403", "404", "421", "422", "503"}
    assert set(paths["/v2/item"]["get"]["responses"]) == always | {"200"}
    put, post = paths["/v2/item/{job_id}"]["put"]["responses"], paths["/v2/item/{job_id}"]["post"]["responses"]
    assert set(put) == always | {"200", "400", "408", "412", "413", "415", "428", "507"}
    assert set(post) == always - {"404"} | {"202", "400", "408", "409", "412", "413", "415", "507"}
    assert paths["/v2/item"]["get"]["responses"]["200"]["description"] == "List items"


def test_a_response_links_to_the_routes_that_need_its_ids() -> None:
    paths = declared()["document"]["paths"]
    parameters = {"path.job_id": "$response.body#/data/0", "header.If-Match": "$response.header.ETag"}
    assert paths["/v2/item"]["get"]["responses"]["200"]["links"] == {
        name: {"operationId": name, "parameters": parameters} for name in ("put_v2_item_job_id", "post_v2_item_job_id")
    }
    assert "links" not in paths["/v2/item/{job_id}"]["put"]["responses"]["200"]


class Position:
    """A domain value."""

    topic = "orders"
    offset = 7


class PositionView(View):
    """Its JSON form."""

    topic: str
    offset: str


class PositionsView(View):
    """Several of them."""

    positions: list[PositionView]


def test_a_view_reads_attributes_unless_they_are_computed() -> None:
    view = PositionView.of(Position(), offset="seven")
    assert (view.topic, view.offset) == ("orders", "seven")
