'use strict';

// jsforce's streaming client, as its documentation uses it: logs in, subscribes
// and prints what it receives, one JSON object a line. It ends with standard input.
//
//   node jsforce.js LOGIN_URL USERNAME PASSWORD CHANNEL [REPLAY_ID | "bad token"]
//
// With FLOW it logs in by that one, and prints whose token it has got, twice.

const crypto = require('node:crypto');
const jsforce = require('jsforce');
const { StreamingExtension } = require('jsforce/api/streaming');

const [loginUrl, username, password, channel, option] = process.argv.slice(2);
const badToken = option === 'bad token';

// The JWT bearer flow's assertion: jsforce has none of its own.
function assertion(audience) {
  const part = (object) => Buffer.from(JSON.stringify(object)).toString('base64url');
  const claims = { iss: process.env.CONSUMER_KEY, sub: username, aud: audience, exp: Math.floor(Date.now() / 1000) + 180 };
  const text = `${part({ alg: 'RS256' })}.${part(claims)}`;
  return `${text}.${crypto.sign('RSA-SHA256', Buffer.from(text), process.env.PRIVATE_KEY).toString('base64url')}`;
}

// The flows that jsforce has.
const flows = {
  password: (login) => login.loginByOAuth2(username, password),
  soap: (login) => login.loginBySoap(username, password),
  jwt: (login) => login.authorize({ grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion: assertion('https://login.salesforce.com') }),
  credentials: (login) => login.authorize({ grant_type: 'client_credentials' }),
  refresh: (login) => login.authorize({ grant_type: 'refresh_token', refresh_token: process.env.REFRESH_TOKEN }),
};

async function main() {
  const oauth2 = { loginUrl, clientId: process.env.CONSUMER_KEY, clientSecret: process.env.CONSUMER_SECRET };
  const login = new jsforce.Connection({ loginUrl, oauth2, version: '60.0', logLevel: 'ERROR' });
  await flows[process.env.FLOW || 'password'](login);
  const connection = new jsforce.Connection({
    instanceUrl: login.instanceUrl,
    accessToken: badToken ? 'spoilt' : login.accessToken,
    version: '60.0',
  });
  if (process.env.FLOW) {
    // Once by the URL that the login named, once by the one that REST names.
    for (const { user_id, organization_id, username } of [await login.identity(), await connection.identity()]) {
      console.log(JSON.stringify({ user_id, organization_id, username }));
    }
  }
  const extensions = [new StreamingExtension.AuthFailure(() => console.log(JSON.stringify({ authFailure: true })))];
  if (option !== undefined && !badToken) extensions.push(new StreamingExtension.Replay(channel, Number(option)));
  const client = connection.streaming.createClient(extensions);
  await client.subscribe(channel, (data) => console.log(JSON.stringify(data)));
  console.log(JSON.stringify({ subscribed: channel }));
}

main().catch((error) => console.log(JSON.stringify({ error: String(error) })));
process.stdin.resume().on('end', () => process.exit());
