'use strict';

// jsforce's calls for records, as its documentation uses them: creates, changes, upserts and
// deletes records, publishes platform events, and prints each answer, one JSON object a line.
//
//   node jsforce_records.js LOGIN_URL USERNAME PASSWORD

const jsforce = require('jsforce');

const [loginUrl, username, password] = process.argv.slice(2);

async function main() {
  const oauth2 = { loginUrl, clientId: process.env.CONSUMER_KEY, clientSecret: process.env.CONSUMER_SECRET };
  const connection = new jsforce.Connection({ loginUrl, oauth2, version: '60.0', logLevel: 'ERROR', callOptions: { client: 'jsforceApp' } });
  await connection.loginByOAuth2(username, password);
  const print = (name, answer) => console.log(JSON.stringify({ [name]: answer }));
  const failure = ({ errorCode, message }) => ({ errorCode, message });

  const accounts = connection.sobject('Account');
  const one = await accounts.create({ Name: 'One', BillingCity: 'Lyon', NumberOfEmployees: 7 });
  print('create', one);
  const more = await accounts.create([{ Name: 'Two' }, { Phone: '3' }, { Name: 'Two' }]);
  print('createMany', more);
  print('update', await accounts.update({ Id: one.id, BillingCity: null, Description: 'changed' }));
  print('updateMany', await accounts.update([{ Id: one.id, Rating: 'Hot' }, { Id: more[0].id, Rating: 'Hot' }]));
  print('upsert', await accounts.upsert({ AccountNumber: 'A-1', Name: 'Upserted' }, 'AccountNumber'));
  print('upsertAgain', await accounts.upsert({ AccountNumber: 'A-1', Name: 'Again' }, 'AccountNumber'));
  print('retrieve', await accounts.retrieve(one.id));
  print('destroy', await accounts.destroy(one.id));
  print('destroyMany', await accounts.destroy([more[0].id, more[2].id]));
  print('gone', await accounts.update({ Id: one.id, Phone: '1' }).catch(failure));
  print('column', await accounts.create({ Name: 'X', Nonsense: 1 }).catch(failure));

  const orders = connection.sobject('Order__e');
  print('publish', await orders.create({ N__c: 1, At__c: '2026-01-02T03:04:05.678Z' }));
  print('publishMany', await orders.create([{ N__c: 2 }, { N__c: 'x' }, { N__c: 3 }]));
}

main().catch((error) => console.log(JSON.stringify({ error: String(error) })));
