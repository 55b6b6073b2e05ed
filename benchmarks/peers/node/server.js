// node server.js oidc|oauth2: two processes on PORT of loopback, with the database, the client and its owner
// of the environment.
import cluster from 'node:cluster';
import { createServer } from 'node:http';
import { open } from './store.js';

const { PORT, DATABASE_URL, CLIENT_ID: clientId, CLIENT_SECRET: secret, OWNER, WORKERS = '2' } = process.env;

if (cluster.isPrimary) {
  await open(DATABASE_URL); // one makes the table
  for (let worker = 0; worker < Number(WORKERS); worker += 1) cluster.fork();
  process.on('SIGTERM', () => process.exit(0));
} else {
  const { handler } = await import(`./${process.argv[2]}.js`);
  const store = await open(DATABASE_URL);
  const owner = JSON.parse(OWNER);
  await store.put('owner', owner.uid, owner);
  const given = { url: `http://127.0.0.1:${PORT}`, clientId, secret, ownerId: owner.uid };
  createServer(await handler(store, given)).listen(PORT, '127.0.0.1');
}
