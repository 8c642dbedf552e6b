'use strict';

// What Salesforce has around a Bayeux server: the token endpoint, the list of
// API versions, the bearer check on every request, and the event log that
// /meta/subscribe replays from. The Bayeux part (sessions, cookies, the held
// connect, queues, the order on the wire) is the real server's; see cometd.js
// and faye.js. What is wrong with the network is told to POST /control/….
//
// Standard output is one line, the URL. Standard error is the wire log. The
// process ends when its standard input does, so it cannot outlive its test.

const http = require('node:http');
const { parseArgs } = require('node:util');

const ENDPOINT = '/cometd/60.0';

// Log is what Salesforce retains: per channel, events with increasing replay ids
// that have gaps.
class Log {
  channels = new Map();

  append(channel, data) {
    const events = this.events(channel);
    const last = events.length === 0 ? 1000 : events.at(-1).event.replayId;
    const replayId = last + 1 + (events.length * 3) % 5;
    const event = { createdDate: new Date().toISOString(), replayId, type: 'created' };
    events.push({ ...data, event });
    return events.at(-1);
  }

  events(channel) {
    if (!this.channels.has(channel)) this.channels.set(channel, []);
    return this.channels.get(channel);
  }

  // replay is what a /meta/subscribe asks for: { events } or { error }.
  replay(message) {
    const wanted = message.ext?.replay;
    if (wanted === undefined || wanted === true) return { events: [] };
    const channel = message.subscription;
    const id = wanted[channel];
    if (id === undefined) {
      return { error: `400::The replayId for channel {${channel}} wasn't found using the provided replay ID map ` +
        `{${JSON.stringify(wanted)}}. Ensure that the channel name you provided in the replay map is valid and ` +
        'matches the channel name used for subscribing.' };
    }
    const events = this.events(channel);
    if (Number(id) === -1) return { events: [] };
    if (Number(id) === -2) return { events: events.slice() };
    const at = events.findIndex((e) => e.event.replayId === Number(id));
    if (at < 0) {
      return { error: `400::The replayId {${id}} you provided was invalid.  Please provide a valid ID, ` +
        '-2 to replay all events, or -1 to replay only new events.' };
    }
    return { events: events.slice(at + 1) };
  }
}

// Refusals of a token that is missing or has expired, by style. http is a
// gateway's answer, the others are Bayeux.
const refusals = {
  salesforce(message, reason) {
    if (message.channel === '/meta/handshake') {
      return {
        error: '403::Handshake denied',
        advice: { reconnect: 'none' },
        ext: { sfdc: { failureReason: reason }, replay: true, 'payload.format': true },
      };
    }
    return { error: reason, ...(message.channel === '/meta/connect' && { advice: { reconnect: 'none', interval: 0 } }) };
  },
  plain: (message, reason) => ({ error: reason }),
};

function refuse(message, why) {
  const { id, channel, clientId, subscription } = message;
  return { id, channel, clientId, subscription, successful: false, ...why };
}

function json(response, status, value) {
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify(value));
}

