// Package pubsub proves what a client makes of the Pub/Sub API's servers, the rare ones too.
package pubsub
