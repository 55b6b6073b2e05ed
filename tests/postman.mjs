// Runs the requests of a Postman collection one after the other, as far as ours needs it: `node postman.mjs FILE`.
// Prints the status and the body of each answer; ends with 1 if the last one of a request was not 200.
// Its scripts see the part of https://learning.postman.com/docs/tests-and-scripts/write-scripts/postman-sandbox-reference/overview/
// that is here; what they set lasts until the end. The variables of its "environment" are those of this process.
import { readFileSync } from "node:fs";

const collection = JSON.parse(readFileSync(process.argv[2]));
const kept = new Map(collection.variable.map(({ key, value }) => [key, value]));
const filled = (text) => text.replace(/{{(\w+)}}/g, (_, name) => kept.get(name));

async function run(when, name, response) {
  const waited = [];
  let next = null;
  const pm = {
    info: { requestName: name },
    response,
    collectionVariables: { get: (key) => kept.get(key), set: (key, value) => kept.set(key, value) },
    environment: { get: (key) => process.env[key] },
    execution: { setNextRequest: (it) => { next = it; } },
    sendRequest: ({ url, method, header, body }, callback) => {
      const form = new URLSearchParams(body.urlencoded.map(({ key, value }) => [key, value]));
      waited.push(fetch(url, { method, headers: header, body: form }).then(async (answer) => {
        const text = await answer.text();
        callback(null, { code: answer.status, text: () => text, json: () => JSON.parse(text) });
      }));
    },
  };
  const { script } = collection.event.find(({ listen }) => listen === when);
  new Function("pm", script.exec.join("\n"))(pm);
  await Promise.all(waited); // as Postman, which sends the request when all is answered
  return next;
}

let failed = false;
for (let place = 0; place < collection.item.length;) {
  const { name, request } = collection.item[place];
  await run("prerequest", name);
  const [{ value }] = collection.auth.bearer;
  const values = new Map(request.url.variable.map((it) => [it.key, it.value]));
  const url = filled(request.url.raw).replace(/:([a-z]+)/g, (all, key) => values.get(key) ?? all);
  const answer = await fetch(url, { method: request.method, headers: { Authorization: `Bearer ${filled(value)}` } });
  console.log(answer.status, await answer.text());
  const next = await run("test", name, { code: answer.status });
  if (next === null) {
    failed ||= answer.status !== 200;
    place += 1;
  } else {
    place = collection.item.findIndex((it) => it.name === next);
  }
}
process.exitCode = failed ? 1 : 0;
