// Receivers that leave the judgement to a published package.
import { verify as octokitVerify } from '@octokit/webhooks-methods';
import '@shopify/shopify-api/adapters/node';
import { ApiVersion, LogSeverity, shopifyApi } from '@shopify/shopify-api';
import { HTTP } from 'cloudevents';
import { Webhook as StandardWebhook } from 'standardwebhooks';
import Stripe from 'stripe';
import { Webhook as SvixWebhook } from 'svix';

import { Refused } from './verifiers.mjs';

const stripe = new Stripe('sk_test_not_used');

const refusedIfThrown = (judge) => {
  try {
    judge();
  } catch (error) {
    throw new Refused(error.message);
  }
};

const shopify = (secret) =>
  shopifyApi({
    apiKey: 'not-used',
    apiSecretKey: secret,
    apiVersion: Object.values(ApiVersion).at(-1),
    hostName: 'shop.example.com',
    isEmbeddedApp: false,
    logger: { level: LogSeverity.Error },
  });

export const packages = {
  standardwebhooks: (request, response, secret) =>
    refusedIfThrown(() => new StandardWebhook(secret).verify(request.body.toString(), request.headers)),
  svix: (request, response, secret) =>
    refusedIfThrown(() => new SvixWebhook(secret).verify(request.body.toString(), request.headers)),
  stripe: (request, response, secret) =>
    refusedIfThrown(() => stripe.webhooks.constructEvent(request.body, request.headers['stripe-signature'], secret)),
  async octokit(request, response, secret) {
    const signature = request.headers['x-hub-signature-256'] ?? 'none';
    if (!(await octokitVerify(secret, request.body.toString(), signature))) throw new Refused('octokit says no');
  },
  async shopify(request, response, secret) {
    const answer = await shopify(secret).webhooks.validate({
      rawBody: request.body.toString(),
      rawRequest: request,
      rawResponse: response,
    });
    if (!answer.valid) throw new Refused(JSON.stringify(answer));
  },
};

/** What the package reads of a CloudEvent; throws if it is none. */
export const cloudEvent = (request) => {
  const isJson = request.get('content-type')?.includes('json');
  const event = HTTP.toEvent({ headers: request.headers, body: isJson ? request.body.toString() : request.body });
  event.validate();
  const { data, data_base64: _, ...attributes } = event.toJSON();
  const isBytes = ArrayBuffer.isView(event.data);
  return { attributes, data: isBytes ? null : data, bytes: isBytes ? Buffer.from(event.data).toString('base64') : null };
};
