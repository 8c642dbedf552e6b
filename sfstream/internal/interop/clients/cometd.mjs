// CometD's client in Node against Salesforce, as its documentation and that of the
// Streaming API put it together: logs in, subscribes with a replay extension and prints
// what it receives and hears of its connection, one JSON object a line. It ends with
// standard input.
//
//   node cometd.mjs LOGIN_URL USERNAME PASSWORD CHANNEL

import { adapt } from 'cometd-nodejs-client';
import { CometD } from 'cometd';

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

  outgoing(message) {
    if (message.channel === '/meta/subscribe') message.ext = { ...message.ext, replay: { [message.subscription]: this.last } };
    return message;
  }

  incoming(message) {
    if (message.data?.event) this.last = message.data.event.replayId;
    return message;
  }
}

async function main() {
  const { access_token, instance_url } = await login();
  adapt();
  const client = new CometD();
  client.unregisterTransport('websocket');
  client.registerExtension('replay', new Replay());
  client.configure({
    url: `${instance_url}/cometd/60.0`,
    requestHeaders: { Authorization: `Bearer ${access_token}` },
    appendMessageTypeToURL: false,
    logLevel: 'warn',
  });
  let up = true;
  client.addListener('/meta/connect', (message) => {
    if (message.successful !== up) print((up = message.successful) ? { up } : { down: true });
  });
  client.addListener('/meta/handshake', (message) => {
    if (!message.successful) {
      print({ error: message.error ?? String(message.failure?.exception ?? message.failure?.reason) });
      return;
    }
    // A new session has no channels.
    client.subscribe(channel, print, (reply) => print(reply.successful ? { subscribed: channel } : { error: reply.error }));
  });
  client.handshake();
}

main().catch((error) => print({ error: String(error.message ?? error) }));
process.stdin.resume().on('end', () => process.exit());
