// node oidc-provider: client credentials, opaque tokens, introspection, and one resource that wants a token: the
// owner of its client.
import Provider from 'oidc-provider';

export async function handler(store, { url, clientId, secret, ownerId }) {
  await store.put('Client', clientId, {
    client_id: clientId,
    client_secret: secret,
    owner: ownerId,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    token_endpoint_auth_method: 'client_secret_basic',
  });

  class Adapter {
    constructor(kind) {
      this.kind = kind;
    }
    find(id) {
      return store.get(this.kind, id);
    }
    upsert(id, payload, expiresIn) {
      return store.put(this.kind, id, payload, expiresIn ? Math.floor(Date.now() / 1000) + expiresIn : null);
    }
    destroy(id) {
      return store.remove(this.kind, id);
    }
  }

  const provider = new Provider(url, {
    adapter: Adapter,
    extraClientMetadata: { properties: ['owner'] },
    extraTokenClaims: (ctx) => ({ owner: ctx.oidc.client.owner }),
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      introspection: { enabled: true, allowedPolicy: (ctx, client, token) => token.clientId === client.clientId },
    },
    ttl: { ClientCredentials: 3600 },
  });
  provider.use(async (ctx, next) => {
    if (ctx.path !== '/resource') return next();
    const [scheme, value] = (ctx.get('authorization') || '').split(' ');
    const token = scheme === 'Bearer' ? await provider.ClientCredentials.find(value) : undefined;
    if (!token) ctx.throw(401);
    ctx.body = await store.get('owner', token.extra.owner);
  });
  return provider.callback();
}
