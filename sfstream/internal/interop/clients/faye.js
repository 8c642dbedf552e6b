'use strict';

// faye's client against Salesforce, as its documentation and that of the Streaming API
// put it together: logs in, subscribes with a replay extension and prints what it receives
// and hears of its connection, one JSON object a line. It ends with standard input.
//
//   node faye.js LOGIN_URL USERNAME PASSWORD CHANNEL

const faye = require('faye');

const [loginUrl, username, password, channel] = process.argv.slice(2);
const print = (line) => console.log(JSON.stringify(line));

async function login() {
  const response = await fetch(`${loginUrl}/services/oauth2/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'password',
      client_id: process.env.CONSUMER_KEY,
      client_secret: process.env.CONSUMER_SECRET,
      username,
      password,
    }),
  });
  if (!response.ok) throw new Error(await response.text());
  return response.json();
}

// Each subscribe names the last event that came.
class Replay {
  last = -1;

  outgoing(message, callback) {
    if (message.channel === '/meta/subscribe') message.ext = { ...message.ext, replay: { [message.subscription]: this.last } };
    callback(message);
  }

  incoming(message, callback) {
    if (message.data?.event) this.last = message.data.event.replayId;
    callback(message);
  }
}

async function main() {
  const { access_token, instance_url } = await login();
  const client = new faye.Client(`${instance_url}/cometd/60.0`);
  client.setHeader('Authorization', `OAuth ${access_token}`);
  client.addExtension(new Replay());
  client.on('transport:down', () => print({ down: true }));
  client.on('transport:up', () => print({ up: true }));
  await client.subscribe(channel, print);
  print({ subscribed: channel });
}

main().catch((error) => print({ error: String(error.message ?? error) }));
process.stdin.resume().on('end', () => process.exit());
