"""The OpenAPI document is valid, and so are its examples: with_openapi.py DOCUMENT."""

import json
import sys
from pathlib import Path

from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

document = json.loads(Path(sys.argv[1]).read_bytes())
validate(document)
whole = Resource(contents=document, specification=DRAFT202012)
registry = Registry().with_resource("urn:openapi", whole)
count = 0


def check(place, value):
    """Compare an example with the schema at a place of the document."""
    global count
    pointer = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in place)
    schema = {"$ref": f"urn:openapi#{pointer}"}
    Draft202012Validator(schema, registry=registry).validate(value)
    count += 1


for path, item in document["paths"].items():
    for method, operation in item.items():
        for kind, media in operation.get("requestBody", {}).get("content", {}).items():
            if "example" in media:
                place = ("paths", path, method, "requestBody", "content", kind, "schema")
                check(place, media["example"])
for name, feature in document["components"]["schemas"]["Row"]["properties"].items():
    for value in feature["examples"]:
        check(("components", "schemas", "Row", "properties", name), value)
print(count, "examples")
