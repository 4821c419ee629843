"""All receivers of Python, on one port: /KIND/DIALECT/SECRET, where SECRET is `new` or `old`. 200: the
request is accepted, 401: it is refused. Ends when standard input ends."""

import base64
import logging
import os
import sys
import threading
from datetime import timezone

import standardwebhooks
import stripe
import svix
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from flask import Flask, request
from slack_sdk.signature import SignatureVerifier
from werkzeug.serving import make_server

from verifiers import VERIFIERS, Refused

app = Flask(__name__)


def secret_of(dialect, which):
    kind = "WHSEC" if dialect in ("standard-webhooks", "standardwebhooks", "svix") else "TEXT"
    return os.environ[f"{kind}_{which.upper()}"]


def by_standardwebhooks(body, headers, secret):
    standardwebhooks.Webhook(secret).verify(body, dict(headers))


def by_svix(body, headers, secret):
    svix.Webhook(secret).verify(body, dict(headers))


def by_stripe(body, headers, secret):
    stripe.Webhook.construct_event(body, headers.get("Stripe-Signature"), secret)


def by_slack_sdk(body, headers, secret):
    if not SignatureVerifier(secret).is_valid_request(body, dict(headers)):
        raise Refused("slack_sdk says no")


PACKAGES = {
    "standardwebhooks": by_standardwebhooks,
    "svix": by_svix,
    "stripe": by_stripe,
    "slack_sdk": by_slack_sdk,
}
REFUSALS = (
    Refused,
    standardwebhooks.WebhookVerificationError,
    svix.WebhookVerificationError,
    stripe.SignatureVerificationError,
)


@app.errorhandler(Exception)
def failed(error):
    return str(error), 401 if isinstance(error, REFUSALS) else 500


@app.post("/flask/<dialect>/<which>")
def flask(dialect, which):
    if request.mimetype != "application/json":
        raise Refused("not JSON")
    VERIFIERS[dialect](request.headers, request.get_data(), secret_of(dialect, which))
    return "", 200


@app.post("/pypi/<package>/<which>")
def pypi(package, which):
    PACKAGES[package](request.get_data(), request.headers, secret_of(package, which))
    return "", 200


@app.post("/pypi/cloudevents/<_which>")
def cloudevents(_which):
    """What the package reads of a CloudEvent; fails if it is none."""
    event = from_http_event(HTTPMessage(headers=dict(request.headers), body=request.get_data()))
    attributes = dict(event.get_attributes())
    time = attributes["time"].astimezone(timezone.utc)
    attributes["time"] = time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    data, encoded = event.get_data(), None
    if isinstance(data, bytes):
        data, encoded = None, base64.b64encode(data).decode()
    return {"attributes": attributes, "data": data, "bytes": encoded}


logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = make_server("127.0.0.1", 0, app, threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(f"listening {server.server_port}", flush=True)
sys.stdin.read()