// serve runs an org around the server that create makes:
//
//   create({ hold, log }) -> {
//     handle(request, response, body),   one POST
//     publish(channel, data),            to all subscribers, now
//     forget() -> [clientId],            lose all sessions, wake their connects
//     sessions() -> number,
//   }
exports.serve = function serve(create) {
  const options = parseArgs({ options: { hold: { type: 'string', default: '2000' } } }).values;
  const log = new Log();
  const bayeux = create({ hold: Number(options.hold), log });

  const count = { handshakes: 0, logins: 0, duplicates: 0, unauthorized: 0, subscribes: 0, unsubscribes: 0, disconnects: 0 };
  const tokens = new Set(); // that are valid
  const held = new Set(); // connects without an answer: { clientId, response, swallow }
  const forgotten = new Set(); // client ids, where the style of the refusal is Salesforce's
  let style = 'salesforce'; // of the refusal of a token
  let unknownAdvice; // of 403::Unknown client
  let busyUntil = 0;
  let blackholeUntil = 0;
  let requests = 0;

  const started = process.hrtime.bigint();
  const trace = (...words) => {
    const seconds = Number(process.hrtime.bigint() - started) / 1e9;
    process.stderr.write(`${seconds.toFixed(3)} ${words.join(' ')}\n`);
  };

  function login(request, response, body) {
    const form = new URLSearchParams(body);
    if (form.get('grant_type') !== 'password' || !form.get('username') || !form.get('password')) {
      json(response, 400, { error: 'invalid_grant', error_description: 'authentication failure' });
      return;
    }
    count.logins++;
    const token = `00Dxx0000001gPL!token${count.logins}`;
    tokens.add(token);
    const url = `http://${request.headers.host}`;
    json(response, 200, {
      access_token: token,
      instance_url: url,
      id: `${url}/id/00Dxx0000001gPLEAY/005xx000001SwiUAAS`,
      token_type: 'Bearer',
      issued_at: String(Date.now()),
      signature: 'c2lnbmF0dXJl',
    });
  }

  // unauthorized tells why the request's token is no good, or nothing.
  function unauthorized(request) {
    const [, token] = /^(?:Bearer|OAuth) (.+)$/.exec(request.headers.authorization ?? '') ?? [];
    if (token === undefined) return '401::Request requires authentication';
    return tokens.has(token) ? undefined : '401::Authentication invalid';
  }

  function cometd(request, response, body) {
    const number = ++requests;
    trace(`> ${number}`, body);
    const end = response.end;
    response.end = (content, ...rest) => {
      const dead = !response.socket || response.socket.destroyed;
      trace(`< ${number}`, dead ? 'into a closed socket' : response.statusCode, content ?? '');
      return end.call(response, content, ...rest);
    };

    if (Date.now() < blackholeUntil) {
      trace(`< ${number}`, 'nothing, ever');
      return;
    }
    if (Date.now() < busyUntil) {
      response.writeHead(503, { 'Content-Type': 'text/html' });
      response.end('<html><body>503 Service Unavailable</body></html>');
      return;
    }
    const messages = [].concat(JSON.parse(body));
    const reason = unauthorized(request);
    if (reason) {
      count.unauthorized++;
      if (style === 'http') json(response, 401, [{ message: 'Session expired or invalid', errorCode: 'INVALID_SESSION_ID' }]);
      else json(response, 200, messages.map((m) => refuse(m, refusals[style](m, reason))));
      return;
    }
    if (messages.some((m) => forgotten.has(m.clientId))) {
      const advice = { reconnect: unknownAdvice, interval: 0 };
      json(response, 200, messages.map((m) => refuse(m, { error: '403::Unknown client', advice })));
      return;
    }
    for (const message of messages) {
      const name = `${message.channel.replace('/meta/', '')}s`;
      if (name in count) count[name]++;
      if (message.channel === '/meta/connect') hold(number, message, response);
    }
    bayeux.handle(request, response, body);
  }

  function hold(number, message, response) {
    for (const other of held) {
      if (other.clientId !== message.clientId) continue;
      count.duplicates++;
      trace(`! ${number} is a second connect of`, message.clientId);
    }
    const connect = { clientId: message.clientId, response, swallow: false };
    held.add(connect);
    response.once('close', () => held.delete(connect));
    const end = response.end;
    response.end = (content, ...rest) => {
      held.delete(connect);
      if (!connect.swallow) return end.call(response, content, ...rest);
      trace(`< ${number}`, 'swallowed', content ?? '');
      response.emit('finish'); // the server believes that it has written
      return response;
    };
  }

  const control = {
    // { channel, data } or { channel, batch: [data] }: a batch is published in one go.
    publish({ channel, data, batch = [data] }) {
      return {
        replayIds: batch.map((each) => {
          const event = log.append(channel, each);
          trace('* publish', channel, event.event.replayId);
          bayeux.publish(channel, event);
          return event.event.replayId;
        }),
      };
    },
    // The connections of the held connects end. The server behind them is not
    // told before it writes.
    drop() {
      const sockets = [...held].map((connect) => connect.response.socket);
      trace('* drop', sockets.length);
      held.clear();
      for (const socket of sockets) socket?.destroy();
      return { dropped: sockets.length };
    },
    // Without advice the real server answers in its own words; with advice
    // "handshake" or "none" the org answers 403::Unknown client for it, as
    // Salesforce does.
    forget({ advice }) {
      const ids = bayeux.forget();
      trace('* forget', ids.join(' '));
      unknownAdvice = advice;
      if (advice) for (const id of ids) forgotten.add(id);
      return { forgotten: ids.length };
    },
    expire({ style: wanted = 'salesforce' }) {
      trace('* expire', wanted);
      style = wanted;
      tokens.clear();
      return {};
    },
    busy({ ms }) {
      trace('* busy', ms);
      busyUntil = Date.now() + ms;
      return {};
    },
    // What comes in the next ms is read and never answered, and so is every
    // connect that is held now.
    blackhole({ ms }) {
      trace('* blackhole', ms);
      blackholeUntil = Date.now() + ms;
      for (const connect of held) connect.swallow = true;
      return { swallowed: held.size };
    },
    stats: () => ({ ...count, sessions: bayeux.sessions(), held: held.size }),
  };

  const server = http.createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString();
      const { pathname } = new URL(request.url, 'http://org');
      const [, verb] = /^\/control\/(\w+)$/.exec(pathname) ?? [];
      if (request.method === 'POST' && verb in control) json(response, 200, control[verb](JSON.parse(body || '{}')));
      else if (request.method === 'POST' && pathname === '/services/oauth2/token') login(request, response, body);
      else if (pathname === '/services/data/') json(response, 200, [{ label: "Spring '24", url: '/services/data/v60.0', version: '60.0' }]);
      else if (pathname === ENDPOINT || pathname.startsWith(`${ENDPOINT}/`)) cometd(request, response, body);
      else json(response, 404, [{ errorCode: 'NOT_FOUND', message: 'The requested resource does not exist' }]);
    });
  });
  server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
  process.stdin.resume().on('end', () => process.exit());
};

exports.ENDPOINT = ENDPOINT;
