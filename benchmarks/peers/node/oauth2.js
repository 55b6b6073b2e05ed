// @node-oauth/oauth2-server: client credentials, opaque tokens, and one resource that wants a token: the
// owner of its client.
import { createHash, timingSafeEqual } from 'node:crypto';
import OAuth2Server from '@node-oauth/oauth2-server';

const sha256 = (text) => createHash('sha256').update(text).digest('hex');

export async function handler(store, { clientId, secret, ownerId }) {
  const client = { id: clientId, digest: sha256(secret), owner: ownerId, grants: ['client_credentials'] };
  await store.put('client', clientId, client);

  const server = new OAuth2Server({
    accessTokenLifetime: 3600,
    model: {
      async getClient(id, shown) {
        const client = await store.get('client', id);
        return client && timingSafeEqual(Buffer.from(client.digest), Buffer.from(sha256(shown))) ? client : undefined;
      },
      getUserFromClient: async (client) => ({ id: client.owner }),
      async saveToken(token, client, user) {
        const expires = Math.floor(token.accessTokenExpiresAt / 1000);
        await store.put('token', sha256(token.accessToken), { client: client.id, user: user.id, expires }, expires);
        return { ...token, client, user };
      },
      async getAccessToken(accessToken) {
        const found = await store.get('token', sha256(accessToken));
        return (
          found && {
            accessToken,
            accessTokenExpiresAt: new Date(found.expires * 1000),
            client: { id: found.client },
            user: { id: found.user },
          }
        );
      },
    },
  });

  return async (message, reply) => {
    const chunks = [];
    for await (const chunk of message) chunks.push(chunk);
    const request = new OAuth2Server.Request({
      method: message.method,
      headers: message.headers,
      query: {},
      body: Object.fromEntries(new URLSearchParams(Buffer.concat(chunks).toString())),
    });
    const response = new OAuth2Server.Response();
    try {
      if (message.url === '/token') await server.token(request, response);
      else response.body = await store.get('owner', (await server.authenticate(request, response)).user.id);
    } catch (error) {
      response.status = error.code || 500;
      response.body = { error: error.name };
    }
    reply.writeHead(response.status, { ...response.headers, 'content-type': 'application/json' });
    reply.end(JSON.stringify(response.body));
  };
}
