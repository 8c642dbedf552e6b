// Package publish holds tests of Client.Publish, over both APIs.
package publish
