# SPDX-License-Identifier: MIT
"""Values against schemas, for as much of OpenAPI 3.0 as docs/openapi.json uses."""

import re
from typing import Any

TYPES: dict[str, tuple[type, ...]] = {"object": (dict,), "array": (list,), "string": (str,),
                                      "integer": (int,), "number": (int, float),
                                      "boolean": (bool,)}
KNOWN = {"type", "description", "properties", "required", "additionalProperties", "items", "enum",
         "minimum", "maximum", "minLength", "maxLength", "maxItems", "format", "$ref"}
DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Document:
    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def resolve(self, value: dict[str, Any]) -> dict[str, Any]:
        """What it refers to, if it is a reference. KeyError: there is no such thing."""
        while "$ref" in value:
            found: Any = self._document
            for part in value["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            value = found
        return value

    def problems(self, value: Any, schema: dict[str, Any], where: str = "answer") -> list[str]:
        """What of the value is not as the schema has it. Fields that it does not name are found,
        too: answers have none."""
        schema = self.resolve(schema)
        unknown = schema.keys() - KNOWN
        if unknown:
            return [f"{where}: its schema has {sorted(unknown)}, which this test does not know"]
        kind = schema["type"]
        if not isinstance(value, TYPES[kind]) or isinstance(value, bool) != (kind == "boolean"):
            return [f"{where}: {value!r} is not of type {kind}"]
        if "enum" in schema and value not in schema["enum"]:
            return [f"{where}: {value!r} is none of {schema['enum']}"]
        if kind == "object":
            return self._object_problems(value, schema, where)
        if kind == "array":
            found = [problem for index, item in enumerate(value)
                     for problem in self.problems(item, schema["items"], f"{where}[{index}]")]
            if len(value) > schema.get("maxItems", len(value)):
                found.append(f"{where}: {len(value)} items")
            return found
        return self._scalar_problems(value, schema, where)

    def _object_problems(self, value: dict[str, Any], schema: dict[str, Any],
                         where: str) -> list[str]:
        properties = schema.get("properties", {})
        missing = [f"{where}: {name} is documented and not there"
                   for name in schema.get("required", []) if name not in value]
        more = [f"{where}: {name} is not documented" for name in value if name not in properties]
        return missing + more + [problem for name in value if name in properties
                                 for problem in self.problems(value[name], properties[name],
                                                              f"{where}.{name}")]

    @staticmethod
    def _scalar_problems(value: Any, schema: dict[str, Any], where: str) -> list[str]:
        if value is not None and "minimum" in schema and value < schema["minimum"]:
            return [f"{where}: {value} is less than {schema['minimum']}"]
        if value is not None and "maximum" in schema and value > schema["maximum"]:
            return [f"{where}: {value} is more than {schema['maximum']}"]
        if isinstance(value, str) and not (schema.get("minLength", 0) <= len(value)
                                           <= schema.get("maxLength", len(value))):
            return [f"{where}: {value!r} has {len(value)} characters"]
        if schema.get("format") == "date-time" and not DATE_TIME.fullmatch(value):
            return [f"{where}: {value!r} is no time"]
        return []
