'use strict';

// An org around faye.
//
// It cannot: deliver to one session by its public interface (the replay goes
// into the queue of its memory engine), put data on a subscribe reply (a replay
// comes with the connect), and keep an idle session for longer than two holds.

const { Readable } = require('node:stream');
const faye = require('faye');
const Memory = require('faye/src/engines/memory');
const { serve, ENDPOINT } = require('./org');

serve(({ hold, log }) => {
  let engine; // sessions, subscriptions and queues
  let proxy; // faye's face of the engine
  const type = {
    create(server, options) {
      proxy = server;
      engine = new Memory(server, options);
      return engine;
    },
  };
  const adapter = new faye.NodeAdapter({ mount: ENDPOINT, timeout: hold / 1000, engine: { type } });
  const sessions = new Set();
  adapter.on('handshake', (clientId) => sessions.add(clientId));
  adapter.on('disconnect', (clientId) => sessions.delete(clientId));

  // The replay of a subscribe, by session and channel. From incoming to the end
  // of outgoing nothing is asynchronous: no live event can come between.
  const replays = new Map();
  const key = (message) => `${message.clientId} ${message.subscription}`;
  adapter.addExtension({
    incoming(message, callback) {
      if (message.channel === '/meta/subscribe') {
        const replay = log.replay(message);
        if (replay.error) message.error = replay.error;
        else replays.set(key(message), replay.events);
      }
      callback(message);
    },
    outgoing(message, callback) {
      if (message.channel === '/meta/subscribe') {
        const events = replays.get(key(message)) ?? [];
        replays.delete(key(message));
        if (message.successful) deliver(message.clientId, message.subscription, events);
      }
      if (message.channel === '/meta/handshake' && message.successful) {
        message.ext = { replay: true, 'payload.format': true };
      }
      callback(message);
    },
  });

  function deliver(clientId, channel, events) {
    if (events.length === 0) return;
    const queue = engine._messages.get(clientId) ?? [];
    queue.push(...events.map((data) => ({ channel, data })));
    engine._messages.set(clientId, queue);
    engine.emptyQueue(clientId);
  }

  return {
    handle(request, response, body) {
      const { method, url, headers } = request;
      adapter.handle(Object.assign(Readable.from([Buffer.from(body)]), { method, url, headers }), response);
    },
    publish: (channel, data) => proxy.publish({ channel, data }),
    forget() {
      const lost = [...sessions];
      for (const clientId of lost) engine.destroyClient(clientId);
      return lost;
    },
    sessions: () => sessions.size,
  };
});
