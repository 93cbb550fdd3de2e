"""A NAS that is told what to do with its sessions (RFC 5176), by pyrad, which checks what it is
sent. Prints its port, then a line of JSON for each request: its code and attributes.

das.py DICTIONARY SECRET HOW, where HOW is take, refuse, silent (all of CoA-Requests; sessions are
ended in any case), or gone (no such session).
"""

import json
import sys

from pyrad import packet
from pyrad.dictionary import Dictionary
from pyrad.server import RemoteHost, Server

UNSUPPORTED_EXTENSION, SESSION_CONTEXT_NOT_FOUND = 406, 503


class Nas(Server):
    def __init__(self, words, secret, how):
        host = RemoteHost("127.0.0.1", secret.encode(), "core")
        super().__init__(
            coaport=0,
            hosts={"127.0.0.1": host},
            dict=words,
            auth_enabled=False,
            acct_enabled=False,
            coa_enabled=True,
        )
        self.how = how
        self.seen = set()
        self.BindToAddress("127.0.0.1")
        print(self.coafds[0].getsockname()[1], flush=True)

    def say(self, request):
        assert request.message_authenticator and request.verify_message_authenticator()
        # A repetition is answered again, but is no news; who never answers shows them all.
        if request.authenticator in self.seen and self.how != "silent":
            return
        self.seen.add(request.authenticator)
        attributes = {}
        for key in request.keys():
            values = request[key] if isinstance(key, str) else []
            attributes[str(key)] = [v.hex() if isinstance(v, bytes) else v for v in values]
        print(json.dumps({"code": request.code, "attributes": attributes}), flush=True)

    def answer(self, request, nak=None, cause=None):
        reply = self.CreateReplyPacket(request)
        if nak:
            reply.code = nak
            reply["Error-Cause"] = cause
        reply.add_message_authenticator()
        self.SendReplyPacket(request.fd, reply)

    def HandleCoaPacket(self, request):
        self.say(request)
        if self.how == "take":
            self.answer(request)
        elif self.how == "refuse":
            self.answer(request, packet.CoANAK, UNSUPPORTED_EXTENSION)
        elif self.how == "gone":
            self.answer(request, packet.CoANAK, SESSION_CONTEXT_NOT_FOUND)

    def HandleDisconnectPacket(self, request):
        self.say(request)
        self.answer(request)


Nas(Dictionary(sys.argv[1]), sys.argv[2], sys.argv[3]).Run()
