// What both peers keep in a database: documents under an id, in PostgreSQL or in SQLite (WAL; a commit is not synced: a
// token that a power cut takes is asked for again).
import Database from 'better-sqlite3';
import pg from 'pg';

const SCHEMA = `CREATE TABLE IF NOT EXISTS documents
  (kind text NOT NULL, id text NOT NULL, payload text NOT NULL, expires bigint, PRIMARY KEY (kind, id))`;
const GET = 'SELECT payload, expires FROM documents WHERE kind = $1 AND id = $2';
const PUT = `INSERT INTO documents (kind, id, payload, expires) VALUES ($1, $2, $3, $4)
  ON CONFLICT (kind, id) DO UPDATE SET payload = excluded.payload, expires = excluded.expires`;
const REMOVE = 'DELETE FROM documents WHERE kind = $1 AND id = $2';

export async function open(url) {
  return url.startsWith('sqlite:') ? sqlite(url.slice('sqlite:///'.length)) : postgres(url);
}

const live = (row) => (row && (row.expires === null || row.expires * 1000 > Date.now()) ? JSON.parse(row.payload) : undefined);

async function postgres(url) {
  const pool = new pg.Pool({ connectionString: url, max: 8 });
  await pool.query(SCHEMA);
  return {
    get: async (kind, id) => live((await pool.query({ name: 'get', text: GET, values: [kind, id] })).rows[0]),
    put: (kind, id, payload, expires = null) =>
      pool.query({ name: 'put', text: PUT, values: [kind, id, JSON.stringify(payload), expires] }),
    remove: (kind, id) => pool.query({ name: 'remove', text: REMOVE, values: [kind, id] }),
  };
}

function sqlite(path) {
  const database = new Database(path, { timeout: 20000 });
  database.pragma('journal_mode = WAL');
  database.pragma('synchronous = NORMAL');
  database.exec(SCHEMA);
  const [get, put, remove] = [GET, PUT, REMOVE].map((text) => database.prepare(text.replaceAll(/\$\d/g, '?')));
  return {
    get: async (kind, id) => live(get.get(kind, id)),
    put: async (kind, id, payload, expires = null) => put.run(kind, id, JSON.stringify(payload), expires),
    remove: async (kind, id) => remove.run(kind, id),
  };
}
