"""What the receivers of each dialect check, written from its description. A verifier gets the headers,
the body's bytes and the one secret that it knows."""

import base64
import hashlib
import hmac
import time

TOLERANCE = 5 * 60


class Refused(Exception):
    """A request that a receiver does not accept."""


def mac(key, *parts):
    return hmac.new(key, b"".join(parts), hashlib.sha256)


def header(headers, name):
    value = headers.get(name)
    if not value:
        raise Refused(f"{name} is missing")
    return value


def is_(headers, name, wanted):
    if header(headers, name) != wanted:
        raise Refused(f"{name} is {headers[name]}")


def near(text, unit):
    """The timestamp as it was signed, in bytes; it must be near, both ways."""
    if not text.isdigit():
        raise Refused("no timestamp")
    if abs(time.time() - int(text) / unit) > TOLERANCE:
        raise Refused("timestamp out of tolerance")
    return text.encode()


def signed(wanted, *given):
    if not any(hmac.compare_digest(wanted, one) for one in given):
        raise Refused("wrong signature")


def cost_katana(headers, body, secret):
    header(headers, "X-CostKatana-Event-Id")
    header(headers, "X-CostKatana-Webhook-Id")
    is_(headers, "User-Agent", "CostKatana-Webhook/1.0")
    ts = near(header(headers, "X-CostKatana-Timestamp"), 1000)
    wanted = "sha256=" + mac(secret.encode(), ts, b".", body).hexdigest()
    signed(wanted, header(headers, "X-CostKatana-Signature"))


def ops_center(headers, body, secret):
    header(headers, "X-Webhook-Event")
    is_(headers, "User-Agent", "Ops-Center-Webhook/1.0")
    signed(mac(secret.encode(), body).hexdigest(), header(headers, "X-Webhook-Signature"))


def llm_optimizer(headers, body, secret):
    header(headers, "X-Webhook-Event-Type")
    header(headers, "X-Webhook-Event-Id")
    is_(headers, "X-Webhook-Algorithm", "sha256")
    is_(headers, "User-Agent", "LLM-Auto-Optimizer-Webhook/1.0")
    ts = near(header(headers, "X-Webhook-Timestamp"), 1000)
    signed(mac(secret.encode(), ts, b".", body).hexdigest(), header(headers, "X-Webhook-Signature"))


def dcision(headers, body, secret):
    ts = near(header(headers, "X-DcisionAI-Timestamp"), 1)
    signed(mac(secret.encode(), ts, b".", body).hexdigest(), header(headers, "X-DcisionAI-Signature"))


def standard_webhooks(headers, body, secret):
    identity = header(headers, "webhook-id").encode()
    ts = near(header(headers, "webhook-timestamp"), 1)
    key = base64.b64decode(secret.removeprefix("whsec_"))
    wanted = base64.b64encode(mac(key, identity, b".", ts, b".", body).digest()).decode()
    signed("v1," + wanted, *header(headers, "webhook-signature").split(" "))


def github(headers, body, secret):
    header(headers, "X-GitHub-Event")
    header(headers, "X-GitHub-Delivery")
    signed("sha256=" + mac(secret.encode(), body).hexdigest(), header(headers, "X-Hub-Signature-256"))


def stripe(headers, body, secret):
    entries = [entry.partition("=") for entry in header(headers, "Stripe-Signature").split(",")]
    ts = near(next((value for name, _, value in entries if name == "t"), ""), 1)
    given = [value for name, _, value in entries if name == "v1"]
    signed(mac(secret.encode(), ts, b".", body).hexdigest(), *given)


def shopify(headers, body, secret):
    for name in ("Topic", "Webhook-Id", "Shop-Domain", "API-Version"):
        header(headers, f"X-Shopify-{name}")
    wanted = base64.b64encode(mac(secret.encode(), body).digest()).decode()
    signed(wanted, header(headers, "X-Shopify-Hmac-Sha256"))


def slack(headers, body, secret):
    ts = near(header(headers, "X-Slack-Request-Timestamp"), 1)
    wanted = "v0=" + mac(secret.encode(), b"v0:", ts, b":", body).hexdigest()
    signed(wanted, header(headers, "X-Slack-Signature"))


VERIFIERS = {
    "cost-katana": cost_katana,
    "ops-center": ops_center,
    "llm-optimizer": llm_optimizer,
    "dcision": dcision,
    "standard-webhooks": standard_webhooks,
    "github": github,
    "stripe": stripe,
    "shopify": shopify,
    "slack": slack,
}
