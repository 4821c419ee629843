// A route handler as Next.js has them: it gets a web `Request` and gives a `Response`.
import { Refused, verifiers } from './verifiers.mjs';

export async function POST(request, { params, secret }) {
  const body = await request.text();
  try {
    verifiers[params.dialect]((name) => request.headers.get(name), body, secret);
  } catch (error) {
    if (error instanceof Refused) return new Response(error.message, { status: 401 });
    throw error;
  }
  return Response.json({ received: true });
}
