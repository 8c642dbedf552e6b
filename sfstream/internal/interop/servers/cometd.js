'use strict';

// An org around cometd-nodejs-server.
//
// It cannot: answer the first connect at once (Salesforce's Java server does,
// this one holds it), and lose a session other than by the private
// _removeServerSession, which it calls itself when a session expires.

const { createCometDServer } = require('cometd-nodejs-server');
const { serve } = require('./org');

serve(({ hold, log }) => {
  const server = createCometDServer({ timeout: hold, maxInterval: 10000, browserCookiePath: '/cometd/' });
  const sessions = new Map();
  server.addListener('sessionAdded', (session) => sessions.set(session.id, session));
  server.addListener('sessionRemoved', (session) => sessions.delete(session.id));

  // The replay of a subscribe, by its reply. From here to the end of outgoing
  // nothing is asynchronous: no live event can come between.
  const replays = new WeakMap();
  server.addExtension({
    incoming(_, session, message, callback) {
      if (message.channel !== '/meta/subscribe') return callback(undefined, true);
      const replay = log.replay(message);
      replays.set(message.reply, replay);
      return callback(undefined, replay.error === undefined);
    },
    outgoing(_, sender, session, message, callback) {
      const replay = replays.get(message);
      if (replay?.error) {
        message.error = replay.error;
        message.subscription = undefined;
      }
      if (message.successful && replay) {
        for (const event of replay.events) session.deliver(null, message.subscription, event);
      }
      if (message.successful && message.channel === '/meta/handshake') {
        message.ext = { replay: true, 'payload.format': true };
      }
      return callback(undefined, true);
    },
  });

  return {
    handle(request, response, body) {
      request.body = JSON.parse(body); // as a body parser in front of it would
      server.handle(request, response);
    },
    publish: (channel, data) => server.createServerChannel(channel).publish(null, data),
    forget() {
      const lost = [...sessions.values()];
      for (const session of lost) {
        server._removeServerSession(session, true);
        session._flush();
      }
      return lost.map((session) => session.id);
    },
    sessions: () => sessions.size,
  };
});
