'use strict';

// jsforce's streaming client, as its documentation uses it: logs in, subscribes
// and prints what it receives, one JSON object a line. It ends with standard input.
//
//   node jsforce.js LOGIN_URL USERNAME PASSWORD CHANNEL [REPLAY_ID | "bad token"]

const jsforce = require('jsforce');
const { StreamingExtension } = require('jsforce/api/streaming');

const [loginUrl, username, password, channel, option] = process.argv.slice(2);
const badToken = option === 'bad token';

async function main() {
  const oauth2 = { loginUrl, clientId: process.env.CONSUMER_KEY, clientSecret: process.env.CONSUMER_SECRET };
  const login = new jsforce.Connection({ oauth2, version: '60.0' });
  await login.loginByOAuth2(username, password);
  const connection = new jsforce.Connection({
    instanceUrl: login.instanceUrl,
    accessToken: badToken ? 'spoilt' : login.accessToken,
    version: '60.0',
  });
  const extensions = [new StreamingExtension.AuthFailure(() => console.log(JSON.stringify({ authFailure: true })))];
  if (option !== undefined && !badToken) extensions.push(new StreamingExtension.Replay(channel, Number(option)));
  const client = connection.streaming.createClient(extensions);
  await client.subscribe(channel, (data) => console.log(JSON.stringify(data)));
  console.log(JSON.stringify({ subscribed: channel }));
}

main().catch((error) => console.log(JSON.stringify({ error: String(error) })));
process.stdin.resume().on('end', () => process.exit());
