'use strict';

// The Node client of the Pub/Sub API, as its documentation uses it: logs in, subscribes
// and prints the payloads that it receives, one JSON object a line. It ends with
// standard input. CONFIG is the JSON of the client's configuration. It does not
// subscribe again by itself: with RESUME the program does, after the last event.
//
// Lines of standard input are published on the channel: an object {id, payload} by publish, and a
// list of them by publishBatch, whose stream the client keeps.
//
//   node pubsub.js CHANNEL

const readline = require('readline');
const { default: PubSubApiClient } = require('salesforce-pubsub-api-client');

const [channel] = process.argv.slice(2);
const silent = { debug() {}, info() {}, warn() {}, error: console.error };

// BigInts are what the client makes of int64.
const print = (line) => console.log(JSON.stringify(line, (_, v) => (typeof v === 'bigint' ? Number(v) : v)));

async function main() {
  const client = new PubSubApiClient(JSON.parse(process.env.CONFIG), silent);
  await client.connect();
  // That of the subscription is gone where the one after it fails too.
  let last = null;
  const callback = (subscription, type, data) => {
    if (type === 'event') {
      last = data.replayId;
      print({ replayId: data.replayId, payload: data.payload });
    } else if (type === 'error') print({ error: String(data) });
    else if (type === 'end' && process.env.RESUME) setTimeout(resume, 300);
  };
  const resume = () => (last === null ? client.subscribe(channel, callback) : client.subscribeFromReplayId(channel, callback, null, last));
  resume();
  print({ subscribed: channel });
  for await (const line of readline.createInterface({ input: process.stdin })) await publish(client, JSON.parse(line));
  process.exit();
}

async function publish(client, what) {
  const shown = (results) => results.map(({ replayId, correlationKey }) => ({ replayId, correlationKey }));
  if (Array.isArray(what)) {
    await client.publishBatch(channel, what, (_, type, data) => {
      if (type === 'publishResponse') print({ published: shown(data.results) });
      else if (type === 'error') print({ error: String(data) });
    });
  } else print({ published: shown([await client.publish(channel, what.payload, what.id)]) });
}

main().catch((error) => {
  print({ error: `${error}: ${error.cause}` });
  process.stdin.resume().on('end', () => process.exit());
});
