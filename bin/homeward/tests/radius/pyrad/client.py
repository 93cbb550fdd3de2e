"""Asks a server all kinds of things by pyrad, and prints a line of JSON for each: its name, the
code of the answer (null: there was none), and the attributes of the answer.

client.py DICTIONARY, and on standard input one JSON object: auth and acct (ports), secret, name,
password, chap_name, chap_password, mac, ssid.
"""

import hashlib
import json
import sys

from pyrad import packet
from pyrad.client import Client, Timeout
from pyrad.dictionary import Dictionary

given = json.load(sys.stdin)
words = Dictionary(sys.argv[1])


def client(secret=None, timeout=5, retries=1):
    """A client that takes no answer without Message-Authenticator where there has to be one."""
    return Client(
        server="127.0.0.1",
        authport=given["auth"],
        acctport=given["acct"],
        secret=(secret or given["secret"]).encode(),
        dict=words,
        retries=retries,
        timeout=timeout,
        enforce_ma=True,
    )


def say(name, send, request):
    try:
        answer = send(request)
    except Timeout:
        print(json.dumps({"name": name, "code": None}))
        return
    attributes = {}
    for key in answer.keys():
        values = answer[key] if isinstance(key, str) else []
        attributes[str(key)] = [v.hex() if isinstance(v, bytes) else v for v in values]
    print(json.dumps({"name": name, "code": answer.code, "attributes": attributes}))


def auth(one, **attributes):
    request = one.CreateAuthPacket(NAS_Identifier="oak", **attributes)
    return request


def pap(one, name, password, **attributes):
    request = auth(one, User_Name=name, **attributes)
    request["User-Password"] = request.PwCrypt(password)
    return request


def chap(one, name, password, challenged):
    request = auth(one, User_Name=name)
    request.authenticator = request.CreateAuthenticator()
    challenge = b"a challenge of its own" if challenged else request.authenticator
    digest = hashlib.md5(b"\x07" + password.encode() + challenge).digest()
    request["CHAP-Password"] = b"\x07" + digest
    if challenged:
        request["CHAP-Challenge"] = challenge
    return request


def to(one, port):
    """Sends anything to a port, whatever belongs there."""
    return lambda request: one._SendPacket(request, given[port])


def account(one, status, **attributes):
    return one.CreateAcctPacket(
        User_Name=given["name"],
        NAS_Identifier="oak",
        Acct_Session_Id="pyrad-1",
        Acct_Status_Type=status,
        **attributes,
    )


one = client()
# Nobody answers those: they are waited for shortly.
short = client(timeout=0.5)
stranger = client(secret="another secret of the right length", timeout=0.5)
name, password = given["name"], given["password"]

say("pap", one.SendPacket, pap(one, name, password, Chargeable_User_Identity=b"\0"))
say("pap wrong", one.SendPacket, pap(one, name, "wrong"))
say("pap nobody", one.SendPacket, pap(one, "nobody@example.net", "wrong"))
say("pap unsigned", short.SendPacket, pap(short, name, password, message_authenticator=False))
say("pap by a stranger", stranger.SendPacket, pap(stranger, name, password))
for challenged in (False, True):
    with_a = " challenged" if challenged else ""
    right = chap(one, given["chap_name"], given["chap_password"], challenged)
    say("chap" + with_a, one.SendPacket, right)
    say("chap wrong" + with_a, one.SendPacket, chap(one, given["chap_name"], "no", challenged))
say("look-up", one.SendPacket, pap(one, given["mac"], given["ssid"]))

everything = pap(
    one,
    name,
    password,
    NAS_IP_Address="192.0.2.1",
    NAS_IPv6_Address="2001:db8::1",
    Service_Type=2,
    Framed_MTU=1400,
    NAS_Port_Type=19,
    Called_Station_Id="02-00-5E-10-00-02:Elm",
    Calling_Station_Id="02-00-5E-20-00-07",
    Experiment_Text="what nobody asked for",
    Nobodys=b"\x00\xff" * 100,
)
everything["Proxy-State"] = [bytes([n]) * 250 for n in range(12)]
say("everything", one.SendPacket, everything)

say("status", one.SendPacket, one.CreateAuthPacket(code=packet.StatusServer))
say("status by a stranger", stranger.SendPacket, stranger.CreateAuthPacket(code=packet.StatusServer))

say("accounting at the wrong port", to(short, "auth"), account(short, "Start"))
say("auth at the wrong port", to(short, "acct"), pap(short, name, password))
say("coa", to(short, "auth"), short.CreateCoAPacket(User_Name=name))
say("an answer", to(short, "auth"), auth(short, code=packet.AccessAccept, User_Name=name))

say("on", one.SendPacket, one.CreateAcctPacket(NAS_Identifier="oak", Acct_Status_Type="Accounting-On"))
say("start", one.SendPacket, account(one, "Start", Calling_Station_Id="02-00-5E-20-00-07"))
say("interim", one.SendPacket, account(one, "Interim-Update", Acct_Input_Octets=2**32 - 1))
stop = account(one, "Stop", Acct_Session_Time=60, Acct_Terminate_Cause=1)
say("stop", one.SendPacket, stop)
say("stop again", one.SendPacket, stop)
say("accounting by a stranger", stranger.SendPacket, account(stranger, "Start"))
