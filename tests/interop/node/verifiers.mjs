// What the receivers of each dialect check, written from its description. A verifier gets a function
// that looks a header up, the bytes that count as the body, and the one secret that it knows.
import { createHmac, createPublicKey, timingSafeEqual, verify } from 'node:crypto';

const TOLERANCE_MS = 5 * 60 * 1000;
// What comes before the 32 bytes of an Ed25519 public key in its DER form.
const ED25519_DER = Buffer.from('302a300506032b6570032100', 'hex');

/** A request that a receiver does not accept. */
export class Refused extends Error {}

const hmac = (key, parts, encoding) => {
  const mac = createHmac('sha256', key);
  parts.forEach((part) => mac.update(part));
  return mac.digest(encoding);
};

const equal = (left, right) => {
  const [a, b] = [Buffer.from(left), Buffer.from(right)];
  return a.length === b.length && timingSafeEqual(a, b);
};

const present = (header, ...names) => {
  for (const name of names) if (!header(name)) throw new Refused(`${name} is missing`);
};

const is = (header, name, wanted) => {
  present(header, name);
  if (header(name) !== wanted) throw new Refused(`${name} is ${header(name)}`);
};

const signed = (given, ...wanted) => {
  if (!given.some((one) => wanted.some((right) => equal(one, right)))) throw new Refused('wrong signature');
};

/** The timestamp as it was signed; it must be near, both ways. */
const near = (text, unitMs) => {
  if (!/^\d+$/.test(text ?? '')) throw new Refused('no timestamp');
  if (Math.abs(Date.now() - Number(text) * unitMs) > TOLERANCE_MS) throw new Refused('timestamp out of tolerance');
  return text;
};

const base64Key = (secret) => Buffer.from(secret.replace(/^whsec_/, ''), 'base64');

export const verifiers = {
  'cost-katana'(header, body, secret) {
    present(header, 'x-costkatana-event-id', 'x-costkatana-webhook-id');
    is(header, 'user-agent', 'CostKatana-Webhook/1.0');
    const ts = near(header('x-costkatana-timestamp'), 1);
    signed([header('x-costkatana-signature') ?? ''], `sha256=${hmac(secret, [ts, '.', body], 'hex')}`);
  },
  'ops-center'(header, body, secret) {
    present(header, 'x-webhook-event');
    is(header, 'user-agent', 'Ops-Center-Webhook/1.0');
    signed([header('x-webhook-signature') ?? ''], hmac(secret, [body], 'hex'));
  },
  'llm-optimizer'(header, body, secret) {
    present(header, 'x-webhook-event-type', 'x-webhook-event-id');
    is(header, 'x-webhook-algorithm', 'sha256');
    is(header, 'user-agent', 'LLM-Auto-Optimizer-Webhook/1.0');
    const members = Object.keys(JSON.parse(body)).join();
    if (members !== 'id,eventType,timestamp,data,version') throw new Refused(`members ${members}`);
    const ts = near(header('x-webhook-timestamp'), 1);
    signed([header('x-webhook-signature') ?? ''], hmac(secret, [ts, '.', body], 'hex'));
  },
  dcision(header, body, secret) {
    const ts = near(header('x-dcisionai-timestamp'), 1000);
    signed([header('x-dcisionai-signature') ?? ''], hmac(secret, [ts, '.', body], 'hex'));
  },
  'standard-webhooks'(header, body, secret) {
    present(header, 'webhook-id', 'webhook-signature');
    const ts = near(header('webhook-timestamp'), 1000);
    const wanted = hmac(base64Key(secret), [header('webhook-id'), '.', ts, '.', body], 'base64');
    signed(header('webhook-signature').split(' '), `v1,${wanted}`);
  },
  'standard-webhooks-ed25519'(header, body, secret) {
    present(header, 'webhook-id', 'webhook-signature');
    const ts = near(header('webhook-timestamp'), 1000);
    const bytes = Buffer.from(secret.replace(/^whpk_/, ''), 'base64');
    const key = createPublicKey({ key: Buffer.concat([ED25519_DER, bytes]), format: 'der', type: 'spki' });
    const message = Buffer.concat([Buffer.from(`${header('webhook-id')}.${ts}.`), Buffer.from(body)]);
    const holds = header('webhook-signature').split(' ').some((entry) => {
      const [version, signature] = entry.split(',');
      return version === 'v1a' && verify(null, message, key, Buffer.from(signature, 'base64'));
    });
    if (!holds) throw new Refused('wrong signature');
  },
  github(header, body, secret) {
    present(header, 'x-github-event', 'x-github-delivery');
    signed([header('x-hub-signature-256') ?? ''], `sha256=${hmac(secret, [body], 'hex')}`);
  },
  stripe(header, body, secret) {
    const entries = (header('stripe-signature') ?? '').split(',').map((entry) => entry.split('='));
    const ts = near(entries.find(([name]) => name === 't')?.[1], 1000);
    const given = entries.filter(([name]) => name === 'v1').map(([, value]) => value);
    signed(given, hmac(secret, [ts, '.', body], 'hex'));
  },
  shopify(header, body, secret) {
    present(header, 'x-shopify-topic', 'x-shopify-webhook-id', 'x-shopify-shop-domain', 'x-shopify-api-version');
    signed([header('x-shopify-hmac-sha256') ?? ''], hmac(secret, [body], 'base64'));
  },
  slack(header, body, secret) {
    const ts = near(header('x-slack-request-timestamp'), 1000);
    signed([header('x-slack-signature') ?? ''], `v0=${hmac(secret, ['v0:', ts, ':', body], 'hex')}`);
  },
};
