#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""openapi_test.py BUILD: docs/openapi.json says what the control API takes and answers: its routes
and error codes are those of hostd/control/routes.cc, and a real control server's answers fit."""

import contextlib
import json
import re
import sys
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

from control import UnixConnection
from fake_ebbd import FakeEbbd
from json_schema import Document
from options import REPOSITORY
from tap import Tap

PAGE = REPOSITORY / "docs/openapi.json"
ROUTES = REPOSITORY / "hostd/control/routes.cc"
ROUTE = re.compile(r'\{"([A-Z]+)", "(/v1[^"]*)", Resource::\w+\}')
ERROR = re.compile(r'ErrorKind \w+ = \{(\d+), "(\w+)"\};')
METHODS = {"get", "put", "post", "delete", "patch", "head", "options"}
# What the description of a field says, by the end of its name.
UNITS = {"_bytes": "bytes", "_pages": "[Pp]ages", "_ms": "milliseconds", "_us": "microseconds",
         "_us_total": "microseconds", "_s": "seconds", "pages_\\w+": "[Pp]ages"}
TOO_LARGE = 70000
BODIES = {"limit": {"bytes": 64 << 20}, "guarantee": {"bytes": 64 << 20}, "weight": {"weight": 5},
          "swap-out": {"to_bytes": 64 << 20}}
VM_STATES = {"web": "running", "moving": "detaching", "broken": "held", "away": "detached"}


class Api:
    """The document, and a server to hold it against."""

    def __init__(self, ebbd: FakeEbbd) -> None:
        self._ebbd = ebbd
        self.document: dict[str, Any] = json.loads(PAGE.read_text())
        self.schemas = Document(self.document)

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for path, item in self.document["paths"].items():
            for method in item.keys() & METHODS:
                yield method.upper(), path, item[method]

    def ask(self, method: str, url: str, body: str = "",
            status_socket: bool = False) -> tuple[HTTPResponse, Any]:
        path = self._ebbd.status_socket if status_socket else self._ebbd.control_socket
        with contextlib.closing(UnixConnection(path)) as connection:
            connection.request(method, url, body or None)
            response = connection.getresponse()
            return response, json.loads(response.read())

    def announce(self, method: str, url: str, body_bytes: int) -> tuple[HTTPResponse, Any]:
        """A body that is never sent."""
        with contextlib.closing(UnixConnection(self._ebbd.control_socket)) as connection:
            connection.putrequest(method, url)
            connection.putheader("Content-Length", str(body_bytes))
            connection.endheaders()
            response = connection.getresponse()
            return response, json.loads(response.read())

    def problems(self, operation: dict[str, Any], status: int, answer: Any) -> list[str]:
        """What of the answer is not documented."""
        if str(status) not in operation["responses"]:
            return [f"status {status} is not documented"]
        response = self.schemas.resolve(operation["responses"][str(status)])
        found = self.schemas.problems(answer, response["content"]["application/json"]["schema"])
        if "error" in answer and f"Its code is {answer['error']['code']}." not in \
                response["description"]:
            found.append(f"code {answer['error']['code']} with status {status}")
        return found


