// Reads one JSON text a line, itself written as a JSON string, and writes a line with
// JSON.stringify(JSON.parse(text)) for each: what a receiver in Node.js verifies.
import { createInterface } from 'node:readline';

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  process.stdout.write(JSON.stringify(JSON.parse(JSON.parse(line))) + '\n');
}
