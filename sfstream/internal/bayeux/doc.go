// Package bayeux speaks the Bayeux protocol over long polling: the requests of one session, each by
// itself. It knows nothing of logins, retries or Salesforce's channels.
//
// Servers differ in which elements of a reply they leave out, in the order of the elements and in
// the JSON types of ids. This package depends on none of these. What Salesforce's and other servers
// do is in PROTOCOL.md.
package bayeux
