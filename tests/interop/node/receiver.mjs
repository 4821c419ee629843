// All receivers of Node.js, on one port: /KIND/DIALECT/SECRET, where SECRET is `new` or `old`. 200: the
// request is accepted, 401: it is refused. Ends when standard input ends.
import express from 'express';

import { cloudEvent, packages } from './packages.mjs';
import { POST } from './route.mjs';
import { Refused, verifiers } from './verifiers.mjs';

const secretOf = (dialect, which) => {
  const kind = dialect === 'standard-webhooks-ed25519' ? 'WHPK' : dialect.startsWith('standard-webhooks') ? 'WHSEC' : 'TEXT';
  return process.env[`${kind}_${which.toUpperCase()}`];
};

const JSON_ONLY = { type: 'application/json', limit: '1mb' };
const app = express();

/** Answers 401 where a verifier refuses. What else is thrown becomes Express' 500. */
const judged = (judge) => async (request, response) => {
  try {
    if (!Object.keys(request.body ?? {}).length && !Buffer.isBuffer(request.body)) throw new Refused('no JSON came');
    await judge(request, response);
    response.sendStatus(200);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    response.status(401).send(error.message);
  }
};

app.post('/express-raw/:dialect/:which', express.raw(JSON_ONLY), judged((request) => {
  const { dialect, which } = request.params;
  verifiers[dialect]((name) => request.get(name), request.body, secretOf(dialect, which));
}));

app.post('/express-json/:dialect/:which', express.json(JSON_ONLY), judged((request) => {
  const { dialect, which } = request.params;
  verifiers[dialect]((name) => request.get(name), JSON.stringify(request.body), secretOf(dialect, which));
}));

app.post('/npm/cloudevents/:which', express.raw({ type: () => true, limit: '1mb' }), (request, response) => {
  response.json(cloudEvent(request));
});

const PACKAGE_DIALECTS = { standardwebhooks: 'standard-webhooks', svix: 'standard-webhooks' };
app.post('/npm/:package/:which', express.raw(JSON_ONLY), judged((request, response) => {
  const { package: name, which } = request.params;
  return packages[name](request, response, secretOf(PACKAGE_DIALECTS[name] ?? name, which));
}));

app.post('/next/:dialect/:which', async (request, response) => {
  const { dialect, which } = request.params;
  const web = new Request(`http://localhost${request.url}`, {
    method: 'POST', headers: request.headers, body: request, duplex: 'half',
  });
  const answer = await POST(web, { params: { dialect }, secret: secretOf(dialect, which) });
  response.status(answer.status).send(await answer.text());
});

const server = app.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`));
process.stdin.on('end', () => process.exit(0)).resume();
