"""Makes tests/vectors/*.json from the documents alone, with nothing but Python's standard library.

Without arguments it prints the files as one JSON object (name to text), which a test compares with those checked in;
with --write it writes them. It shares no code with the program, so both being wrong in the same way is unlikely.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import sys
import uuid
from datetime import datetime, timezone

ORG = uuid.UUID("0195a3c0-7c00-7abc-8def-0123456789ab")
ENDPOINT = uuid.UUID("0195a3c0-7d11-7000-9fff-fedcba987654")

# Data as JSON.stringify prints it. The second holds what tends to go wrong: scripts beyond ASCII, an astral character,
# every kind of escape, slashes, the line separators, key order, and numbers that other printers spell differently.
PLAIN = '{"id":"thing_1","count":3}'
TRICKY = (
    '{"z":"naïve – 日本語 \U0001f58b","a":"quote \\" back\\\\slash / tab\\t nl\\n bell\\u0007 del\x7f",'
    '"lines":"\u2028\u2029","n":[0.1,-0.5,1.5,9007199254740991,true,null],"empty":{},"list":[]}'
)

EVENTS = {
    "inkode": "qr.created",
    "iloveqr": "qr.scanned",
    "inklink": "web.result.approved",
    "inkr": "submission.completed",
    "qrstudio": "scan.created",
}

TEXT_SECRETS = ["example secret, chosen by the caller 1!", "the one before it, still long enough"]
WHSEC_SECRETS = ["whsec_Zr4Tq9Wm2Xc7Vb1Np6Lk3Jh8Gf5Ds0Aa", "whsec_aA0sD5fG8hJ3kL6pN1bV7cX2mW9qT4rZ"]
BASE64_SECRETS = [
    "whsec_" + base64.b64encode(bytes(range(32))).decode(),
    "whsec_" + base64.b64encode(bytes(range(255, 219, -1))).decode(),
]
SECRETS = {
    "inkode": TEXT_SECRETS,
    "iloveqr": TEXT_SECRETS,
    "inklink": BASE64_SECRETS,
    "inkr": WHSEC_SECRETS,
    "qrstudio": WHSEC_SECRETS,
}


def spelled(prefix, ident):
    """Crockford's base 32 of the 128 bits, 26 characters, most significant first."""
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    return prefix + "".join(alphabet[(ident.int >> (5 * place)) & 31] for place in reversed(range(26)))


def mac(key, *parts):
    return hmac.new(key, b".".join(part.encode() for part in parts), hashlib.sha256)


def moment(at, digits):
    text = at.strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{at.microsecond // 1000:03d}Z" if digits else "Z")


def common(agent="Inkfleet-Webhooks/1.0"):
    return {"Content-Type": "application/json", "User-Agent": agent}


def inkode(event, data, created, secrets, number, seconds):
    body = {"event": event["type"], "payload": data, "timestamp": moment(created, 3)}
    text = compact(body)
    headers = common() | {
        "X-Inkode-Event": event["type"],
        "X-Inkode-Delivery": spelled("we_", ENDPOINT),
        "X-Inkode-Attempt": str(number),
        "webhook-id": spelled("evt_", event["uuid"]),
        "X-Inkode-Signature": "sha256=" + mac(secrets[0].encode(), text).hexdigest(),
    }
    if len(secrets) > 1:
        headers["X-Inkode-Signature-Previous"] = "sha256=" + mac(secrets[1].encode(), text).hexdigest()
    return text, headers


def iloveqr(event, data, created, secrets, number, seconds):
    body = {
        "id": spelled("evt_", event["uuid"]),
        "event": event["type"],
        "createdAt": moment(created, 0),
        "organizationId": spelled("org_", ORG),
        "data": data,
    }
    text = compact(body)
    return text, common() | {
        "webhook-id": spelled("evt_", event["uuid"]),
        "X-Webhook-Signature": mac(secrets[0].encode(), text).hexdigest(),
    }


def inklink(event, data, created, secrets, number, seconds):
    text = compact({"type": event["type"], "timestamp": moment(created, 3), "data": data})
    ident = spelled("wh_evt_", event["uuid"])
    keys = [base64.b64decode(secret.removeprefix("whsec_")) for secret in secrets]
    entries = ["v1," + base64.b64encode(mac(key, ident, seconds, text).digest()).decode() for key in keys]
    return text, common("InkLink-Webhooks/1.0") | {
        "webhook-id": ident,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(entries),
    }


def stripe_like(header, text, event, secrets, seconds):
    return text, common() | {
        "webhook-id": spelled("evt_", event["uuid"]),
        header: f"t={seconds},v1=" + mac(secrets[0].encode(), seconds, text).hexdigest(),
    }


def inkr(event, data, created, secrets, number, seconds):
    body = {
        "id": spelled("evt_", event["uuid"]),
        "type": event["type"],
        "created_at": moment(created, 3),
        "data": {"object": data},
    }
    return stripe_like("Inkr-Signature", compact(body), event, secrets, seconds)


def qrstudio(event, data, created, secrets, number, seconds):
    body = {
        "type": event["type"],
        "id": spelled("evt_", event["uuid"]),
        "created_at": moment(created, 0),
        "data": data,
    }
    return stripe_like("X-QRStudio-Signature", compact(body), event, secrets, seconds)


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def case(dialect, name, data, created, at, number, secrets):
    ident = uuid.UUID(int=(int(created.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62) | 0x2A5C_0FFE)
    parsed = json.loads(data)
    assert compact(parsed) == data, name
    event = {"type": EVENTS[dialect], "uuid": ident}
    seconds = str(int(at.timestamp()))
    body, headers = globals()[dialect](event, parsed, created, secrets, number, seconds)
    return {
        "name": name,
        "secrets": secrets,
        "endpoint": str(ENDPOINT),
        "event": {
            "id": str(ident),
            "org": str(ORG),
            "type": event["type"],
            "created_at": created.isoformat(),
            "data": data,
        },
        "number": number,
        "at": at.isoformat(),
        "body": body,
        "headers": headers,
    }


def cases(dialect):
    utc = timezone.utc
    created = datetime(2026, 4, 2, 18, 34, 11, 7_999, tzinfo=utc)
    whole = datetime(2025, 12, 31, 23, 59, 59, 0, tzinfo=utc)
    one, two = SECRETS[dialect][:1], SECRETS[dialect]
    yield case(dialect, "the first attempt", PLAIN, created, created, 1, one)
    yield case(dialect, "a later attempt has the same body and id, and its own time and number", PLAIN, created,
               datetime(2026, 4, 2, 19, 0, 0, 999_999, tzinfo=utc), 3, one)
    yield case(dialect, "bytes beyond ASCII and escapes", TRICKY, created, created, 1, one)
    yield case(dialect, "a whole second just before midnight", "{}", whole, whole, 1, one)
    yield case(dialect, "the secret before the last rotation beside the present one", PLAIN, created, created, 2, two)


def files():
    for dialect in EVENTS:
        content = {
            "about": "Made by tests/verify/vectors.py --write. Do not edit.",
            "dialect": dialect,
            "cases": list(cases(dialect)),
        }
        yield f"{dialect}.json", json.dumps(content, ensure_ascii=False, indent=2) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        folder = pathlib.Path(__file__).resolve().parent.parent / "vectors"
        for name, text in files():
            (folder / name).write_text(text, encoding="utf-8")
    else:
        print(json.dumps(dict(files())))
