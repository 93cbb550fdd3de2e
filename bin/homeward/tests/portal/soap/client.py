"""A SOAP client over HTTPS, by zeep: client.py WSDL ADDRESS CA, where ADDRESS is the one to come from.
Reads a list of calls in JSON, and prints a line of JSON for what became of each."""

import json
import sys

import requests
from requests.adapters import HTTPAdapter
from zeep import Client
from zeep.exceptions import Fault
from zeep.helpers import serialize_object
from zeep.transports import Transport

wsdl, address, ca = sys.argv[1:]


class From(HTTPAdapter):
    def init_poolmanager(self, *args, **more):
        super().init_poolmanager(*args, source_address=(address, 0), **more)


session = requests.Session()
session.trust_env = False
session.verify = ca
session.mount("https://", From())
client = Client(wsdl, transport=Transport(session=session))
for call in json.load(sys.stdin):
    port = client.bind("OffloadService", call.pop("port"))
    try:
        said = {"result": serialize_object(port.getCredentials(**call), dict)}
    except Fault as fault:
        inside = [] if fault.detail is None else [child.tag for child in fault.detail]
        said = {"fault": fault.message, "detail": inside}
    print(json.dumps(said, default=str), flush=True)
