// Package bayeux speaks the Bayeux protocol over long polling: what one session
// needs, one request at a time. It knows nothing of logins, retries or
// Salesforce's channels.
//
// Servers differ in what they leave out, in the order of a reply's elements and
// in the types of ids. Nothing here depends on those. What they do, and Salesforce's
// above all, is in PROTOCOL.md.
package bayeux
