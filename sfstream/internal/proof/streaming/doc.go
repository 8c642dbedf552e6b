// Package streaming proves what a client makes of the Streaming API's servers, the rare ones too.
package streaming
