"""Holds our documents and messages to what others make of them.

  outside.py schema   XSD by libxml2 and OpenAPI by openapi-spec-validator and jsonschema: reads one
                      line of JSON with documents and samples, prints one with a verdict for each
  outside.py zeep     calls the service that a WSDL describes: reads a line with the calls, then
                      prints a line for each request that zeep posts, reads one with the response,
                      and prints one with what zeep made of it
"""

import json
import sys
from types import SimpleNamespace

from lxml import etree

WSDL = "https://portal.invalid/offload/soap?wsdl"


def said(**what):
    print(json.dumps(what, default=str), flush=True)


def heard():
    return json.loads(sys.stdin.readline())


def schema():
    import jsonschema
    import openapi_spec_validator
    from referencing import Registry, Resource
    from referencing.jsonschema import DRAFT202012

    job = heard()
    xsd = etree.XMLSchema(etree.fromstring(job["xsd"].encode()))

    def xml(text):
        root = etree.fromstring(text.encode())
        body = root.find("{*}Body")
        return xsd.validate(root if body is None else body[0])

    openapi_spec_validator.validate(job["openapi"])
    document = Resource.from_contents(job["openapi"], default_specification=DRAFT202012)
    registry = Registry().with_resource("urn:openapi", document)

    def instance(name, text):
        check = jsonschema.Draft202012Validator(
            {"$ref": f"urn:openapi#/components/schemas/{name}"},
            registry=registry,
            format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER,
        )
        return check.is_valid(json.loads(text))

    said(
        xml=[xml(text) for text in job["xml"]],
        json=[instance(name, text) for name, text in job["json"]],
    )


class Pipe:
    """What zeep posts goes to whoever started us."""

    def __init__(self, wsdl):
        self.wsdl = wsdl

    def load(self, url):
        assert url == WSDL, f"{url} is asked for beside the WSDL"
        return self.wsdl

    def post(self, address, message, headers):
        said(address=address, body=message.decode(), headers=dict(headers))
        answer = heard()
        return SimpleNamespace(
            status_code=answer["status"],
            headers={"Content-Type": answer["content_type"]},
            content=answer["body"].encode(),
            text=answer["body"],
            encoding="utf-8",
        )

    def post_xml(self, address, envelope, headers):
        return self.post(address, etree.tostring(envelope), headers)


def zeep():
    from zeep import Client
    from zeep.exceptions import Fault
    from zeep.helpers import serialize_object
    from zeep.settings import Settings

    job = heard()
    pipe = Pipe(job["wsdl"].encode())
    client = Client(WSDL, transport=pipe, settings=Settings(strict=True, xml_huge_tree=False))
    for call in job["calls"]:
        port = client.bind("OffloadService", call["port"])
        headers = []
        if call.get("header"):
            header = etree.fromstring(call["header"])
            headers.append(header)
        try:
            result = port.getCredentials(**call["arguments"], _soapheaders=headers or None)
            said(result=serialize_object(result, dict))
        except Fault as fault:
            detail = fault.detail
            inside = [] if detail is None else [child.tag for child in detail]
            said(fault=fault.message, code=str(fault.code), detail=inside)


{"schema": schema, "zeep": zeep}[sys.argv[1]]()
