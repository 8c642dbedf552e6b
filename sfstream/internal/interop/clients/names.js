'use strict';

// To be loaded before a client, with --require: TEST_HOST is this machine, as a
// line in the hosts file would say.

const dns = require('node:dns');

const here = { address: '127.0.0.1', family: 4 };
const isHere = (name) => name === process.env.TEST_HOST;

const { lookup } = dns;
dns.lookup = (name, options, callback) => {
  if (!isHere(name)) return lookup(name, options, callback);
  const done = typeof options === 'function' ? options : callback;
  process.nextTick(() => (options.all ? done(null, [here]) : done(null, here.address, here.family)));
};

const { lookup: lookupPromise } = dns.promises;
dns.promises.lookup = async (name, options) => {
  if (!isHere(name)) return lookupPromise(name, options);
  return options?.all ? [here] : here;
};