def all_schemas(value: Any, where: str = "") -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(where, name, schema) of every documented field, and every reference."""
    if isinstance(value, dict):
        for name, part in value.items():
            if where.endswith("/properties"):
                yield where, name, part
            yield from all_schemas(part, f"{where}/{name}")
    elif isinstance(value, list):
        for part in value:
            yield from all_schemas(part, where)


def check_document(tap: Tap, api: Api) -> None:
    document = api.document
    tap.check(document["openapi"] == "3.0.3", "it is OpenAPI 3.0.3")
    dangling = []
    for reference in re.findall(r'"\$ref": "([^"]+)"', PAGE.read_text()):
        try:
            api.schemas.resolve({"$ref": reference})
        except KeyError:
            dangling.append(reference)
    tap.check(not dangling, f"references refer to something {dangling}")
    fields = list(all_schemas(document))
    bare = [name for _, name, schema in fields if not schema.get("description")]
    tap.check(len(fields) > 50 and not bare, f"every field is described {bare}")
    vague = [name for _, name, schema in fields for end, unit in UNITS.items()
             if re.search(rf"(^|_)?{end}$", name) and not re.search(unit, schema["description"])]
    tap.check(not vague, f"every size and time has its unit {vague}")
    loose = [name for name, schema in document["components"]["schemas"].items()
             if set(schema["required"]) != set(schema["properties"])]
    tap.check(not loose, f"all fields of an answer are always there {loose}")
    identifiers = [operation["operationId"] for _, _, operation in api.operations()]
    tap.check(len(identifiers) == len(set(identifiers)), "each operation has a name of its own")


def check_source(tap: Tap, api: Api) -> None:
    source = ROUTES.read_text()
    in_source = set(ROUTE.findall(source))
    documented = {(method, path) for method, path, _ in api.operations()}
    tap.check(len(in_source) >= 9, "the routes are found")
    for method, path in sorted(in_source | documented):
        tap.check((method, path) in in_source and (method, path) in documented,
                  f"{method} {path} is in both")
    codes = {(status, code) for status, code in ERROR.findall(source)}
    said = {(status, re.search(r"Its code is (\w+)\.", response["description"]).group(1))
            for _, _, operation in api.operations()
            for status, reference in operation["responses"].items() if status != "200"
            for response in [api.schemas.resolve(reference)]}
    tap.check(codes == said, f"error codes are the same {sorted(codes ^ said)}")
    named = api.document["components"]["schemas"]["Error"]["properties"]["error"]["properties"]
    tap.check(set(named["code"]["enum"]) == {code for _, code in codes}, "and all are named")


def check_questions(tap: Tap, api: Api) -> None:
    for path in ("/v1/status", "/v1/tiers", "/v1/events", "/v1/vms", "/v1/vms/{name}"):
        operation = api.document["paths"][path]["get"]
        names = VM_STATES if "{name}" in path else [""]
        for url in (path.replace("{name}", name) for name in names):
            for status_socket in (False, True):
                response, answer = api.ask("GET", url, status_socket=status_socket)
                problems = api.problems(operation, response.status, answer)
                tap.check(response.status == 200 and not problems, f"GET {url} {problems}")
    schemas = api.document["components"]["schemas"]
    states = {name: api.ask("GET", f"/v1/vms/{name}")[1]["state"] for name in VM_STATES}
    tap.check(states == VM_STATES and set(states.values())
              == set(schemas["VmStatus"]["properties"]["state"]["enum"]), "every state is named")
    events = api.ask("GET", "/v1/events")[1]["events"]
    kinds = set(schemas["Event"]["properties"]["kind"]["enum"])
    tap.check({event["kind"] for event in events} == kinds, "every kind of event is named")
    last = api.ask("GET", f"/v1/events?after={events[-1]['seq']}")[1]
    tap.check(last == {"events": [], "next": events[-1]["seq"], "lost": 0}, "and none comes twice")


def check_orders(tap: Tap, api: Api) -> None:
    for method, path, operation in api.operations():
        if method == "GET":
            continue
        url = path.replace("{name}", "web")
        request = operation["requestBody"]
        schema = request["content"]["application/json"]["schema"]
        fields = schema["properties"]
        body = {name: min(64 << 20, field.get("maximum", 64 << 20))
                for name, field in fields.items()}
        cases = [(json.dumps(body), 200), (json.dumps({**body, "other": 1}), 400), ("[]", 400),
                 ("{", 400), ("", 400 if request["required"] else 200)]
        cases += [(json.dumps({**body, name: wrong}), 400) for name in fields
                  for wrong in (-1, 1.5, "1", None)]
        for sent, expected in cases:
            response, answer = api.ask(method, url, sent)
            problems = api.problems(operation, response.status, answer)
            tap.check(response.status == expected and not problems,
                      f"{method} {url} {sent[:40]!r}: {response.status} {problems}")
        response, answer = api.announce(method, url, TOO_LARGE)
        tap.check(response.status == 413 and not api.problems(operation, 413, answer),
                  f"{method} {url} with a large body: {response.status}")
        response, answer = api.ask(method, url, json.dumps(body), status_socket=True)
        tap.check(response.status == 403 and not api.problems(operation, 403, answer),
                  f"{method} {url} on status.sock: {response.status}")


def check_refusals(tap: Tap, api: Api) -> None:
    for method, path, operation in api.operations():
        if "{name}" in path:
            for name, expected in (("nobody", 404), ("no%20name", 400)):
                action = path.rpartition("/")[2]
                body = json.dumps(BODIES.get(action, {})) if method != "GET" else ""
                response, answer = api.ask(method, path.replace("{name}", name), body)
                problems = api.problems(operation, response.status, answer)
                tap.check(response.status == expected and not problems,
                          f"{method} {path} of {name}: {response.status} {problems}")
        url = path.replace("{name}", "web")
        if path != "/v1/events":
            response, answer = api.ask(method, f"{url}?verbose=1")
            tap.check(response.status == 400 and not api.problems(operation, 400, answer),
                      f"{method} {path} takes no query: {response.status}")
        response, answer = api.ask("DELETE", url)
        problems = api.problems(operation, response.status, answer)
        allowed = response.getheader("Allow", "").split(", ")
        documented = [verb for verb, other, _ in api.operations() if other == path]
        tap.check(response.status == 405 and not problems and allowed == documented,
                  f"{path} takes {documented}: {allowed} {problems}")
    for after in ("x", "-1", "1&after=2", "18446744073709551616"):
        response, answer = api.ask("GET", f"/v1/events?after={after}")
        problems = api.problems(api.document["paths"]["/v1/events"]["get"], response.status, answer)
        tap.check(response.status == 400 and not problems, f"after={after} {problems}")


def main() -> int:
    tap = Tap()
    with FakeEbbd(Path(sys.argv[1]).resolve()) as ebbd:
        api = Api(ebbd)
        check_document(tap, api)
        check_source(tap, api)
        check_questions(tap, api)
        check_refusals(tap, api)
        check_orders(tap, api)
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
