"""Verifies requests as their receivers would, with the libraries they would use.

Reads a JSON list of {name, dialect, headers, body, secret, genuine} from standard input; says which of them the
receiver judges otherwise than `genuine`, and ends with 1 if there are any.
"""

import hashlib
import hmac
import json
import sys

import standardwebhooks
import stripe


def inkode(headers, body, secret):
    expected = "sha256=" + hmac.new(secret.encode(), body.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(headers["X-Inkode-Signature"], expected)


def iloveqr(headers, body, secret):
    expected = hmac.new(secret.encode(), body.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(headers["X-Webhook-Signature"], expected)


def inklink(headers, body, secret):
    # Both ways of handing the secret over are in use: the text, and the part after the prefix.
    answers = set()
    for given in (secret, secret.removeprefix("whsec_")):
        try:
            standardwebhooks.Webhook(given).verify(body, headers)
            answers.add(True)
        except standardwebhooks.WebhookVerificationError:
            answers.add(False)
    assert len(answers) == 1
    return answers.pop()


def by_stripe(header):
    def check(headers, body, secret):
        try:
            return stripe.WebhookSignature.verify_header(body, headers[header], secret, tolerance=300)
        except stripe.SignatureVerificationError:
            return False

    return check


CHECKS = {
    "inkode": inkode,
    "iloveqr": iloveqr,
    "inklink": inklink,
    "inkr": by_stripe("Inkr-Signature"),
    "qrstudio": by_stripe("X-QRStudio-Signature"),
}

wrong = [
    case["name"]
    for case in json.load(sys.stdin)
    if CHECKS[case["dialect"]](case["headers"], case["body"], case["secret"]) is not case["genuine"]
]
print("\n".join(wrong))
sys.exit(1 if wrong else 0)
